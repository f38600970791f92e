"""The daemon as a process with a Globus archive: it dies, hangs and is stopped while Globus works for it."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labferry.service.process import GRACE
from labferry.service.reload import RELOADED
from support.lab import SMALL, Lab, archived_files, fresh
from support.processes import SocketConnection
from support.wait import wait_until

SESSION = "KS005/2026-03-02/001"
OTHER = "ZM_1150/2026-03-02/001"
MIB = 2**20
SUBMISSION = "POST /v0.10/transfer"


@pytest.fixture(scope="module")
def globus_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("globus"), archive="globus") as lab:
        yield lab


@pytest.fixture
def lab(globus_lab: Lab) -> Iterator[Lab]:
    with fresh(globus_lab) as lab:
        yield lab


def tasks(lab: Lab) -> list[dict[str, Any]]:
    """Return the tasks that Globus has accepted."""
    found: list[dict[str, Any]] = lab.state()["globus"]["tasks"]
    return found


def submissions(lab: Lab) -> list[dict[str, Any]]:
    return [r for r in lab.requests() if f"{r['method']} {r['path']}" == SUBMISSION]


def require_archived_once(lab: Lab, *sessions: str) -> None:
    """Require that the sessions are in the archive, and that every file was copied by one task only."""
    labs = {"K": "cortexlab", "Z": "mainenlab"}
    assert archived_files(lab) == {
        f"{labs[session[0]]}/Subjects/{session}/{name}": content
        for session in sessions
        for name, content in SMALL.items()
    }
    assert sum(task["files_transferred"] for task in tasks(lab)) == len(sessions) * len(SMALL)
    assert sum(task["files_skipped"] for task in tasks(lab)) == 0


def health(lab: Lab) -> int:
    """Return the status of `/healthz`."""
    connection = SocketConnection(str(lab.directory / "control.sock"))
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    finally:
        connection.close()


def archive_lane(lab: Lab) -> dict[str, Any]:
    return next(lane for lane in lab.status()["lanes"] if lane["name"] == "archive-server")


# --- kill -9 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
def test_map_03_kill_at_the_submission_adopts_the_task(lab: Lab, when: str) -> None:
    rule = lab.add_fault(match=SUBMISSION, when=when, action="hold", then="drop")
    lab.write(SESSION)
    lab.start_ready()
    lab.wait_for_fault(rule)
    ((submission_id, state),) = lab.journal("SELECT submission_id, state FROM task")
    assert state == "submitting"
    lab.kill()
    lab.clear_faults()
    lab.start_ready()
    lab.wait_for("archived")
    assert {post["body"]["submission_id"] for post in submissions(lab)} == {submission_id}
    assert len(tasks(lab)) == 1
    require_archived_once(lab, SESSION)


def test_win_08_a_restart_during_the_transfer_sends_nothing_again(lab: Lab) -> None:
    rule = lab.add_fault(action="task", becomes="STALLED")
    lab.write(SESSION)
    lab.start_ready()
    lab.wait_for_fault(rule)
    wait_until(lambda: lab.journal("SELECT 1 FROM task WHERE fault <> ''"), what="the first look at the task")
    lab.kill()
    lab.start_ready()
    lab.wait_until_doing("idle")
    lab.clear_faults()
    lab.wait_for("archived")
    assert len(submissions(lab)) == len(tasks(lab)) == 1
    (task,) = tasks(lab)
    assert task["bytes_transferred"] == sum(map(len, SMALL.values()))
    require_archived_once(lab, SESSION)


# --- a Globus that does not answer ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "doing"),
    [
        ("/stat?", "looking whether server can be used"),
        ("/ls?", f"looking where {SESSION} goes in server"),
        ({"text": "submission_id", "n": 2}, "asking Globus for a task to server"),  # the first one is the preflight's
        (SUBMISSION, f"submitting {len(SMALL)} files to server"),
        ("task_list", "asking Globus about 1 tasks"),
    ],
)
def test_win_07_a_silent_globus_keeps_nobody_waiting(lab: Lab, match: object, doing: str) -> None:
    rule = lab.add_fault(match=match, action="hold")
    lab.write(SESSION)
    daemon = lab.start_ready()
    lab.wait_for_fault(rule)
    lane = archive_lane(lab)
    assert (lane["doing"], lane["alive"]) == (doing, True), "it said how long it may take"
    lab.write(OTHER)
    lab.wait_for("registered", 2)
    assert lab.command("status").returncode == 0
    asked = time.monotonic()
    assert daemon.end(signal.SIGTERM) == 0
    assert time.monotonic() - asked < GRACE / 2, "a request that hangs is left behind"
    lab.daemon = None
    assert lab.logged("stopped")
    lab.clear_faults()
    lab.start_ready()
    lab.wait_for("archived", 2)
    assert len({post["body"]["submission_id"] for post in submissions(lab)}) == len(tasks(lab))
    require_archived_once(lab, SESSION, OTHER)


def test_the_lane_costs_nothing_while_it_waits(lab: Lab) -> None:
    lab.environment["LABFERRY_WORKER__BACKOFF_MAX"] = "60"
    rules = [
        {"action": "task", "becomes": "STALLED"},
        {"match": SUBMISSION, "action": "status", "status": 503, "times": None},
    ]
    lab.add_fault(**rules[0])
    lab.write(SESSION)
    daemon = lab.start_ready()
    wait_until(lambda: tasks(lab) and lab.journal("SELECT 1 FROM task WHERE fault <> ''"), what="a task that waits")
    lab.add_fault(**rules[1])
    lab.write(OTHER)
    lab.wait_for_code(lab.root / OTHER, "globus_down")
    before = cpu_seconds(daemon.process.pid)
    lab.let_work(2.0)
    assert cpu_seconds(daemon.process.pid) - before < 0.5, "2 s of waiting"


def cpu_seconds(pid: int) -> float:
    """Return the processor time a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- what an operator sees -----------------------------------------------------------------------------------------


