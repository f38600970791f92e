"""A whole lab for tests: the sandbox and the daemon as processes of their own, a rig's folders, one socket to ask.

Everything lives in one temporary directory; `Lab.close` ends every process.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

from labferry.archive.naming import dataset_id
from support.processes import Process, SocketConnection
from support.wait import wait_until

FAST = {
    "LABFERRY_DETECTION__QUIET": "0.2",
    "LABFERRY_DETECTION__SCAN_EVERY": "0.2",
    "LABFERRY_REGISTRATION__RESEND_AFTER": "0.3",
    "LABFERRY_REGISTRATION__RESEND_LOOK_EVERY": "0.2",
    "LABFERRY_GLOBUS__POLL_EVERY": "0.2",
    "LABFERRY_WORKER__BACKOFF_MAX": "1",
}


SMALL: Mapping[str, bytes] = {
    "alf/_ibl_wheel.position.npy": b"positions",
    "alf/_ibl_trials.intervals.npy": b"intervals",
    "raw_video_data/_iblrig_leftCamera.timestamps.ssv": b"{}",
}
FLAG = "raw_session.flag"


class Lab:
    """One sandbox and at most one daemon."""

    def __init__(
        self,
        directory: Path,
        *subjects: str,
        environment: Mapping[str, str] = FAST,
        prefix: Sequence[str] = (),
        archive: str = "directory",
    ) -> None:
        self.directory = directory
        self.environment = dict(environment)
        self.prefix = prefix  # of the daemon's command line: a program that starts it with other rights
        self.program: Sequence[str] = ("-m", "labferry")  # what Python is to run as the daemon
        self._archive = archive  # how the sandbox's configuration reaches it: `directory` or `globus`
        self._start_sandbox(*(word for subject in subjects for word in ("--subject", subject)))
        self.daemon: Process | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- places -------------------------------------------------------------------------------------------

    @property
    def root(self) -> Path:
        """The watch root."""
        return self.directory / "Subjects"

    @property
    def archive(self) -> Path:
        """Below it, a folder per lab."""
        return self.directory / "archive"

    @property
    def config(self) -> str:
        """The daemon's configuration file."""
        return str(self.up["config"])

    @property
    def log(self) -> str:
        """What the daemon printed so far."""
        file = self.directory / "daemon.log"
        return file.read_text() if file.exists() else ""

    @property
    def state_dir(self) -> Path:
        """The daemon's state directory."""
        return self.directory / "state"

    @property
    def records(self) -> list[dict[str, Any]]:
        """What the daemon printed so far, as records of its log; whatever else it printed is a failure."""
        return [json.loads(line) for line in self.log.splitlines()]

    def logged(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Return the records of an event with these values."""
        return [r for r in self.records if r["event"] == event and all(r.get(k) == v for k, v in fields.items())]

    # --- processes ----------------------------------------------------------------------------------------

    def start(self) -> Process:
        """Start the daemon; return without waiting."""
        self.daemon = Process(
            ["run", "--config", self.config],
            self.environment,
            self.directory / "daemon.log",
            prefix=self.prefix,
            program=self.program,
        )
        return self.daemon

    def start_ready(self) -> Process:
        """Start the daemon and wait until it answers."""
        daemon = self.start()
        wait_until(lambda: self.answers() or daemon.process.poll() is not None, what="the daemon to answer")
        assert daemon.process.poll() is None, self.log
        return daemon

    def require_running(self) -> None:
        """Fail if the daemon ended by itself."""
        assert self.daemon is None or self.daemon.process.poll() is None, self.log[-3000:]

    def kill(self) -> None:
        """`kill -9` the daemon."""
        assert self.daemon is not None
        self.daemon.end(signal.SIGKILL)
        self.daemon = None

    def stop(self) -> int:
        """Stop the daemon as systemd does; return its exit status."""
        assert self.daemon is not None
        code = self.daemon.end(signal.SIGTERM)
        self.daemon = None
        return code

    def command(
        self, *words: str, environment: Mapping[str, str] | None = None, typed: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of `labferry` as an operator does, to its end; a traceback in its output is a failure.

        `typed` comes through a pipe, not from a terminal.
        """
        done = subprocess.run(
            [sys.executable, "-m", "labferry", *words],
            env={**os.environ, "LABFERRY_CONFIG": self.config, **(environment or {})},
            input=typed,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    def require_calm(self) -> None:
        """Fail if anything unforeseen happened: a traceback, or a line that is no record."""
        assert "Traceback" not in self.log, self.log
        assert [r for r in self.records if r["level"] in {"error", "critical"} or "exception" in r] == []

    def close(self) -> None:
        """End everything."""
        if self.daemon is not None:
            self.kill()
        self._sandbox.end(signal.SIGTERM)

    def restart_sandbox(self) -> None:
        """Stop the sandbox and start it again on the same port: an outage with a memory."""
        port = urlsplit(self.up["alyx_url"]).port
        self.stop_sandbox()
        self._start_sandbox("--port", str(port))

    def _start_sandbox(self, *options: str) -> None:
        log = self.directory / "sandbox.log"
        command = ["sandbox", "--dir", str(self.directory), "--archive", self._archive, *options]
        self._sandbox = Process(command, {}, log, pipe=True)
        assert self._sandbox.process.stdout is not None
        line = self._sandbox.process.stdout.readline()
        assert line, log.read_text()
        self.up: dict[str, Any] = json.loads(line)

    def stop_sandbox(self, number: int = signal.SIGTERM) -> None:
        """Alyx and Globus are down."""
        self._sandbox.end(number)

    # --- sessions -----------------------------------------------------------------------------------------

    def write(self, session: str, files: Mapping[str, bytes] = SMALL, *, flag: bool = True) -> Path:
        """Write a session's folder, its flag last; return the folder."""
        folder = self.root / session
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        if flag:
            (folder / FLAG).touch()
        return folder

    # --- the daemon's socket ------------------------------------------------------------------------------

    def ask(self, path: str, method: str = "GET", body: object = None) -> dict[str, Any]:
        """Return the envelope of one answer."""
        connection = SocketConnection(str(self.directory / "control.sock"))
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()

    def answers(self) -> bool:
        """Say whether the daemon answers."""
        return bool(self._status_if_it_answers())

    def _status_if_it_answers(self) -> dict[str, Any]:
        """Return `status.data`; nothing while the daemon does not answer."""
        try:
            answer = self.ask("/v1/status")
        except (OSError, http.client.HTTPException, ValueError):
            return {}
        data: dict[str, Any] = answer["data"] if answer["ok"] else {}
        return data

    def status(self) -> dict[str, Any]:
        """Return `status.data`."""
        data: dict[str, Any] = self.ask("/v1/status")["data"]
        return data

    def explain(self, path: str | Path) -> dict[str, Any]:
        """Return `explain.data` of a path."""
        answer = self.ask(f"/v1/explain?path={quote(os.fsencode(path))}")
        data: dict[str, Any] = answer["data"]
        assert answer["ok"], answer
        return data

    def show(self, session: str) -> dict[str, Any]:
        """Return `show.data` of a session by its path below the root."""
        data: dict[str, Any] = self.ask(f"/v1/session?q={quote(session)}")["data"]
        return data

    def actions(self, session: str) -> list[str]:
        """Return what happened to a session, in order."""
        return [event["action"] for event in self.ask(f"/v1/history?session={quote(session)}")["data"]["events"]]

    def journal(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the journal's file itself; also while no daemon runs."""
        with closing(sqlite3.connect(f"file:{self.state_dir}/journal.sqlite?mode=ro", uri=True)) as connection:
            return connection.execute(sql, values).fetchall()

    def count(self, state: str) -> int:
        """Return how many sessions are in a state; none while the daemon does not answer."""
        return int(self._status_if_it_answers().get("sessions", {}).get(state, 0))

    def attention(self) -> int:
        """Return how many sessions need a person; none while the daemon does not answer."""
        return int(self._status_if_it_answers().get("attention", 0))

    def wait_for(self, state: str, sessions: int = 1, timeout: float = 30) -> None:
        """Wait until so many sessions are in a state."""

        def reached() -> bool:
            self.require_running()
            return self.count(state) >= sessions

        wait_until(reached, timeout=timeout, what=lambda: f"{sessions} sessions {state}\n{self.log[-3000:]}")

    def let_work(self, seconds: float) -> None:
        """Follow the daemon's events for a while: time passes with what it does, and no longer than asked for."""
        connection = SocketConnection(str(self.directory / "control.sock"))
        deadline = time.monotonic() + seconds
        try:
            connection.request("GET", "/v1/events?follow=1")
            channel = connection.sock  # the answer takes it over
            with connection.getresponse() as stream:
                while (left := deadline - time.monotonic()) > 0:
                    channel.settimeout(left)
                    stream.readline()
        except TimeoutError:
            return  # nothing happened until then
        finally:
            connection.close()

    def wait_until_doing(self, what: str, timeout: float = 20) -> str:
        """Wait until a lane says that it does something; return its words."""

        def found() -> str:
            words = [str(lane["doing"]) for lane in self.status()["lanes"]]
            return next((one for one in words if what in one), "")

        return wait_until(found, timeout=timeout, what=lambda: f"a lane doing {what!r}\n{self.log[-3000:]}")

    def wait_for_code(self, path: str | Path, code: str, timeout: float = 30) -> dict[str, Any]:
        """Wait until `explain` of a path gives a verdict or code; return the answer."""
        seen: dict[str, Any] = {}

        def found() -> bool:
            nonlocal seen
            seen = self.explain(path)
            return code in {seen["verdict"], seen["code"]}

        wait_until(found, timeout=timeout, what=lambda: f"{path} to be {code}: {seen}\n{self.log[-3000:]}")
        return seen

    # --- the sandbox --------------------------------------------------------------------------------------

    def sandbox(self, path: str, method: str = "GET", body: object = None) -> bytes:
        """Ask the sandbox itself."""
        address = urlsplit(self.up["alyx_url"])
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        try:
            connection.request(method, f"/_sandbox/{path}", json.dumps(body) if body is not None else None)
            response = connection.getresponse()
            answer = response.read()
            assert response.status < 300, (response.status, answer)
            return answer
        finally:
            connection.close()

    def add_facts(self, **facts: object) -> None:
        """Put labs, repositories, subjects and the like into Alyx."""
        self.sandbox("state", "POST", facts)

    def add_fault(self, **rule: object) -> int:
        """Add a fault rule; return its id."""
        return int(json.loads(self.sandbox("faults", "POST", rule))["id"])

    def remove_fault(self, rule: int) -> None:
        """Remove one fault rule; what it holds goes on."""
        self.sandbox(f"faults?id={rule}", "DELETE")

    def wait_for_fault(self, rule: int, timeout: float = 20) -> None:
        """Wait until a rule acted."""
        self.sandbox(f"faults?wait={rule}&timeout={timeout}")

    def hits(self, rule: int) -> int:
        """Return how often a rule acted."""
        rules = {one["id"]: one for one in json.loads(self.sandbox("faults"))}
        return int(rules[rule]["hits"])

    def clear_faults(self) -> None:
        """Remove all rules; what they hold goes on."""
        self.sandbox("faults", "DELETE")

    def requests(self) -> list[dict[str, Any]]:
        """Return all requests so far."""
        return [json.loads(line) for line in self.sandbox("requests").splitlines()]

    def posts(self, path: str) -> list[dict[str, Any]]:
        """Return the applied POST requests to a path."""
        return [r for r in self.requests() if r["method"] == "POST" and r["path"] == path and r["applied"]]

    def state(self) -> dict[str, Any]:
        """Return everything that Alyx holds."""
        state: dict[str, Any] = json.loads(self.sandbox("state"))
        return state

    def forget_everything(self) -> None:
        """Make the sandbox, the archive, the root and the daemon's memory as new."""
        assert self.daemon is None
        self.sandbox("faults", "DELETE")
        self.sandbox("state", "DELETE")
        self.sandbox("requests", "DELETE")
        for place in (self.root, self.archive, self.directory / "state"):
            shutil.rmtree(place, ignore_errors=True)
        self.root.mkdir()
        for lab in ("cortexlab", "mainenlab"):
            (self.archive / lab / "Subjects").mkdir(parents=True)
        (self.directory / "daemon.log").write_text("")


@contextmanager
def fresh(lab: Lab) -> Iterator[Lab]:
    """Lend a lab to one test: empty at its beginning, and nothing unforeseen in the daemon's log at its end."""
    lab.forget_everything()
    environment = dict(lab.environment)
    try:
        yield lab
        lab.require_calm()
    finally:
        if lab.daemon is not None:
            lab.kill()
        lab.environment = environment


def archived_files(lab: Lab) -> dict[str, bytes]:
    """Return what is in the archive by the name a user knows, without dataset ids; temporary files included."""
    found: dict[str, bytes] = {}
    for file in files_below(lab.archive):
        name = os.fsencode(file.relative_to(lab.archive))
        known = dataset_id(name)
        found[os.fsdecode(known[1] if known else name)] = file.read_bytes()
    return found


def files_below(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())
