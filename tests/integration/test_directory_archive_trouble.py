"""The directory archive when target, source or daemon have trouble: what is said, what is left, how it goes on."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labferry.archive.base import StoppedError
from labferry.archive.directory import DirectoryArchive
from labferry.archive.plan import Evidence, Progress
from labferry.errors import BlockedError, ChangedError, NotYetError, UnavailableError
from support.archives import (
    BIG,
    FILES,
    FIRST,
    MIB,
    Rig,
    SmallDisk,
    append,
    in_child,
    killed_at,
    open_to_everybody,
    rewrite,
    tree,
)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path, FILES)


# --- the target has trouble ----------------------------------------------------------------------------------


def test_a_vanished_base_is_never_made(rig: Rig, tmp_path: Path) -> None:
    rig.base.rename(tmp_path / "unmounted")
    for attempt in (rig.carry, lambda: rig.archive.preflight(rig.plan.base), lambda: rig.archive.verify(rig.plan)):
        with pytest.raises(UnavailableError) as caught:
            attempt()
        assert (caught.value.code, caught.value.dependency) == ("target_missing", "archive:nas")
    assert not rig.base.exists()
    (tmp_path / "unmounted").rename(rig.base)
    rig.carry()
    assert rig.archived() == FILES


def test_a_base_that_is_a_file_is_no_target(rig: Rig) -> None:
    rig.base.rmdir()
    rig.base.touch()
    for attempt in (rig.carry, lambda: rig.archive.preflight(rig.plan.base)):
        with pytest.raises(UnavailableError) as caught:
            attempt()
        assert caught.value.code == "target_missing"


def test_ruling_16_the_folder_of_a_lab_is_made_and_nothing_above_it(rig: Rig, tmp_path: Path) -> None:
    rig.archive = DirectoryArchive("nas", os.fsencode(tmp_path / "nas" / "{lab}" / "Subjects"))
    rig.base = tmp_path / "nas" / "cortexlab" / "Subjects"
    rig.plan = dataclasses.replace(rig.plan, base=os.fsencode(rig.base))
    rig.archive.preflight(rig.plan.base)
    with pytest.raises(UnavailableError):
        rig.archive.verify(rig.plan)
    assert os.listdir(tmp_path / "nas") == []
    rig.carry()
    assert rig.archived() == FILES
    shutil.rmtree(tmp_path / "nas")
    for attempt in (rig.carry, lambda: rig.archive.preflight(rig.plan.base)):
        with pytest.raises(UnavailableError) as caught:
            attempt()
        assert caught.value.code == "target_missing"
    assert not (tmp_path / "nas").exists()


def test_a_failing_disk_is_said_to_be_one_and_nothing_is_left(rig: Rig) -> None:
    def carry() -> None:
        def fail(event: str, args: tuple[Any, ...]) -> None:
            if event == "os.utime":
                raise OSError(5, "Input/output error")

        sys.addaudithook(fail)
        rig.carry()

    with pytest.raises(UnavailableError) as caught:
        in_child(carry)
    assert caught.value.code == "target_error"
    assert rig.archived() == {}


def test_bytes_that_read_back_differently_are_not_archived(rig: Rig) -> None:
    spoiled: list[bytes] = []

    def spoil(_: Progress) -> None:
        for part in Path(os.fsdecode(rig.base)).rglob(".lf-*.part"):
            if not spoiled and part.stat().st_size == rig.plan.items[0].size:
                part.write_bytes(b"y" * part.stat().st_size)
                spoiled.append(os.fsencode(part))

    with pytest.raises(UnavailableError) as caught:
        rig.carry(spoil)
    assert caught.value.code == "target_error"
    assert "reads back" in caught.value.message
    assert len(spoiled) == 1
    assert rig.archived() == {}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    small = SmallDisk(tmp_path / "disk", "4m")
    if not small.usable:
        small.close()
        pytest.skip("user and mount namespaces are not permitted here")
    yield small
    small.close()


def test_a_full_archive_is_noticed_before_anything_is_written(tmp_path: Path, disk: SmallDisk) -> None:
    (disk.path / "ballast").write_bytes(b"x" * 2 * MIB)
    rig = Rig(tmp_path, FILES, disk.path)
    with pytest.raises(UnavailableError) as caught:
        rig.carry()
    page = os.statvfs(disk.path).f_frsize
    needed = sum(-(-len(content) // page) * page for content in FILES.values())
    free = os.statvfs(disk.path).f_bavail * page
    assert caught.value.code == "target_full"
    assert f"{needed - free} bytes are missing" in caught.value.message
    assert os.listdir(disk.path) == ["ballast"]
    (disk.path / "ballast").unlink()
    rig.carry()
    assert rig.archived() == FILES


def test_an_archive_that_fills_up_meanwhile_is_left_clean_and_goes_on_when_there_is_room(
    tmp_path: Path, disk: SmallDisk
) -> None:
    rig = Rig(tmp_path, FILES, disk.path)
    rig.one_by_one()
    kept: list[Evidence] = []

    def fill(report: Progress) -> None:
        ballast = disk.path / "ballast"
        if report.bytes_done >= MIB and not ballast.exists():
            free = os.statvfs(disk.path)
            ballast.write_bytes(b"x" * free.f_bavail * free.f_frsize)

    with pytest.raises(UnavailableError) as caught:
        rig.carry(fill, keep=kept.append)
    assert caught.value.code == "target_full"
    assert set(rig.archived()) == {FIRST}
    assert [found.destination for found in kept] == [rig.plan.items[0].destination]
    free = os.statvfs(disk.path)
    with open(disk.path / "more", "wb", buffering=0) as rest:
        rest.write(b"x" * free.f_bavail * free.f_frsize)
    with pytest.raises(UnavailableError) as caught:
        rig.archive.preflight(rig.plan.base)
    assert caught.value.code == "target_full"
    (disk.path / "ballast").unlink()
    (disk.path / "more").unlink()
    rig.archive.preflight(rig.plan.base)
    rig.carry(verified={found.destination for found in kept})
    assert rig.archived() == FILES


def test_the_room_a_killed_attempt_took_is_given_back_first(tmp_path: Path, disk: SmallDisk) -> None:
    rig = Rig(tmp_path, FILES, disk.path)
    rig.put(b"raw_ephys_data/probe00/.lf-41-1-1.part", b"x" * 3 * MIB)
    rig.carry()
    assert rig.archived() == FILES


def test_a_read_only_archive_is_named(tmp_path: Path, disk: SmallDisk) -> None:
    rig = Rig(tmp_path, FILES, disk.path)
    disk.read_only()
    for attempt in (rig.carry, lambda: rig.archive.preflight(rig.plan.base)):
        with pytest.raises(UnavailableError) as caught:
            attempt()
        assert caught.value.code == "target_readonly"


def test_an_archive_of_another_user_is_named() -> None:
    with open_to_everybody() as place:
        rig = Rig(place, FILES)
        rig.base.chmod(0o555)
        for attempt in (rig.carry, lambda: rig.archive.preflight(rig.plan.base)):
            with pytest.raises(UnavailableError) as caught:
                in_child(attempt, without_rights=True)
            assert caught.value.code == "target_readonly"
        rig.base.chmod(0o755)


def test_a_mount_that_vanishes_while_it_is_filled_is_waited_for(tmp_path: Path, disk: SmallDisk) -> None:
    """What is open goes on to work on a disk that was taken away, and nobody would find what was put there."""
    rig = Rig(tmp_path, FILES, disk.path)
    vanished: list[int] = []

    def vanish(report: Progress) -> None:
        if report.bytes_done >= MIB and not vanished:
            disk.unmount()
            vanished.append(report.bytes_done)

    with pytest.raises(UnavailableError) as caught:
        rig.carry(vanish)
    assert vanished
    assert (caught.value.code, caught.value.dependency) == ("target_missing", "archive:nas")
    assert "unmounted meanwhile" in caught.value.message
    assert os.listdir(disk.path) == [], "nothing is put below the mount's own folder"
    assert tree(rig.session_dir) == FILES
    disk.mount("4m")
    rig.carry()
    assert rig.archived() == FILES


def test_a_base_that_is_another_folder_in_the_end_is_waited_for(rig: Rig, tmp_path: Path) -> None:
    def replace(report: Progress) -> None:
        if report.files_done and not (tmp_path / "away").exists():
            rig.base.rename(tmp_path / "away")
            rig.base.mkdir()

    with pytest.raises(UnavailableError) as caught:
        rig.carry(replace)
    assert caught.value.code == "target_missing"
    assert rig.archived() == {}
    rig.carry()
    assert rig.archived() == FILES


# --- the source has trouble ----------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [append, rewrite, lambda path: os.truncate(path, 2 * MIB)])
def test_a_source_that_changes_while_it_is_copied_is_not_archived(rig: Rig, change: Callable[[bytes], None]) -> None:
    rig.one_by_one()
    changed: list[bytes] = []

    def meanwhile(report: Progress) -> None:
        if report.bytes_done >= MIB and not changed:
            change(rig.source(BIG))
            changed.append(BIG)

    with pytest.raises(ChangedError) as caught:
        rig.carry(meanwhile)
    assert caught.value.path == BIG
    assert changed == [BIG]
    assert set(rig.archived()) == {FIRST}


def test_a_source_that_never_stops_growing_ends_the_copy(rig: Rig) -> None:
    calls: list[int] = []

    def grow_faster_than_it_is_read(report: Progress) -> None:
        calls.append(report.bytes_done)
        assert len(calls) < 20
        if report.bytes_done:
            os.truncate(rig.source(BIG), os.stat(rig.source(BIG)).st_size + 2 * MIB)

    rig.plan = dataclasses.replace(rig.plan, items=rig.plan.items[1:])
    with pytest.raises(ChangedError):
        rig.carry(grow_faster_than_it_is_read)


def test_ruling_06_a_source_that_is_another_version_is_not_archived(rig: Rig) -> None:
    os.chmod(rig.source(BIG), 0o600)  # only the ctime is new
    with pytest.raises(ChangedError) as caught:
        rig.carry()
    assert caught.value.path == BIG
    assert BIG not in rig.archived()


def test_content_that_is_not_the_manifests_is_not_archived(rig: Rig) -> None:
    wrong = dataclasses.replace(rig.plan.items[0], md5="0" * 32)
    rig.plan = dataclasses.replace(rig.plan, items=(wrong,))
    with pytest.raises(ChangedError, match="not the sealed one"):
        rig.carry()
    assert rig.archived() == {}


@pytest.mark.parametrize("kind", ["link", "linked folder", "pipe", "gone"])
def test_a_source_that_is_no_file_any_more_is_never_followed(rig: Rig, kind: str, tmp_path: Path) -> None:
    os.rename(rig.source(b"raw_ephys_data"), tmp_path / "moved")
    moved = os.fsencode(tmp_path / "moved")
    os.makedirs(os.path.dirname(rig.source(BIG)))
    match kind:
        case "link":
            os.symlink(moved + b"/probe00/" + os.path.basename(BIG), rig.source(BIG))
        case "linked folder":
            os.rmdir(os.path.dirname(rig.source(BIG)))
            os.symlink(moved + b"/probe00", os.path.dirname(rig.source(BIG)))
        case "pipe":
            os.mkfifo(rig.source(BIG))
    with pytest.raises(ChangedError) as caught:
        rig.carry()
    assert caught.value.path == BIG
    assert BIG not in rig.archived()


def test_a_session_that_vanished_is_waited_for(rig: Rig, tmp_path: Path) -> None:
    os.rename(rig.session_dir, tmp_path / "away")
    with pytest.raises(NotYetError) as caught:
        rig.carry()
    assert caught.value.code == "source_missing"
    os.rename(tmp_path / "away", rig.session_dir)
    rig.carry()
    assert rig.archived() == FILES


def test_a_session_that_vanishes_while_it_is_copied_is_waited_for(rig: Rig) -> None:
    def remove(report: Progress) -> None:
        if report.files_done == 1:
            shutil.rmtree(rig.session_dir, ignore_errors=True)

    with pytest.raises(NotYetError) as caught:
        rig.carry(remove)
    assert caught.value.code == "source_missing"


def test_an_unreadable_source_is_named_and_the_others_go_on() -> None:
    with open_to_everybody() as place:
        rig = Rig(place, FILES)
        rig.base.chmod(0o777)
        os.chmod(rig.source(BIG), 0)
        rig.plan = rig.sealed(FILES)
        with pytest.raises(BlockedError) as caught:
            in_child(rig.carry, without_rights=True)
        assert caught.value.code == "unreadable"
        assert os.fsdecode(BIG) in caught.value.message
        assert set(rig.archived()) == set(FILES) - {BIG}


# --- the daemon has trouble ----------------------------------------------------------------------------------


def test_a_stop_is_heard_between_two_blocks_and_leaves_nothing_half(rig: Rig) -> None:
    rig.one_by_one()
    told: list[Progress] = []
    with pytest.raises(StoppedError):
        rig.carry(told.append, lambda: any(report.bytes_done > MIB for report in told))
    assert told[-1].bytes_done <= 2 * MIB
    assert set(rig.archived()) == {FIRST}
    rig.carry()
    assert rig.archived() == FILES


def test_what_concerns_all_files_ends_those_under_way_and_leaves_nothing_half(tmp_path: Path) -> None:
    first, second = (b"raw_ephys_data/probe00/%d.cbin" % number for number in range(2))
    rig = Rig(tmp_path, {first: b"a" * 3 * MIB, second: b"b" * 64 * MIB, FIRST: b"never begun"})
    both = threading.Barrier(2, timeout=20)
    begun: set[str] = set()

    def change(report: Progress) -> None:
        if report.bytes_done >= 2 * MIB:
            append(rig.source(first))

    def wait_for_each_other() -> bool:
        if list(rig.base.rglob("*.part")) and threading.current_thread().name not in begun:
            begun.add(threading.current_thread().name)
            both.wait()
        return False

    with pytest.raises(ChangedError) as caught:
        rig.carry(change, wait_for_each_other)
    assert caught.value.path == first
    assert len(begun) == 2
    assert rig.archived() == {}


def test_killed_with_two_files_under_way_a_restart_ends_in_the_same_archive(tmp_path: Path) -> None:
    files = {b"alf/%d.npy" % number: bytes([number]) * (MIB + number) for number in range(4)}
    points = killed_at(Rig(tmp_path / "undisturbed", files), 0)
    most = 0
    for point in range(1, points + 1, 2):
        rig = Rig(tmp_path / str(point), files)
        killed_at(rig, point)
        left = rig.archived()
        most = max(most, sum(path.endswith(b".part") for path in left))
        assert all(left[path] == files[path] for path in left if path in files), f"half a file, point {point}"
        rig.carry()
        assert rig.archived() == files, f"after a kill at point {point}"
    assert most == 2, "two files were under way when some kill came"


def test_a_kill_anywhere_and_a_restart_end_in_the_same_archive(tmp_path: Path) -> None:
    files = {b"alf/a.npy": b"a" * (MIB + 1), b"b.flag": b""}
    undisturbed = Rig(tmp_path / "undisturbed", files)
    undisturbed.one_by_one()
    points = killed_at(undisturbed, 0)
    leftovers = set()
    for point in range(1, points + 1):
        rig = Rig(tmp_path / str(point), files)
        rig.one_by_one()
        killed_at(rig, point)
        left = rig.archived()
        for path, content in left.items():
            if path in files:
                assert content == files[path], f"half a file has its name after a kill at point {point}"
        leftovers.add(frozenset(os.path.basename(path) for path in left))
        rig.carry()
        assert rig.archived() == files, f"after a kill at point {point}"
        assert rig.archive.verify(rig.plan) == ()
    # The kills met every stage: nothing yet, a part, a part that has its name too, one file, and both.
    assert leftovers >= {
        frozenset(),
        frozenset({b".lf-41-1-0.part"}),
        frozenset({b".lf-41-1-0.part", b"a.npy"}),
        frozenset({b"a.npy"}),
        frozenset({b"a.npy", b"b.flag"}),
    }


def test_map_03_no_two_threads_tell_at_once_what_arrived_and_how_far_it_is(tmp_path: Path) -> None:
    """Whoever writes down what it heard so far must not be told of one more file in the midst of that."""
    files = {b"large": bytes(16 * MIB), **{b"small%d" % number: b"content" for number in range(8)}}
    rig = Rig(tmp_path, files)
    keeping, other_came = threading.Event(), threading.Event()
    rooms = [0.2, 0.2]  # seconds: room for the other thread, which is in the midst of the large file, if it may come

    def keep(_: Evidence) -> None:
        keeping.set()
        if rooms:
            other_came.wait(rooms.pop())
        keeping.clear()

    def told(_: object = None) -> None:
        if keeping.is_set():
            other_came.set()

    rig.archive.advance(rig.plan, told, lambda: False, keep=keep, between=told)
    assert not other_came.is_set()
    assert rig.archived() == files