def test_map_08_a_wrong_client_secret_is_named_and_heals_with_the_file(lab: Lab) -> None:
    secret = lab.directory / "globus-client-secret"
    right = secret.read_text()
    secret.write_text("wrong\n")
    try:
        folder = lab.write(SESSION)
        lab.start_ready()
        found = lab.wait_for_code(folder, "globus_login")
        assert found["verdict"] == "waiting_dependency"
        assert "client secret file" in found["hint"]
        assert lab.status()["dependencies"]["globus"]["state"] == "needs_login"
        assert [one["code"] for one in lab.status()["health"]] == ["dependency_login"]
        assert lab.command("status").returncode == 3
        assert health(lab) == 503
        lab.let_work(1.0)
        assert "wrong" not in lab.log
    finally:
        secret.write_text(right)
    lab.wait_for("archived")
    assert len(lab.logged("dependency_down")) == len(lab.logged("dependency_up")) == 1
    assert lab.journal("SELECT count(*) FROM attempt WHERE outcome = 'retry'") == [(0,)]
    assert right.strip() not in lab.log
    require_archived_once(lab, SESSION)


def test_map_03_a_transfer_that_stands_still_is_an_alarm_until_it_moves(lab: Lab) -> None:
    lab.environment["LABFERRY_GLOBUS__STALL_AFTER"] = "0.5"
    lab.add_fault(action="task", becomes="STALLED", code="GC_NOT_CONNECTED", description="the laptop sleeps")
    folder = lab.write(SESSION)
    lab.start_ready()
    wait_until(lambda: "transfer_stalled" in {one["code"] for one in lab.status()["health"]}, what="the alarm")
    assert health(lab) == 503
    (said,) = [one["text"] for one in lab.status()["health"] if one["code"] == "transfer_stalled"]
    assert re.search(r"GC_NOT_CONNECTED", said)
    found = lab.explain(folder)
    assert (found["verdict"], found["code"]) == ("archiving", "in_flight")
    assert any("GC_NOT_CONNECTED" in str(fact) for fact in found["evidence"])
    lab.clear_faults()
    lab.wait_for("archived")
    assert health(lab) == 200


# --- a reload ------------------------------------------------------------------------------------------------------


def test_a_reload_during_a_transfer_goes_on_with_the_task(lab: Lab) -> None:
    rule = lab.add_fault(action="task", becomes="STALLED")
    lab.write(SESSION)
    daemon = lab.start_ready()
    lab.wait_for_fault(rule)
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(lab.logged("ready")) == 2, what=f"the next life: {RELOADED}")
    lab.write(OTHER)
    lab.clear_faults()
    lab.wait_for("archived", 2)
    assert len({post["body"]["submission_id"] for post in submissions(lab)}) == len(tasks(lab)) == 2
    require_archived_once(lab, SESSION, OTHER)
