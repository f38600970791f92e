"""The control server: real HTTP over a real Unix socket."""

from __future__ import annotations

import base64
import grp
import http.client
import json
import multiprocessing
import os
import pwd
import shutil
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from labferry.control import listening
from labferry.control.client import ControlClient
from labferry.control.conversation import BODY_LIMIT
from labferry.control.listening import LONGEST_PATH
from labferry.control.server import ControlServer, bind_socket
from labferry.errors import LabferryError, UnavailableError
from labferry.model import Blocked, JobState, Stage
from support.rights import folder_for_everyone
from support.wait import wait_until
from support.world import DATASET, EID, SESSION, World

NOBODY, STRANGER = 65534, 64321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become other users")


class Served:
    """A world whose control server answers, and a caller that speaks plain HTTP."""

    def __init__(self, folder: Path, world: World, *, group: str = "", **limits: Any) -> None:
        self.world = world
        self.path = str(folder / "c.sock")
        self.server = ControlServer(bind_socket(self.path, group), world.context, world.live, **limits)
        self.server.start()
        self.client = ControlClient(self.path, 10.0)

    def connect(self) -> socket.socket:
        caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        caller.settimeout(10.0)
        try:
            caller.connect(self.path)
        except OSError:
            caller.close()
            raise
        return caller

    def say(self, request: bytes, then: Callable[[socket.socket], None] = lambda _: None) -> tuple[int, dict[str, Any]]:
        """Send these bytes; return status and body."""
        with self.connect() as caller:
            caller.sendall(request)
            then(caller)
            answer = http.client.HTTPResponse(caller)
            answer.begin()
            return answer.status, json.loads(answer.read())

    def ask(self, target: str, method: str = "GET", body: Any = None) -> tuple[int, dict[str, Any]]:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: labferry\r\nContent-Length: {len(content)}\r\n\r\n"
        return self.say(head.encode() + content)

    def refused(self, target: str, method: str = "GET", body: Any = None) -> tuple[int, str]:
        status, envelope = self.ask(target, method, body)
        assert (envelope["ok"], envelope["data"]) == (False, None)
        assert envelope["error"]["message"]
        return status, envelope["error"]["code"]

    def threads(self) -> int:
        return sum(thread.name == "control" for thread in threading.enumerate())


@contextmanager
def serving(folder: Path, **limits: Any) -> Iterator[Served]:
    world = World(folder)
    served = Served(folder, world, **limits)
    try:
        yield served
    finally:
        world.wakeup.stop()
        served.server.stop()
        world.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as served:
        yield served


# --- looking ------------------------------------------------------------------------------------------------


def test_status_in_its_envelope(served: Served) -> None:
    status, envelope = served.ask("/v1/status")
    assert status == 200
    assert (envelope["schema"], envelope["ok"], envelope["error"]) == (1, True, None)
    assert envelope["data"]["pid"] == os.getpid()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_speaks_with_the_socket(served: Served) -> None:
    curl = [shutil.which("curl") or "", "--silent", "--fail", "--max-time", "10", "--unix-socket", served.path]
    answer = subprocess.run([*curl, "http://labferry/v1/status"], capture_output=True, check=True)
    assert json.loads(answer.stdout)["ok"] is True
    answer = subprocess.run(
        [*curl, "-d", '{"lane": "register"}', "http://labferry/v1/pause"], capture_output=True, check=True
    )
    assert json.loads(answer.stdout)["data"] == {"paused": ["register"]}


def test_several_requests_on_one_connection(served: Served) -> None:
    connection = http.client.HTTPConnection("labferry")
    connection.sock = served.connect()
    for target in ("/v1/status", "/v1/nothing", "/v1/jobs", "/healthz"):
        connection.request("GET", target)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.headers["Content-Length"] == str(len(body))
        assert answer.headers["Content-Type"] == "application/json"
        assert json.loads(body)["schema"] == 1
    connection.close()


