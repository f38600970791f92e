"""A stand-in for the daemon's control socket: canned answers in the shapes of the interface contract."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from labferry import __version__
from labferry.model import SessionState

SUBJECTS = "/mnt/s0/Data/Subjects"
KS005 = f"{SUBJECTS}/KS005/2024-05-31/001"
EID = "b1c968ad-4874-468d-b2e4-5ffa9b9964e9"


def envelope(data: Any) -> dict[str, Any]:
    return {"schema": 1, "ok": True, "data": data, "error": None}


def refusal(code: str, message: str, hint: str = "") -> dict[str, Any]:
    return {"schema": 1, "ok": False, "data": None, "error": {"code": code, "message": message, "hint": hint}}


@dataclass(frozen=True)
class Lines:
    """An NDJSON answer."""

    objects: list[dict[str, Any]]


class ControlStub:
    """Answers every path with what it was given for it, and remembers what it was asked.

    Parameters
    ----------
    socket_path : Path
    answers : mapping
        Path to `data`, to `Lines`, to `(HTTP status, envelope)`, or to bytes sent as the whole body.
    """

    def __init__(self, socket_path: Path, answers: Mapping[str, Any]) -> None:
        self.socket_path = socket_path
        self.answers = dict(answers)
        self.requests: list[tuple[str, str, dict[str, str], dict[str, Any]]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stub._answer(self)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

            def address_string(self) -> str:
                return "socket"

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

        self._server = Server(str(socket_path), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> ControlStub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Die, and leave the socket's file behind; may be called again."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        query = dict(parse_qsl(url.query, errors="surrogateescape"))
        length = int(handler.headers.get("Content-Length", 0))
        body = json.loads(handler.rfile.read(length)) if length else {}
        self.requests.append((handler.command, url.path, query, body))
        answer = self.answers.get(url.path, (404, refusal("not_found", f"There is nothing at {url.path}.")))
        status = 200
        if isinstance(answer, bytes):
            content = answer
        elif isinstance(answer, Lines):
            content = b"".join(json.dumps(one).encode() + b"\n" for one in answer.objects)
        elif isinstance(answer, tuple):
            status, content = answer[0], json.dumps(answer[1]).encode()
        else:
            content = json.dumps(envelope(answer)).encode()
        handler.send_response(status)
        if not isinstance(answer, Lines):  # of a stream the end is that of the connection
            handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)


# --- canned data ------------------------------------------------------------------------------------------


def status(**changes: Any) -> dict[str, Any]:
    """Return `status.data` of a daemon with everything done; `changes` replace or, for tables, add."""
    data: dict[str, Any] = {
        "version": __version__,
        "pid": 4711,
        "started": "2024-06-01T00:00:00.000Z",
        "uptime_s": 270_000.0,
        "server_name": "lab-server-1",
        "paused": [],
        "sessions": {**dict.fromkeys((state.value for state in SessionState), 0), "archived": 132},
        "attention": 0,
        "jobs": {"queued": 0, "running": 0, "waiting": 0, "blocked": 0},
        "oldest_waiting_s": None,
        "transfers": {"active": 0, "bytes_done": 0, "bytes_total": 0},
        "dependencies": {
            "alyx": {"state": "up", "since": "2024-06-01T00:00:00.000Z", "code": "", "detail": ""},
            "archive:nas": {"state": "up", "since": "2024-06-01T00:00:00.000Z", "code": "", "detail": ""},
        },
        "vocabulary": {"fetched": "2024-06-04T02:30:00.000Z"},
        "roots": [
            {
                "name": "s0",
                "path": SUBJECTS,
                "layout": "ibl",
                "mode": "events",
                "watches": 14,
                "overflows": 0,
                "sessions": 132,
                "last_scan": "2024-06-04T02:59:48.000Z",
                "scan_s": 0.0123,
                "problem": None,
                "frozen": False,
                "near_misses": 0,
            }
        ],
        "lanes": [{"name": "detect", "alive": True, "paused": False, "doing": "idle"}],
        "health": [],
    }
    for key, value in changes.items():
        data[key] = {**data.get(key, {}), **value} if isinstance(value, dict) else value
    return data


def trouble() -> dict[str, Any]:
    """Return `status.data` of a bad night."""
    return status(
        sessions={"settling": 4, "complete": 9, "registered": 6, "adopted": 20_012, "vanished": 1},
        attention=3,
        jobs={"queued": 4, "running": 2, "waiting": 6, "blocked": 3},
        oldest_waiting_s=7300.0,
        paused=["archive"],
        transfers={"active": 1, "bytes_done": 1_234_000_000, "bytes_total": 3_400_000_000},
        dependencies={
            "archive:nas": {
                "state": "down",
                "since": "2024-06-04T02:12:00.000Z",
                "code": "target_missing",
                "detail": "/mnt/nas/archive is not there",
            }
        },
        health=[
            {
                "code": "dependency_down",
                "severity": "error",
                "title": "A service that the work needs does not answer",
                "text": "archive:nas: /mnt/nas/archive is not there",
                "since": "2024-06-04T02:12:00.000Z",
            },
            {
                "code": "attention",
                "severity": "warning",
                "title": "Sessions need a person",
                "text": "3 sessions to look at.",
                "since": None,
            },
        ],
    )


def session(**changes: Any) -> dict[str, Any]:
    """Return one session of the list, registered and blocked in the archive."""
    return {
        "id": 17,
        "path": KS005,
        "root": "s0",
        "layout": "ibl",
        "subject": "KS005",
        "date": "2024-05-31",
        "number": 1,
        "lab": "cortexlab",
        "eid": EID,
        "state": "registered",
        "attention": {
            "code": "destination_differs",
            "message": "/mnt/nas/archive/KS005/x.npy exists with other content",
            "hint": "Nothing was overwritten. Find out which one is right.",
        },
        "first_seen": "2024-05-31T10:00:00.000Z",
        "complete_at": "2024-05-31T11:00:00.000Z",
        "registered_at": "2024-05-31T11:01:00.000Z",
        "archived_at": None,
        **changes,
    }


def job(**changes: Any) -> dict[str, Any]:
    """Return one job of the list, blocked."""
    return {
        "id": 34,
        "kind": "archive",
        "target": "nas",
        "state": "blocked",
        "stage": "archive",
        "generation": 1,
        "attempts": 2,
        "failures": 0,
        "code": "destination_differs",
        "reason": "/mnt/nas/archive/KS005/x.npy exists with other content",
        "hint": "Nothing was overwritten. Find out which one is right.",
        "next_at": None,
        "bytes_left": 1_000_000,
        "created_at": "2024-05-31T11:01:00.000Z",
        "updated_at": "2024-05-31T11:02:00.000Z",
        "finished_at": None,
        "path": KS005,
        "session": 17,
        "root": "s0",
        **changes,
    }


def shown() -> dict[str, Any]:
    """Return `show.data`."""
    return session(
        generation=1,
        signal="raw_session.flag",
        signal_seen_at="2024-05-31T10:58:00.000Z",
        waits=None,
        held_at=None,
        excluded_at=None,
        closed_folder=None,
        closed_why="",
        moved_from=None,
        vanished_at=None,
        repository="cortexlab_SR",
        sealed=True,
        files={
            "total": 47,
            "datasets": 41,
            "bytes": 45_300_000_000,
            "registered": 41,
            "archived": 12,
            "unmatched": 4,
            "unmatched_bytes": 120_000,
            "rejected": 2,
            "changed": 0,
        },
        jobs=[job(id=33, kind="register", target="", state="done", code="", reason="", hint=""), job()],
        transfers=[
            {
                "id": 5,
                "job": 34,
                "target": "nas",
                "state": "active",
                "ticket": None,
                "destination": "/mnt/nas/archive/cortexlab/Subjects/KS005/2024-05-31/001",
                "bytes_done": 1_200_000,
                "bytes_total": 45_000_000,
                "files_done": 12,
                "files_total": 41,
                "started_at": "2024-05-31T11:01:30.000Z",
                "ended_at": None,
            }
        ],
    )


def explained(**changes: Any) -> dict[str, Any]:
    """Return `explain.data` of a session that waits."""
    return {
        "path": KS005,
        "root": "s0",
        "verdict": "waiting_signal",
        "code": "",
        "message": "No completion signal yet.",
        "hint": "The session ends with its flag (raw_session.flag for IBL).",
        "evidence": [
            {"what": "first seen", "at": "2024-05-31T10:00:00.000Z"},
            {"what": "raw_session.flag is not there", "at": None},
        ],
        "next": {"what": "the next look", "at": "2024-05-31T12:00:00.000Z"},
        "attention": False,
        **changes,
    }


def history() -> dict[str, Any]:
    """Return the history of a session with one lost attempt."""
    return {
        "session": 17,
        "path": KS005,
        "events": [
            event(1, "found", None, "settling"),
            event(2, "complete", "settling", "complete"),
            event(3, "register", None, "queued", job=33),
            event(4, "register", "running", "done", job=33),
            event(5, "archive", "running", "blocked", job=34, code="destination_differs"),
        ],
        "attempts": [
            {
                "job": 33,
                "kind": "register",
                "target": "",
                "stage": "register",
                "started_at": "2024-05-31T11:00:00.000Z",
                "ended_at": "2024-05-31T11:00:05.000Z",
                "outcome": "retry",
                "code": "crash",
                "detail": 'Traceback (most recent call last):\n  File "x.py", line 1\nKeyError: 1',
            }
        ],
    }


def event(number: int, action: str, before: str | None, after: str | None, **changes: Any) -> dict[str, Any]:
    """Return one event."""
    return {
        "id": number,
        "at": f"2024-05-31T11:00:{number:02d}.000Z",
        "session": 17,
        "job": None,
        "action": action,
        "from": before,
        "to": after,
        "code": "",
        "path": KS005,
        **changes,
    }


def whose() -> dict[str, Any]:
    """Return `whois.data` of a subject whose sessions can be registered."""
    root = {"root": "s0", "lab": "cortexlab", "configured": False, "repository": "cortexlab_SR", "problem": None}
    return {
        "subject": "KS005",
        "lab": "cortexlab",
        "responsible_user": "rita",
        "projects": ["ibl_cortexlab"],
        "problem": None,
        "roots": [root],
    }


def matched() -> dict[str, Any]:
    """Return `match.data` of a session with one file of every kind."""

    def file(path: str, decision: str, size: int | None = 1000, **more: Any) -> dict[str, Any]:
        empty = {"pattern": None, "dataset_type": None, "data_format": None, "code": "", "reason": ""}
        return {"path": path, "size": size, "decision": decision, **empty, **more}

    return {
        "path": KS005,
        "root": "s0",
        "session": "KS005/2024-05-31/001",
        "counts": {"dataset": 1, "unmatched": 1, "excluded": 1, "rejected": 1},
        "complete": True,
        "files": [
            file(
                "alf/_ibl_trials.choice.npy",
                "dataset",
                12_800,
                pattern="alf/**/*.*.*",
                dataset_type="_ibl_trials.choice",
                data_format="npy",
            ),
            file("notes.txt", "unmatched", code="no_pattern", reason="no registration pattern asks for it"),
            file(
                "raw_video_data/_iblrig_leftCamera.raw.avi",
                "excluded",
                4_000_000,
                pattern="raw_video_data/**/_iblrig_*.*",
                code="excluded_suffix",
                reason="its suffix is excluded: .avi",
            ),
            file(
                "alf/x\x1b[31m.y.npy",
                "rejected",
                None,
                pattern="alf/**/*.*.*",
                code="unsafe_name",
                reason="Alyx would change this name silently: 'x\x1b[31m.y.npy'",
            ),
        ],
    }


def verification(**changes: Any) -> dict[str, Any]:
    """Return `verify.data` of a session that is as it should be."""
    nothing = {"differences": [], "differing": 0, "extra": [], "extras": 0}
    return {
        "session": 17,
        "path": KS005,
        "verdict": "ok",
        "message": "all 41 datasets are in Alyx as they were sealed, all 41 files are in nas",
        "hint": "",
        "deep": False,
        "journal": {
            "state": "archived",
            "generation": 1,
            "complete_at": "2024-05-31T11:00:00.000Z",
            "registered_at": "2024-05-31T11:01:00.000Z",
            "archived_at": "2024-05-31T11:02:00.000Z",
            "files": {"total": 47, "datasets": 41},
        },
        "alyx": {
            "eid": EID,
            "gone": False,
            "datasets": 41,
            "registered": 41,
            "online": 41,
            "repositories": {"cortexlab_SR": 41, "flatiron_cortexlab": 41},
            **nothing,
        },
        "archives": [
            {
                "target": "nas",
                "kind": "directory",
                "destinations": [{"path": "/mnt/nas/archive/cortexlab/Subjects/KS005/2024-05-31/001"}],
                "files": 41,
                "verified": 41,
                "pending": 0,
                "evidence": {"copied": 41},
                "compared": "size",
                "how": "names and sizes; --deep reads every copy",
                "problem": None,
                **nothing,
            }
        ],
        **changes,
    }


def check(name: str, result: str = "ok", text: str = "fine", hint: str = "") -> dict[str, str]:
    """Return one check of the doctor."""
    return {"name": name, "result": result, "text": text, "hint": hint}


def login(**changes: Any) -> dict[str, Any]:
    """Return `login.data` of a login that works."""
    return {
        "service": "alyx",
        "url": "https://alyx.example.org",
        "user": "lab_server",
        "secret": {"key": "password_file", "path": "/etc/labferry/alyx-password", "given_by_systemd": False},
        "may_write": True,
        "labs": ["cortexlab"],
        "state": "ok",
        "code": "",
        "message": "lab_server (labs: cortexlab) is logged in at https://alyx.example.org and may register",
        "hint": "",
        **changes,
    }


def records() -> list[dict[str, Any]]:
    """Return log records."""
    return [
        {
            "at": "2024-05-31T11:00:01.000Z",
            "level": "info",
            "event": "complete",
            "root": "s0",
            "session": KS005.removeprefix(f"{SUBJECTS}/"),
        },
        {
            "at": "2024-05-31T11:00:05.000Z",
            "level": "warning",
            "event": "blocked",
            "session": "s0:KS005/2024-05-31/001",
            "eid": EID,
            "code": "destination_differs",
            "why": "exists with other content",
        },
    ]


ANSWERS: Mapping[str, Any] = {
    "/v1/status": status(),
    "/v1/sessions": [session(), session(id=18, number=2, state="archived", attention=None)],
    "/v1/session": shown(),
    "/v1/explain": explained(),
    "/v1/jobs": [job(), job(id=35, state="waiting", code="target_missing", next_at="2024-05-31T11:09:00.000Z")],
    "/v1/history": history(),
    "/v1/events": Lines([event(6, "archive", "blocked", "queued"), event(7, "archive", "queued", "running")]),
    "/v1/match": matched(),
    "/v1/whois": whose(),
    "/v1/logs": Lines(records()),
    "/v1/verify": verification(),
    "/v1/doctor": {"checks": [check("alyx_login", text="logged in as lab_server")]},
    "/v1/login": login(),
    "/v1/jobs/retry": {"jobs": [34], "sessions": 0},
    "/v1/pause": {"paused": ["archive"]},
    "/v1/resume": {"paused": []},
    "/v1/rescan": {"roots": ["s0"]},
}
