"""The narrative: what people write with whatever editor they have (REG-07)."""

from __future__ import annotations

from pathlib import Path

import pytest

from labferry.sessions.record import SessionFolder
from labferry.sessions.record.narrative import NARRATIVE_LIMIT, Narrative, read_narrative


def read(folder: Path, content: bytes) -> Narrative:
    (folder / "narrative.txt").write_bytes(content)
    return read_narrative(SessionFolder(str(folder).encode()))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"the left camera fell off\n", "the left camera fell off"),
        ("naïve mouse, 5 µl \u2013 calm".encode(), "naïve mouse, 5 µl \u2013 calm"),
        ("naïve mouse, 5 µl \u2013 calm".encode("cp1252"), "naïve mouse, 5 µl \u2013 calm"),
        ("naïve mouse".encode("utf-8-sig"), "naïve mouse"),
        ("naïve mouse".encode("utf-16"), "naïve mouse"),
        (b"one\r\ntwo\rthree\r\n", "one\ntwo\nthree"),
        (b"  indented, and a \0 in it \n\n", "indented, and a  in it"),
        (b"\x81\x8d", "\ufffd\ufffd"),
    ],
)
def test_reg_07_text_of_every_encoding_is_read(tmp_path: Path, content: bytes, text: str) -> None:
    assert read(tmp_path, content) == Narrative(text)


def test_reg_07_100_kb_are_a_narrative(tmp_path: Path) -> None:
    text = "ä" * 50_000
    assert read(tmp_path, text.encode()).text == text


@pytest.mark.parametrize("content", [b"", b" \r\n\t", b"\0", b"\xef\xbb\xbf"])
def test_reg_07_an_empty_file_leaves_what_alyx_has(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content) == Narrative(None)


def test_reg_07_no_file_leaves_what_alyx_has(tmp_path: Path) -> None:
    assert read_narrative(SessionFolder(str(tmp_path).encode())) == Narrative(None)


def test_reg_07_what_is_no_narrative_by_its_size_is_not_sent(tmp_path: Path) -> None:
    narrative = read(tmp_path, b"x" * (NARRATIVE_LIMIT + 1))
    assert narrative.text is None
    assert [remark.code for remark in narrative.remarks] == ["odd_narrative"]
