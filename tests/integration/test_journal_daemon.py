"""The journal's disk and file fail under the real daemon: said at once, nothing half done, nothing lost or twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from labferry.journal.recovery import MARKER
from support import dying
from support.compare import archive_of
from support.disks import failing_disk
from support.lab import SMALL, Lab
from support.wait import wait_until

FIRST = "KS005/2026-03-02/001"
SECOND = "ZM_1150/2026-03-02/001"
THIRD = "KS014/2026-03-02/001"
LABS = {FIRST: "cortexlab", SECOND: "mainenlab", THIRD: "cortexlab"}
DAMAGE = b"this was a journal once" * 1000


def condition(lab: Lab, code: str) -> dict[str, Any] | None:
    """Return a health condition, None when it does not hold."""
    return next((one for one in lab.status()["health"] if one["code"] == code), None)


def require_each_once(lab: Lab, *sessions: str) -> None:
    """Require that these sessions are in Alyx and in the archive once, and whole."""
    state = lab.state()
    subjects = sorted(one["subject"] for one in state["sessions"])
    assert subjects == sorted(session.split("/")[0] for session in sessions)
    rows = [(one["session"], one["collection"], one["name"]) for one in state["datasets"]]
    assert (len(rows), len(set(rows))) == (len(SMALL) * len(sessions),) * 2
    assert {session: archive_of(lab, session, LABS[session]) for session in sessions} == dict.fromkeys(sessions, SMALL)


def require_not_taken_up(lab: Lab, folder: Path) -> None:
    """Require that `explain` says why nothing is known of a session: the journal takes nothing."""
    found = lab.explain(folder)
    assert (found["verdict"], found["code"]) == ("settling", "not_seen_yet")
    assert "cannot be written" in " ".join(fact["what"] for fact in found["evidence"])
    assert "mend its disk" in found["hint"]


# --- the disk -------------------------------------------------------------------------------------------------


def _all_traced(threads: Path, tracer: int) -> bool:
    """Say whether a tracer has every thread."""
    try:
        return all(f"TracerPid:\t{tracer}\n" in (one / "status").read_text() for one in threads.iterdir())
    except OSError:  # one ended meanwhile
        return False


@contextmanager
def failing_syncs(lab: Lab) -> Iterator[None]:
    """Let every sync of the daemon fail as that of a broken disk does; skip without the means."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    assert lab.daemon is not None
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync"]
    command += ["-e", "inject=fdatasync,fsync:error=EIO", "-p", str(lab.daemon.process.pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    threads = Path(f"/proc/{lab.daemon.process.pid}/task")
    try:
        wait_until(lambda: tracer.poll() is not None or _all_traced(threads, tracer.pid), what="strace")
        if tracer.poll() is not None:
            pytest.skip(f"needs the right to trace: {tracer.stderr.read().strip()}")
        yield
    finally:
        tracer.send_signal(signal.SIGTERM)
        tracer.wait(20)
        tracer.stderr.close()


def test_a_sync_that_fails_is_said_and_nothing_is_done_that_is_not_on_the_disk(lab: Lab) -> None:
    lab.write(FIRST)
    lab.start_ready()
    lab.wait_for("archived")
    before = len(lab.requests())
    with failing_syncs(lab):
        folder = lab.write(SECOND)
        wait_until(lambda: condition(lab, "journal_trouble"), 20, "the failing disk to be noticed")
        said = condition(lab, "journal_trouble")
        assert said is not None
        assert "disk I/O error" in said["text"]
        assert lab.command("status").returncode == 3
        assert lab.ask("/healthz")["data"]["healthy"] is False
        require_not_taken_up(lab, folder)
        assert lab.journal("SELECT count(*) FROM session") == [(1,)], "refused, not half written"
        changes = [one for one in lab.requests()[before:] if one["method"] != "GET"]
        assert changes == [], "nothing is sent whose intent is not on the disk"
        lab.kill()
    lab.start_ready()
    lab.wait_for("archived", 2)
    assert lab.logged("journal_is_sound") != []
    assert condition(lab, "journal_trouble") is None
    require_each_once(lab, FIRST, SECOND)


def test_a_state_directory_that_becomes_read_only_is_said_and_read_all_the_same(tmp_path: Path) -> None:
    with Lab(tmp_path) as lab, failing_disk(lab.state_dir, tmp_path / "disk.ext4") as disk:
        lab.write(FIRST)
        lab.start_ready()
        lab.wait_for("archived")
        before = len(lab.requests())
        disk.fail()  # as ext4 does when its device reports errors
        folder = lab.write(SECOND)
        wait_until(lambda: condition(lab, "journal_trouble"), 20, "the read-only disk to be noticed")
        said = lab.command("status")
        assert said.returncode == 3
        assert "cannot be written" in said.stdout
        assert lab.explain(lab.root / FIRST)["verdict"] == "ok_archived", "what is known can be asked for"
        require_not_taken_up(lab, folder)
        assert [one for one in lab.requests()[before:] if one["method"] != "GET"] == []
        lab.kill()
        refused = lab.command("run")
        assert refused.returncode == 6
        assert f"state_dir {lab.state_dir} cannot be used: Read-only file system" in refused.stderr
        assert "mount it to be written" in refused.stderr
        disk.mend()
        lab.start_ready()
        lab.wait_for("archived", 2)
        require_each_once(lab, FIRST, SECOND)
        lab.kill()


# --- the file -------------------------------------------------------------------------------------------------

RECOVERY = "labferry.journal.recovery"
BACKUP = "journal-2026-03-03.sqlite"


def dies_after(lab: Lab, function: str) -> None:
    """Start the daemon, which dies as soon as a function of the recovery has returned for the first time."""
    program, lab.program = lab.program, (os.path.abspath(dying.__file__), f"{RECOVERY}:{function}")
    try:
        process = lab.start().process
        wait_until(lambda: process.poll() is not None, 20, lambda: f"the death after {function}\n{lab.log[-3000:]}")
        assert process.returncode == -signal.SIGKILL, lab.log[-3000:]
    finally:
        lab.program = program
        lab.kill()


def recovery(lab: Lab) -> dict[str, Any]:
    """Return what is written down of the recovery that is under way."""
    found: dict[str, Any] = json.loads((lab.state_dir / MARKER).read_text())
    return found


@pytest.mark.slow
def test_ruling_23_killed_after_each_step_of_a_recovery_there_is_one_journal_and_one_truth(lab: Lab) -> None:
    journal = lab.state_dir / "journal.sqlite"
    lab.write(FIRST)
    lab.start_ready()
    lab.wait_for("archived")
    (lab.state_dir / "backups").mkdir()
    with closing(sqlite3.connect(journal)) as database:
        database.execute("VACUUM INTO ?", (str(lab.state_dir / "backups" / BACKUP),))
    lab.write(SECOND)
    lab.wait_for("archived", 2)  # which the backup does not know
    lab.kill()
    journal.write_bytes(DAMAGE)
    lab.write(THIRD)

    dies_after(lab, "_write")
    assert (recovery(lab)["moved"], journal.read_bytes()) == (False, DAMAGE)
    dies_after(lab, "Path.rename")  # the log is away
    dies_after(lab, "_write")
    assert (recovery(lab)["moved"], journal.exists()) == (True, False)
    dies_after(lab, "_write")
    assert (recovery(lab)["backup"], journal.exists()) == (BACKUP, False)
    dies_after(lab, "shutil.copyfile")
    assert not journal.exists()
    dies_after(lab, "_put")
    assert journal.exists()
    dies_after(lab, "Journal.note_recovery")
    lab.start_ready()
    lab.wait_for("archived", 3)
    require_recovered(lab, [BACKUP])

    lab.kill()
    shutil.rmtree(lab.state_dir / "backups")
    journal.write_bytes(DAMAGE)
    dies_after(lab, "Journal")
    assert (recovery(lab)["moved"], journal.exists()) == (True, True), "a new one, which does not say so yet"
    dies_after(lab, "Journal.note_recovery")
    lab.start_ready()
    lab.wait_for("archived", 3)
    require_recovered(lab, [""], kept=2)
    (lab.directory / "daemon.log").write_text("")  # errors were what this was about


def require_recovered(lab: Lab, backups: list[str], kept: int = 1) -> None:
    """Require that a recovery is over and known, what was damaged kept, and every session there once."""
    require_each_once(lab, FIRST, SECOND, THIRD)
    assert not (lab.state_dir / MARKER).exists()
    damaged = list((lab.state_dir / "damaged").glob("*/journal.sqlite"))
    assert [file.read_bytes() for file in damaged] == [DAMAGE] * kept
    assert list(lab.state_dir.glob("journal.sqlite.*")) == []
    assert [name for (name,) in lab.journal("SELECT backup FROM recovery")] == backups
    assert condition(lab, "journal_replaced") is not None
