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
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_orders_reach_the_daemon(
    daemon: ControlStub, arguments: tuple[str, ...], path: str, body: dict[str, Any]
) -> None:
    run(daemon, *arguments)
    assert daemon.requests == [("POST", path, {}, body)]


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


def test_pause_and_resume_say_what_is_paused_now(daemon: ControlStub) -> None:
    assert run(daemon, "pause") == ["Paused: archive. `labferry resume` takes up work again."]
    assert run(daemon, "resume") == ["Nothing is paused."]
    assert run(daemon, "rescan") == ["Looking for sessions below s0 now; `labferry status` shows when it is done."]


def test_follow_shows_events_until_the_daemon_stops(daemon: ControlStub) -> None:
    result = labferry("follow", "--socket", str(daemon.socket_path))
    assert daemon.requests == [("GET", "/v1/events", {"follow": "1"}, {})]
    assert [" ".join(line.split()) for line in result.stdout.splitlines()] == [
        f"2024-05-31 11:00:06 archive blocked → queued {KS005}",
        f"2024-05-31 11:00:07 archive queued → running {KS005}",
    ]
    assert result.exit_code == 4
    assert result.stderr.startswith("error: The daemon stopped")


def test_ruling_25_follow_resumes_after_an_event_and_prints_one_object_per_line(daemon: ControlStub) -> None:
    result = labferry("follow", "--since", "5", "--json", "--socket", str(daemon.socket_path))
    assert daemon.requests == [("GET", "/v1/events", {"since": "5", "follow": "1"}, {})]
    *events, last = [json.loads(line) for line in result.stdout.splitlines()]
    assert events == [one_event(6, "archive", "blocked", "queued"), one_event(7, "archive", "queued", "running")]
    assert (last["ok"], last["error"]["code"]) == (False, "daemon_not_running")
    assert (result.exit_code, result.stderr) == (4, "")
