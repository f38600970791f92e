"""What is no regular file, and what may not be read, through the real daemon: left out by name, and nothing hangs."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress

import pytest

from support.compare import archive_of, names_in_alyx, wait_until_fine
from support.lab import SMALL, Lab, archived_files, fresh
from support.rights import without_capabilities

BAD = "KS005/2026-03-02/001"
GOOD = "ZM_1150/2026-03-02/001"
WHEEL = "alf/_ibl_wheel.position.npy"
GIANT = 8 << 40  # bytes of a file, of which none is on the disk


@pytest.fixture
def closed_lab(shared_lab: Lab) -> Iterator[Lab]:
    """A lab whose daemon cannot read what it has no permission for."""
    shared_lab.prefix = without_capabilities()
    try:
        with fresh(shared_lab) as lab:
            yield lab
    finally:
        shared_lab.prefix = ()


# --- what is no regular file ----------------------------------------------------------------------------------


def test_done_10_links_out_of_the_root_are_never_followed(lab: Lab) -> None:
    secret = lab.directory / "secret"
    (secret / "2026-03-03/001/alf").mkdir(parents=True)
    for name in ("salary.table.npy", "2026-03-03/001/alf/_ibl_wheel.position.npy", "2026-03-03/001/raw_session.flag"):
        (secret / name).write_bytes(b"nobody else's business")
    bad = lab.write(BAD, {"alf/_ibl_trials.intervals.npy": b"intervals"}, flag=False)
    (bad / WHEEL).symlink_to(secret / "salary.table.npy")
    (bad / "alf/probe00").symlink_to(secret)
    (bad / "alf/_ibl_loop.times.npy").symlink_to("_ibl_loop.times.npy")
    (bad / "raw_session.flag").touch()
    (lab.root / "KS014").symlink_to(secret)
    (lab.root / "KS005/2026-03-02/002").symlink_to(secret / "2026-03-03/001")
    lab.write(GOOD)
    lab.start_ready()
    lab.wait_for("archived", 2)
    found = lab.explain(bad)
    assert (found["verdict"], found["code"]) == ("ok_archived", "not_regular")
    assert WHEEL in found["message"]
    assert "never followed" in found["hint"]
    for link in ("KS014", "KS005/2026-03-02/002", "KS014/2026-03-03/001"):
        explained = lab.explain(lab.root / link)
        assert (explained["verdict"], explained["rule"]) == ("not_a_session", "a symbolic link: links are not followed")
    assert names_in_alyx(lab) == ["alf/_ibl_trials.intervals.npy"]
    assert archive_of(lab, BAD) == {"alf/_ibl_trials.intervals.npy": b"intervals"}
    assert b"nobody else's business" not in b"".join(archived_files(lab).values())
    assert sum(lab.status()["sessions"].values()) == 2


def test_done_10_a_pipe_a_socket_a_device_and_a_giant_in_a_session_hang_nothing(lab: Lab) -> None:
    bad = lab.write(BAD, flag=False)
    os.mkfifo(bad / "alf/_ibl_trials.choice.npy")
    folder = os.open(bad / "alf", os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{folder}/_ibl_trials.contrastLeft.npy")
    os.close(folder)
    os.mkfifo(bad / "raw_video_data/unasked")
    with suppress(PermissionError):  # of whoever may make no devices
        os.mknod(bad / "raw_video_data/endless", stat.S_IFCHR | 0o644, os.makedev(1, 5))
    with (bad / "giant.raw").open("wb") as giant:
        giant.truncate(GIANT)
    (bad / "raw_session.flag").touch()
    lab.write(GOOD)
    lab.start_ready()
    lab.wait_for("archived", 2)
    found = lab.explain(bad)
    assert (found["verdict"], found["code"]) == ("ok_archived", "not_regular")
    assert "2 of its files" in found["message"]
    assert "alf/_ibl_trials.choice.npy" in found["message"]
    assert names_in_alyx(lab) == sorted(SMALL)
    assert archive_of(lab, BAD) == SMALL
    assert lab.show(BAD)["files"]["unmatched_bytes"] == GIANT, "listed, and not read"
    assert lab.stop() == 0


# --- permission -----------------------------------------------------------------------------------------------


def test_win_06_an_unreadable_file_is_named_and_the_rest_of_its_session_proceeds(closed_lab: Lab) -> None:
    lab = closed_lab
    bad = lab.write(BAD)
    (bad / WHEEL).chmod(0o000)
    lab.write(GOOD)
    lab.start_ready()
    lab.wait_for("archived", 2)
    found = lab.explain(bad)
    assert (found["verdict"], found["code"], found["attention"]) == ("ok_archived", "file_unreadable", True)
    assert WHEEL in found["message"]
    assert "Permission denied" in found["message"]
    assert "read permission" in found["hint"]
    assert "labferry retry" in found["hint"]
    assert names_in_alyx(lab) == sorted(SMALL.keys() - {WHEEL})

    (bad / WHEEL).chmod(0o644)
    assert lab.command("retry", str(bad)).returncode == 0
    wait_until_fine(lab, bad)
    assert archive_of(lab, BAD) == SMALL
    assert names_in_alyx(lab) == sorted(SMALL)
    assert len(lab.posts("/sessions")) == 2


def test_a_session_of_unreadable_files_only_is_blocked_and_not_created(closed_lab: Lab) -> None:
    lab = closed_lab
    bad = lab.write(BAD, {WHEEL: b"x"})
    (bad / WHEEL).chmod(0o000)
    lab.start_ready()
    found = lab.wait_for_code(bad, "no_datasets")
    assert (found["verdict"], found["attention"]) == ("blocked", True)
    assert lab.posts("/sessions") == []

    (bad / WHEEL).chmod(0o644)
    assert lab.command("retry", str(bad)).returncode == 0
    lab.wait_for("archived")
    assert archive_of(lab, BAD) == {WHEEL: b"x"}


def test_win_06_an_unreadable_folder_holds_up_its_own_session_only_and_heals_by_itself(closed_lab: Lab) -> None:
    lab = closed_lab
    bad = lab.write(BAD)
    (bad / "alf").chmod(0o000)
    lab.write(GOOD)
    try:
        lab.start_ready()
        found = lab.wait_for_code(bad, "unreadable")
        assert (found["verdict"], found["attention"]) == ("unreadable", True)
        assert "alf (Permission denied)" in found["message"]
        assert "read permission" in found["hint"]
        lab.wait_for("archived")
        assert names_in_alyx(lab) == []
    finally:
        (bad / "alf").chmod(0o755)
    lab.wait_for("archived", 2)
    assert archive_of(lab, BAD) == SMALL


def test_win_06_an_unreadable_subject_is_a_problem_of_its_root_and_heals_by_itself(closed_lab: Lab) -> None:
    lab = closed_lab
    bad = lab.write(BAD)
    lab.write(GOOD)
    (lab.root / "KS005").chmod(0o000)
    try:
        lab.start_ready()
        lab.wait_for("archived")
        (root,) = lab.status()["roots"]
        assert "KS005 cannot be read: Permission denied" in root["problem"]
        assert not root["frozen"]
        found = lab.explain(bad)
        assert found["verdict"] == "unreadable"
        assert "Subjects/KS005 cannot be read" in found["message"]
        assert len(lab.logged("root_problem")) == 1
    finally:
        (lab.root / "KS005").chmod(0o755)
    lab.wait_for("archived", 2)
    assert [root["problem"] for root in lab.status()["roots"]] == [None]
