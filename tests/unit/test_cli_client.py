"""Asking the daemon: total time-outs, broken answers, and why nobody answers."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labferry.control.client import ControlClient
from labferry.control.diagnosis import Machine, diagnose
from labferry.errors import ExitCode, LabferryError
from support.command import labferry, socket_folder
from support.control_stub import ANSWERS, ControlStub, refusal
from support.rights import folder_for_everyone, without_rights


@contextmanager
def raw_server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one connection with bytes of our own; its request is read first."""
    with socket_folder() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = str(folder / "control.sock")
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                try:
                    answer(connection)
                except OSError:
                    return  # the client had enough

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield path
        thread.join(10)


def failure(path: str, timeout: float = 5.0) -> LabferryError:
    with pytest.raises(LabferryError) as caught:
        ControlClient(path, timeout).get("/v1/status")
    return caught.value


# --- answers ----------------------------------------------------------------------------------------------


def test_parameters_that_are_not_given_are_left_out() -> None:
    with socket_folder() as folder, ControlStub(folder / "control.sock", {"/v1/jobs": []}) as stub:
        client = ControlClient(str(stub.socket_path))
        assert client.get("/v1/jobs", state=None, follow=False, code="", number=0, yes=True) == []
        assert client.get("/v1/jobs") == []
    assert stub.requests[0][2] == {"number": "0", "yes": "1"}


def test_a_daemon_that_dribbles_is_given_up_after_the_whole_time() -> None:
    """The time-out is for the question, not for each byte of the answer."""
    given_up = threading.Event()

    def dribble(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not given_up.wait(0.02):
            connection.sendall(b" ")

    with raw_server(dribble) as path:
        began = time.monotonic()
        error = failure(path, timeout=0.4)
        took = time.monotonic() - began
        given_up.set()
    assert (error.code, error.exit_code) == ("daemon_busy", ExitCode.TRY_LATER)
    assert "within 0.4 s" in error.message
    assert took < 5


def test_a_daemon_that_is_silent_is_given_up() -> None:
    given_up = threading.Event()
    with raw_server(lambda _: given_up.wait(20) and None) as path:
        assert failure(path, timeout=0.2).code == "daemon_busy"
        given_up.set()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Le",
    ],
    ids=["nothing", "half a body", "half a head"],
)
def test_a_daemon_that_dies_while_it_is_asked(answer: bytes) -> None:
    with raw_server(lambda connection: connection.sendall(answer)) as path:
        error = failure(path)
    assert error.code in {"daemon_not_running", "bad_answer"}
    assert error.exit_code in {ExitCode.NOT_RUNNING, ExitCode.FAILURE}


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["no HTTP", "no JSON", "a list", "no envelope", "no envelope and an error"],
)
def test_another_program_on_the_socket_is_recognised(answer: bytes) -> None:
    with raw_server(lambda connection: connection.sendall(answer)) as path:
        error = failure(path)
    assert (error.code, error.exit_code) == ("bad_answer", ExitCode.FAILURE)
    assert "does not speak labferry's language" in error.message


def test_a_stream_ends_with_the_answer_and_a_followed_one_with_the_daemon() -> None:
    with socket_folder() as folder, ControlStub(folder / "control.sock", ANSWERS) as stub:
        client = ControlClient(str(stub.socket_path))
        assert [one["event"] for one in client.stream("/v1/logs")] == ["complete", "blocked"]
        following = client.stream("/v1/logs", follow=True)
        assert [next(following)["event"], next(following)["event"]] == ["complete", "blocked"]
        with pytest.raises(LabferryError, match="The daemon stopped"):
            next(following)


def test_a_stream_that_is_refused_says_why() -> None:
    refused = {"/v1/logs": (404, refusal("no_log_file", "The log is not written to a file."))}
    with socket_folder() as folder, ControlStub(folder / "control.sock", refused) as stub:
        stream = ControlClient(str(stub.socket_path)).stream("/v1/logs", follow=True)
        with pytest.raises(LabferryError, match="The log is not written to a file"):
            next(stream)


