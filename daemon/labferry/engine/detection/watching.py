"""Which folders are worth a watch: roots, unfinished sessions, and where the next sessions appear."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from labferry.engine.detection.roots import RootState

SUBJECT_DEPTH = 2  # a session's subject folder is two levels above it


def folders_to_watch(roots: Sequence[RootState]) -> list[bytes]:
    """Return roots, unfinished sessions and where their neighbours appear; the most useful folders first."""
    paths: list[bytes] = []
    eventful = [state for state in roots if state.facts.mode == "events"]
    for state in eventful:
        paths.append(state.path)
        for below in sorted(state.tracked, reverse=True):
            folder = os.path.join(state.path, below)
            paths += [folder, os.path.dirname(folder)]
    for state in eventful:
        paths += _subject_folders(state)
    return list(dict.fromkeys(paths))


def _subject_folders(state: RootState) -> Iterator[bytes]:
    """Yield the folders in which the next sessions of known subjects appear, newest session first."""
    for below in sorted(state.known, key=lambda path: path.split(b"/")[-SUBJECT_DEPTH:], reverse=True):
        folder = below
        for _ in range(SUBJECT_DEPTH):
            folder = os.path.dirname(folder)
        yield os.path.join(state.path, folder)
