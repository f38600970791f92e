"""The names in a dataset's path: how Alyx takes them apart, and which of them it would not keep as they are.

Room: datasets.
"""

from __future__ import annotations

import re
from typing import NamedTuple

ALYX_NAME_LIMIT = 255
FILE_NAME_LIMIT = 255
ID_LENGTH = 37  # `.` and the UUID that the archive's file names carry

# Alyx reads the folders with a pattern that has only these; it drops a folder with any other character without a
# word, and registers the file as if it lay above it. A revision stands between `#` and is the last folder.
_FOLDER = re.compile(r"[A-Za-z0-9_.-]+")
_REVISION = re.compile(r"#([A-Za-z0-9_.-]+)#")
# File names are kept as sent, but for these: file records refuse `\` and `:`.
_REFUSED_IN_FILE_NAMES = re.compile(r"[\\:]")

# The parts of an ALF file name, [_NAMESPACE_]OBJECT.ATTRIBUTE[_TIMESCALE][.EXTRA].EXTENSION; `_times` and
# `_intervals` belong to the attribute, and so may a (deprecated) namespace of its own.
_ALF_NAME = re.compile(
    r"_?(?:(?<=_)[a-zA-Z0-9]+)?_?"
    r"(?P<object>\w+)\."
    r"(?P<attribute>(?:_[a-z]+_)?[a-zA-Z0-9]+(?:(?:_times|_intervals)(?=[_.]))?)"
    r"(?:_\w+)?"
    r"(?:\.[.\w-]+)?"
    r"\.\w+"
)
# What the rig recorded is in folders of these names: raw_behavior_data, raw_task_data_00, raw_ephys_data …
_RAW_FOLDER = re.compile(rb"raw_[A-Za-z0-9_]+_data(_[A-Za-z0-9]+)?")


class AlfPath(NamedTuple):
    """A dataset's path below the session's folder as Alyx takes it apart; what is not there is empty."""

    collection: str
    revision: str
    name: str


def collection_revision_name(path: bytes) -> AlfPath:
    """Take a dataset's path apart as Alyx answers it, to compare its answer with what was sent.

    Parameters
    ----------
    path : bytes
        Of a file that is decided to be a dataset, relative to the session's folder.

    Raises
    ------
    UnicodeDecodeError
        The path is not UTF-8; such a file is never a dataset.
    """
    folder, _, name = path.decode("utf-8").rpartition("/")
    above, _, last = folder.rpartition("/")
    revision = _REVISION.fullmatch(last)
    return AlfPath(above, revision[1], name) if revision else AlfPath(folder, "", name)


def is_raw(path: bytes) -> bool:
    """Say whether a file, relative to its session's folder, is in a folder of raw data."""
    return _RAW_FOLDER.fullmatch(path.partition(b"/")[0]) is not None and b"/" in path


def object_attribute(name: str) -> str:
    """Return `object.attribute` of an ALF file name; of any other name, all but its last suffix."""
    parts = _ALF_NAME.fullmatch(name)
    if parts:
        return f"{parts['object']}.{parts['attribute']}"
    stem, _, ending = name.rpartition(".")
    return stem if stem and ending else name


def unsafe_part(path: str) -> str | None:
    """Return the first part of a path that Alyx would change or refuse, or None when it keeps them all."""
    *folders, name = path.split("/")
    for i, folder in enumerate(folders):
        last = i == len(folders) - 1
        if folder in {".", ".."} or not (_FOLDER.fullmatch(folder) or (last and _REVISION.fullmatch(folder))):
            return folder
    if not name.isprintable() or name != name.strip() or not name or _REFUSED_IN_FILE_NAMES.search(name):
        return name
    return None


def overlong(path: str) -> str | None:
    """Return which name in a path is too long for Alyx or for the archive, in words, or None."""
    collection, _, name = path.rpartition("/")
    if len(collection) > ALYX_NAME_LIMIT:
        return "the collection"
    if len(name.encode()) + ID_LENGTH > FILE_NAME_LIMIT:
        return "the file name, with the dataset's id that the archive puts into it,"
    return None
