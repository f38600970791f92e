"""Archive room: what shall go where, how far it is, and what was confirmed. Values only, nothing is opened here.

A plan is written to the journal before anything is copied, so it holds everything a restarted daemon needs.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from labferry.archive.naming import require_beneath
from labferry.model import FileVersion

# The batch is part of temporary file names at the destination.
_BATCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")


@dataclass(frozen=True, slots=True)
class Item:
    """One file to archive: exactly this version of it, under exactly this name.

    Attributes
    ----------
    source : bytes
        Relative to the session folder.
    destination : bytes
        Relative to the base of the plan.
    size : int
        Bytes.
    md5 : str
        Of the manifest, 32 hexadecimal digits.
    mtime_ns, ctime_ns : int
        Of the source when it was sealed, nanoseconds.
    """

    source: bytes
    destination: bytes
    size: int
    md5: str
    mtime_ns: int
    ctime_ns: int

    @property
    def version(self) -> FileVersion:
        """The version of the source file that may be copied; any other is a changed file."""
        return FileVersion(self.source, self.size, self.mtime_ns, self.ctime_ns)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one archive job sends to one target.

    Attributes
    ----------
    batch : str
        Names this plan at the destination, the same after every restart: letters, digits and `-`.
    session_dir : bytes
        The session folder, absolute.
    base : bytes
        The target's path, absolute, `{lab}` filled in.
    items : tuple of Item
        No two have the same destination.
    older : tuple of str
        Batches of the same session that this one follows: what they left half-copied is removed.

    Raises
    ------
    ValueError
        A path leaves its folder, or two items want the same destination.
    """

    batch: str
    session_dir: bytes
    base: bytes
    items: tuple[Item, ...]
    older: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _BATCH.fullmatch(self.batch):
            raise ValueError(f"not the name of a batch: {self.batch!r}")
        for folder in (self.session_dir, self.base):
            if not os.path.isabs(folder):
                raise ValueError(f"not an absolute path: {folder!r}")
        for item in self.items:
            require_beneath(item.source)
            require_beneath(item.destination)
        for destination, times in Counter(item.destination for item in self.items).items():
            if times > 1:
                raise ValueError(f"{times} files for one destination: {destination!r}")

    def destination_of(self, item: Item) -> bytes:
        """Return the absolute path `item` has at the destination."""
        return os.path.join(self.base, item.destination)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a plan is; files count when they are verified, bytes as they are copied."""

    bytes_done: int
    bytes_total: int
    files_done: int
    files_total: int


class Means(StrEnum):
    """How it is known that a file is in the archive."""

    COPIED = "copied"  # copied, then read back from the destination
    ADOPTED = "adopted"  # it was there already; read and compared


@dataclass(frozen=True, slots=True)
class Evidence:
    """A file is in the archive with this content: the ground for `exists = true`.

    Attributes
    ----------
    destination : bytes
        Relative to the base of the plan.
    size : int
        Bytes at the destination.
    md5 : str
        Of the bytes at the destination.
    means : Means
        How this was found out.
    """

    destination: bytes
    size: int
    md5: str
    means: Means


class Fault(StrEnum):
    """What a later look found wrong with an archived file."""

    MISSING = "missing"
    SIZE = "size"
    CONTENT = "content"
    UNREADABLE = "unreadable"
    NOT_A_FILE = "not_a_file"


@dataclass(frozen=True, slots=True)
class Difference:
    """A file of the plan that is not in the archive as it was verified.

    `detail` is one sentence that names the file and says what is different.
    """

    destination: bytes
    fault: Fault
    detail: str
