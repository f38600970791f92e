"""A lab for benchmarks of registration: a daemon without an archive, and the Alyx that it registers in.

The Alyx is the sandbox, or a real one where ALYX_URL, ALYX_USER and ALYX_PASSWORD say so. There is no real Globus
endpoint behind either; what the benchmark needs is made under a prefix of its own, and deleted in a real Alyx.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

from labferry.sessions.session import Session
from support.lab import Lab
from support.tested_alyx import TestedAlyx
from support.wait import wait_until

HERE = Path(__file__).resolve().parent
DEADLINE = 600.0  # seconds for a few sessions
ONE_WORKER = {
    "LABFERRY_DETECTION__QUIET": "0.2",
    "LABFERRY_DETECTION__SCAN_EVERY": "0.2",
    "LABFERRY_WORKER__REGISTER_WORKERS": "1",
    "LABFERRY_WORKER__SEAL_WORKERS": "1",
}
# Seconds that a real Alyx took for what a registration asks (2 cores, PostgreSQL, gunicorn); the sandbox is quicker.
AS_SLOW_AS_A_REAL_ONE: Mapping[str, float] = {
    "POST /register-file": 2.3,  # fifty files
    "POST /sessions": 0.05,
    "GET /sessions": 0.02,
    "GET /subjects": 0.04,
    "GET /users": 0.02,
}


class Asked(NamedTuple):
    """One request of the daemon to Alyx.

    Attributes
    ----------
    at : float
        Epoch seconds at its end.
    method, path : str
    waited : float
        Seconds that the daemon was waiting on the connection.
    """

    at: float
    method: str
    path: str
    waited: float


class AlyxLab:
    """A sandbox, an Alyx, and a daemon that notes how long it waits for it.

    Parameters
    ----------
    directory : Path
        Empty.
    real_pace : bool
        Let the sandbox answer as slowly as a real Alyx; a real one has its own pace.
    """

    def __init__(self, directory: Path, *, real_pace: bool = False) -> None:
        self._waits = directory / "waits.ndjson"
        self._stack = ExitStack()
        prefix = [sys.executable, str(HERE / "waiting.py"), str(self._waits)]
        self.lab = self._stack.enter_context(Lab(directory, environment=ONE_WORKER, prefix=prefix))
        try:
            self.alyx = self._meet()
            if real_pace and self.alyx.is_sandbox:
                for text, seconds in AS_SLOW_AS_A_REAL_ONE.items():
                    self.lab.add_fault(match=text, action="delay", seconds=seconds, times=None)
            config = Path(self.lab.config)
            config.write_text(config.read_text().replace('archive = ["server"]', "archive = []"))
            self.lab.start_ready()
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _meet(self) -> TestedAlyx:
        """Return the Alyx; a real one is left as it was found."""
        if url := os.environ.get("ALYX_URL"):
            alyx = TestedAlyx(url, os.environ["ALYX_USER"], os.environ["ALYX_PASSWORD"], is_sandbox=False)
            secret = self.lab.directory / "real-password"
            secret.touch(0o600)
            secret.write_text(alyx.password)
            self._stack.callback(alyx.leave)
        else:
            secret = Path(self.lab.up["password_file"])
            up = self.lab.up
            alyx = TestedAlyx(up["alyx_url"], up["alyx_user"], secret.read_text().strip(), is_sandbox=True)
        alyx.settle()
        self.lab.environment |= {
            "LABFERRY_ALYX__URL": alyx.url,
            "LABFERRY_ALYX__USERNAME": alyx.user,
            "LABFERRY_ALYX__PASSWORD_FILE": str(secret),
            "LABFERRY_GLOBUS__ENDPOINT": alyx.endpoint,
        }
        return alyx

    def hold_back(self) -> None:
        """Let no job be begun: sessions that are written now wait in the queue."""
        self.lab.ask("/v1/pause", "POST", {"lane": "register"})

    def let_go(self) -> None:
        """Let the jobs be done."""
        self.lab.ask("/v1/resume", "POST", {"lane": "register"})

    def write(self, session: Session, files: Mapping[str, bytes]) -> str:
        """Write a session's folder; return its path below the root once it is complete."""
        path = session.path.decode()
        self.lab.write(path, files)
        wait_until(lambda: self._job_of(path), timeout=DEADLINE, what=f"{path} to be complete")
        return path

    def _job_of(self, path: str) -> bool:
        sql = "SELECT 1 FROM job JOIN session ON session.id = session_id WHERE path = ?"
        return bool(self.lab.journal(sql, path.encode()))

    def ended_at(self, *paths: str) -> float:
        """Wait until sessions are registered; return the epoch second at which the last one was."""
        sql = "SELECT state, code, finished_at FROM job JOIN session ON session.id = session_id WHERE path = ?"

        def ends() -> list[float]:
            self.lab.require_running()
            rows = [row for path in paths for row in self.lab.journal(sql, path.encode())]
            assert not [row for row in rows if row[0] == "blocked"], rows
            return [row[2] for row in rows] if all(row[0] == "done" for row in rows) else []

        return max(wait_until(ends, timeout=DEADLINE, what=lambda: f"{paths} to be registered: {self.lab.log[-2000:]}"))

    def asked(self, since: float) -> list[Asked]:
        """Return what the daemon asked after an epoch second, in order."""
        found = (Asked(**json.loads(line)) for line in self._waits.read_text().splitlines())
        return [one for one in found if one.at >= since]
