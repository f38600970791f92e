"""The directory archive on real file systems: what is carried, what is never replaced, what a later look finds."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from labferry.archive.base import Carried, StoppedError
from labferry.archive.plan import Evidence, Fault, Means, Progress
from labferry.errors import BlockedError
from support.archives import (
    BIG,
    EMPTY,
    FILES,
    FIRST,
    MIB,
    SESSION,
    Rig,
    append,
    in_child,
    open_to_everybody,
    rewrite,
    tree,
)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path, FILES)


# --- the way it goes -----------------------------------------------------------------------------------------


def test_a_session_is_carried_and_verified(rig: Rig) -> None:
    rig.one_by_one()
    before = tree(rig.session_dir)
    told: list[Progress] = []
    kept: list[Evidence] = []
    carried = rig.carry(told.append, keep=kept.append)
    assert rig.archived() == FILES
    assert carried.evidence == tuple(kept)
    assert [(found.destination, found.size, found.md5, found.means) for found in kept] == [
        (item.destination, item.size, item.md5, Means.COPIED) for item in rig.plan.items
    ]
    assert tree(rig.session_dir) == before
    assert told == sorted(told, key=lambda report: (report.files_done, report.bytes_done))
    total = sum(map(len, FILES.values()))
    assert told[-1] == Progress(total, total, 3, 3)
    assert rig.archive.verify(rig.plan) == ()


def test_times_and_mode_are_a_readers(rig: Rig) -> None:
    def carry() -> None:
        os.umask(0o027)
        rig.carry()

    in_child(carry)
    for item in rig.plan.items:
        now = os.stat(rig.target(item.source))
        assert now.st_mtime_ns == item.mtime_ns
        assert (now.st_mode & 0o777, now.st_nlink) == (0o640, 1)


def test_twice_is_once(rig: Rig) -> None:
    rig.carry()
    inodes = [os.stat(rig.target(path)).st_ino for path in FILES]
    again = rig.carry()
    assert [found.means for found in again.evidence] == [Means.ADOPTED] * 3
    assert [os.stat(rig.target(path)).st_ino for path in FILES] == inodes


def test_what_was_verified_is_trusted_and_not_read_again(rig: Rig) -> None:
    first = rig.plan.items[0]
    told: list[Progress] = []
    carried = rig.carry(told.append, verified={first.destination})
    assert first.destination not in {found.destination for found in carried.evidence}
    assert first.source not in rig.archived()
    assert (told[0].bytes_done, told[0].files_done) == (first.size, 1)
    shutil.rmtree(rig.session_dir)
    assert rig.carry(verified={item.destination for item in rig.plan.items}) == Carried(())


def test_a_name_that_is_not_utf8_is_archived_as_it_is(tmp_path: Path) -> None:
    files = {b"raw\xff/\xfe.bin": b"x"}
    rig = Rig(tmp_path, files)
    rig.carry()
    assert rig.archived() == files


def test_two_files_are_under_way_at_once(rig: Rig) -> None:
    both = threading.Barrier(2, timeout=20)
    begun: set[str] = set()

    def wait_for_each_other() -> bool:
        if list(rig.base.rglob("*.part")) and threading.current_thread().name not in begun:
            begun.add(threading.current_thread().name)
            both.wait()
        return False

    rig.carry(stop=wait_for_each_other)
    assert len(begun) == 2
    assert rig.archived() == FILES


def test_what_is_compared_comes_from_the_disk_and_not_from_memory(tmp_path: Path) -> None:
    """The kernel counts what this process has caused to be fetched from a disk; a file system in memory has none."""
    files = {b"a.bin": os.urandom(8 * MIB)}
    rig = Rig(tmp_path, files)
    probe = tmp_path / "probe"
    probe.write_bytes(files[b"a.bin"])
    with probe.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        before = fetched()
        stream.read()
        if fetched() - before < len(files[b"a.bin"]):
            pytest.skip("the files of this test are in memory")
    before = fetched()
    rig.carry()
    assert fetched() - before >= len(files[b"a.bin"])


def fetched() -> int:
    """Return the bytes that were read from disks for this process."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes:"))


# --- the destination is taken --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"other", "has 5 bytes"), (b'{"trial": 2}\n' * 40, "its MD5 is")],
    ids=["size", "same size"],
)
def test_map_07_a_different_file_blocks_and_stays_as_it_is(rig: Rig, content: bytes, words: str) -> None:
    rig.put(FIRST, content)
    inode = os.stat(rig.target(FIRST)).st_ino
    with pytest.raises(BlockedError) as caught:
        rig.carry()
    assert caught.value.code == "destination_differs"
    assert os.fsdecode(FIRST) in caught.value.message
    assert words in caught.value.message
    assert os.stat(rig.target(FIRST)).st_ino == inode
    # The others are carried all the same.
    assert rig.archived() == {**FILES, FIRST: content}


def test_map_07_every_different_file_is_named_at_once(rig: Rig) -> None:
    taken = [FIRST, BIG]
    for path in taken:
        rig.put(path, b"other")
    with pytest.raises(BlockedError) as caught:
        rig.carry()
    assert all(os.fsdecode(path) in caught.value.message for path in taken)


