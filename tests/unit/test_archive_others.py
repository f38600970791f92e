"""What else stands beside a session's copies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labferry.archive.directory import DirectoryArchive
from labferry.archive.others import expected_names
from labferry.errors import UnavailableError
from support.rights import folder_for_everyone, without_rights

TOP = b"KS005/2019-04-02/001"
COPIES = [TOP + b"/a.npy", TOP + b"/alf/probe00/b.npy", TOP + b"/alf/c.npy"]


def test_map_12_every_folder_on_the_way_has_its_own_names() -> None:
    assert expected_names(TOP, COPIES) == {
        TOP: {b"a.npy", b"alf"},
        TOP + b"/alf": {b"probe00", b"c.npy"},
        TOP + b"/alf/probe00": {b"b.npy"},
    }


@pytest.mark.parametrize("elsewhere", [b"other/x.npy", b"KS005/2019-04-02/0011/x.npy", b"x.npy"])
def test_nothing_is_said_about_folders_that_others_use_too(elsewhere: bytes) -> None:
    assert expected_names(TOP, [elsewhere]) == {}


def put(base: Path, *names: bytes) -> None:
    for name in names:
        path = os.path.join(os.fsencode(base), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb"):
            pass


def others(base: Path) -> list[bytes]:
    return DirectoryArchive("nas", os.fsencode(base)).others(os.fsencode(base), expected_names(TOP, COPIES))


def test_map_12_what_does_not_belong_is_listed_whatever_its_name(tmp_path: Path) -> None:
    put(tmp_path, *COPIES, b"KS005/2019-04-02/002/next.npy")
    assert others(tmp_path) == []
    put(tmp_path, TOP + b"/\xff.bin", TOP + b"/alf/probe00/.hidden", TOP + b"/snapshots/x.png")
    os.symlink("/etc", os.path.join(os.fsencode(tmp_path), TOP, b"alf/link"))
    assert others(tmp_path) == [
        TOP + b"/snapshots/",
        TOP + b"/\xff.bin",
        TOP + b"/alf/link",
        TOP + b"/alf/probe00/.hidden",
    ]


def test_a_folder_that_is_gone_or_became_something_else_holds_nothing(tmp_path: Path) -> None:
    put(tmp_path, TOP + b"/a.npy", TOP + b"/alf/c.npy", TOP + b"/alf/probe00")
    assert others(tmp_path) == []
    put(tmp_path, b"target/x")
    os.symlink(os.path.join(os.fsencode(tmp_path), b"target"), os.path.join(os.fsencode(tmp_path), b"KS005/link"))
    archive = DirectoryArchive("nas", os.fsencode(tmp_path))
    assert archive.others(os.fsencode(tmp_path), {b"KS005/link": set()}) == []


def test_a_folder_that_may_not_be_read_holds_nothing() -> None:
    with folder_for_everyone() as base:
        put(base, *COPIES, TOP + b"/alf/foreign")
        (base / os.fsdecode(TOP) / "alf").chmod(0)
        with without_rights():
            assert others(base) == []


def test_a_target_that_is_not_there_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        others(tmp_path / "unmounted")
    assert caught.value.code == "target_missing"
