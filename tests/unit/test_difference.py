"""What became of a session's files: a walk compared with a list; and the times of its folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labferry.detect.difference import Difference, Listed, compare
from labferry.detect.foldertimes import folder_times
from labferry.model import FileVersion
from labferry.sessions.walk import FileKind, WalkedFile


def here(path: bytes, size: int = 1, mtime: int = 1, ctime: int = 1) -> WalkedFile:
    return WalkedFile(path, FileVersion(path, size, mtime, ctime), FileKind.REGULAR)


def listed(path: bytes, *, matters: bool = True, unread: bool = False) -> Listed:
    return Listed(7, FileVersion(path, 1, 1, 1), matters, unread)


def test_nothing_new() -> None:
    assert compare([here(b"a"), here(b"b")], [listed(b"b"), listed(b"a")]) == Difference()


def test_added_changed_and_removed_files() -> None:
    found = compare([here(b"a", size=2), here(b"c")], [listed(b"a"), listed(b"b")])
    assert (found.added, found.changed, found.removed) == ([b"c"], [b"a"], [(7, b"b")])
    assert found.sentence() == "c added, a changed since it was complete"


@pytest.mark.parametrize("path", [b"raw_session.flag", b"_devices/rig.status_complete"])
def test_ruling_04_flags_and_device_status_come_and_go(path: bytes) -> None:
    assert compare([here(path)], []) == Difference()
    assert compare([], [listed(path)]) == Difference()


def test_ruling_06_a_new_change_time_is_another_version_unless_nobody_has_read_it() -> None:
    touched = [here(b"a", ctime=9)]
    assert compare(touched, [listed(b"a")]).changed == [b"a"]
    assert compare(touched, [listed(b"a", unread=True)]).noted == [(7, FileVersion(b"a", 1, 1, 9))]
    assert compare([here(b"a", mtime=9)], [listed(b"a", unread=True)]).changed == [b"a"]


def test_another_version_of_what_is_sent_nowhere_is_noted() -> None:
    found = compare([here(b"log", size=9)], [listed(b"log", matters=False)])
    assert (found.noted, found.is_news) == ([(7, FileVersion(b"log", 9, 1, 1))], False)


def test_an_unfinished_copy_is_no_news_yet() -> None:
    found = compare([here(b"a.part")], [])
    assert (found.unfinished, found.is_news) == ([b"a.part"], False)


@pytest.mark.parametrize("error", [b"", b"alf"])
def test_done_10_what_cannot_be_looked_at_is_not_removed(error: bytes) -> None:
    walk = [WalkedFile(error, None, FileKind.DIRECTORY, "Permission denied")]
    assert compare(walk, [listed(b"alf/a")]) == Difference(closed=[(error, "Permission denied")])


def test_done_10_a_pipe_in_a_files_place_is_no_removal() -> None:
    assert compare([WalkedFile(b"a", None, FileKind.FIFO)], [listed(b"a")]) == Difference()


@pytest.mark.parametrize("kind", [FileKind.SYMLINK, FileKind.FIFO])
def test_done_10_what_comes_later_and_cannot_be_carried_is_news_once(kind: FileKind) -> None:
    new = WalkedFile(b"alf/a.npy", None, kind)
    assert compare([new], []).added == [new.path]
    assert compare([new], [listed(new.path)]) == Difference()


def test_ruling_22_a_closed_folder_is_no_news_and_is_told_of_unless_it_was_listed_as_such() -> None:
    walk = [WalkedFile(b"alf", None, FileKind.DIRECTORY, "Permission denied")]
    assert compare(walk, []) == Difference(closed=[(b"alf", "Permission denied")])
    assert compare(walk, [listed(b"alf")]) == Difference()


# --- the times of folders -------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "alf" / "probe00").mkdir(parents=True)
    (tmp_path / "alf" / "probe00" / "a.npy").write_bytes(b"a")
    os.symlink(tmp_path, tmp_path / "alf" / "loop")
    for path in (tmp_path, tmp_path / "alf", tmp_path / "alf" / "probe00"):
        os.utime(path, ns=(1, 1))
    return tmp_path


def test_every_folder_counts_and_no_link_is_followed(folder: Path) -> None:
    times = folder_times(os.fsencode(folder))
    assert times.folders == (b"", b"alf/", b"alf/probe00/")
    assert folder_times(os.fsencode(folder), times.folders) == times


@pytest.mark.parametrize("what", ["added", "removed", "a new folder"])
def test_ruling_01_whatever_comes_or_goes_changes_the_digest(folder: Path, what: str) -> None:
    before = folder_times(os.fsencode(folder))
    probe = folder / "alf" / "probe00"
    if what == "added":
        (probe / "b.npy").touch()
    elif what == "removed":
        (probe / "a.npy").unlink()
    else:
        (probe / "new").mkdir()
    assert folder_times(os.fsencode(folder), before.folders).digest != before.digest


def test_a_folder_that_is_gone_cannot_be_looked_at(folder: Path) -> None:
    known = folder_times(os.fsencode(folder)).folders
    (folder / "alf" / "probe00" / "a.npy").unlink()
    (folder / "alf" / "probe00").rmdir()
    with pytest.raises(OSError, match="probe00"):
        folder_times(os.fsencode(folder), known)


def test_done_10_a_folder_that_is_closed_to_us_changes_the_digest(folder: Path) -> None:
    before = folder_times(os.fsencode(folder))
    (folder / "alf" / "probe00").chmod(0o700)
    assert folder_times(os.fsencode(folder), before.folders).digest != before.digest
