"""The detect lane over a real root, with a real journal and a clock turned by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labferry.config import Config
from labferry.engine.detection.lane import DetectLane
from labferry.engine.wakeup import Wakeup
from labferry.journal import Journal
from labferry.journal.rows import SessionRow
from labferry.model import JobKind, JobState
from support.clock import FakeClock

QUIET = 60.0
SCAN = 30.0


class Watch:
    """A root, its journal and the lane over both.

    `settings` are further keys of the root; `detection` those of `[detection]`.
    """

    def __init__(self, directory: Path, *, detection: Mapping[str, Any] | None = None, **settings: Any) -> None:
        self.settings = settings
        self.detection = dict(detection or {})
        self.root = directory / "Subjects"
        self.state = directory / "state"
        for place in (self.root, self.state):
            place.mkdir()
        self.clock = FakeClock()
        self.name = "s0"
        self.open()

    def open(self) -> None:
        """Begin a life of the daemon."""
        config = Config.model_validate(
            {
                "server_name": "test",
                "state_dir": str(self.state),
                "detection": self.detection,
                "alyx": {"url": "http://127.0.0.1:9", "username": "u"},
                "roots": [
                    {
                        "name": self.name,
                        "path": str(self.root),
                        "repository": "r",
                        "archive": ["nas"],
                        **self.settings,
                    }
                ],
                "archive": {"nas": {"kind": "directory", "path": "/nas"}},
            }
        )
        self.journal = Journal(self.state, self.clock)
        self.journal.jobs.begin_life()
        self.lane = DetectLane(config, self.journal, Wakeup(), self.clock)
        self.lane.first_scan()

    def restart(self) -> None:
        """Kill this life and begin the next one."""
        self.lane.tidy()
        self.journal.close()
        self.open()

    def turn(self, seconds: float = 0.0) -> None:
        """Let time pass, then let the lane do what is due, without waiting for more."""
        self.clock.pass_by(seconds)
        self.lane.wake()
        self.lane.turn()

    def turns(self, seconds: float, step: float = 5.0) -> None:
        """Let time pass in steps."""
        for _ in range(int(seconds / step)):
            self.turn(step)

    def make(self, path: str = "KS005/2024-03-01/001", *, flag: bool = True) -> Path:
        """Write a session."""
        folder = self.root / path
        (folder / "alf").mkdir(parents=True)
        (folder / "alf" / "a.b.npy").write_bytes(b"data")
        if flag:
            (folder / "raw_session.flag").touch()
        return folder

    def session(self, path: str = "KS005/2024-03-01/001") -> SessionRow:
        """Return the journal's row."""
        row = self.journal.sessions.at("s0", path.encode())
        assert row is not None
        return row

    def jobs(self, path: str = "KS005/2024-03-01/001") -> list[tuple[JobKind, JobState, int]]:
        """Return kind, state and generation of a session's jobs."""
        return [(j.kind, j.state, j.generation) for j in self.journal.jobs.of_session(self.session(path).id)]

    @property
    def problem(self) -> str:
        """What the lane says about the root."""
        return self.lane.facts()[0].problem
