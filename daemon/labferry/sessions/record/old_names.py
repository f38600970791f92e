"""File names of old rigs that have another name since then, and by which version of the rig they are judged (REG-14).

Room: sessions. Reads below the session's folder; renames nothing.
"""

from __future__ import annotations

import re

from labferry.sessions.record.description import read_description
from labferry.sessions.record.reading import SessionFolder
from labferry.sessions.record.tasks import read_all_settings, task_collections

_EVER = {b"_iblrig_taskCodeFiles.raw.zip": b"_iblrig_codeFiles.raw.zip"}
_UP_TO_3_2_3 = {b"_ibl_trials.iti_duration.npy": b"_ibl_trials.itiDuration.npy"}
_LAST = (3, 2, 3)
OLD_NAMES = frozenset({*_EVER, *_UP_TO_3_2_3})
# A version as Python's tools read it: what follows the numbers does not matter here, but must be of the known form.
_VERSION = re.compile(
    r"v?(\d{1,9}(?:\.\d{1,9})*)"
    r"(?:[-_.]?(?:a|b|c|rc|alpha|beta|pre|preview)[-_.]?\d*)?"
    r"(?:-\d+|[-_.]?(?:post|rev|r)[-_.]?\d*)?"
    r"(?:[-_.]?dev[-_.]?\d*)?"
    r"(?:\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?",
    re.ASCII | re.IGNORECASE,
)


def rig_version(folder: bytes) -> str:
    """Return the version of the rig's software that ran the first task of a session; empty when nothing says so.

    Raises
    ------
    BlockedError
        What `read_record` raises of descriptions and settings.
    NotYetError
        `source_missing`.
    """
    files = SessionFolder(folder)
    settings = read_all_settings(files, task_collections(files, read_description(files)))
    return min(settings, key=lambda one: one.start).version if settings else ""


def release(version: str) -> tuple[int, ...] | None:
    """Return the numbers of a version for comparison, without zeros at their end; None for what is no version."""
    match = _VERSION.fullmatch(version.strip())
    if match is None:
        return None
    numbers = [int(number) for number in match[1].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def new_name(name: bytes, numbers: tuple[int, ...]) -> bytes | None:
    """Return what a file of this name is called now, None if that is its name; `numbers` as from `release`."""
    names = _EVER | _UP_TO_3_2_3 if numbers <= _LAST else _EVER
    return names.get(name)
