"""What the commands about work show and ask for: `jobs`, `retry`, `pause`, `resume`, `rescan`, `follow`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.command import labferry, socket_folder
from support.control_stub import ANSWERS, KS005, ControlStub, job
from support.control_stub import event as one_event


@pytest.fixture
def daemon() -> Iterator[ControlStub]:
    with socket_folder() as folder, ControlStub(folder / "control.sock", ANSWERS) as stub:
        yield stub


def run(daemon: ControlStub, *arguments: str) -> list[str]:
    """Return the lines a command prints, runs of blanks as one."""
    result = labferry(*arguments, "--socket", str(daemon.socket_path))
    assert (result.exit_code, result.stderr) == (0, "")
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


def test_jobs_are_a_table_and_every_remedy_is_named_once(daemon: ControlStub) -> None:
    daemon.answers["/v1/jobs"] = [job(), job(id=36), job(id=35, state="waiting", code="target_missing", reason="")]
    lines = run(daemon, "jobs")
    assert lines[0] == "JOB WHAT STATE SESSION TRIES WHY"
    assert lines[1].startswith(f"34 archive nas blocked {KS005} 2 destination_differs: ")
    assert lines[3] == f"35 archive nas waiting {KS005} 2 target_missing"
    assert lines[5:7] == [
        "What to do:",
        "destination_differs Nothing was overwritten. Find out which one is right.",
    ]
    assert len(lines) == 8


def test_jobs_that_wait_say_when_they_are_tried_next(daemon: ControlStub) -> None:
    daemon.answers["/v1/jobs"] = [job(state="waiting", next_at="2999-01-01T00:00:00.000Z")]
    assert " in " in run(daemon, "jobs")[1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [((), "No work is left: every job is done."), (("--state", "blocked"), "No job is blocked.")],
)
def test_no_jobs_is_an_answer(daemon: ControlStub, arguments: tuple[str, ...], sentence: str) -> None:
    daemon.answers["/v1/jobs"] = []
    assert run(daemon, "jobs", *arguments) == [sentence]


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (("retry", "KS005/2024-05-31/1"), "/v1/jobs/retry", {"session": "KS005/2024-05-31/1"}),
        (("retry", "--all"), "/v1/jobs/retry", {"all": True, "code": None}),
        (("retry", "--all", "--code", "crash"), "/v1/jobs/retry", {"all": True, "code": "crash"}),
        (("pause",), "/v1/pause", {"lane": None}),
        (("pause", "--lane", "archive"), "/v1/pause", {"lane": "archive"}),
        (("resume", "--lane", "register"), "/v1/resume", {"lane": "register"}),
        (("rescan",), "/v1/rescan", {"root": None}),
        (("rescan", "s0"), "/v1/rescan", {"root": "s0"}),
        (("rescan", "s0", "--accept-missing"), "/v1/rescan", {"root": "s0", "accept_missing": True}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_orders_reach_the_daemon(
    daemon: ControlStub, arguments: tuple[str, ...], path: str, body: dict[str, Any]
) -> None:
    run(daemon, *arguments)
    assert daemon.requests == [("POST", path, {}, body)]


def test_map_07_archive_asks_for_what_was_typed(daemon: ControlStub) -> None:
    began = {"session": 1, "path": "/d/KS005/2024-05-31/001", "jobs": [7], "began": True}
    daemon.answers["/v1/jobs/archive"] = began
    (line,) = run(daemon, "archive", "KS005/2024-05-31/1")
    assert "looked at again" in line
    daemon.answers["/v1/jobs/archive"] = {**began, "began": False}
    assert "goes on" in run(daemon, "archive", "KS005/2024-05-31/1", "--replace", "--trust-size")[0]
    session = {"session": "KS005/2024-05-31/1"}
    assert [body for _, _, _, body in daemon.requests] == [
        {**session, "replace": False, "trust_size": False},
        {**session, "replace": True, "trust_size": True},
    ]


def test_reg_12_register_asks_for_what_was_typed(daemon: ControlStub) -> None:
    begun = {"session": 1, "path": "/d/KS005/2024-05-31/001", "jobs": [1], "began": True}
    daemon.answers["/v1/jobs/register"] = begun
    (line,) = run(daemon, "register", "KS005/2024-05-31/1", "--file", "a/b", "--file", "c", "--overwrite")
    assert line.startswith("/d/KS005/2024-05-31/001 is registered now")
    daemon.answers["/v1/jobs/register"] = {**begun, "began": False}
    assert "already" in run(daemon, "register", "KS005/2024-05-31/1", "--raw")[0]
    order = {"session": "KS005/2024-05-31/1", "raw": False, "files": [], "overwrite": False, "dry_run": False}
    assert [body for _, _, _, body in daemon.requests] == [
        {**order, "files": ["a/b", "c"], "overwrite": True},
        {**order, "raw": True},
    ]


def test_reg_12_a_dry_run_prints_the_requests(daemon: ControlStub) -> None:
    body = {"path": "KS005/2024-05-31/001", "filenames": ["alf/x.y.npy"], "hashes": [None]}
    left_out = [{"path": "alf/bad dir/x.y.npy", "code": "unsafe_name", "reason": "why"}]
    daemon.answers["/v1/jobs/register"] = {
        "session": 1,
        "path": "/d/KS005/2024-05-31/001",
        "eid": None,
        "requests": [{"method": "POST", "path": "/register-file", "body": body}],
        "files": 1,
        "unchanged": 2,
        "left_out": left_out,
        "complete": True,
    }
    lines = run(daemon, "register", "KS005/2024-05-31/1", "--dry-run")
    assert lines[0] == "/d/KS005/2024-05-31/001"
    start = lines.index("POST /register-file") + 1
    assert json.loads("".join(lines[start : lines.index("}", start) + 1])) == body
    assert "left out: alf/bad dir/x.y.npy: unsafe_name: why" in lines
    assert lines[-1] == "1 file would be sent, 2 in Alyx as they are."


@pytest.mark.parametrize(
    ("answer", "sentences"),
    [
        ({"jobs": [1], "sessions": 0}, ["1 job queued again; `labferry jobs` shows what becomes of it."]),
        (
            {"jobs": [], "sessions": 2},
            ["2 sessions looked at again from the beginning, for the files left out."],
        ),
        ({"jobs": [], "sessions": 0}, ["Nothing is blocked or waiting here."]),
    ],
)
def test_retry_says_what_it_did(daemon: ControlStub, answer: dict[str, Any], sentences: list[str]) -> None:
    daemon.answers["/v1/jobs/retry"] = answer
    assert run(daemon, "retry", "--all") == sentences


ODD = "/d/a lab/KS005/2024-05-31/001"


@pytest.mark.parametrize(
    ("arguments", "answer", "sentence"),
    [
        (("cancel", ODD), {"jobs": [1]}, f"1 job cancelled, until `labferry retry '{ODD}'`."),
        (("cancel", "--all"), {"jobs": [1, 2]}, "2 jobs cancelled, until `labferry retry SESSION`."),
        (("cancel", ODD), {"jobs": []}, "No work is unfinished here."),
        (("hold", ODD), {"sessions": 1}, f"1 session held: left alone until `labferry release '{ODD}'`."),
        (("hold", "--all"), {"sessions": 2}, "2 sessions held: left alone until `labferry release --all`."),
    ],
)
def test_win_04_cancel_and_hold_say_what_to_type_to_go_on(
    daemon: ControlStub, arguments: tuple[str, ...], answer: dict[str, Any], sentence: str
) -> None:
    daemon.answers[f"/v1/jobs/{arguments[0]}"] = answer
    assert run(daemon, *arguments) == [sentence]


def test_pause_and_resume_say_what_is_paused_now(daemon: ControlStub) -> None:
    assert run(daemon, "pause") == ["Paused: archive. `labferry resume` takes up work again."]
    assert run(daemon, "resume") == ["Nothing is paused."]
    assert run(daemon, "rescan") == ["Looking for sessions below s0 now; `labferry status` shows when it is done."]


def test_follow_shows_events_until_the_daemon_stops(daemon: ControlStub) -> None:
    result = labferry("follow", "--socket", str(daemon.socket_path))
    assert daemon.requests == [("GET", "/v1/events", {"follow": "1", "progress": "1"}, {})]
    assert [" ".join(line.split()) for line in result.stdout.splitlines()] == [
        f"2024-05-31 11:00:06 archive blocked → queued {KS005}",
        f"2024-05-31 11:00:07 archive queued → running {KS005}",
    ]
    assert result.exit_code == 4
    assert result.stderr.startswith("error: The daemon stopped")


def test_ruling_25_follow_resumes_after_an_event_and_prints_one_object_per_line(daemon: ControlStub) -> None:
    result = labferry("follow", "--since", "5", "--json", "--socket", str(daemon.socket_path))
    assert daemon.requests == [("GET", "/v1/events", {"since": "5", "follow": "1", "progress": "1"}, {})]
    *events, last = [json.loads(line) for line in result.stdout.splitlines()]
    assert events == [one_event(6, "archive", "blocked", "queued"), one_event(7, "archive", "queued", "running")]
    assert (last["ok"], last["error"]["code"]) == (False, "daemon_not_running")
    assert (result.exit_code, result.stderr) == (4, "")


BACKLOG = {
    "counts": {"unasked": 0, "adopted": 19_998, "backlog": 2, "ignored": 0},
    "reasons": [
        {"history": "backlog", "code": "history_unknown", "sessions": 2, "title": "Alyx does not have it", "hint": "…"}
    ],
    "sessions": [{"path": KS005, "code": "history_unknown", "message": "Alyx has no session KS005/2024-05-31/001"}],
}


def test_the_backlog_is_counted_and_its_next_portion_listed(daemon: ControlStub) -> None:
    daemon.answers["/v1/backlog"] = BACKLOG
    lines = run(daemon, "backlog", "--root", "s0", "--limit", "1")
    assert lines[:2] == [
        "19,998 adopted Alyx has all of it: left as it is",
        "2 backlog Alyx does not have it, or has it otherwise",
    ]
    assert "2 history_unknown Alyx does not have it" in lines
    assert f"{KS005} history_unknown Alyx has no session KS005/2024-05-31/001" in lines
    assert "and 1 more; --limit N lists more" in lines
    assert daemon.requests == [("GET", "/v1/backlog", {"root": "s0", "limit": "1"}, {})]


def test_a_lab_without_a_past_has_no_backlog(daemon: ControlStub) -> None:
    daemon.answers["/v1/backlog"] = {"counts": dict.fromkeys(BACKLOG["counts"], 0), "reasons": [], "sessions": []}
    assert run(daemon, "backlog") == ["No session was there before labferry."]


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        (("release",), {"root": None, "subject": None}),
        (("release", "--subject", "KS005", "--limit", "7"), {"root": None, "subject": "KS005", "limit": 7}),
        (("ignore", "--root", "s0"), {"root": "s0", "subject": None}),
        (("release", "KS005/2024-05-31/1"), {"session": "KS005/2024-05-31/1"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_orders_about_the_backlog_reach_the_daemon(
    daemon: ControlStub, arguments: tuple[str, ...], body: dict[str, Any]
) -> None:
    path = f"/v1/backlog/{arguments[0]}"
    daemon.answers[path] = {"sessions": 1, "left": 41}
    word = "released" if arguments[0] == "release" else "ignored"
    assert run(daemon, "backlog", *arguments) == [f"1 session {word}, 41 left in the backlog."]
    assert daemon.requests == [("POST", path, {}, body)]


@pytest.mark.parametrize(
    "arguments", [("release", "KS005/2024-05-31/1", "--root", "s0"), ("forget",), ("release", "--limit", "0")]
)
def test_an_order_about_the_backlog_that_makes_no_sense_is_not_sent(
    daemon: ControlStub, arguments: tuple[str, ...]
) -> None:
    result = labferry("backlog", *arguments, "--socket", str(daemon.socket_path))
    assert (result.exit_code, daemon.requests) == (2, [])