def test_sessions_by_every_key(served: Served) -> None:
    row = served.world.archived()
    folder = str(served.world.folder_of())
    in_base64 = quote(base64.b64encode(os.fsencode(folder)))
    for target in (
        f"/v1/sessions/{row.id}",
        f"/v1/sessions/{EID}",
        f"/v1/sessions/{SESSION}",
        f"/v1/sessions/{quote(folder, safe='')}",
        f"/v1/sessions/?path={quote(folder)}",
        f"/v1/sessions?path={quote(folder)}",
        f"/v1/sessions/?path_b64={in_base64}",
        f"/v1/session?q={SESSION}",
    ):
        status, envelope = served.ask(target)
        assert (status, envelope["ok"]) == (200, True), target
        assert envelope["data"]["id"] == row.id, target


def test_sessions_are_listed_by_filters(served: Served) -> None:
    served.world.archived()
    assert len(served.client.get("/v1/sessions", state="archived", subject="KS005", since="2019-01-01", root="s0")) == 1
    assert served.client.get("/v1/sessions", state="settling") == []


def test_every_report_is_there(served: Served) -> None:
    world = served.world
    world.archived(files=[("alf/trials.table.pqt", DATASET)])
    world.write("alf/trials.table.pqt")
    assert served.client.get("/v1/explain", path=SESSION)["verdict"] == "ok_archived"
    assert served.client.get("/v1/match", path=SESSION)["counts"]["dataset"] == 1
    assert [job["kind"] for job in served.client.get("/v1/jobs", state="done")] == ["archive", "register"]
    assert served.client.get("/v1/history", session=EID)["events"][0]["action"] == "found"


