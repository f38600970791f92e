"""The narrative (`narrative.txt`): what the experimenter wrote about a session.

Room: sessions.
"""

from __future__ import annotations

import codecs
from typing import NamedTuple

from labferry.model import show_path
from labferry.sessions.record.reading import SessionFolder
from labferry.sessions.record.remark import Remark

FILE_NAME = b"narrative.txt"
NARRATIVE_LIMIT = 1024 * 1024  # bytes


class Narrative(NamedTuple):
    """The text, or None when there is nothing to say, which leaves what Alyx has."""

    text: str | None
    remarks: tuple[Remark, ...] = ()


def read_narrative(folder: SessionFolder) -> Narrative:
    """Read the narrative of a session.

    Raises
    ------
    BlockedError
        `unreadable`.
    """
    with folder.open(FILE_NAME) as stream:
        content = b"" if stream is None else stream.read(NARRATIVE_LIMIT + 1)
    if len(content) > NARRATIVE_LIMIT:
        text = f"{show_path(FILE_NAME)} is larger than {NARRATIVE_LIMIT} bytes; it is not sent"
        return Narrative(None, (Remark("odd_narrative", text),))
    return Narrative(decode_narrative(content) or None)


def decode_narrative(content: bytes) -> str:
    """Return the text: UTF-8, or what Windows editors write, with plain line ends and nothing Alyx would change.

    Alyx trims texts and refuses NUL. A narrative that it changed would look as if a person had.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16", "replace")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252", "replace")
    return text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n").strip()
