"""`labferry wait`: the command over a real control server, and over a real daemon that is killed meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from labferry.cli.wait import Deadline, until
from labferry.control.client import ControlClient
from labferry.control.server import ControlServer, bind_socket
from labferry.errors import ExitCode, LabferryError
from labferry.model import Blocked, Done, Stage
from support.command import envelope_of, labferry, socket_folder
from support.control_stub import KS005, ControlStub, Lines, event, job, shown
from support.lab import Lab
from support.wait import wait_until
from support.world import SESSION, World

OTHER = "KS005/2019-04-03/001"


class Serving:
    """A world whose control server may be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder / "world")
        self.path = str(folder / "c.sock")
        self.start()

    def start(self) -> None:
        self.server = ControlServer(bind_socket(self.path, ""), self.world.context, self.world.live)
        self.server.start()

    def stop(self) -> None:
        self.server.stop()

    def listening(self) -> bool:
        return any(thread.name == "control" for thread in threading.enumerate())

    def ring(self) -> None:
        self.world.wakeup.ring()


@pytest.fixture
def serving() -> Iterator[Serving]:
    with socket_folder() as folder:
        (folder / "world").mkdir()
        serving = Serving(folder)
        yield serving
        serving.stop()
        serving.world.close()


class Noticing(ControlClient):
    """A client that says when it begins to listen, and what it heard."""

    def __init__(self, socket_path: str) -> None:
        super().__init__(socket_path)
        self.listens = threading.Event()
        self.heard: list[int] = []

    def stream(self, path: str, /, *, within: float | None = None, **query: Any) -> Iterator[dict[str, Any]]:
        self.listens.set()
        for one in super().stream(path, within=within, **query):
            self.heard.append(one["id"])
            yield one


class Waiter(threading.Thread):
    """Waits for a session as the command does."""

    def __init__(self, client: ControlClient, session: str, state: str) -> None:
        super().__init__(daemon=True)
        self._client, self._session, self._state = client, session, state
        self.found: dict[str, Any] | None = None
        self.start()

    def run(self) -> None:
        self.found = until(self._client, self._session, self._state, Deadline(30.0))

    def end(self) -> dict[str, Any]:
        self.join(20.0)
        assert self.found is not None
        return self.found


@contextmanager
def waiting(serving: Serving, state: str) -> Iterator[Waiter]:
    waiter = Waiter(ControlClient(serving.path), SESSION, state)
    wait_until(serving.listening, what="the command to listen")
    yield waiter


def ask(serving: Serving, *words: str) -> Any:
    return labferry("wait", SESSION, *words, "--socket", serving.path, "--json")


def test_wait_comes_back_at_once_when_the_state_is_reached_or_passed(serving: Serving) -> None:
    serving.world.archived()
    for state in ("complete", "registered", "archived"):
        result = ask(serving, "--for", state, "--timeout", "0")
        data = envelope_of(result)["data"]
        assert (result.exit_code, data["reached"], data["wanted"], data["state"]) == (0, True, state, "archived")


def test_wait_counts_what_was_reached_although_files_were_added_since(serving: Serving) -> None:
    row = serving.world.registered()
    serving.world.journal.sessions.unsettle(row.id, "a file was added")
    result = ask(serving, "--for", "registered", "--timeout", "0")
    data = envelope_of(result)["data"]
    assert (result.exit_code, data["reached"], data["state"]) == (0, True, "settling")


def test_wait_comes_back_when_the_state_is_reached(serving: Serving) -> None:
    row = serving.world.found()
    serving.world.found(OTHER)
    with waiting(serving, "complete") as waiter:
        serving.world.journal.sessions.looked(row.id, b"-", "settling", "why")
        serving.world.settle(row)
        serving.ring()
        assert waiter.end()["state"] == "complete"


def test_wait_listens_through_a_restart_of_the_daemon(serving: Serving) -> None:
    serving.world.registered()
    with waiting(serving, "archived") as waiter:
        serving.stop()
        wait_until(lambda: not serving.listening(), what="the old life to end")
        serving.start()
        serving.world.run(Stage.ARCHIVE, Done(), "nas")
        serving.ring()
        assert waiter.end()["state"] == "archived"


def test_what_happens_between_the_look_and_the_listening_is_not_missed(serving: Serving) -> None:
    row = serving.world.registered()
    client = ControlClient(serving.path)
    seen = client.get(f"/v1/sessions/{row.id}")
    serving.world.run(Stage.ARCHIVE, Done(), "nas")
    first = next(client.stream("/v1/events", within=10.0, since=seen["last_event"], follow=True))
    assert first["session"] == row.id


