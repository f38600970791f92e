"""The log: one record, several outlets, and nothing that can stop the work it is about."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from labferry.model import SessionState, utc_seconds
from labferry.observe.journald import JournalSocket, encode
from labferry.observe.logfile import LogFile
from labferry.observe.logs import configure, plain
from labferry.observe.outlets import Console, Journald, JsonLines, ToFile, journal_fields
from support.command import socket_folder
from support.logs import logging_restored


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    with logging_restored():
        yield


def logged(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def stream() -> io.StringIO:
    """Return a stream that gets JSON lines."""
    stream = io.StringIO()
    configure("json", "info", None, stream)
    return stream


@contextmanager
def journald() -> Iterator[tuple[str, socket.socket]]:
    """Give the path where journald would listen, and the socket it would listen on."""
    with socket_folder() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(folder / "socket"))
        listener.settimeout(5)
        yield str(folder / "socket"), listener


# --- the record -------------------------------------------------------------------------------------------


def test_record_begins_with_time_level_and_event(stream: io.StringIO) -> None:
    structlog.get_logger().info("complete", root="s0", session="KS005/2024-05-31/001", eid=None, files=3)
    (record,) = logged(stream)
    assert list(record) == ["at", "level", "event", "root", "session", "files"]
    assert (record["level"], record["event"], record["files"]) == ("info", "complete", 3)
    assert record["at"].endswith("Z")
    assert utc_seconds(record["at"]) > 0


def test_less_than_the_level_is_dropped() -> None:
    stream = io.StringIO()
    configure("json", "warning", None, stream)
    log = structlog.get_logger()
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert [(record["level"], record["event"]) for record in logged(stream)] == [("warning", "c"), ("error", "d")]


def test_lanes_are_named_by_their_threads(stream: io.StringIO) -> None:
    def lane() -> None:
        structlog.get_logger().info("done")
        structlog.get_logger().info("lane_silent", lane="detect")

    thread = threading.Thread(target=lane, name="lane-seal-1")
    thread.start()
    thread.join()
    structlog.get_logger().info("ready")
    assert [record.get("lane") for record in logged(stream)] == ["seal-1", "detect", None]


def test_secrets_are_never_logged(stream: io.StringIO) -> None:
    structlog.get_logger().info(
        "request",
        token="hidden",
        alyx_password="hidden",
        Authorization="Token hidden",
        client_secret="hidden",
        headers={"authorization": "hidden", "accept": "json", "deeper": [{"Cookie": "hidden"}]},
        password_file="/etc/labferry/alyx-password",
        tokens_left=3,
    )
    assert "hidden" not in stream.getvalue()
    (record,) = logged(stream)
    assert record["headers"] == {"accept": "json", "deeper": [{}]}
    assert (record["password_file"], record["tokens_left"]) == ("/etc/labferry/alyx-password", 3)


def test_names_that_cannot_be_decoded_are_escaped(stream: io.StringIO) -> None:
    structlog.get_logger().info(
        "found", session=b"a/\xff\xc3\xa9", name="b\udcff", half="\ud800", state=SessionState.SETTLING, path=Path("/x")
    )
    (record,) = logged(stream)
    assert [record[key] for key in ("session", "name", "half", "state", "path")] == [
        "a/\\xff\u00e9",
        "b\\xff",
        "\\ud800",
        "settling",
        "/x",
    ]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.text(st.characters(codec=None)),
        lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner),
    )
)
def test_every_value_becomes_valid_json(value: object) -> None:
    json.dumps(plain(value), allow_nan=False).encode("ascii")
    json.dumps(plain(value), ensure_ascii=False, allow_nan=False).encode("utf-8")


def test_exceptions_are_logged_without_the_values_of_variables(stream: io.StringIO) -> None:
    def fails() -> None:
        hidden = "s3cret"
        raise KeyError(len(hidden))

    try:
        fails()
    except KeyError as error:
        structlog.get_logger().exception("unexpected")
        structlog.get_logger().error("again", exc_info=error)
    first, second = logged(stream)
    assert first["level"] == second["level"] == "error"
    assert first["exception"].startswith("Traceback (most recent call last):\n")
    assert second["exception"].endswith("KeyError: 6")
    assert "= 's3cret'" not in first["exception"]


def test_libraries_are_heard_from_warning_on(stream: io.StringIO) -> None:
    root = logging.getLogger()
    ours = [handler for handler in root.handlers if type(handler).__module__.startswith("labferry.")]
    root.handlers[:] = ours  # pytest's own let a wrong call fail
    logging.getLogger("httpx").info("HTTP Request: GET …")
    logging.getLogger("watchdog").warning("queue %s", "full")
    logging.getLogger("odd").warning(*("%d of %d", "x"))
    logging.getLogger("odd").critical("gone")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    records = logged(stream)
    assert [(r["event"], r["logger"], r["level"], r["message"]) for r in records[:3]] == [
        ("library", "watchdog", "warning", "queue full"),
        ("library", "odd", "warning", "%d of %d"),
        ("library", "odd", "critical", "gone"),
    ]
    assert "DeprecationWarning: old" in records[3]["message"]


def test_configured_again_libraries_are_heard_once() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure("json", "info", None, first)
    configure("json", "error", None, second)
    logging.getLogger("httpx").warning("not any more")
    logging.getLogger("httpx").error("once")
    assert first.getvalue() == ""
    assert [record["message"] for record in logged(second)] == ["once"]


# --- formats ----------------------------------------------------------------------------------------------


def test_auto_is_json_where_nobody_reads() -> None:
    stream = io.StringIO()
    configure("auto", "info", None, stream, environ={})
    structlog.get_logger().info("ready")
    assert logged(stream)[0]["event"] == "ready"


def test_auto_is_lines_for_people_on_a_terminal() -> None:
    ours, its = pty.openpty()
    with open(its, "w", encoding="utf-8") as terminal:
        configure("auto", "info", None, terminal, environ={})
        structlog.get_logger().info("complete", session="KS005/2024-05-31/001")
        coloured = os.read(ours, 4096).decode()
        configure("auto", "info", None, terminal, environ={"NO_COLOR": "1"})
        structlog.get_logger().info("complete", session="KS005/2024-05-31/001")
        bare = os.read(ours, 4096).decode()
    os.close(ours)
    assert "\x1b[1mcomplete\x1b[0m" in coloured
    assert bare.rstrip("\r\n").endswith("info    complete session=KS005/2024-05-31/001")
    assert "\x1b" not in bare


def test_auto_is_the_journal_where_systemd_connected_the_stream(tmp_path: Path) -> None:
    with journald() as (path, listener), open(tmp_path / "stderr", "w", encoding="utf-8") as stream:
        status = os.fstat(stream.fileno())
        named = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        configure("auto", "info", None, stream, environ=named, journal_socket=path)
        structlog.get_logger().info("ready")
        assert b"\nACTION=ready\n" in listener.recv(65536)
        other = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"}
        configure("auto", "info", None, stream, environ=other, journal_socket=path)
        structlog.get_logger().info("elsewhere")
    assert json.loads((tmp_path / "stderr").read_text(encoding="utf-8"))["event"] == "elsewhere"


def test_console_shows_what_cannot_steer_the_terminal() -> None:
    stream = io.StringIO()
    record = {"at": "2024-05-31T11:00:00.000Z", "level": "warning", "event": "blocked", "code": "x", "code_line": 7}
    Console(stream, colours=False).write({**record, "why": "a\x1b[31m b", "exception": "Trace:\n  a\x07", "none": None})
    first, *below = stream.getvalue().splitlines()
    assert first.endswith('warning blocked code=x why="a\\x1b[31m b"')
    assert below == ["Trace:", "  a\\x07"]


def test_console_writes_what_the_terminal_can_encode() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Console(stream, colours=False).write({"level": "info", "event": "found", "name": "é"})
    assert raw.getvalue().endswith(b"name=\\xe9\n")


def test_a_stream_that_is_gone_does_not_matter() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:
        JsonLines(stream).write({"event": "x"})
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # what is left in the buffer goes nowhere
    JsonLines(stream).write({"event": "after it was closed"})
    assert stream.closed


# --- journald ---------------------------------------------------------------------------------------------


def fields_of(record: bytes) -> dict[str, str]:
    """Read journald's encoding back."""
    fields = {}
    while record:
        line, _, record = record.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            length = int.from_bytes(record[:8], "little")
            value, record = record[8 : 8 + length], record[8 + length + 1 :]
        fields[name.decode()] = value.decode()
    return fields


