"""Bad input in the watch root, through the real daemon: named, with a way out, and a good session beside it arrives."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from support.compare import archive_of, names_in_alyx, wait_until_fine
from support.lab import SMALL, Lab, archived_files

BAD = "KS005/2026-03-02/001"
GOOD = "ZM_1150/2026-03-02/001"
WHEEL = "alf/_ibl_wheel.position.npy"


def require_said(lab: Lab, path: str | Path, exit_code: int, *words: str) -> None:
    """Require that `labferry explain` prints these words and ends so."""
    done = lab.command("explain", str(path))
    assert done.returncode == exit_code, done
    assert [word for word in words if word not in done.stdout] == []


# --- subjects -------------------------------------------------------------------------------------------------


def test_win_06_an_unknown_subject_is_blocked_and_archived_after_a_retry(lab: Lab) -> None:
    bad = lab.write("NOBODY_1/2026-03-02/001")
    lab.write(GOOD)
    lab.start_ready()
    found = lab.wait_for_code(bad, "subject_not_on_alyx")
    assert (found["verdict"], found["attention"]) == ("blocked", True)
    assert "NOBODY_1" in found["message"]
    assert "labferry retry" in found["hint"]
    lab.wait_for("archived")
    require_said(lab, bad, 3, "NOBODY_1", "Create the subject in Alyx", "labferry retry")
    assert lab.command("status").returncode == 3
    (said,) = lab.logged("blocked")
    assert (said["code"], said["session"]) == ("subject_not_on_alyx", "NOBODY_1/2026-03-02/001")
    assert said["hint"]
    assert [post["body"]["subject"] for post in lab.posts("/sessions")] == ["ZM_1150"]

    lab.add_facts(subjects=[{"nickname": "NOBODY_1", "lab": "cortexlab"}])
    assert lab.command("retry", str(bad)).returncode == 0
    lab.wait_for("archived", 2)
    assert len(names_in_alyx(lab, "NOBODY_1")) == len(SMALL)
    assert lab.status()["attention"] == 0


def test_reg_15_a_subject_in_two_labs_is_blocked_naming_both(lab: Lab) -> None:
    bad = lab.write("DUP_001/2026-03-02/001")
    lab.write(GOOD)
    lab.start_ready()
    found = lab.wait_for_code(bad, "ambiguous_subject")
    assert found["verdict"] == "blocked"
    assert "DUP_001" in found["message"]
    assert "cortexlab, mainenlab" in found["message"]
    assert "rename one of the subjects" in found["hint"]
    lab.wait_for("archived")
    assert [post["body"]["subject"] for post in lab.posts("/sessions")] == ["ZM_1150"]
    assert all(file.startswith("mainenlab/") for file in archived_files(lab))


# --- names of folders -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("almost", "part", "rule"),
    [
        ("KS005/2023-02-29/001", "2023-02-29", "no such day in the calendar"),
        ("KS005/2019-04-02/001a", "001a", "session number: one to three digits"),
    ],
)
def test_win_04_a_folder_that_almost_matches_is_named_with_the_rule(
    lab: Lab, almost: str, part: str, rule: str
) -> None:
    bad = lab.write(almost)
    lab.write(GOOD)
    lab.start_ready()
    lab.wait_for("archived")
    found = lab.explain(bad)
    assert (found["verdict"], found["code"], found["attention"]) == ("not_a_session", "not_a_session", True)
    assert (found["part"], found["rule"]) == (part, rule)
    require_said(lab, bad, 3, part, rule)
    assert [root["near_misses"] for root in lab.status()["roots"]] == [1]
    (condition,) = [one for one in lab.status()["health"] if one["code"] == "near_misses"]
    assert rule in condition["text"]
    assert sum(lab.status()["sessions"].values()) == 1


def test_ruling_22_a_folder_name_alyx_would_mangle_is_rejected_and_the_rest_proceeds(lab: Lab) -> None:
    bad = lab.write(BAD, {**SMALL, "alf/bad dir/spikes.amps.npy": b"x"})
    lab.write(GOOD)
    lab.start_ready()
    lab.wait_for("archived", 2)
    found = lab.explain(bad)
    assert (found["verdict"], found["code"], found["attention"]) == ("ok_archived", "unsafe_name", True)
    assert "alf/bad dir/spikes.amps.npy" in found["message"]
    assert "'bad dir'" in found["message"]
    assert "labferry retry" in found["hint"]
    assert lab.explain(bad / "alf/bad dir/spikes.amps.npy")["code"] == "unsafe_name"
    assert names_in_alyx(lab) == sorted(SMALL)
    assert archive_of(lab, BAD) == SMALL

    (bad / "alf/bad dir").rename(bad / "alf/good_dir")
    assert lab.command("retry", str(bad)).returncode == 0
    wait_until_fine(lab, bad)
    assert archive_of(lab, BAD) == {**SMALL, "alf/good_dir/spikes.amps.npy": b"x"}
    assert len(lab.posts("/sessions")) == 2


def test_done_10_a_name_that_is_not_utf8_is_shown_with_escapes_and_left_out(lab: Lab) -> None:
    bad = lab.write(BAD)
    odd = os.fsencode(bad) + b"/alf/_ibl_trials.cho\xffice.npy"
    Path(os.fsdecode(odd)).write_bytes(b"x")
    lab.write(GOOD)
    lab.start_ready()
    lab.wait_for("archived", 2)
    found = lab.explain(bad)
    assert (found["verdict"], found["code"]) == ("ok_archived", "not_utf8")
    assert r"alf/_ibl_trials.cho\xffice.npy" in found["message"]
    assert "Rename the file" in found["hint"]
    assert lab.explain(os.fsdecode(odd))["code"] == "not_utf8"
    require_said(lab, str(bad) + r"/alf/_ibl_trials.cho\xffice.npy", 3, r"cho\xffice", "Rename the file")
    assert names_in_alyx(lab) == sorted(SMALL)
    assert archive_of(lab, BAD) == SMALL


def test_done_10_names_too_long_for_alyx_or_for_the_system_hold_up_nobody_else(lab: Lab) -> None:
    long = f"alf/{'a' * 241}.times.npy"
    bad = lab.write(BAD, {**SMALL, long: b"x"})
    deep = lab.write("KS014/2026-03-02/001")
    here = os.open(deep, os.O_RDONLY)
    for _ in range(20):  # deeper than any path the system takes
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    lab.write(GOOD)
    lab.start_ready()
    lab.wait_for("archived", 2)
    found = lab.explain(bad)
    assert (found["verdict"], found["code"]) == ("ok_archived", "name_too_long")
    assert long in found["message"]
    found = lab.explain(deep)
    assert (found["verdict"], found["attention"]) == ("unreadable", True)
    assert "File name too long" in found["message"]


# --- changes --------------------------------------------------------------------------------------------------


def test_a_file_that_grows_while_it_is_hashed_arrives_with_its_final_content(lab: Lab) -> None:
    first = os.urandom(2**20) * 256
    bad = lab.write(BAD, {**SMALL, "alf/spikes.times.npy": first})
    lab.write(GOOD)
    daemon = lab.start_ready()
    lab.wait_until_doing(f"hashing {BAD}")
    daemon.process.send_signal(signal.SIGSTOP)  # it stands still with the file half read
    with (bad / "alf/spikes.times.npy").open("ab") as stream:
        stream.write(b"and more")
    daemon.process.send_signal(signal.SIGCONT)
    lab.wait_for("archived", 2, timeout=40)
    assert "changed" in lab.actions(BAD)
    assert archive_of(lab, BAD) == {**SMALL, "alf/spikes.times.npy": first + b"and more"}
    spikes = [d for d in lab.state()["datasets"] if d["name"] == "spikes.times.npy"]
    assert [d["file_size"] for d in spikes] == [len(first) + 8]
    assert lab.status()["attention"] == 0


def test_a_file_that_grows_while_it_is_registered_is_registered_again_before_it_is_archived(lab: Lab) -> None:
    bad = lab.write(BAD)
    rule = lab.add_fault(match="POST /register-file", when="before", action="hold")
    lab.start_ready()
    lab.wait_for_fault(rule)
    with (bad / WHEEL).open("ab") as stream:
        stream.write(b", grown")
    lab.clear_faults()
    lab.wait_for("archived")
    assert archive_of(lab, BAD) == {**SMALL, WHEEL: b"positions, grown"}
    assert names_in_alyx(lab) == sorted(SMALL)
    assert "changed" in lab.actions(BAD)
    assert len(lab.posts("/sessions")) == 1


# --- nothing to register --------------------------------------------------------------------------------------


def test_win_04_an_empty_session_with_its_flag_waits_for_the_files(lab: Lab) -> None:
    bad = lab.write(BAD, {})
    lab.write(GOOD)
    lab.start_ready()
    lab.wait_for("archived")
    found = lab.wait_for_code(bad, "no_files")
    assert found["verdict"] == "signal_before_data"
    assert "not one file" in found["message"]
    assert found["hint"]
    lab.write(BAD)
    lab.wait_for("archived", 2)
    assert archive_of(lab, BAD) == SMALL


def test_a_session_without_datasets_is_taken_once_alyx_has_a_type_for_them(lab: Lab) -> None:
    bad = lab.write(BAD, {"alf/_lab_novelty.odour.npy": b"x"})
    lab.write(GOOD)
    lab.start_ready()
    found = lab.wait_for_code(bad, "no_datasets")
    assert found["verdict"] == "blocked"
    assert "labferry match" in found["hint"]
    lab.wait_for("archived")
    lab.add_facts(dataset_types=[{"name": "novelty.odour", "filename_pattern": "*novelty.odour*"}])
    assert lab.command("retry", str(bad)).returncode == 0
    lab.wait_for("archived", 2)
    assert names_in_alyx(lab) == ["alf/_lab_novelty.odour.npy"]
