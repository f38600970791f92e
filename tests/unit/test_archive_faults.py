from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from labferry.archive.faults import in_one, reading, target_missing, working_at
from labferry.errors import CODES, BlockedError, ChangedError, LabferryError, NotYetError, UnavailableError

WHERE = b"/mnt/nas/S/\xffa.npy"


def fail(number: int) -> None:
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "target_full"),
        (errno.EDQUOT, "target_full"),
        (errno.EROFS, "target_readonly"),
        (errno.EACCES, "target_readonly"),
        (errno.EPERM, "target_readonly"),
        (errno.ENOENT, "target_missing"),
        (errno.ESTALE, "target_missing"),
        (errno.ENODEV, "target_missing"),
        (errno.ENOTCONN, "target_missing"),
        (errno.EIO, "target_error"),
        (errno.EFBIG, "target_error"),
    ],
)
def test_what_concerns_the_target_opens_its_breaker(number: int, code: str) -> None:
    with pytest.raises(UnavailableError) as caught, working_at("nas", WHERE):
        fail(number)
    assert (caught.value.dependency, caught.value.code) == ("archive:nas", code)
    assert CODES[code].kind == "waiting"
    assert r"/mnt/nas/S/\xffa.npy" in caught.value.message
    assert os.strerror(number) in caught.value.message


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOTDIR, "destination_differs"),
        (errno.EISDIR, "destination_differs"),
        (errno.ELOOP, "destination_differs"),
        (errno.ENAMETOOLONG, "name_too_long"),
        (errno.EILSEQ, "destination_refused"),
    ],
)
def test_what_concerns_one_name_blocks_only_that(number: int, code: str) -> None:
    with pytest.raises(BlockedError) as caught, working_at("nas", WHERE):
        fail(number)
    assert caught.value.code == code
    assert caught.value.hint


def test_a_base_that_is_no_folder_is_a_missing_target() -> None:
    error = target_missing("nas", b"/mnt/nas", NotADirectoryError(errno.ENOTDIR, "x"))
    assert error.code == "target_missing"


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOENT, ChangedError, "changed"),
        (errno.ELOOP, ChangedError, "changed"),
        (errno.ENOTDIR, ChangedError, "changed"),
        (errno.EACCES, BlockedError, "unreadable"),
        (errno.EIO, BlockedError, "unreadable"),
        (errno.ESTALE, NotYetError, "source_missing"),
    ],
)
def test_errors_of_the_source_are_never_the_targets(
    tmp_path: Path, number: int, kind: type[LabferryError], code: str
) -> None:
    with pytest.raises(kind) as caught, reading(os.fsencode(tmp_path), b"a.npy"):
        fail(number)
    assert caught.value.code == code
    assert not isinstance(caught.value, UnavailableError)


def test_a_file_that_is_gone_with_its_session_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(NotYetError) as caught, reading(os.fsencode(tmp_path / "gone"), b"a.npy"):
        fail(errno.ENOENT)
    assert caught.value.code == "source_missing"
    assert caught.value.after > 0


def test_many_problems_are_one_message_that_stays_short() -> None:
    problems = [BlockedError("unreadable", f"file {number}", "look") for number in range(7)]
    assert in_one(problems[:1]) is problems[0]
    together = in_one(problems)
    assert (together.code, together.hint) == ("unreadable", "look")
    assert "7 files: file 0; file 1" in together.message
    assert "and 2 more" in together.message
    assert "file 5" not in together.message