def test_journald_gets_fields() -> None:
    with journald() as (path, listener):
        configure("journal", "info", None, io.StringIO(), journal_socket=path)
        log = structlog.get_logger().bind(session="s0:KS005/2024-05-31/001", eid="b1c9", job=7, attempt=2)
        log.warning("blocked", code="no_datasets", step="files:1", lane="register-1", why="not one file")
        fields = fields_of(listener.recv(65536))
    assert fields.pop("CODE_FILE") == __file__
    assert int(fields.pop("CODE_LINE")) > 0
    assert fields == {
        "MESSAGE": "blocked session=s0:KS005/2024-05-31/001 eid=b1c9 job=7 attempt=2 code=no_datasets step=files:1 "
        'lane=register-1 why="not one file"',
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "labferry",
        "ACTION": "blocked",
        "EVENT": "blocked",
        "SESSION": "s0:KS005/2024-05-31/001",
        "SESSION_PATH": "s0:KS005/2024-05-31/001",
        "EID": "b1c9",
        "JOB": "7",
        "JOB_ID": "7",
        "ATTEMPT": "2",
        "CODE": "no_datasets",
        "STEP": "files:1",
        "LANE": "register-1",
        "LABFERRY_WHY": "not one file",
        "CODE_FUNC": "test_journald_gets_fields",
    }


def test_tracebacks_reach_journald_with_their_lines() -> None:
    fields = journal_fields({"level": "error", "event": "unexpected", "exception": "Trace:\n  a"})
    assert (fields["MESSAGE"], fields["PRIORITY"]) == ("unexpected\nTrace:\n  a", "3")
    assert fields_of(encode(fields)) == fields


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True), st.text()))
def test_journald_encoding_keeps_every_text(fields: dict[str, str]) -> None:
    assert fields_of(encode(fields)) == fields


