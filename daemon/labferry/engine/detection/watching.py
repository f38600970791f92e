"""Which folders are worth a watch: roots, unfinished sessions, and where the next sessions appear."""

from __future__ import annotations

import os
from collections.abc import Sequence

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
        paths += state.nurseries
    return list(dict.fromkeys(paths))


def subject_folders(state: RootState) -> list[bytes]:
    """Return the folders in which the next sessions of known subjects appear, that of the newest session first."""
    newest: dict[bytes, list[bytes]] = {}
    for path in state.known:
        subject, *rest = [b"", b"", b"", *path.rsplit(b"/", SUBJECT_DEPTH)][-1 - SUBJECT_DEPTH :]
        newest[subject] = max(rest, newest.get(subject, []))
    subjects = sorted(newest, key=newest.__getitem__, reverse=True)
    return [os.path.join(state.path, subject) if subject else state.path for subject in subjects]
