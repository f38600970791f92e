"""Which folders are worth a watch: roots, unfinished sessions, and where the next sessions appear."""

from __future__ import annotations

import os
from collections.abc import Sequence

from labferry.engine.detection.roots import RootState

RECENT_FOLDERS = 200  # of a root
SUBJECT_DEPTH = 2  # a session's subject folder is two levels above it


def folders_to_watch(roots: Sequence[RootState]) -> list[bytes]:
    """Return roots, unfinished sessions, where new ones appear, what was complete last; the most useful first."""
    paths: list[bytes] = []
    eventful = [state for state in roots if state.facts.mode == "events"]
    for state in eventful:
        paths.append(state.path)
        for below in sorted(state.tracked, reverse=True):
            folder = os.path.join(state.path, below)
            paths += [folder, os.path.dirname(folder)]
    for state in eventful:
        paths += state.nurseries
        paths += _recent_folders(state)[:RECENT_FOLDERS]
    return list(dict.fromkeys(paths))


def _recent_folders(state: RootState) -> list[bytes]:
    """Return all folders of the sessions that were complete last: that is where pipelines are at work."""
    return [
        os.path.join(state.path, path, folder).rstrip(b"/")
        for path in reversed(state.recent)
        if path in state.kept
        for folder in state.kept[path].folders
    ]


def subject_folders(state: RootState) -> list[bytes]:
    """Return the folders in which the next sessions of known subjects appear, that of the newest session first."""
    newest: dict[bytes, list[bytes]] = {}
    for path in state.known:
        subject, *rest = [b"", b"", b"", *path.rsplit(b"/", SUBJECT_DEPTH)][-1 - SUBJECT_DEPTH :]
        newest[subject] = max(rest, newest.get(subject, []))
    subjects = sorted(newest, key=newest.__getitem__, reverse=True)
    return [os.path.join(state.path, subject) if subject else state.path for subject in subjects]