def test_map_07_the_same_file_is_adopted(rig: Rig) -> None:
    path = FIRST
    rig.put(path, FILES[path])
    carried = rig.carry()
    assert [found.means for found in carried.evidence] == [Means.ADOPTED, Means.COPIED, Means.COPIED]
    assert rig.archived() == FILES


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_map_07_what_is_no_file_blocks_too(rig: Rig, kind: str, tmp_path: Path) -> None:
    path = EMPTY
    os.makedirs(os.path.dirname(rig.target(path)))
    match kind:
        case "folder":
            os.mkdir(rig.target(path))
        case "link":
            os.symlink(rig.source(path), rig.target(path))
        case "pipe":
            os.mkfifo(rig.target(path))
    inode = os.lstat(rig.target(path)).st_ino
    with pytest.raises(BlockedError) as caught:
        rig.carry()
    assert caught.value.code == "destination_differs"
    assert os.lstat(rig.target(path)).st_ino == inode


def test_nothing_is_written_through_a_link_below_the_base(rig: Rig, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    os.symlink(outside, rig.base / "KS005")
    with pytest.raises(BlockedError) as caught:
        rig.carry()
    assert caught.value.code == "destination_differs"
    assert os.listdir(outside) == []


@pytest.mark.parametrize("links", [True, False], ids=["with links", "without links"])
@pytest.mark.parametrize("content", [b"x", FILES[EMPTY]], ids=["other", "same"])
def test_map_07_ruling_18_a_file_that_appears_at_the_last_moment_is_not_replaced(
    rig: Rig, links: bool, content: bytes
) -> None:
    def carry() -> tuple[str, ...]:
        def interfere(event: str, args: tuple[Any, ...]) -> None:
            if event == "os.link" and args[1] == EMPTY:
                rig.put(EMPTY, content)
            if event == "os.link" and not links:
                raise PermissionError(1, "no links here")

        sys.addaudithook(interfere)
        return tuple(found.means for found in rig.carry().evidence)

    if content:
        with pytest.raises(BlockedError) as caught:
            in_child(carry)
        assert caught.value.code == "destination_differs"
    else:
        assert in_child(carry) == (Means.COPIED, Means.COPIED, Means.ADOPTED)
    assert rig.archived() == {**FILES, EMPTY: content}


def test_ruling_18_a_file_system_without_links_gets_a_rename_that_does_not_replace(rig: Rig) -> None:
    def carry() -> tuple[str, ...]:
        def refuse(event: str, args: tuple[Any, ...]) -> None:
            if event == "os.link":
                raise OSError(95, "Operation not supported")

        sys.addaudithook(refuse)
        return tuple(found.means for found in rig.carry().evidence)

    assert in_child(carry) == (Means.COPIED,) * 3
    assert rig.archived() == FILES


def test_ruling_18_the_temporary_name_has_our_batch_id(rig: Rig) -> None:
    def carry() -> set[bytes]:
        written: set[bytes] = set()

        def watch(event: str, args: tuple[Any, ...]) -> None:
            if event == "open" and args[2] & os.O_CREAT:
                written.add(args[0])

        sys.addaudithook(watch)
        rig.carry()
        return written

    written = in_child(carry)
    assert len(written) == len(FILES)
    assert all(name.startswith(b".") and rig.plan.batch.encode() in name for name in written)


def test_a_name_too_long_for_the_archive_blocks_only_itself(rig: Rig) -> None:
    first = rig.plan.items[0]
    long = dataclasses.replace(first, destination=SESSION + b"/" + b"x" * 256)
    rig.plan = dataclasses.replace(rig.plan, items=(long, *rig.plan.items[1:]))
    with pytest.raises(BlockedError) as caught:
        rig.carry()
    assert caught.value.code == "name_too_long"
    assert set(rig.archived()) == {BIG, EMPTY}


# --- looking again -------------------------------------------------------------------------------------------


def test_map_12_what_changed_in_the_archive_is_named(rig: Rig) -> None:
    rig.carry()
    rewrite(rig.target(BIG))
    os.unlink(rig.target(EMPTY))
    append(rig.target(FIRST))
    found = {difference.destination: difference for difference in rig.archive.verify(rig.plan)}
    assert {path: difference.fault for path, difference in found.items()} == {
        SESSION + b"/" + BIG: Fault.CONTENT,
        SESSION + b"/" + EMPTY: Fault.MISSING,
        SESSION + b"/" + FIRST: Fault.SIZE,
    }
    assert all(os.fsdecode(path) in difference.detail for path, difference in found.items())
    quick = rig.archive.verify(rig.plan, deep=False)
    assert {difference.fault for difference in quick} == {Fault.SIZE, Fault.MISSING}


def test_map_12_what_took_a_files_place_is_named(rig: Rig) -> None:
    rig.carry()
    os.unlink(rig.target(EMPTY))
    os.symlink(rig.source(EMPTY), rig.target(EMPTY))
    shutil.rmtree(rig.target(b"raw_ephys_data"))
    rig.put(b"raw_ephys_data", b"")
    assert [difference.fault for difference in rig.archive.verify(rig.plan)] == [Fault.NOT_A_FILE] * 2


def test_map_12_what_cannot_be_read_is_named() -> None:
    with open_to_everybody() as place:
        rig = Rig(place, FILES)
        rig.carry()
        os.chmod(rig.target(BIG), 0)
        found = in_child(lambda: rig.archive.verify(rig.plan), without_rights=True)
        assert [(difference.destination, difference.fault) for difference in found] == [
            (SESSION + b"/" + BIG, Fault.UNREADABLE)
        ]


def test_a_long_look_can_be_stopped(rig: Rig) -> None:
    rig.carry()
    told: list[Progress] = []
    with pytest.raises(StoppedError):
        rig.archive.verify(rig.plan, told.append, lambda: len(told) == 3)
    assert len(told) == 3