def test_wait_ends_with_75_when_the_time_is_over(serving: Serving) -> None:
    row = serving.world.found()
    serving.world.journal.sessions.looked(row.id, b"-", "no_video", "raw_video_data missing")
    result = ask(serving, "--for", "registered", "--timeout", "0.2s")
    error = envelope_of(result)["error"]
    assert (result.exit_code, error["code"]) == (ExitCode.TRY_LATER, "wait_timeout")
    assert "is settling (raw_video_data missing), not registered" in error["message"]
    assert "labferry explain" in error["hint"]


def test_wait_ends_with_3_when_a_person_must_act(serving: Serving) -> None:
    serving.world.complete()
    serving.world.run(Stage.RESOLVE, Blocked("no_settings", "no settings", "copy them"))
    result = ask(serving, "--timeout", "60")
    data = envelope_of(result)["data"]
    assert (result.exit_code, data["reached"], data["attention"]["code"]) == (ExitCode.ATTENTION, False, "no_settings")
    text = labferry("wait", SESSION, "--socket", serving.path)
    assert text.exit_code == ExitCode.ATTENTION
    assert "needs a person: no_settings: no settings" in text.stdout
    assert "hint: copy them" in text.stdout


def test_wait_takes_a_folder_that_the_next_scan_will_find(serving: Serving) -> None:
    folder = serving.world.write("a")
    result = labferry("wait", str(folder), "--timeout", "0", "--socket", serving.path, "--json")
    assert envelope_of(result)["error"]["code"] == "no_such_session"
    waiter = threading.Thread(
        target=lambda: until(ControlClient(serving.path), str(folder), "settling", Deadline(30.0)), daemon=True
    )
    waiter.start()
    serving.world.found()
    waiter.join(20.0)
    assert not waiter.is_alive()


@pytest.mark.parametrize(
    ("what", "code"), [("KS005/2019-13-45/001", "no_such_session"), ("nothing", "no_such_session")]
)
def test_wait_does_not_wait_for_what_can_never_come(serving: Serving, what: str, code: str) -> None:
    (serving.world.root / "KS005/2019-13-45/001").mkdir(parents=True)
    with pytest.raises(LabferryError) as caught:
        until(ControlClient(serving.path), what, "archived", Deadline(30.0))
    assert caught.value.code in {code, "no_such_path"}


def test_wait_without_a_daemon_says_so_at_once(tmp_path: Path) -> None:
    result = labferry("wait", SESSION, "--socket", str(tmp_path / "none.sock"), "--json")
    assert (result.exit_code, envelope_of(result)["error"]["code"]) == (ExitCode.NOT_RUNNING, "daemon_not_running")


def test_wait_refuses_what_is_no_duration(serving: Serving) -> None:
    result = ask(serving, "--timeout", "soon")
    assert (result.exit_code, envelope_of(result)["error"]["code"]) == (ExitCode.USAGE, "usage")
    assert "10m" in envelope_of(result)["error"]["message"]


def test_wait_asks_once_and_then_only_when_something_happened_to_its_session() -> None:
    def at(state: str, **more: Any) -> dict[str, Any]:
        moments = {"complete_at": None, "registered_at": None, "attention": None}
        return {**shown(), "state": state, "jobs": [job(state="queued")], "last_event": 40, **moments, **more}

    strangers = [event(number, "state", "queued", "running", session=18) for number in range(41, 60)]
    with socket_folder() as folder:
        answers = {
            "/v1/session": at("settling"),
            "/v1/events": Lines([*strangers[:15], event(56, "state", "settling", "complete"), *strangers[16:]]),
            "/v1/sessions/17": at("complete", complete_at="2024-05-31T11:00:00.000Z"),
        }
        with ControlStub(folder / "control.sock", answers) as stub:
            client = Noticing(str(stub.socket_path))
            found = until(client, KS005, "complete", Deadline(10.0))
            assert found["state"] == "complete"
            assert client.heard == [*range(41, 56), 56], "what happens to others does not make it ask"
            assert [(path, query.get("since")) for _, path, query, _ in stub.requests] == [
                ("/v1/session", None),
                ("/v1/events", "40"),
                ("/v1/sessions/17", None),
            ]


@pytest.mark.slow
def test_wait_outlives_a_killed_daemon_and_ends_when_the_session_is_archived(lab: Lab) -> None:
    session = "KS005/2026-03-02/001"
    lab.start_ready()
    lab.write(session, flag=False)
    lab.command("rescan")
    wait_until(lambda: lab.count("settling") == 1, what="the session to be found")
    client = Noticing(str(lab.directory / "control.sock"))
    waiter = Waiter(client, session, "archived")
    assert client.listens.wait(20.0)
    lab.kill()
    (lab.root / session / "raw_session.flag").touch()
    lab.start_ready()
    assert waiter.end()["state"] == "archived"
    assert lab.command("wait", session, "--for", "archived").returncode == 0
