"""What the commands about sessions show: `sessions`, `show`, `explain`, `history`, `match`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labferry.errors import ExitCode
from support.command import labferry, socket_folder
from support.control_stub import (
    ANSWERS,
    EID,
    KS005,
    ControlStub,
    explained,
    history,
    matched,
    refusal,
    session,
    shown,
    whose,
)


@pytest.fixture
def daemon() -> Iterator[ControlStub]:
    with socket_folder() as folder, ControlStub(folder / "control.sock", ANSWERS) as stub:
        yield stub


def run(daemon: ControlStub, *arguments: str, expected_code: int = 0) -> list[str]:
    """Return the lines a command prints, runs of blanks as one."""
    result = labferry(*arguments, "--socket", str(daemon.socket_path))
    assert (result.exit_code, result.stderr) == (expected_code, "")
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


# --- sessions ---------------------------------------------------------------------------------------------


def test_sessions_are_a_table_with_what_they_need(daemon: ControlStub) -> None:
    lines = run(daemon, "sessions")
    assert lines[0] == "STATE SUBJECT DATE NUMBER ROOT SINCE NEEDS"
    assert lines[1].startswith("registered KS005 2024-05-31 001 s0 ")
    assert lines[1].endswith("destination_differs: /mnt/nas/archive/KS005/x.npy exists with other content")
    assert lines[2].startswith("archived KS005 2024-05-31 002 s0 ")
    assert lines[-2:] == ["2 sessions, 1 of them needs a person.", f"labferry explain {KS005}"]


def test_sessions_that_settle_say_for_what_they_wait_and_how_long(daemon: ControlStub) -> None:
    waits = {"code": "no_video", "message": "raw_video_data missing", "since": "2024-05-31T10:00:00.000Z"}
    daemon.answers["/v1/sessions"] = [session(state="settling", attention=None, waits=waits)]
    lines = run(daemon, "sessions", "--state", "settling")
    assert re.search(r" no_video: raw_video_data missing \(for [\d,]+ days\)$", lines[1])
    assert lines[-1] == "1 session, none needs a person."


def test_sessions_filters_reach_the_daemon(daemon: ControlStub) -> None:
    run(daemon, "sessions", "--state", "attention", "--subject", "KS005", "--since", "2024-05-31", "--root", "s0")
    run(daemon, "sessions")
    asked = [query for _, _, query, _ in daemon.requests]
    assert asked == [{"state": "attention", "subject": "KS005", "since": "2024-05-31", "root": "s0"}, {}]


def test_no_session_is_an_answer(daemon: ControlStub) -> None:
    daemon.answers["/v1/sessions"] = []
    assert run(daemon, "sessions") == ["No session."]


# --- show -------------------------------------------------------------------------------------------------


def test_show_begins_with_what_a_person_must_do(daemon: ControlStub) -> None:
    lines = run(daemon, "show", EID)
    assert daemon.requests[0][:3] == ("GET", "/v1/session", {"q": EID})
    assert lines[0] == f"{KS005} registered"
    assert lines[1].startswith("needs a person: destination_differs: ")
    assert lines[2] == "hint: Nothing was overwritten. Find out which one is right."
    assert (
        "files 47 (45.3 GB), 41 datasets, 41 registered, 12 archived, 4 not asked for (120 kB), 2 rejected"
    ) in lines
    assert "33 register done 2" in lines
    assert any(line.startswith("nas active 12 of 41 1.20 MB of 45.0 MB /mnt/nas/archive/") for line in lines)


def test_show_ends_with_the_remarks(daemon: ControlStub) -> None:
    remark = {"code": "water_skipped", "text": "no water was sent: 1 found, 2 expected"}
    daemon.answers["/v1/session"] = {**shown(), "remarks": [remark]}
    assert run(daemon, "show", EID)[-2:] == ["Remarks", "water_skipped no water was sent: 1 found, 2 expected"]


def test_show_of_a_session_that_waits_says_for_what(daemon: ControlStub) -> None:
    waits = {"code": "waiting_signal", "message": "no completion signal yet", "since": "2024-05-31T10:00:00.000Z"}
    daemon.answers["/v1/session"] = {
        **shown(),
        "state": "settling",
        "attention": None,
        "waits": waits,
        "files": {"total": 0},
        "jobs": [],
        "transfers": [],
        "lab": None,
    }
    lines = run(daemon, "show", EID)
    assert lines[1].startswith("waits: waiting_signal: no completion signal yet (for ")
    assert not any(line.startswith(("files", "Jobs", "Transfers", "lab")) for line in lines)


# --- explain ----------------------------------------------------------------------------------------------


def test_explain_shows_verdict_evidence_next_and_what_to_do(daemon: ControlStub) -> None:
    lines = run(daemon, "explain", KS005)
    assert lines[:2] == [KS005, "waiting_signal: No completion signal yet."]
    assert lines[3] == "Evidence"
    assert lines[4].startswith("2024-05-31 10:00:00 ")
    assert lines[4].endswith(" first seen")
    assert lines[5] == "raw_session.flag is not there"
    assert lines[7].startswith("Next: the next look (")
    assert lines[9] == "To do: The session ends with its flag (raw_session.flag for IBL)."


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"verdict": "ok_archived"}, 0),
        ({"verdict": "settling"}, 0),
        ({"verdict": "waiting_dependency", "code": "alyx_down"}, 0),
        ({"verdict": "blocked", "code": "subject_not_on_alyx", "attention": True}, 3),
        ({"verdict": "not_a_session", "attention": True}, 3),
        ({"verdict": "inside_session", "code": "unsafe_name", "attention": True}, 3),
        ({"verdict": "outside_roots", "attention": False}, 1),
    ],
)
def test_ruling_25_exit_codes_of_explain(daemon: ControlStub, changes: dict[str, Any], expected: int) -> None:
    daemon.answers["/v1/explain"] = explained(**changes)
    lines = run(daemon, "explain", KS005, expected_code=expected)
    assert lines[1].startswith(changes["verdict"])
    result = labferry("explain", KS005, "--json", "--socket", str(daemon.socket_path))
    assert result.exit_code == expected


def test_explain_of_an_unknown_path_ends_with_1(daemon: ControlStub) -> None:
    daemon.answers["/v1/explain"] = (404, refusal("no_such_path", "/x does not exist."))
    result = labferry("explain", "/x", "--socket", str(daemon.socket_path))
    assert (result.exit_code, result.stderr) == (1, "error: /x does not exist.\n")


def test_the_reason_below_a_verdict_is_shown(daemon: ControlStub) -> None:
    daemon.answers["/v1/explain"] = explained(verdict="blocked", code="crash", message="It crashed.", attention=True)
    assert run(daemon, "explain", KS005, expected_code=3)[1] == "blocked (crash): It crashed."


def test_relative_paths_become_absolute_only_when_something_is_there(
    daemon: ControlStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "KS005").mkdir()
    monkeypatch.chdir(tmp_path)
    os.symlink("nowhere", "broken")
    for typed in (
        "KS005",
        ".",
        "KS014/2024-05-31/001",
        "/nowhere/at/all",
        "KS005/../KS005/",
        "broken",
        "./gone",
        "../x",
    ):
        run(daemon, "explain", typed)
    asked = [query["path"] for _, _, query, _ in daemon.requests]
    here = os.getcwd()
    assert asked[:5] == [f"{here}/KS005", here, "KS014/2024-05-31/001", "/nowhere/at/all", f"{here}/KS005"]
    assert asked[5:] == [f"{here}/broken", f"{here}/gone", f"{os.path.dirname(here)}/x"], "also what is not there"


@pytest.mark.parametrize("command", ["explain", "show", "history", "wait"])
def test_an_empty_text_is_told_apart_from_a_missing_one(daemon: ControlStub, command: str) -> None:
    result = labferry(command, "", "--socket", str(daemon.socket_path))
    assert (result.exit_code, daemon.requests) == (2, [])
    assert result.stderr.startswith("error: An empty text names no path and no session.\nhint: `labferry ")


def test_explain_fits_the_terminal_and_keeps_what_can_be_copied(
    daemon: ControlStub,
) -> None:
    long = "register job 14 is blocked at stage resolve, 1 attempt: Alyx does not know the subject that it is asked for"
    path = "/mnt/a/very/long/path/that/must/stay/whole/so/that/it/can/be/copied/KS005/2024-05-31/001"
    daemon.answers["/v1/explain"] = explained(
        message=f"{long}, and {path} neither.",
        evidence=[{"what": long, "at": "2024-05-31T10:00:00.000Z"}, {"what": "short", "at": None}],
        hint="Nothing to do here: it goes on.",
    )
    socket = ("--socket", str(daemon.socket_path))
    text = labferry("explain", KS005, *socket, environ={"COLUMNS": "60"}).stdout
    assert [line for line in text.splitlines() if len(line) > 60] == [path]
    facts = text.partition("Evidence\n")[2].partition("\n\n")[0].splitlines()
    begin = facts[0].index("register")
    assert all(line[:begin].strip() == "" for line in facts[1:]), "what does not fit goes on below itself"
    assert " ".join(line[begin:] for line in facts[:-1]) == long
    assert text.endswith("\nTo do: nothing: it goes on.\n")
    assert f": {long}, and {path} neither." in labferry("explain", KS005, *socket).stdout, "a pipe gets whole lines"


# --- history ----------------------------------------------------------------------------------------------


def test_history_is_told_oldest_first_with_failed_attempts_below(daemon: ControlStub) -> None:
    lines = run(daemon, "history", KS005)
    assert daemon.requests[0][1:3] == ("/v1/history", {"session": KS005})
    assert lines[2:4] == ["2024-05-31 11:00:01 found settling", "2024-05-31 11:00:02 complete settling → complete"]
    assert lines[6] == "2024-05-31 11:00:05 archive running → blocked destination_differs"
    assert lines[-3:] == ["Traceback (most recent call last):", 'File "x.py", line 1', "KeyError: 1"]


def test_history_without_failures_says_nothing_about_them(daemon: ControlStub) -> None:
    done = {**history()["attempts"][0], "outcome": "done"}
    daemon.answers["/v1/history"] = {**history(), "attempts": [done, {**done, "outcome": None, "ended_at": None}]}
    assert not any("Attempts" in line for line in run(daemon, "history", KS005))


# --- whois ------------------------------------------------------------------------------------------------


def test_reg_15_whois_tells_lab_and_repository(daemon: ControlStub) -> None:
    assert run(daemon, "whois", "KS005") == [
        "KS005",
        "lab cortexlab, responsible: rita",
        "projects: ibl_cortexlab",
        "",
        "ROOT LAB REPOSITORY",
        "s0 cortexlab cortexlab_SR",
    ]
    assert daemon.requests[-1][:3] == ("GET", "/v1/whois", {"subject": "KS005"})


def test_reg_15_whois_ends_with_1_where_nothing_can_be_registered(daemon: ControlStub) -> None:
    problem = {"code": "ambiguous_subject", "message": "ambiguous subject KS005 in a, b", "hint": "Rename one."}
    daemon.answers["/v1/whois"] = {**whose(), "lab": None, "problem": problem, "roots": []}
    done = labferry("whois", "KS005", "--socket", str(daemon.socket_path))
    assert done.exit_code == ExitCode.FAILURE
    assert "ambiguous_subject: ambiguous subject KS005 in a, b" in done.stdout
    assert "To do: Rename one." in done.stdout
    problem = {"code": "lab_without_repository", "message": "none", "hint": "Make one."}
    daemon.answers["/v1/whois"] = {
        **whose(),
        "roots": [{**whose()["roots"][0], "repository": None, "problem": problem}],
    }
    assert labferry("whois", "KS005", "--socket", str(daemon.socket_path)).exit_code == ExitCode.FAILURE


# --- match ------------------------------------------------------------------------------------------------


def test_match_lists_every_file_with_its_decision(daemon: ControlStub) -> None:
    lines = run(daemon, "match", KS005)
    assert lines[1] == "FILE SIZE PATTERN DATASET TYPE DECISION"
    assert lines[2] == "alf/_ibl_trials.choice.npy 12.8 kB alf/**/*.*.* _ibl_trials.choice dataset"
    assert lines[3] == "notes.txt 1.00 kB unmatched: no registration pattern asks for it"
    assert lines[5].startswith(r"alf/x\x1b[31m.y.npy alf/**/*.*.* rejected: Alyx would change this name silently")
    assert lines[-1] == ("1 of 4 files would be registered (12.8 kB), 1 no_pattern, 1 excluded_suffix, 1 unsafe_name.")


def test_match_of_very_many_files_says_that_the_list_is_cut(daemon: ControlStub) -> None:
    cut = {**matched(), "complete": False, "counts": {"dataset": 200_000, "unmatched": 1}}
    daemon.answers["/v1/match"] = cut
    assert run(daemon, "match", KS005)[-1].endswith("; only the first 4 are listed.")


def test_match_of_an_empty_folder(daemon: ControlStub) -> None:
    daemon.answers["/v1/match"] = {**matched(), "files": [], "counts": {}}
    assert run(daemon, "match", KS005) == [KS005, "No file is there."]


def test_a_session_without_attention_and_with_every_state_can_be_listed(daemon: ControlStub) -> None:
    daemon.answers["/v1/sessions"] = [session(state=state, attention=None) for state in ("settling", "vanished")]
    lines = run(daemon, "sessions")
    assert lines[0] == "STATE SUBJECT DATE NUMBER ROOT SINCE"
    assert lines[-1] == "2 sessions, none needs a person."