def test_ruling_25_a_path_that_is_not_utf8_is_asked_for_in_bytes(served: Served) -> None:
    world = served.world
    world.found()
    name = b"caf\xe9"
    with open(os.path.join(os.fsencode(world.folder_of()), name), "wb"):
        pass
    path = os.path.join(os.fsencode(world.folder_of()), name)
    for query in (f"path={quote(path)}", f"path_b64={quote(base64.b64encode(path))}"):
        status, envelope = served.ask(f"/v1/explain?{query}")
        assert (status, envelope["data"]["verdict"]) == (200, "inside_session")
        assert base64.b64decode(envelope["data"]["path_b64"]) == path


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/", 404, "not_found"),
        ("/v1/statuss", 404, "not_found"),
        ("/v1/sessions/999", 404, "no_such_session"),
        ("/v1/sessions/KS999/2019-04-02/001", 404, "no_such_session"),
        ("/v1/sessions/", 400, "bad_request"),
        ("/v1/sessions?state=lost", 400, "bad_request"),
        ("/v1/session", 400, "bad_request"),
        ("/v1/explain", 400, "bad_request"),
        ("/v1/explain?path_b64=%21", 400, "bad_request"),
        ("/v1/explain?path_b64=%C3%A9", 400, "bad_request"),
        ("/v1/explain?path_b64=YQBi", 400, "bad_request"),
        ("/v1/explain?path=a%00b", 400, "bad_request"),
        ("/v1/match?path=/a%00b", 400, "bad_request"),
        ("/v1/session?q=/a%00b", 400, "bad_request"),
        ("/v1/sessions//a%00b", 400, "bad_request"),
        ("/v1/explain?path=KS999/2019-04-02/001", 404, "no_such_path"),
        ("/v1/match?path=/etc", 404, "outside_roots"),
        ("/v1/events?since=yesterday", 400, "bad_request"),
        ("/v1/history?session=x&since=-1", 404, "no_such_session"),
        ("/v1/logs", 404, "no_log_file"),
        ("/v1/rescan", 405, "method_not_allowed"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_code(served: Served, target: str, status: int, code: str) -> None:
    assert served.refused(target) == (status, code)


@pytest.mark.parametrize("text", ["/a\0b", "\ud800"])
def test_what_no_path_can_hold_is_refused_in_an_order_too(served: Served, text: str) -> None:
    assert served.refused("/v1/jobs/retry", "POST", {"session": text}) == (400, "bad_request")
    assert served.refused("/v1/rescan", "POST", {"root": text}) == (400, "bad_request")


def test_a_key_that_fits_several_sessions_is_a_conflict(served: Served) -> None:
    served.world.found()
    served.world.found(root="s1")
    assert served.refused(f"/v1/sessions/{SESSION}") == (409, "several_sessions")


def test_a_wrong_method_is_told_the_right_one(served: Served) -> None:
    for order, right in (("POST /v1/status", b"GET"), ("GET /v1/pause", b"POST"), ("PUT /v1/jobs", b"GET")):
        with served.connect() as caller:
            caller.sendall(f"{order} HTTP/1.0\r\n\r\n".encode())
            head = caller.makefile("rb").read()
        assert b" 405 " in head
        assert b"Allow: " + right in head


def test_head_is_get_without_the_body(served: Served) -> None:
    with served.connect() as caller:
        caller.sendall(b"HEAD /v1/status HTTP/1.1\r\nConnection: close\r\n\r\n")
        head, _, body = caller.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b""


# --- health and metrics -------------------------------------------------------------------------------------


def test_healthz_is_200_while_the_promise_holds_and_503_with_the_reasons(served: Served) -> None:
    assert served.ask("/healthz") == (
        200,
        {"schema": 1, "ok": True, "data": {"healthy": True, "reasons": []}, "error": None},
    )
    served.world.context.dependencies.went_down(UnavailableError("alyx", "alyx_down", "connection refused"))
    status, envelope = served.ask("/healthz")
    assert (status, envelope["data"]["healthy"]) == (503, False)
    assert [reason["code"] for reason in envelope["data"]["reasons"]] == ["dependency_down"]


def test_healthz_does_not_mind_a_session_that_needs_a_person(served: Served) -> None:
    served.world.complete()
    served.world.run(Stage.RESOLVE, Blocked("ambiguous_subject", "two", "rename"))
    assert served.ask("/healthz")[0] == 200


def test_metrics_are_text(served: Served) -> None:
    with served.connect() as caller:
        caller.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        answer = http.client.HTTPResponse(caller)
        answer.begin()
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert b'labferry_sessions{state="archived"} 0' in answer.read()


# --- streams ------------------------------------------------------------------------------------------------


def test_events_up_to_now_end_by_themselves(served: Served) -> None:
    served.world.complete()
    events = list(served.client.stream("/v1/events"))
    assert [event["action"] for event in events][:2] == ["found", "signal"]
    assert list(served.client.stream("/v1/events", since=events[1]["id"])) == events[2:]


def test_events_are_followed_as_they_happen(served: Served) -> None:
    served.world.found()
    newest = served.world.context.journal.last_event()
    stream = served.client.stream("/v1/events", follow=True, since=newest)
    seen: list[dict[str, Any]] = []
    ends: list[str] = []

    def read() -> None:
        try:
            seen.extend(stream)
        except LabferryError as error:
            ends.append(error.code)

    reader = threading.Thread(target=read)
    reader.start()
    wait_until(lambda: served.threads() == 1, what="the stream")
    served.world.complete("KS006/2019-04-02/001")
    served.world.wakeup.ring()
    wait_until(lambda: len(seen) >= 4, what="the events")
    assert {event["path"] for event in seen} == {str(served.world.folder_of("KS006/2019-04-02/001"))}
    served.world.wakeup.stop()
    reader.join(10.0)
    assert ends == ["daemon_not_running"], "streams end when the daemon stops"


def test_a_stream_ends_when_its_client_leaves(served: Served) -> None:
    with served.connect() as caller:
        caller.sendall(b"GET /v1/events?follow=1 HTTP/1.1\r\n\r\n")
        assert b"x-ndjson" in caller.recv(4096)
        assert served.threads() == 1
    served.world.wakeup.ring()
    wait_until(lambda: served.threads() == 0, what="the end of the stream")


def test_a_stream_tells_its_end_from_a_break(served: Served) -> None:
    served.world.found()
    for version, last in ((b"1.1", b"\r\n0\r\n\r\n"), (b"1.0", b"}\n")):
        with served.connect() as caller:
            caller.sendall(b"GET /v1/events HTTP/" + version + b"\r\n\r\n")
            assert caller.makefile("rb").read().endswith(last)


def test_streams_leave_room_for_questions(tmp_path: Path) -> None:
    with serving(tmp_path, streams=1) as served, served.connect() as caller:
        caller.sendall(b"GET /v1/events?follow=1 HTTP/1.1\r\n\r\n")
        assert b"200" in caller.recv(4096)
        assert served.refused("/v1/events?follow=1") == (503, "busy")
        assert served.ask("/v1/status")[0] == 200


def test_the_log_is_read_and_followed(served: Served) -> None:
    log = served.world.log
    log.write_text('{"event": "one"}\n{"event": "two"}\n')
    assert [line["event"] for line in served.client.stream("/v1/logs", lines=1)] == ["two"]
    stream = served.client.stream("/v1/logs", lines=2, follow=True)
    assert [next(stream)["event"], next(stream)["event"]] == ["one", "two"]
    with log.open("a") as more:
        more.write('{"event": "three"}\n')
    assert next(stream)["event"] == "three"
    stream.close()


# --- changing -----------------------------------------------------------------------------------------------


def test_retry_of_one_session_and_of_all(served: Served) -> None:
    world = served.world
    row = world.complete()
    world.run(Stage.RESOLVE, Blocked("ambiguous_subject", "two", "rename"))
    assert served.client.post("/v1/jobs/retry", {"session": SESSION})["retried"] == 1
    assert world.job(row).state is JobState.QUEUED
    world.run(Stage.RESOLVE, Blocked("ambiguous_subject", "two", "rename"))
    assert served.client.post("/v1/jobs/retry", {"all": True, "code": "no_datasets"})["retried"] == 0
    assert served.client.post("/v1/jobs/retry", {"all": True, "code": None})["retried"] == 1


def test_hold_release_and_cancel(served: Served) -> None:
    world = served.world
    row = world.complete()
    served.client.post("/v1/jobs/hold", {"session": SESSION})
    assert world.now(row).held_at is not None
    assert served.client.post("/v1/jobs/release", {"all": True}) == {"sessions": 1}
    assert world.now(row).held_at is None
    served.client.post("/v1/jobs/cancel", {"session": SESSION})
    assert world.job(row).reason == f"Cancelled by {pwd.getpwuid(os.geteuid()).pw_name}."


def test_pause_resume_and_rescan(served: Served) -> None:
    assert served.client.post("/v1/pause", {"lane": None})["paused"] == ["archive", "register", "seal"]
    assert served.client.post("/v1/resume", {})["paused"] == []
    assert served.client.post("/v1/rescan", {"root": None}) == {"roots": ["s0", "s1"]}


@pytest.mark.parametrize(
    ("target", "body", "status", "code"),
    [
        ("/v1/jobs/retry", {}, 400, "bad_request"),
        ("/v1/jobs/retry", {"session": SESSION, "all": True}, 400, "bad_request"),
        ("/v1/jobs/retry", {"session": 1}, 400, "bad_request"),
        ("/v1/jobs/retry", {"session": "KS999/2019-04-02/001"}, 404, "no_such_session"),
        ("/v1/jobs/retry", [], 400, "bad_request"),
        ("/v1/pause", {"lane": "detect"}, 400, "bad_request"),
        ("/v1/rescan", {"root": "lost"}, 400, "bad_request"),
        ("/v1/rescan", {"accept_missing": True}, 400, "bad_request"),
        ("/v1/jobs/forget", {}, 404, "not_found"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(
    served: Served, target: str, body: Any, status: int, code: str
) -> None:
    assert served.refused(target, "POST", body) == (status, code)


def test_a_full_state_directory_is_no_reason_to_keep_silent(served: Served) -> None:
    row = served.world.complete()
    served.world.run(Stage.RESOLVE, Blocked("ambiguous_subject", "two", "rename"))
    writer = served.world.journal._db._writer
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(UnavailableError):
        served.world.journal.steps.send(served.world.job(row).id, "fill", "x" * 1_000_000)
    assert served.ask("/healthz")[0] == 503
    assert served.ask("/v1/status")[1]["data"]["health"][0]["code"] == "journal_trouble"


# --- bad manners --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET\r\n\r\n", 400),
        (b"GET /v1/status HTTP/9.9\r\n\r\n", 505),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + (b"X: " + b"y" * 60_000 + b"\r\n") * 3 + b"\r\n", 431),
        (b"POST /v1/pause HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /v1/pause HTTP/1.1\r\nContent-Length: 5\r\n\r\n{...}", 400),
        (b"POST /v1/pause HTTP/1.1\r\nContent-Length: 20000\r\n\r\n" + b"[" * 20_000, 400),
        (b"POST /v1/pause HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (f"POST /v1/pause HTTP/1.1\r\nContent-Length: {BODY_LIMIT + 1}\r\n\r\n".encode(), 413),
    ],
)
def test_what_is_not_well_formed_is_answered_in_the_envelope(served: Served, request_bytes: bytes, status: int) -> None:
    found, envelope = served.say(request_bytes)
    assert (found, envelope["ok"]) == (status, False)
    assert envelope["error"]["code"] in {"bad_request", "too_large"}
    assert served.ask("/v1/status")[0] == 200


def test_no_traceback_reaches_a_client(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    def fault(_: object) -> None:
        raise ZeroDivisionError("a fault of labferry itself")

    served.server.api._looks["/v1/jobs"] = fault
    status, envelope = served.ask("/v1/jobs")
    assert (status, envelope["error"]["code"]) == (500, "internal")
    assert "ZeroDivisionError" not in json.dumps(envelope)
    assert "ZeroDivisionError" in capsys.readouterr().out, "the log has it"
    assert served.ask("/v1/status")[0] == 200


def test_a_silent_client_is_dropped(tmp_path: Path) -> None:
    with serving(tmp_path, idle=0.1) as served, served.connect() as silent, served.connect() as slow:
        slow.sendall(b"POST /v1/pause HTTP/1.1\r\nContent-Length: 10\r\n\r\n{")
        assert silent.recv(1) == b""
        assert slow.recv(1) == b""
        wait_until(lambda: served.threads() == 0, what="the end of both")


def test_too_many_connections_are_told_to_come_back(tmp_path: Path) -> None:
    with serving(tmp_path, connections=2) as served:
        with served.connect(), served.connect():
            wait_until(lambda: served.threads() == 2, what="two connections")
            assert served.refused("/v1/status") == (503, "busy")
        wait_until(lambda: served.threads() == 0, what="the end of both")
        assert served.ask("/v1/status")[0] == 200


def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(served: Served) -> None:
    before = list(served.world.journal._db._open_readers)
    for request in (
        b"",
        b"GET /v1/st",
        b"POST /v1/pause HTTP/1.1\r\nContent-Length: 10\r\n\r\n{",
        b"GET /v1/status HTTP/1.1\r\n\r\n",
    ):
        with served.connect() as caller:
            caller.sendall(request)
    wait_until(lambda: served.threads() == 0, what="the end of all")
    assert served.world.journal._db._open_readers == before, "each thread forgets its reader"
    assert served.ask("/v1/status")[0] == 200


# --- beside the work ----------------------------------------------------------------------------------------


def test_win_05_status_answers_while_a_writer_holds_its_transaction(served: Served) -> None:
    world = served.world
    world.complete()
    with world.journal.together():
        world.found("KS006/2019-04-02/001")
        for target in ("/v1/status", "/v1/sessions", "/v1/jobs", f"/v1/explain?path={SESSION}", "/healthz", "/metrics"):
            with served.connect() as caller:  # which gives up after its time-out
                caller.sendall(f"GET {target} HTTP/1.0\r\n\r\n".encode())
                assert caller.recv(1024).startswith(b"HTTP/1.1 200 "), target
        assert served.client.get("/v1/status")["sessions"]["settling"] == 0, "what is not committed is not told"
    assert served.client.get("/v1/status")["sessions"]["settling"] == 1


def test_stopping_lets_an_answer_end_and_closes_the_door(served: Served) -> None:
    with served.connect() as idle, served.connect() as stream:
        stream.sendall(b"GET /v1/events?follow=1 HTTP/1.1\r\n\r\n")
        assert b"200" in stream.recv(4096)
        began = time.monotonic()
        served.server.stop()
        assert time.monotonic() - began < 5.0
        assert idle.recv(1) == b""
        assert stream.makefile("rb").read() == b"0\r\n\r\n", "a stream ends in good order"
    assert not served.server.alive
    with pytest.raises(ConnectionRefusedError):
        served.connect()
    wait_until(lambda: served.threads() == 0, what="the end of all")


# --- who may ------------------------------------------------------------------------------------------------


def as_user(uid: int, gid: int, path: str) -> list[int | str]:
    """Look and change as another user; return the two HTTP statuses, or the error."""

    def child(result: Any) -> None:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        found: list[int | str] = []
        try:
            for method, target in (("GET", "/v1/status"), ("POST", "/v1/resume")):
                connection = http.client.HTTPConnection("labferry")
                connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connection.sock.connect(path)
                connection.request(method, target)
                answer = connection.getresponse()
                found.append(answer.status)
                answer.read()
        except OSError as error:
            found.append(type(error).__name__)
        result.send(found)

    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=child, args=(there,))
    process.start()
    process.join(10.0)
    assert here.poll(0), "the other user answered"
    found: list[int | str] = here.recv()
    return found


@needs_root
def test_ruling_27_three_users() -> None:
    group = grp.getgrgid(NOBODY).gr_name
    with folder_for_everyone() as folder, serving(folder, group=group) as served:
        assert as_user(0, 0, served.path) == [200, 200], "root may change"
        assert as_user(NOBODY, NOBODY, served.path) == [200, 403], "the group may look"
        assert as_user(STRANGER, STRANGER, served.path) == ["PermissionError"], "others may not even connect"


@needs_root
def test_ruling_27_an_operator_may_change() -> None:
    group, user = grp.getgrgid(NOBODY).gr_name, pwd.getpwuid(NOBODY).pw_name
    with folder_for_everyone() as folder:
        world = World(folder, control={"operators": [user]})
        served = Served(folder, world, group=group)
        try:
            assert as_user(NOBODY, NOBODY, served.path) == [200, 200]
            assert as_user(STRANGER, NOBODY, served.path) == [200, 403], "a member of the group without a name"
        finally:
            served.server.stop()
            world.close()


def test_the_user_of_the_service_may_change(served: Served) -> None:
    assert served.ask("/v1/resume", "POST", {})[0] == 200


# --- the socket's file --------------------------------------------------------------------------------------


def test_ruling_27_the_socket_is_for_the_group_whatever_the_umask(tmp_path: Path) -> None:
    for umask in (0o000, 0o777):
        before = os.umask(umask)
        try:
            listener = bind_socket(str(tmp_path / "c.sock"), "no-such-group")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "c.sock").stat().st_mode) == 0o660
        listener.close()


