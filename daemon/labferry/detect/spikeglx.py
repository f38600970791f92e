"""Detection room: whether a SpikeGLX recording is whole. Pure: contents and sizes in, a sentence out.

SpikeGLX writes the length of a recording into its `.meta` file when it ends (`fileSizeBytes`); a file that was made
large beforehand, or that a copy has not filled yet, has another size for all the time it stands still. Compressing
(mtscomp) leaves the `.meta` file as it is, so that a `.cbin` file can never have that size: its own size, and that of
what is packed in it, stand in the `.ch` file, which is written when the compression ends.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import NamedTuple

from labferry.model import show_path

META_LIMIT = 1024 * 1024  # bytes; real ones have less than twenty thousand
HEADER_LIMIT = 16 * 1024 * 1024  # bytes; a second of signal takes about thirty
TOO_LARGE = 2**63  # for a size: no file has it, and Python refuses to write numbers of thousands of digits
DATA = frozenset({b"bin", b"cbin"})  # the extensions of the recording itself
_PART = re.compile(rb"(.+\.(?:ap|lf|nidq|obx))\.(meta|bin|cbin|ch)", re.DOTALL)
_SIZE = re.compile(rb"^fileSizeBytes=[ \t]*(\d{1,18})[ \t]*\r?$", re.MULTILINE)
_ITEM_SIZES = {"int16": 2, "uint16": 2, "int32": 4, "float32": 4}


class Packed(NamedTuple):
    """What a `.ch` file says of its `.cbin` file: bytes on disk, and bytes of the signal in it."""

    stored: int
    holds: int


@dataclass(frozen=True, slots=True)
class Recording:
    """The files of one recording as they are now.

    Attributes
    ----------
    stem : bytes
        Their path without the extension, relative to the session's folder.
    described : bool
        The `.meta` file is there ...
    size : int or None
        ... and this is its `fileSizeBytes`, if it names any.
    plain, packed : int or None
        Size of the `.bin` and the `.cbin` file; None when there is none.
    header : Packed or None
        What the `.ch` file says, if it is there and whole.
    """

    stem: bytes
    described: bool = False
    size: int | None = None
    plain: int | None = None
    packed: int | None = None
    header: Packed | None = None

    @property
    def problem(self) -> str:
        """Why it is not whole; empty when it is."""
        return next((found for found in (self._of_meta(), self._of_plain(), self._of_packed()) if found), "")

    def _of_meta(self) -> str:
        name = show_path(self.stem)
        if not self.described:
            return f"{name}.meta is missing"
        if self.size is None:
            return f"{name}.meta names no fileSizeBytes: the recording was not ended"
        if self.plain is None and self.packed is None:
            return f"{name}.bin is missing ({self.size} bytes)"
        return ""

    def _of_plain(self) -> str:
        if self.plain is None or self.plain == self.size:
            return ""
        return f"{show_path(self.stem)}.bin has {self.plain} bytes, its .meta file says {self.size}"

    def _of_packed(self) -> str:
        name = show_path(self.stem)
        if self.packed is None:
            return ""
        if self.header is None:
            return f"{name}.ch is missing or not whole: the compression was not ended"
        if self.packed != self.header.stored:
            return f"{name}.cbin has {self.packed} bytes, its .ch file says {self.header.stored}"
        if self.header.holds != self.size:
            return f"{name}.cbin holds {self.header.holds} bytes of signal, its .meta file says {self.size}"
        return ""


def part_of_recording(path: bytes) -> tuple[bytes, bytes] | None:
    """Return stem and extension of a file that belongs to a SpikeGLX recording; None for every other file."""
    match = _PART.fullmatch(path)
    return None if match is None else (match[1], match[2])


def meta_size(content: bytes) -> int | None:
    """Return the `fileSizeBytes` of a `.meta` file; None when it names none, or several."""
    found = set(_SIZE.findall(content))
    return int(found.pop()) if len(found) == 1 else None


def packed_size(content: bytes) -> Packed | None:
    """Return what a `.ch` file says; None when it is not one, or not whole."""
    try:
        header = json.loads(content)
        samples, stored = header["chunk_bounds"][-1], header["chunk_offsets"][-1]
        channels, item = header["n_channels"], _ITEM_SIZES[header["dtype"]]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    if not all(type(number) is int and 0 <= number < TOO_LARGE for number in (samples, stored, channels)):
        return None
    return Packed(stored, samples * channels * item)
