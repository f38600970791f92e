"""`labferry logs`: through the daemon, and without one from the file it left."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from labferry.cli import log_file
from labferry.observe.logfile import LogFile
from labferry.observe.logs import configure
from support.command import envelope_of, labferry, socket_folder
from support.control_stub import ANSWERS, EID, KS005, SUBJECTS, ControlStub, Lines, records


@pytest.fixture
def daemon() -> Iterator[ControlStub]:
    with socket_folder() as folder, ControlStub(folder / "control.sock", ANSWERS) as stub:
        yield stub


@pytest.fixture
def left_behind(tmp_path: Path) -> Path:
    """Return the configuration of a daemon that logged and died."""
    config = tmp_path / "labferry.toml"
    config.write_text(f'state_dir = "{tmp_path}"\n[control]\nsocket = "{tmp_path}/none"\n', encoding="utf-8")
    file = LogFile(str(tmp_path / log_file.BELOW_STATE_DIR), largest=300)
    for number in range(10):
        file.write(json.dumps({"at": f"2024-05-31T11:00:0{number}.000Z", "level": "info", "event": f"e{number}"}))
    for record in records():
        file.write(json.dumps(record))
    file.write('{"at": "2024-05-31T11:01:00.000Z", "lev')
    file.close()
    return config


# --- through the daemon -----------------------------------------------------------------------------------


def test_logs_are_lines_for_people(daemon: ControlStub) -> None:
    result = labferry("logs", "-n", "7", KS005, "--socket", str(daemon.socket_path))
    assert daemon.requests == [("GET", "/v1/logs", {"session": KS005, "lines": "7"}, {})]
    assert result.stdout.splitlines() == [
        "2024-05-31 11:00:01 info    complete root=s0 session=KS005/2024-05-31/001",
        "2024-05-31 11:00:05 warning blocked session=s0:KS005/2024-05-31/001 "
        f'eid={EID} code=destination_differs why="exists with other content"',
    ]


def test_tracebacks_keep_their_lines(daemon: ControlStub) -> None:
    fault = {"at": "2024-05-31T11:00:01.000Z", "level": "error", "event": "x", "exception": "Trace:\n  a\x1b[2J\nE: 1"}
    daemon.answers["/v1/logs"] = Lines([fault])
    result = labferry("logs", "--socket", str(daemon.socket_path))
    assert result.stdout.splitlines()[1:] == ["Trace:", r"  a\x1b[2J", "E: 1"]


def test_nothing_logged_is_an_answer(daemon: ControlStub) -> None:
    daemon.answers["/v1/logs"] = Lines([])
    assert labferry("logs", "--socket", str(daemon.socket_path)).stdout == "Nothing is logged about this.\n"


def test_following_prints_one_object_per_line_with_json(daemon: ControlStub) -> None:
    result = labferry("logs", "-f", "--json", "--socket", str(daemon.socket_path))
    assert daemon.requests == [("GET", "/v1/logs", {"lines": "100", "follow": "1"}, {})]
    assert [json.loads(line) for line in result.stdout.splitlines()][:-1] == records()
    assert result.exit_code == 4


# --- without a daemon -------------------------------------------------------------------------------------


def test_without_a_daemon_the_file_it_left_is_read(left_behind: Path) -> None:
    result = labferry("logs", "-n", "3", "--config", str(left_behind))
    assert result.exit_code == 0
    assert "This is what it left in" in result.stderr
    assert [line.split()[3] for line in result.stdout.splitlines()] == ["e9", "complete", "blocked"]
    data = envelope_of(labferry("logs", "-n", "12", "--json", "--config", str(left_behind)))["data"]
    assert [record["event"] for record in data["records"]][:10] == [f"e{number}" for number in range(10)]


@pytest.mark.parametrize("typed", [KS005, f"{KS005}/", "KS005/2024-05-31/001", f"{SUBJECTS[1:]}/KS005/2024-05-31/001"])
def test_the_file_is_searched_for_a_session(left_behind: Path, typed: str) -> None:
    data = envelope_of(labferry("logs", typed, "--json", "--config", str(left_behind)))["data"]
    assert data["records"] == records()


def test_the_file_is_searched_for_an_eid(left_behind: Path) -> None:
    data = envelope_of(labferry("logs", EID, "--json", "--config", str(left_behind)))["data"]
    assert data["records"] == records()[1:]
    data = envelope_of(labferry("logs", "5/2024-05-31/001", "--json", "--config", str(left_behind)))["data"]
    assert data["records"] == []


def test_nothing_can_be_followed_without_a_daemon(left_behind: Path) -> None:
    result = labferry("logs", "-f", "--config", str(left_behind))
    assert (result.exit_code, result.stdout) == (4, "")


def test_the_state_directory_is_found_as_the_daemon_finds_it(tmp_path: Path) -> None:
    config = tmp_path / "labferry.toml"
    config.write_text('state_dir = "/srv/labferry"\n', encoding="utf-8")
    assert log_file.find(str(config), {}) == "/srv/labferry/logs/labferry.jsonl"
    assert log_file.find(None, {"LABFERRY_CONFIG": str(config)}) == "/srv/labferry/logs/labferry.jsonl"
    assert log_file.find(str(config), {"LABFERRY_STATE_DIR": "/x"}) == "/x/logs/labferry.jsonl"
    assert log_file.find(str(tmp_path / "none"), {}) == "/var/lib/labferry/logs/labferry.jsonl"


def test_what_the_daemon_writes_is_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / log_file.BELOW_STATE_DIR
    configure("json", "info", path, io.StringIO())
    structlog.get_logger().info("complete", root="s0", session="KS005/2024-05-31/001")
    structlog.reset_defaults()
    (record,) = log_file.last_records(str(path), KS005, 10) or []
    assert (record["level"], record["event"], record["root"]) == ("info", "complete", "s0")