def test_field_names_that_journald_refuses_are_left_out() -> None:
    assert encode({"_PID": "1", "a": "1", "1A": "1", "A-B": "1", "A" * 65: "1", "OK": "1"}) == b"OK=1\n"


def test_a_record_that_no_datagram_holds_is_passed_as_a_sealed_file() -> None:
    text = "x" * 3_000_000
    with journald() as (path, listener):
        JournalSocket(path).send({"MESSAGE": text})
        content, (file,), _, _ = socket.recv_fds(listener, 65536, 1)
        assert content == b""
        with pytest.raises(PermissionError):
            os.ftruncate(file, 0)
        with open(file, "rb") as memory:
            memory.seek(0)
            assert fields_of(memory.read()) == {"MESSAGE": text}


def test_without_journald_records_go_to_the_stream(tmp_path: Path) -> None:
    stream = io.StringIO()
    configure("journal", "info", None, stream, journal_socket=str(tmp_path / "none"))
    structlog.get_logger().info("ready")
    assert logged(stream)[0]["event"] == "ready"


def test_journald_that_was_restarted_is_found_again() -> None:
    fallback = io.StringIO()
    with journald() as (path, listener):
        outlet = Journald(JournalSocket(path), JsonLines(fallback))
        outlet.write({"event": "one"})
        assert fields_of(listener.recv(65536))["ACTION"] == "one"
        listener.close()
        outlet.write({"event": "two"})
        os.unlink(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as restarted:
            restarted.bind(path)
            restarted.settimeout(5)
            outlet.write({"event": "three"})
            assert fields_of(restarted.recv(65536))["ACTION"] == "three"
    assert [record["event"] for record in logged(fallback)] == ["two"]


# --- the file ---------------------------------------------------------------------------------------------


def test_the_file_gets_every_record_whatever_the_format(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "labferry.jsonl"
    configure("console", "info", path, io.StringIO())
    structlog.get_logger().info("complete", session=b"a\xff")
    logging.getLogger("httpx").error("gone")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [record["event"] for record in records] == ["complete", "library"]
    assert records[0] == {
        "at": records[0]["at"],
        "level": "info",
        "event": "complete",
        "session": "a\\xff",
    }
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o640, 0o700)


def test_full_files_make_room_and_a_few_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(str(path), largest=100, kept=2)
    for number in range(40):
        file.write(f"{number:02d} {'x' * 20}")
    file.close()
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1", "log.2"]
    lines = [line[:2] for name in ("log.2", "log.1", "log") for line in (tmp_path / name).read_text().splitlines()]
    assert lines == [f"{number:02d}" for number in range(40 - len(lines), 40)]
    assert all((tmp_path / name).stat().st_size <= 100 for name in os.listdir(tmp_path))
    assert len(lines) == 12


def test_a_line_longer_than_a_file_is_written_all_the_same(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "log"), largest=10, kept=1)
    for text in ("a" * 50, "b"):
        file.write(text)
    assert (tmp_path / "log.1").read_text() == "a" * 50 + "\n"
    assert (tmp_path / "log").read_text() == "b\n"


def test_a_line_that_a_crash_cut_off_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text('{"at": "2024-05-31T11:0', encoding="utf-8")
    LogFile(str(path)).write("{}")
    assert path.read_text(encoding="utf-8") == '{"at": "2024-05-31T11:0\n{}\n'


def test_lines_of_many_threads_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(str(path), largest=10_000)

    def write(letter: str) -> None:
        for _ in range(200):
            file.write(letter * 30)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [line for one in tmp_path.iterdir() for line in one.read_text().splitlines()]
    assert len(lines) == 800
    assert set(lines) == {letter * 30 for letter in "abcd"}


def test_a_full_disk_costs_lines_of_the_file_and_is_said_once() -> None:
    stream = io.StringIO()
    outlet = ToFile(LogFile("/dev/full"), JsonLines(stream))
    outlet.write({"at": "2024-05-31T11:00:00.000Z", "level": "info", "event": "one"})
    outlet.write({"at": "2024-05-31T11:00:01.000Z", "level": "info", "event": "two"})
    (said,) = logged(stream)
    assert (said["event"], said["level"], said["why"]) == (
        "log_file_failed",
        "warning",
        "No space left on device",
    )


def test_a_file_that_can_be_written_again_is_said_too(tmp_path: Path) -> None:
    stream = io.StringIO()
    (tmp_path / "logs").write_text("in the way", encoding="utf-8")
    outlet = ToFile(LogFile(str(tmp_path / "logs" / "log")), JsonLines(stream))
    outlet.write({"event": "lost"})
    (tmp_path / "logs").unlink()
    outlet.write({"event": "kept"})
    assert [record["event"] for record in logged(stream)] == ["log_file_failed", "log_file_works_again"]
    assert json.loads((tmp_path / "logs" / "log").read_text(encoding="utf-8")) == {"event": "kept"}
