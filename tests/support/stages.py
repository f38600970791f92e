"""Stages of jobs without threads: the sandbox in this process, a journal, a clock, and one job at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labferry.config import load
from labferry.engine.context import Context
from labferry.engine.outcomes import outcome_of
from labferry.engine.policy import Limits, decide
from labferry.engine.registering.stage import Register
from labferry.engine.reports.live import LiveState
from labferry.engine.resolve import Resolve
from labferry.engine.seal import Seal
from labferry.engine.wakeup import Wakeup
from labferry.engine.worker import StageRun, Worker
from labferry.journal import Journal
from labferry.journal.jobs import Move
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import JobState, Stage, Waiting
from labferry.sandbox.configfile import ArchiveKind
from labferry.sandbox.run import Sandbox
from labferry.service.assembly import assemble, used_archives
from support.clock import FakeClock
from support.journals import find_session

LIMITS = Limits(max_attempts=10, backoff_max=900.0)
FILES: Mapping[str, bytes] = {
    "alf/_ibl_wheel.position.npy": b"positions",
    "alf/_ibl_trials.intervals.npy": b"intervals",
    "raw_video_data/_iblrig_leftCamera.timestamps.ssv": b"{}",
    "notes.txt": b"not a dataset",
    "raw_session.flag": b"",
}


class StageBench:
    """One daemon's worth of stages over one sandbox."""

    def __init__(
        self,
        directory: Path,
        *,
        subjects: tuple[tuple[str, str], ...] = (),
        archive: ArchiveKind = "directory",
        **environ: str,
    ) -> None:
        self.sandbox = Sandbox(directory, subjects=subjects, archive=archive)
        self.sandbox.start()
        self.environ = environ
        self.clock = FakeClock()
        self.open()

    def open(self) -> None:
        """Begin a life of the daemon."""
        config = load(str(self.sandbox.config), {"HOME": "/nonexistent", **self.environ})
        state = Path(config.state_dir)
        state.mkdir(exist_ok=True)
        self.journal = Journal(state, self.clock)
        self.journal.jobs.begin_life()
        assembly = assemble(config, self.journal, Wakeup(), self.clock)
        self.context: Context = assembly.context
        self.runs: dict[Stage, StageRun] = {
            Stage.RESOLVE: Resolve(self.context),
            Stage.SEAL: Seal(self.context),
            Stage.REGISTER: Register(self.context),
        }
        workers = {lane.name.removeprefix("archive-"): lane for lane in assembly.lanes if isinstance(lane, Worker)}
        self.lanes = {name: workers[name] for name in used_archives(config)}
        self.archives: dict[str, StageRun] = {name: lane.stages[Stage.ARCHIVE] for name, lane in self.lanes.items()}
        self._detect = assembly.detect
        self.live = LiveState((), assembly.detect, started_at=self.clock.now(), log_file=state / "labferry.jsonl")
        for root in config.roots:
            self.journal.sessions.meet_root(root.name, os.fsencode(root.path), root.layout)

    def close(self) -> None:
        """End everything."""
        self.end_life()
        self.sandbox.stop()

    def end_life(self) -> None:
        """End this life of the daemon as `kill -9` does; `open` begins the next one."""
        for lane in self.lanes.values():
            lane.tidy()
        self._detect.tidy()
        self.context.alyx.close()
        self.journal.close()

    # --- sessions and jobs --------------------------------------------------------------------------------

    def write(
        self, path: str = "KS005/2026-03-02/001", files: Mapping[str, bytes] = FILES, *, register: bool = True
    ) -> tuple[Path, SessionRow]:
        """Write a session's folder and make it complete."""
        folder = self.sandbox.places.watch_root / path
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        subject, date, number = path.split("/")
        row = self.journal.sessions.at("rig", path.encode())
        if row is None:
            row = find_session(self.journal, "rig", path.encode(), subject, date, int(number))
        self.journal.sessions.complete(row.id, b"signature", register=register, targets=["server"])
        return folder, row

    def job(self, session: SessionRow) -> JobRow:
        """Return the newest job of a session."""
        return self.journal.jobs.of_session(session.id)[-1]

    def step(self, stage: Stage, target: str = "server", *, jitter: float = 0.0) -> Move:
        """Claim the next job of a stage and run it once; return what became of it."""
        job = self.journal.jobs.claim(stage, target if stage is Stage.ARCHIVE else "")
        assert job is not None, f"no job is due for {stage}"
        run = self.archives[target] if stage is Stage.ARCHIVE else self.runs[stage]
        try:
            outcome = run(job, lambda _what, _seconds: None)
        except Exception as error:
            outcome = outcome_of(error)
        move = decide(job, outcome, self.clock.now(), jitter, LIMITS)
        if isinstance(outcome, Waiting) and outcome.resettle:
            self.journal.sessions.unsettle(job.session_id, outcome.why)
        run.finish(job, move)
        return move

    def run_until(self, last: Stage, target: str = "server") -> Move:
        """Run the stages up to and including `last`; stop early where one does not go on."""
        move = None
        for stage in (Stage.RESOLVE, Stage.SEAL, Stage.REGISTER, Stage.SEAL, Stage.ARCHIVE):
            move = self.step(stage, target)
            if stage is last or move.state in {JobState.WAITING, JobState.BLOCKED}:
                break
        assert move is not None
        return move

    # --- Alyx ---------------------------------------------------------------------------------------------

    def alyx(self, method: str, path: str, body: object = None) -> Any:
        """Ask the sandbox's Alyx as somebody else would."""
        client = self.context.alyx
        if method == "GET":
            return client.get(path)
        return client.post(path, body) if method == "POST" else client.patch(path, body)  # type: ignore[arg-type]

    def requests(self, method: str, path: str) -> list[dict[str, Any]]:
        """Return the requests so far whose path begins so."""
        lines = self.sandbox.places.requests.read_text().splitlines()
        return [r for r in map(json.loads, lines) if r["method"] == method and r["path"].startswith(path)]

    def datasets(self, session: SessionRow) -> list[dict[str, Any]]:
        """Return Alyx' datasets of a session."""
        row = self.journal.sessions.get(session.id)
        assert row is not None
        return list(self.context.alyx.list_all("/datasets", {"session": row.eid or ""}))  # type: ignore[arg-type]
