"""`labferry status`: the first line tells the truth, and the rest says what to do."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from click import style, unstyle

from labferry import __version__
from labferry.cli.output import shortened, wrapped
from labferry.cli.status import STATES, promise
from labferry.model import SessionState
from support.command import labferry, socket_folder
from support.control_stub import ControlStub, status, trouble
from support.wait import wait_until

OUTAGE = {
    "code": "dependency_down",
    "severity": "error",
    "title": "A service that the work needs does not answer",
    "text": "alyx: no route to host",
    "since": "2024-06-04T02:12:00.000Z",
}
LOOSE = {**OUTAGE, "code": "root_problem", "severity": "warning", "title": "A root is watched less closely"}


@pytest.fixture
def daemon() -> Iterator[ControlStub]:
    with socket_folder() as folder, ControlStub(folder / "control.sock", {"/v1/status": status()}) as stub:
        yield stub


def shown(daemon: ControlStub, data: dict[str, Any], expected_code: int) -> str:
    """Return what is shown of a status."""
    daemon.answers["/v1/status"] = data
    result = labferry("status", "--socket", str(daemon.socket_path))
    assert (result.exit_code, result.stderr) == (expected_code, "")
    return result.stdout


# --- the promise ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "All 132 finished sessions are registered and archived."),
        ({"sessions": {"archived": 1}}, "The one finished session is registered and archived."),
        ({"sessions": {"archived": 0, "settling": 3}}, "No session is finished yet."),
        ({"sessions": {"complete": 1}}, "1 session is on its way, none needs a person."),
        ({"sessions": {"complete": 7, "registered": 5}}, "12 sessions are on their way, none needs a person."),
        (
            {"sessions": {"complete": 9, "registered": 6}, "attention": 3, "jobs": {"blocked": 3}},
            "3 sessions need a person, 12 on their way.",
        ),
        (
            {"sessions": {"complete": 1}, "attention": 1, "jobs": {"blocked": 1}},
            "1 session needs a person, 0 on their way.",
        ),
        (
            {"sessions": {"complete": 5}, "health": [OUTAGE]},
            "5 sessions are on their way, none needs a person. A service that the work needs does not answer.",
        ),
        (
            {"health": [OUTAGE]},
            "All 132 finished sessions are registered and archived. A service that the work needs does not answer.",
        ),
        ({"health": [LOOSE]}, "All 132 finished sessions are registered and archived."),
    ],
)
def test_first_line_is_the_promise(changes: dict[str, Any], sentence: str) -> None:
    assert unstyle(promise(status(**changes))) == sentence


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (status(), 0),
        (status(sessions={"complete": 3}, jobs={"running": 1, "waiting": 2}), 0),
        (status(health=[LOOSE]), 0),
        (status(attention=1), 3),
        (status(health=[OUTAGE]), 3),
        (trouble(), 3),
    ],
)
def test_ruling_25_status_ends_with_3_when_something_needs_a_person(
    daemon: ControlStub, data: dict[str, Any], expected: int
) -> None:
    shown(daemon, data, expected)
    assert labferry("status", "--json", "--socket", str(daemon.socket_path)).exit_code == expected


# --- the picture ------------------------------------------------------------------------------------------


def test_quiet_day_is_short(daemon: ControlStub) -> None:
    lines = shown(daemon, status(), 0).splitlines()
    assert lines[1] == f"labferry {__version__} on lab-server-1, process 4711, up 3 days"
    assert [line for line in lines if line and not line.startswith(" ")][2:] == ["Sessions", "Dependencies", "Roots"]
    assert "settling" not in "\n".join(lines)
    (alyx,) = [line for line in lines if line.split()[:1] == ["alyx"]]
    assert "dataset types fetched" in alyx
    assert alyx.rstrip().endswith("ago")


def test_bad_night_says_what_is_wrong_and_what_to_type(daemon: ControlStub) -> None:
    text = shown(daemon, trouble(), 3)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0].startswith("3 sessions need a person, 12 on their way.")
    for expected in (
        "4 settling still being recorded, or waiting for something of it",
        "20,012 adopted history that Alyx already knows; left as it is",
        "3 attention of these need a person",
        "jobs: 4 queued, 2 running, 6 waiting, 3 blocked; the oldest waits for 2 h",
        "transfers: 1 active, 36 % of 3.40 GB",
        "paused: archive",
        "archive:nas: /mnt/nas/archive is not there",
        "labferry sessions --state attention which ones",
        "labferry jobs --state blocked every reason with its remedy",
        "labferry resume take up work again",
    ):
        assert expected in lines
    assert any(line.startswith("archive:nas down for ") for line in lines)


def test_every_session_state_is_explained() -> None:
    assert set(STATES) == set(SessionState)


def test_roots_show_how_they_are_watched_and_their_problem(daemon: ControlStub) -> None:
    (root,) = status()["roots"]
    frozen = {**root, "mode": "scan-only", "last_scan": None, "problem": "the folder is empty", "frozen": True}
    text = shown(daemon, status(roots=[root, {**frozen, "name": "s1", "path": "/mnt/s1"}]), 0)
    rows = [line.split() for line in text.splitlines() if "/mnt/s" in line]
    assert rows[0][:6] == ["s0", "/mnt/s0/Data/Subjects", "ibl", "132", "events", "(14"]
    assert rows[1][:6] == ["s1", "/mnt/s1", "ibl", "132", "scan-only", "never"]
    assert "the folder is empty" in text


def test_what_is_the_matter_with_a_root_is_told_once(daemon: ControlStub) -> None:
    (root,) = status()["roots"]
    loose = {**LOOSE, "text": "Root s0: nfs does not report changes"}
    found = status(roots=[{**root, "problem": "nfs does not report changes"}], health=[loose])
    text = shown(daemon, found, 0)
    assert text.count("nfs does not report changes") == 1
    assert "see below" in text


def test_sessions_that_wait_for_long_have_a_next_command(daemon: ControlStub) -> None:
    assert "--state settling" not in shown(daemon, status(), 0)
    assert "labferry sessions --state settling" in shown(daemon, status(health=[{**LOOSE, "code": "late_data"}]), 0)


def test_done_06_lost_events_are_counted_beside_the_watches(daemon: ControlStub) -> None:
    (root,) = status()["roots"]
    assert "lost" not in shown(daemon, status(), 0)
    text = " ".join(shown(daemon, status(roots=[{**root, "overflows": 2}]), 0).split())
    assert "events (14 watches, events lost 2 times)" in text


def test_daemon_of_another_version_is_named(daemon: ControlStub) -> None:
    assert "this command is" in shown(daemon, status(version="9.9"), 0).splitlines()[1]


def test_fields_that_a_newer_daemon_adds_do_no_harm(daemon: ControlStub) -> None:
    newer = status(sessions={"paused_by_aliens": 2}, jobs={"dreaming": 1}, more={"x": 1})
    text = shown(daemon, newer, 0)
    assert "paused_by_aliens" in text


def test_transfers_say_how_fast_they_are_and_what_is_left(daemon: ControlStub) -> None:
    one = {"path": "/mnt/s0/KS005/2026-03-02/001", "target": "nas", "files_done": 3, "files_total": 40}
    moving = [
        {**one, "bytes_done": 1_234, "bytes_total": 5_000, "bytes_per_s": 45_300_000.0, "seconds_left": 200.0},
        {**one, "target": "hpc", "bytes_done": 0, "bytes_total": 0, "bytes_per_s": None, "seconds_left": None},
    ]
    totals = {"active": 2, "files_done": 6, "files_total": 80, "bytes_done": 1_234, "bytes_total": 5_000}
    speed = {"bytes_per_s": 45_300_000.0, "seconds_left": 200.0}
    text = shown(daemon, status(transfers={**totals, **speed, "moving": moving}), 0)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "transfers: 2 active, 24 % of 5.00 kB, 6 of 80 files, 45.3 MB/s, 3 min left" in lines
    assert "KS005/2026-03-02/001 nas 24 % 45.3 MB/s 3 min left" in lines
    assert "KS005/2026-03-02/001 hpc 7 %" in lines


def test_watch_cuts_what_is_too_wide_and_keeps_colours_closed() -> None:
    red = style("x" * 50, fg="red") + " and more words"
    assert unstyle(shortened(red, 20)) == "x" * 19 + "…"
    assert shortened(red, 20).endswith("\x1b[0m…")
    assert shortened(red, 65) == red
    assert shortened("plain text", 10) == "plain text"
    assert shortened("plain text", 9) == "plain te…"


def test_watch_wraps_sentences_and_loses_no_word() -> None:
    said = style("error:", fg="red") + " the archive is not there; mount it, then all goes on"
    lines = wrapped(said, 20)
    assert [unstyle(line) for line in lines] == ["error: the archive", "is not there; mount", "it, then all goes on"]
    assert wrapped(said, 0) == [said]
    assert wrapped("then type `labferry retry X`, or wait", 16) == ["then type", "`labferry retry X`,", "or wait"]


# --- again and again --------------------------------------------------------------------------------------


def test_watch_survives_a_restart_of_the_daemon(daemon: ControlStub) -> None:
    """On a terminal the picture is drawn again; without a daemon it says so, and comes back with it."""
    path = daemon.socket_path
    ours, its = pty.openpty()
    written = b""

    def sees(text: bytes) -> bool:
        nonlocal written
        written += os.read(ours, 65536)
        return text in written.rpartition(b"\x1b[H")[2]

    with subprocess.Popen(
        [sys.executable, "-m", "labferry", "status", "--watch", "--socket", path], stdout=its, stderr=its
    ) as process:
        try:
            wait_until(lambda: sees(b"132 finished sessions"), what="the first picture")
            daemon.stop()
            wait_until(lambda: sees(b"left over"), what="the missing daemon")
            path.unlink()
            with ControlStub(path, {"/v1/status": status(sessions={"archived": 133})}):
                wait_until(lambda: sees(b"133 finished sessions"), what="the daemon's return")
                process.send_signal(signal.SIGINT)
                assert process.wait(20) == 130
        finally:
            process.kill()
    os.close(its)
    os.close(ours)


def test_watch_with_json_is_one_envelope_per_look(daemon: ControlStub) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "labferry", "status", "--watch", "--json", "--socket", daemon.socket_path],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        looks = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert [look["data"]["pid"] for look in looks] == [4711, 4711]


def test_what_is_still_to_be_asked_about_history_is_no_backlog_yet(daemon: ControlStub) -> None:
    asking = shown(daemon, {**status(sessions={"backlog": 12_345}), "history": {"unasked": 12_345}}, 0)
    assert "history: Alyx is asked about 12,345 old sessions, one by one" in asking
    assert "labferry backlog" not in asking
    asked = shown(daemon, {**status(sessions={"backlog": 3, "adopted": 12_342}), "history": {"unasked": 0}}, 0)
    assert "Alyx is asked about" not in asked
    assert "labferry backlog" in asked
