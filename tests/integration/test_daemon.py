"""The daemon as a process: it starts, says READY, drains, dies at any moment and goes on, and is alone."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import time
from pathlib import Path

import pytest

from labferry.model import utc_seconds
from labferry.service.process import GRACE
from support.lab import SMALL, Lab, archived_files
from support.wait import wait_until

SESSION = "KS005/2026-03-02/001"
OTHER = "ZM_1150/2026-03-02/001"
MIB = 2**20
SLACK = 5.0  # seconds that a busy machine may add


def large(mebibytes: int) -> bytes:
    """Return content that takes a while to hash."""
    return os.urandom(MIB) * mebibytes


def require_each_once(lab: Lab, files: dict[str, bytes]) -> None:
    """Require that the session is in Alyx and in the archive once and whole."""
    state = lab.state()
    assert len(state["sessions"]) == 1
    assert sorted(f"{d['collection']}/{d['name']}" for d in state["datasets"]) == sorted(files)
    assert archived_files(lab) == {f"cortexlab/Subjects/{SESSION}/{name}": data for name, data in files.items()}


# --- stop -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_hashing_drains_and_the_next_life_goes_on(lab: Lab, number: signal.Signals) -> None:
    files = {**SMALL, "alf/spikes.times.npy": large(200)}
    lab.write(SESSION, files)
    daemon = lab.start_ready()
    lab.wait_until_doing(f"hashing {SESSION}")
    asked = time.monotonic()
    assert daemon.end(number) == 0
    assert time.monotonic() - asked < GRACE
    lab.daemon = None
    assert [r["event"] for r in lab.records][-2:] == ["stopping", "stopped"]
    assert not Path(lab.directory / "control.sock").exists()
    assert lab.posts("/sessions") == []
    lab.start()
    lab.wait_for("archived")
    assert lab.logged("journal_is_sound") == [], "a clean stop needs no check"
    require_each_once(lab, files)


def test_a_stop_while_alyx_keeps_us_waiting_ends_with_the_grace_and_doubles_nothing(lab: Lab) -> None:
    lab.write(SESSION)
    rule = lab.add_fault(match="POST /register-file", when="after", action="hold")
    daemon = lab.start_ready()
    lab.wait_for_fault(rule)
    asked = time.monotonic()
    assert daemon.end(signal.SIGTERM, timeout=GRACE + 20) == 0
    assert time.monotonic() - asked < GRACE + SLACK
    lab.daemon = None
    (said,) = lab.logged("stopped_with_work_open")
    assert said["lanes"] in (["register-1"], ["register-2"])
    lab.clear_faults()
    lab.start()
    lab.wait_for("archived")
    require_each_once(lab, dict(SMALL))


def test_status_answers_while_everything_is_busy(lab: Lab) -> None:
    lab.write(SESSION, {"alf/spikes.times.npy": large(200)})
    lab.write(OTHER)
    rule = lab.add_fault(match="POST /register-file", when="before", action="hold")
    lab.start_ready()
    lab.wait_until_doing(f"hashing {SESSION}")
    assert lab.command("status").returncode == 0
    lab.wait_for_fault(rule)
    said = lab.command("status", "--json")
    assert said.returncode == 0
    assert lab.command("explain", str(lab.root / OTHER)).returncode == 0
    lab.clear_faults()
    lab.wait_for("archived", 2)


# --- kill -----------------------------------------------------------------------------------------------------


def test_a_kill_while_hashing_costs_no_second_look_at_what_was_sealed(lab: Lab) -> None:
    files = {"alf/_ibl_a.times.npy": large(80), "alf/_ibl_b.times.npy": large(250)}
    sizes = [len(content) for content in files.values()]
    lab.add_facts(dataset_types=[{"name": f"{name}.times", "filename_pattern": f"*_{name}.times*"} for name in "ab"])
    lab.write(SESSION, files)
    lab.start_ready()

    def into_the_second() -> bool:
        words = lab.wait_until_doing(f"hashing {SESSION}")
        return int(words.split()[-4]) > sizes[0]

    wait_until(into_the_second, 20, "the second file to be hashed")
    lab.kill()
    assert Path(lab.directory / "control.sock").exists()
    known = lab.journal("SELECT path, md5 IS NOT NULL FROM file WHERE fate = 'dataset' ORDER BY path")
    assert known == [(b"alf/_ibl_a.times.npy", 1), (b"alf/_ibl_b.times.npy", 0)]
    rule = lab.add_fault(match="POST /register-file", when="before", action="hold")
    daemon = lab.start_ready()
    lab.wait_for_fault(rule, timeout=30)
    read = dict(line.split(": ") for line in Path(f"/proc/{daemon.process.pid}/io").read_text().splitlines())["rchar"]
    assert sizes[1] <= int(read) < sum(sizes), "the first file was not read again"
    lab.clear_faults()
    lab.wait_for("archived")
    require_each_once(lab, files)


def test_ruling_24_after_a_kill_the_journal_is_checked_after_ready_and_before_the_first_claim(lab: Lab) -> None:
    lab.write(SESSION)
    rule = lab.add_fault(match="POST /register-file", when="before", action="hold", then="drop")
    lab.start_ready()
    lab.wait_for_fault(rule)
    lab.kill()
    lab.clear_faults()
    before = lab.journal("SELECT max(id) FROM event")[0][0]
    first_life = len(lab.records)
    lab.start()
    lab.wait_for("archived")
    events = [record["event"] for record in lab.records[first_life:]]
    start = events.index("starting")
    assert events[start : start + 3] == ["starting", "ready", "journal_is_sound"]
    (checked,) = lab.logged("journal_is_sound")
    claims = lab.journal("SELECT at FROM event WHERE id > ? AND to_state = 'running' ORDER BY id", before)
    assert claims
    assert min(at for (at,) in claims) >= utc_seconds(checked["at"])
    require_each_once(lab, dict(SMALL))


@pytest.mark.parametrize(("damaged", "backup"), [("one_job_per_generation", True), ("job", False)])
def test_ruling_23_a_damaged_journal_is_kept_and_replaced_before_anything_is_claimed(
    lab: Lab, damaged: str, backup: bool
) -> None:
    lab.write(SESSION)
    lab.start_ready()
    lab.wait_for("archived")
    assert lab.stop() == 0
    file = lab.state_dir / "journal.sqlite"
    database = sqlite3.connect(file)
    if backup:
        (lab.state_dir / "backups").mkdir()
        database.execute("VACUUM INTO ?", (str(lab.state_dir / "backups" / "journal-2026-03-03.sqlite"),))
    database.execute("UPDATE instance SET stopped_at = NULL")  # as after a kill
    database.commit()
    (root,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (damaged,)).fetchone()
    (page,) = database.execute("PRAGMA page_size").fetchone()
    database.close()
    with file.open("r+b") as stream:
        stream.seek((root - 1) * page)
        stream.write(bytes(page))
    lab.write(OTHER)
    first_life = len(lab.records)
    before = len(lab.requests())
    lab.start()
    lab.wait_for("archived", sessions=2)
    assert "Traceback" not in lab.log
    events = [record["event"] for record in lab.records[first_life:]]
    assert events.index("journal_damaged") < events.index("journal_replaced") < events.index("stage_done")
    (kept,) = (lab.state_dir / "damaged").iterdir()
    assert (kept / "journal.sqlite").stat().st_size > 0
    ((found, known_until),) = lab.journal("SELECT backup, known_until FROM recovery")
    assert (found != "", known_until is not None) == (backup, backup)
    posts = [one["path"] for one in lab.requests()[before:] if one["method"] == "POST" and one["path"] != "/auth-token"]
    assert posts.count("/sessions") == 1, "what was registered before is adopted"
    assert len(lab.state()["sessions"]) == 2
    checks = lab.ask("/v1/doctor")["data"]["checks"]
    doctor = next(one for one in checks if one["name"] == "journal")
    assert doctor["result"] == "warning"
    assert str(kept) in doctor["text"]
    assert any(one["code"] == "journal_replaced" for one in lab.status()["health"])
    (lab.directory / "daemon.log").write_text("")  # an error was what this was about


# --- start ----------------------------------------------------------------------------------------------------


def test_ready_is_said_when_the_socket_answers_and_the_roots_were_scanned(lab: Lab) -> None:
    lab.write(SESSION, flag=False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(lab.directory / "notify"))
        systemd.settimeout(20)
        lab.environment["NOTIFY_SOCKET"] = str(lab.directory / "notify")
        lab.start()
        assert systemd.recv(1024).startswith(b"STATUS=starting")
        assert systemd.recv(1024) == b"STATUS=1 session settling"
        assert systemd.recv(1024) == b"READY=1"
        status = lab.status()
        assert status["sessions"]["settling"] == 1
        assert status["roots"][0]["last_scan"] is not None
        assert lab.stop() == 0
        said = []
        systemd.settimeout(0)
        while not said or said[-1] != b"STOPPING=1":
            said.append(systemd.recv(1024))
        assert {word for word in said[:-1] if not word.startswith(b"STATUS=")} <= {b"WATCHDOG=1"}
    (lab.directory / "notify").unlink()


# --- alone ----------------------------------------------------------------------------------------------------


def test_ruling_08_a_second_daemon_on_the_state_directory_is_refused_naming_the_first(lab: Lab) -> None:
    daemon = lab.start_ready()
    second = lab.command("run", environment={"LABFERRY_CONTROL__SOCKET": str(lab.directory / "other.sock")})
    assert second.returncode == 1
    assert f"pid {daemon.process.pid}" in second.stderr
    assert str(lab.state_dir) in second.stderr
    assert "state_dir" in second.stderr.splitlines()[-1]
    assert not (lab.directory / "other.sock").exists()
    require_still_working(lab)


def test_ruling_08_a_second_daemon_on_the_socket_is_refused_naming_the_first(lab: Lab, tmp_path: Path) -> None:
    daemon = lab.start_ready()
    second = lab.command("run", environment={"LABFERRY_STATE_DIR": str(tmp_path / "other")})
    assert second.returncode == 1
    assert f"pid {daemon.process.pid}" in second.stderr
    assert "control.sock" in second.stderr
    assert "[control] socket" in second.stderr.splitlines()[-1]
    require_still_working(lab)


def require_still_working(lab: Lab) -> None:
    lab.write(SESSION)
    lab.wait_for("archived")
    require_each_once(lab, dict(SMALL))


def test_ruling_08_what_a_killed_daemon_left_behind_hinders_nobody(lab: Lab) -> None:
    lab.start_ready()
    lab.kill()
    assert (lab.directory / "control.sock").is_socket()
    done = lab.command("status")
    assert done.returncode == 4
    assert "left over" in done.stderr
    lab.start_ready()
    require_still_working(lab)


def test_a_wrong_key_in_the_configuration_is_named_with_its_nearest(lab: Lab) -> None:
    wrong = lab.directory / "wrong.toml"
    wrong.write_text(Path(lab.config).read_text().replace("scan_every", "scan_evry"))
    done = lab.command("run", "--config", str(wrong))
    assert done.returncode == 6
    assert str(wrong) in done.stderr
    assert "scan_evry" in done.stderr
    assert "scan_every" in done.stderr.replace("scan_evry", "")
    assert not (lab.state_dir / "journal.sqlite").exists()