@needs_root
def test_ruling_27_the_socket_is_given_to_the_group(tmp_path: Path) -> None:
    with bind_socket(str(tmp_path / "c.sock"), grp.getgrgid(NOBODY).gr_name):
        assert (tmp_path / "c.sock").stat().st_gid == NOBODY


def test_ruling_08_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    bind_socket(str(tmp_path / "c.sock")).close()
    with bind_socket(str(tmp_path / "c.sock")) as listener, socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(tmp_path / "c.sock"))
        answering, _ = listener.accept()
        with answering:
            caller.sendall(b"!")
            assert answering.recv(1) == b"!"


def test_ruling_08_a_daemon_that_answers_is_named_and_left_alone(served: Served) -> None:
    with pytest.raises(LabferryError) as caught:
        bind_socket(served.path)
    assert caught.value.code == "already_running"
    assert f"pid {os.getpid()}" in caught.value.message
    assert served.ask("/v1/status")[0] == 200


def test_ruling_08_who_listens_without_answering_is_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "ASK_FOR", 0.1)
    path = str(tmp_path / "c.sock")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen(1)
        with pytest.raises(LabferryError) as caught:
            bind_socket(path)
    assert caught.value.code == "already_running"
    assert f"pid {os.getpid()}" in caught.value.message


def test_what_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    for name, make in (
        ("file", lambda path: path.write_text("precious")),
        ("folder", lambda path: path.mkdir()),
        ("link", lambda path: path.symlink_to("elsewhere")),
    ):
        make(tmp_path / name)
        with pytest.raises(LabferryError, match="is not a socket") as caught:
            bind_socket(str(tmp_path / name))
        assert caught.value.code == "socket_path"
        assert os.path.lexists(tmp_path / name)


def test_a_path_that_cannot_be_a_socket_is_refused_clearly(tmp_path: Path) -> None:
    with pytest.raises(LabferryError, match=f"longer than {LONGEST_PATH} bytes"):
        bind_socket(str(tmp_path / ("x" * LONGEST_PATH)))
    with pytest.raises(LabferryError, match="No such file or directory"):
        bind_socket(str(tmp_path / "none" / "c.sock"))
