"""Hints from the real kernel: what touches a folder is told, what only reads is not, and every limit shows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.detect.seal import seal
from labferry.detect.signature import take_signature
from labferry.detect.watch import Hints, NoHints, WatchdogHints, network_mount
from labferry.sessions.walk import walk_session
from support.rights import folder_for_everyone, without_rights

FLAG = b"raw_session.flag"
SOURCE = Path(__file__).resolve().parents[2] / "daemon"


@pytest.fixture
def hints() -> Iterator[WatchdogHints]:
    source = WatchdogHints(signals=[FLAG])
    yield source
    source.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "Subjects"
    folder.mkdir()
    return folder


def touched(hints: Hints) -> set[bytes]:
    """Return what the kernel has queued by now: it queues an event before the call that caused it returns."""
    return hints.drain()


def raw(path: Path) -> bytes:
    return os.fsencode(path)


def test_a_file_that_is_closed_touches_its_folder(hints: WatchdogHints, root: Path) -> None:
    hints.watch({raw(root)})
    assert touched(hints) == set()
    (root / "file").write_text("x")
    assert touched(hints) == {raw(root)}
    assert touched(hints) == set()


def test_a_new_folder_is_named(hints: WatchdogHints, root: Path) -> None:
    hints.watch({raw(root)})
    (root / "KS005").mkdir()
    assert touched(hints) == {raw(root), raw(root / "KS005")}


def test_done_03_a_whole_folder_moved_in_is_named(hints: WatchdogHints, root: Path) -> None:
    (root.parent / "elsewhere" / "alf").mkdir(parents=True)
    hints.watch({raw(root)})
    (root.parent / "elsewhere").rename(root / "001")
    assert touched(hints) == {raw(root), raw(root / "001")}


def test_done_09_a_renamed_folder_is_named_by_both_its_names(hints: WatchdogHints, root: Path) -> None:
    (root / "001").mkdir()
    hints.watch({raw(root)})
    (root / "001").rename(root / "002")
    assert touched(hints) == {raw(root), raw(root / "001"), raw(root / "002")}


def test_done_03_the_rename_of_a_finished_copy_touches_its_folder(hints: WatchdogHints, root: Path) -> None:
    (root / ".x.AbC123").touch()
    hints.watch({raw(root)})
    (root / ".x.AbC123").rename(root / "x")
    assert touched(hints) == {raw(root)}


def test_ruling_04_a_flag_is_told_by_name_even_when_it_is_gone_again(hints: WatchdogHints, root: Path) -> None:
    hints.watch({raw(root)})
    (root / "raw_session.flag").touch()
    (root / "raw_session.flag").unlink()
    assert touched(hints) == {raw(root), raw(root) + b"/" + FLAG}


def test_ruling_04_a_folder_of_a_flags_name_is_no_signal(hints: WatchdogHints, root: Path) -> None:
    hints.watch({raw(root)})
    (root / "raw_session.flag").mkdir()
    (root / "raw_session.flag").rmdir()
    assert touched(hints) == {raw(root)}


def test_ruling_04_a_flag_that_is_only_deleted_is_no_new_signal(hints: WatchdogHints, root: Path) -> None:
    (root / "raw_session.flag").touch()
    hints.watch({raw(root)})
    (root / "raw_session.flag").unlink()
    assert touched(hints) == {raw(root)}


def test_our_own_scans_and_sealing_never_feed_the_hints(hints: WatchdogHints, root: Path) -> None:
    (root / "alf").mkdir()
    (root / "alf" / "file").write_bytes(bytes(100))
    hints.watch({raw(root), raw(root / "alf")})
    take_signature(raw(root))
    wanted = [walked.version for walked in walk_session(raw(root)) if walked.version]
    assert len(list(seal(raw(root), wanted, lambda _: None, stop=lambda: False, on_bytes=lambda _: None))) == 1
    assert touched(hints) == set()


def test_the_wanted_set_is_watched_and_nothing_else(hints: WatchdogHints, root: Path) -> None:
    for name in "abc":
        (root / name).mkdir()
    hints.watch([raw(root / "a"), raw(root / "b"), raw(root / "a")])
    assert hints.count == 2
    (root / "a" / "still queued").touch()
    hints.watch([raw(root / "b"), raw(root / "c")])
    assert hints.count == 2
    for name in "abc":
        (root / name / "file").touch()
    assert touched(hints) == {raw(root / "b"), raw(root / "c")}


def test_names_are_bytes(hints: WatchdogHints, root: Path) -> None:
    folder = raw(root) + b"/caf\xe9"
    os.mkdir(folder)
    hints.watch({folder})
    os.mkdir(folder + b"/\xff")
    assert touched(hints) == {folder, folder + b"/\xff"}


def test_no_more_folders_than_allowed_the_most_important_first(root: Path) -> None:
    folders = [root / f"{number:02d}" for number in range(10)]
    for folder in folders:
        folder.mkdir()
    hints = WatchdogHints(limit=3)
    hints.watch([raw(folder) for folder in folders])
    for folder in folders:
        (folder / "file").touch()
    assert hints.count == 3
    assert hints.problem is None
    assert touched(hints) == {raw(folder) for folder in folders[:3]}
    hints.close()


def test_a_root_removed_and_made_again_is_watched_again_by_the_next_call(hints: WatchdogHints, root: Path) -> None:
    hints.watch({raw(root)})
    shutil.rmtree(root)
    assert touched(hints) == {raw(root)}
    assert hints.count == 0
    hints.watch({raw(root)})
    assert (hints.count, hints.problem) == (0, None)
    root.mkdir()
    hints.watch({raw(root)})
    (root / "KS005").mkdir()
    assert touched(hints) == {raw(root), raw(root / "KS005")}


@pytest.mark.parametrize("depth", [0, 1], ids=["itself", "its parent"])
def test_a_root_replaced_by_another_is_watched_in_its_new_place(
    hints: WatchdogHints, tmp_path: Path, depth: int
) -> None:
    root = tmp_path / "Data" / "Subjects"
    root.mkdir(parents=True)
    moved = (root, *root.parents)[depth]
    hints.watch({raw(root)})

    moved.rename(tmp_path / "old")
    root.mkdir(parents=True)
    hints.watch({raw(root)})
    assert raw(root) in touched(hints), "what happened in between is unknown"
    assert hints.count == 1

    old = (tmp_path / "old", tmp_path / "old" / "Subjects")[depth]
    (old / "file").touch()
    assert touched(hints) == set()
    (root / "file").touch()
    assert touched(hints) == {raw(root)}


def test_a_folder_that_was_moved_away_no_longer_speaks_for_its_path(hints: WatchdogHints, root: Path) -> None:
    hints.watch({raw(root)})
    root.rename(root.with_name("old"))
    assert touched(hints) == {raw(root)}
    assert hints.count == 0
    (root.with_name("old") / "file").touch()
    assert touched(hints) == set()


def test_done_10_a_folder_that_is_missing_or_closed_is_left_to_the_scans() -> None:
    with folder_for_everyone() as root:
        (root / "closed").mkdir(mode=0o000)
        (root / "file").touch()
        (root / "open").mkdir()
        with without_rights():
            hints = WatchdogHints()
            hints.watch([raw(root / name) for name in ("closed", "missing", "file", "open")])
            assert (hints.count, hints.problem) == (1, None)
            hints.close()


def test_done_06_lost_events_touch_every_watched_folder_and_are_counted(hints: WatchdogHints, root: Path) -> None:
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if queue > 100_000:
        pytest.skip(f"the kernel queues {queue} events here: too many to overflow in a test")
    (root / "quiet").mkdir()
    (root / "busy").mkdir()
    hints.watch({raw(root / "quiet"), raw(root / "busy")})
    for number in range(queue // 2 + 2):  # each is created and closed
        os.close(os.open(raw(root / "busy" / str(number)), os.O_CREAT | os.O_WRONLY))
    assert touched(hints) == {raw(root / "quiet"), raw(root / "busy")}
    assert hints.overflows == 1
    (root / "quiet" / "file").touch()
    assert touched(hints) == {raw(root / "quiet")}, "it goes on as before"
    assert hints.overflows == 1


def test_waiting_ends_with_an_event(hints: WatchdogHints, root: Path) -> None:
    hints.watch({raw(root)})
    assert not hints.wait(0)
    begun = time.monotonic()
    writer = threading.Thread(target=(root / "file").touch)
    writer.start()
    assert hints.wait(30)
    writer.join()
    assert time.monotonic() - begun < 20
    assert touched(hints) == {raw(root)}
    assert not hints.wait(0)


def test_waiting_ends_when_a_folder_turned_out_to_be_replaced(hints: WatchdogHints, tmp_path: Path) -> None:
    root = tmp_path / "Data" / "Subjects"
    root.mkdir(parents=True)
    hints.watch({raw(root)})
    root.parent.rename(tmp_path / "old")
    root.mkdir(parents=True)
    hints.watch({raw(root)})
    assert hints.wait(0)


@pytest.mark.parametrize("source", [WatchdogHints, NoHints])
def test_waiting_ends_with_a_call_from_another_thread(source: type[WatchdogHints] | type[NoHints]) -> None:
    hints = source()
    caller = threading.Thread(target=hints.wake)
    begun = time.monotonic()
    caller.start()
    assert hints.wait(30)
    caller.join()
    assert time.monotonic() - begun < 20
    assert not hints.wait(0)
    assert hints.drain() == set()
    hints.close()


def test_it_needs_no_thread_and_gives_its_descriptors_back(root: Path) -> None:
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    folders = [root / str(number) for number in range(200)]
    for folder in folders:
        folder.mkdir()
    hints = WatchdogHints()
    hints.watch([raw(folder) for folder in folders])
    assert hints.count == 200
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == descriptors + 2
    hints.close()
    hints.close()
    hints.wake()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert hints.count == 0


def test_without_hints_nothing_is_watched(root: Path) -> None:
    hints: Hints = NoHints()
    hints.watch({raw(root)})
    (root / "file").touch()
    assert not hints.wait(0)
    assert (hints.drain(), hints.count, hints.overflows, hints.problem) == (set(), 0, 0, None)


def with_kernel_limit(limit: str, value: int, program: str, folder: Path) -> str:
    """Run a program under a limit of its own user namespace, where it may also change that limit."""
    preamble = (
        "import os, sys\n"
        "from labferry.detect.watch import WatchdogHints\n"
        f"def allow(value): open('/proc/sys/user/{limit}', 'w').write(str(value))\n"
        f"allow({value})\n"
        "folders = [os.path.join(os.fsencode(sys.argv[1]), b'%d' % n) for n in range(20)]\n"
    )
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-Ur", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs user namespaces")
    done = subprocess.run(
        [unshare, "-Ur", sys.executable, "-c", preamble + program, str(folder)],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_exhausted_watch_limit_is_said_with_numbers_and_heals(root: Path) -> None:
    for number in range(20):
        (root / str(number)).mkdir()
    program = (
        "hints = WatchdogHints()\n"
        "for _ in range(50):\n"
        "    hints.watch(folders)\n"  # again and again, as after every scan
        "print(hints.count, len(os.listdir('/proc/self/fd')))\n"
        "print(hints.problem)\n"
        "os.mkdir(folders[0] + b'/new')\n"
        "print(len(hints.drain()))\n"
        "allow(100)\n"
        "hints.watch(folders)\n"
        "print(hints.count, hints.problem)\n"
    )
    first, problem, hinted, healed = with_kernel_limit("max_inotify_watches", 5, program, root).splitlines()
    assert first.split()[0] == "5"
    assert int(first.split()[1]) < 10
    assert "5 of 20 folders are watched" in problem
    assert "sysctl -w fs.inotify.max_user_watches=" in problem
    assert hinted == "2"
    assert healed == "20 None"


def test_an_exhausted_instance_limit_is_said_and_heals(root: Path) -> None:
    for number in range(20):
        (root / str(number)).mkdir()
    program = (
        "hints = WatchdogHints()\n"
        "hints.watch(folders)\n"
        "print(hints.problem)\n"
        "print(hints.wait(0), hints.drain(), hints.count)\n"
        "allow(1)\n"
        "hints.watch(folders)\n"
        "print(hints.count, hints.problem)\n"
        "hints.close()\n"
    )
    problem, idle, healed = with_kernel_limit("max_inotify_instances", 0, program, root).splitlines()
    assert "0 of 20 folders are watched" in problem
    assert "sysctl -w fs.inotify.max_user_instances=" in problem
    assert idle == "False set() 0"
    assert healed == "20 None"


MOUNTS = r"""
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:40 / /labferry-s0 rw - nfs4 server:/data rw,vers=4.2
31 21 0:41 / /labferry-s1 rw shared:7 - ext4 /dev/sdb1 rw
32 31 0:42 / /labferry-s1/with\040blank rw - cifs //server/share rw
33 21 0:43 / /labferry-s2 rw - fuse.sshfs user@rig:/ rw
34 21 0:44 / /labferry-s3 rw - fuseblk /dev/sdc1 rw
35 21 0:45 / /labferry-s4 rw - autofs auto.s4 rw
36 21 0:46 / /labferry-s4 rw - nfs server:/s4 rw
37 21 0:47 / /labferry-s5\134x rw - 9p host rw
a broken line
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/labferry-s0", "nfs4"),
        (b"/labferry-s0/Data/Subjects", "nfs4"),
        (b"/labferry-s00", None),
        (b"/labferry-s1/Subjects", None),
        (b"/labferry-s1/with blank/Subjects", "cifs"),
        (b"/labferry-s2/Subjects", "fuse.sshfs"),
        (b"/labferry-s3/Subjects", None),
        (b"/labferry-s4/Subjects", "nfs"),
        (b"/labferry-s5\\x", "9p"),
        (b"/elsewhere", None),
    ],
)
def test_done_04_a_network_mount_is_recognised(tmp_path: Path, path: bytes, expected: str | None) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    assert network_mount(path, str(table)) == expected


def test_done_04_a_network_mount_within_a_folder_is_recognised_where_that_matters(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    asked = (b"/labferry-s1", b"/", b"/labferry-s", b"/labferry-s1/with", b"/labferry-s2")
    assert [network_mount(one, str(table), within=True) for one in asked] == ["cifs", "nfs4", None, None, "fuse.sshfs"]
    assert network_mount(b"/labferry-s1", str(table)) is None


def test_done_04_a_link_to_a_network_mount_is_one(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    (tmp_path / "root").symlink_to("/labferry-s0/Data")
    assert network_mount(raw(tmp_path / "root"), str(table)) == "nfs4"


def test_a_local_file_system_is_none_and_neither_is_an_unknown_one(tmp_path: Path) -> None:
    assert network_mount(b"/proc/self") is None
    assert network_mount(b"/", str(tmp_path / "no such table")) is None
