"""The real daemon as a process of its own, started again when it dies, as systemd would do.

Room: cli. The daemon is reached through its control socket only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from labferry.cli.demonstration import children
from labferry.cli.demonstration.story import Tone
from labferry.control.client import ControlClient
from labferry.errors import LabferryError

START_LIMIT = 30.0  # seconds until a started daemon answers
ANSWER_LIMIT = 5.0  # seconds for one answer
GRACE = 12.0  # seconds for its own good end
STILLBORN_AT_MOST = 10  # lives in a row that end before they answer
_LOOK_EVERY = 0.05
_TAIL = 5  # lines of its log that an error shows


class Daemon:
    """`labferry run` on the sandbox's configuration.

    Parameters
    ----------
    config, socket_path, log : Path
        Its configuration, its control socket, and where its output is appended.
    say : Callable
        Told what happens to the process.
    """

    def __init__(self, config: Path, socket_path: Path, log: Path, say: Callable[[str, Tone], None]) -> None:
        self.client = ControlClient(str(socket_path), ANSWER_LIMIT)
        self.starts = 0
        self._config = config
        self._socket = socket_path
        self._log = log
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._answered = False
        self._stillborn = 0
        self._started_at = 0.0

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._spawn()
        while not self._answered:
            time.sleep(_LOOK_EVERY)
            self.keep_alive()

    def answers(self) -> bool:
        """Ask for its status; say so when it answers for the first time in this life."""
        if not self._listens():
            return False
        try:
            status = self.client.get("/v1/status")
        except LabferryError:
            return False
        if not self._answered:
            self._answered = True
            self._say(f"ready, process {status['pid']}", Tone.GOOD)
        return True

    def _listens(self) -> bool:
        """Say whether anybody is there: the client would go to some length to find out why not."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
            probe.settimeout(ANSWER_LIMIT)
            return probe.connect_ex(os.fsencode(self._socket)) == 0

    def keep_alive(self) -> None:
        """Start it again if it died; call this often.

        Raises
        ------
        LabferryError
            `demo_daemon`: it cannot start, or does not stay.
        """
        assert self._process is not None, "started before"
        code = self._process.poll()
        if code is None:
            late = time.monotonic() - self._started_at > START_LIMIT
            if not self._answered and not self.answers() and late:
                raise self._failed(f"did not answer within {START_LIMIT:.0f} s")
            return
        how = f"was killed ({_signal_name(-code)})" if code < 0 else f"ended with exit code {code}"
        if code > 0 and not self._answered:
            raise self._failed(f"{how} before it answered")
        self._stillborn = 0 if self._answered else self._stillborn + 1
        if self._stillborn >= STILLBORN_AT_MOST:
            raise self._failed(f"{how} before it answered, {self._stillborn} times in a row")
        self._say(f"{how}; started again, as systemd would do", Tone.WARN)
        self._spawn()

    def stop(self) -> None:
        """End it, in good order if it can."""
        if self._process is not None:
            children.end(self._process, GRACE)

    def _spawn(self) -> None:
        self._answered = False
        self._started_at = time.monotonic()
        self.starts += 1
        with open(self._log, "ab") as log:
            self._process = children.start(
                ["labferry", "run", "--config", str(self._config)],
                children.environment(),
                stdout=log,
                stderr=log,
            )

    def _failed(self, how: str) -> LabferryError:
        last = self._log.read_text("utf-8", "backslashreplace").splitlines()[-_TAIL:]
        return LabferryError(
            "demo_daemon",
            "\n".join([f"the daemon {how}:", *last]),
            f"Its whole log is {self._log.name} in the demo's directory; `--keep DIR` keeps that.",
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