def test_a_followed_stream_outlasts_the_time_of_a_question() -> None:
    """Events come when they come: only the first byte has a deadline."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"

    def late(connection: socket.socket) -> None:
        connection.sendall(head)
        threading.Event().wait(0.5)
        connection.sendall(b'{"id": 1}\n')

    with raw_server(late) as path:
        assert next(ControlClient(path, timeout=0.25).stream("/v1/events", follow=True)) == {"id": 1}


# --- nobody there -----------------------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path: Path) -> Machine:
    """Return a machine on which nothing runs and that has no systemd."""
    (tmp_path / "proc").mkdir()
    return Machine(str(tmp_path / "proc"), str(tmp_path / "no-systemd"), str(tmp_path / "systemctl"))


def with_unit(machine: Machine, load: str, active: str) -> Machine:
    """Let systemd know our unit in a state."""
    os.mkdir(machine.systemd)
    script = "#!/bin/sh\n[ \"$*\" = 'show labferry --property=LoadState,ActiveState' ] || exit 9\n"
    Path(machine.systemctl).write_text(f"{script}echo LoadState={load}\necho ActiveState={active}\n", encoding="utf-8")
    os.chmod(machine.systemctl, 0o755)
    return machine


def with_process(machine: Machine, pid: int, *words: str) -> Machine:
    """Let a process run."""
    folder = Path(machine.processes) / str(pid)
    folder.mkdir()
    (folder / "cmdline").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in words))
    return machine


def no_socket(machine: Machine) -> LabferryError:
    return diagnose("/run/labferry/control.sock", FileNotFoundError(), machine)


def test_nothing_runs_and_there_is_no_systemd(bare: Machine) -> None:
    error = no_socket(bare)
    assert (error.code, error.exit_code) == ("daemon_not_running", ExitCode.NOT_RUNNING)
    assert error.message == "labferry is not running (/run/labferry/control.sock does not exist)."
    assert "`labferry run --config FILE`" in error.hint


@pytest.mark.parametrize(
    ("load", "active", "message", "hint"),
    [
        ("loaded", "inactive", "The labferry service is stopped", "`systemctl start labferry`"),
        ("loaded", "failed", "The labferry service has failed", "`journalctl -u labferry -n 50` says what happened"),
        ("loaded", "activating", "The labferry service is just starting", "`systemctl status labferry`"),
        ("not-found", "inactive", "labferry is not running", "`labferry run --config FILE`"),
    ],
)
def test_systemd_says_how_the_service_is(bare: Machine, load: str, active: str, message: str, hint: str) -> None:
    error = no_socket(with_unit(bare, load, active))
    assert error.message.startswith(f"{message} (")
    assert hint in error.hint


def test_systemctl_that_cannot_be_asked_is_no_systemd(bare: Machine) -> None:
    os.mkdir(bare.systemd)
    assert no_socket(bare).message.startswith("labferry is not running (")


@pytest.mark.parametrize(
    "words",
    [
        ("/usr/bin/python3", "/opt/labferry/bin/labferry", "run", "--config", "x"),
        ("/usr/bin/python3", "-m", "labferry", "run"),
        ("labferry", "run"),
    ],
)
def test_a_daemon_with_another_socket_is_found(bare: Machine, words: tuple[str, ...]) -> None:
    error = no_socket(with_process(bare, 4711, *words))
    assert error.message.startswith("labferry runs as process 4711, but not on this socket")
    assert "`ps -o args= -p 4711`" in error.hint


@pytest.mark.parametrize("words", [("labferry", "status"), ("vi", "labferry", "notes"), ("cat", "run"), ()])
def test_other_processes_are_not_taken_for_the_daemon(bare: Machine, words: tuple[str, ...]) -> None:
    assert no_socket(with_process(bare, 4711, *words)).message.startswith("labferry is not running (")


def test_a_socket_left_over_means_that_the_daemon_died(bare: Machine) -> None:
    with socket_folder() as folder:
        path = str(folder / "control.sock")
        with socket.socket(socket.AF_UNIX) as died:
            died.bind(path)
        error = diagnose(path, ConnectionRefusedError(), with_process(bare, 4711, "labferry", "run"))
        assert error.message == f"labferry is not running: it died (its socket {path} is left over)."
        assert "`labferry logs` says what happened" in error.hint
        assert labferry("status", "--socket", path).exit_code == 4


def test_a_file_that_is_no_socket_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    result = labferry("status", "--socket", str(path))
    assert result.exit_code == 4
    assert result.stderr.startswith(f"error: {path} is not a socket.\n")


def test_a_path_that_no_socket_can_have_is_named(tmp_path: Path) -> None:
    path = f"{tmp_path}/{'x' * 200}"
    result = labferry("status", "--socket", path)
    assert result.exit_code == 4
    assert f"error: {path} cannot be used as the control socket" in result.stderr


def test_a_daemon_too_busy_to_take_the_connection(bare: Machine) -> None:
    for error in (BlockingIOError(), TimeoutError()):
        assert diagnose("/run/x.sock", error, bare).exit_code == ExitCode.TRY_LATER


# --- not for us -------------------------------------------------------------------------------------------


def test_ruling_27_who_may_not_connect_is_told_which_group_to_join() -> None:
    with folder_for_everyone() as folder, ControlStub(folder / "control.sock", ANSWERS) as stub:
        group = grp.getgrgid(1).gr_name
        if os.geteuid() == 0:
            os.chown(stub.socket_path, 0, 1)
        os.chmod(stub.socket_path, 0o060 if os.geteuid() == 0 else 0)
        with without_rights():
            error = failure(str(stub.socket_path))
    assert (error.code, error.exit_code) == ("not_permitted", ExitCode.NOT_PERMITTED)
    assert str(stub.socket_path) in error.message
    if os.geteuid() == 0:
        assert f"`sudo usermod -aG {group} " in error.hint


def test_who_was_added_to_the_group_after_logging_in_is_told_to_log_in_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = next(((one.gr_gid, one.gr_name, one.gr_mem[0]) for one in grp.getgrall() if one.gr_mem), None)
    if member is None or os.geteuid() != 0:
        pytest.skip("needs the superuser and a group with a member")
    gid, name, user = member
    path = tmp_path / "control.sock"
    path.touch()
    os.chown(path, 0, gid)
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam(user).pw_uid)
    assert f"You were added to the group {name}" in diagnose(str(path), PermissionError()).hint
