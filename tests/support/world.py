"""A daemon's inside without its threads: real folders, a real journal, and a clock turned by hand."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from labferry.alyx.client import AlyxClient
from labferry.alyx.people import People
from labferry.alyx.vocabulary import CachedVocabulary, VocabularySnapshot
from labferry.config import Config
from labferry.datasets import DataFormat, DatasetType, Vocabulary
from labferry.engine.context import ALYX, Context
from labferry.engine.dependencies import Dependencies
from labferry.engine.detection.lane import DetectLane
from labferry.engine.lanes import LaneThread
from labferry.engine.policy import Limits, decide
from labferry.engine.reports.live import LiveState
from labferry.engine.speed import Speeds
from labferry.engine.wakeup import Wakeup
from labferry.journal import Journal
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import Clock, Decision, Done, FileFate, FileVersion, History, JobKind, Outcome, Stage, utc_text
from support.clock import FakeClock
from support.journals import find_session

NOWHERE = "http://127.0.0.1:9"  # an Alyx that is never asked
SESSION = "KS005/2019-04-02/001"
EID = "1b2c3d4e-0000-4000-8000-000000000001"
FLAG = "raw_session.flag"
LIMITS = Limits(max_attempts=3, backoff_max=900.0)
VOCABULARY = Vocabulary(
    [
        DatasetType("taskData.raw"),
        DatasetType("trials.table"),
        DatasetType("_iblrig_Camera.raw", "*Camera.raw*"),
    ],
    [DataFormat("jsonable", ".jsonable"), DataFormat("parquet", ".pqt"), DataFormat("mp4", ".mp4")],
)


class IdleLane(LaneThread):
    """A lane without work."""

    def turn(self) -> float:
        return 5.0


class World:
    """The parts that reports look at.

    Parameters
    ----------
    folder : Path
        An empty folder; roots `s0` and `s1` and the state directory are made in it.
    clock : Clock
    settings : Any
        Tables of the configuration that replace the usual ones.
    """

    def __init__(self, folder: Path, clock: Clock | None = None, **settings: Any) -> None:
        self.folder = folder
        self.clock = clock or FakeClock()
        self.root = folder / "s0"
        self.other = folder / "s1"
        self.state = folder / "state"
        self.log = self.state / "labferry.jsonl"
        for path in (self.root, self.other, self.state, folder / "nas"):
            path.mkdir(exist_ok=True)
        root = {"layout": "ibl", "archive": ["nas"], "events": "off", "repository": "local"}
        tables: dict[str, Any] = {
            "server_name": "lab-server-1",
            "state_dir": str(self.state),
            "alyx": {"url": NOWHERE, "username": "lab_server"},
            "roots": [
                {"name": "s0", "path": str(self.root), **root},
                {"name": "s1", "path": str(self.other), **root, "archive": []},
            ],
            "archive": {"nas": {"kind": "directory", "path": str(folder / "nas")}},
        }
        self.config = Config.model_validate({**tables, **settings})
        self.journal = Journal(self.state, self.clock)
        self.journal.jobs.begin_life()
        self.wakeup = Wakeup()
        alyx = AlyxClient(
            NOWHERE, username="lab_server", password=str, timeout=1.0, clock=self.clock, user_agent="labferry/test"
        )
        self.context = Context(
            config=self.config,
            journal=self.journal,
            clock=self.clock,
            alyx=alyx,
            vocabulary=self._vocabulary(),
            people=People(alyx, self.clock),
            dependencies=Dependencies([ALYX, "archive:nas"], self.clock, LIMITS),
            wakeup=self.wakeup,
            speeds=Speeds(self.clock),
        )
        self.detect = DetectLane(self.config, self.journal, self.wakeup, self.clock)
        self.lanes: tuple[LaneThread, ...] = tuple(
            IdleLane(name, self.wakeup, self.clock) for name in ("seal-1", "register-1", "register-2", "archive-nas")
        )
        self._started: list[LaneThread] = []
        self.live = LiveState(self.lanes, self.detect, started_at=self.clock.now(), log_file=self.log)

    def start(self, *lanes: LaneThread) -> None:
        """Start lanes; `close` ends them."""
        for lane in lanes:
            lane.start()
            self._started.append(lane)

    def close(self) -> None:
        self.wakeup.stop()
        for lane in self._started:
            lane.join(5.0)
        self.context.alyx.close()
        self.journal.close()

    def _vocabulary(self) -> CachedVocabulary:
        path = self.state / "vocabulary.json"
        known = VocabularySnapshot(VOCABULARY, {}, {}, self.clock.now())
        path.write_text(json.dumps({"url": NOWHERE, **known.to_json()}), encoding="utf-8")
        return CachedVocabulary(path, clock=self.clock)

    # --- what happens to a session --------------------------------------------------------------------------

    def folder_of(self, session: str = SESSION, root: str = "s0") -> Path:
        return self.folder / root / session

    def write(self, *files: str, session: str = SESSION, root: str = "s0") -> Path:
        """Make a session's folder with files of a few bytes."""
        folder = self.folder_of(session, root)
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"some bytes of " + os.fsencode(file))
        return folder

    def found(self, session: str = SESSION, root: str = "s0") -> SessionRow:
        """Let a session be found: on disk, and in the journal."""
        self.write(session=session, root=root)
        subject, date, number = session.split("/")[-3:]
        return find_session(self.journal, root, session.encode(), subject, date, int(number))

    def old(self, session: str = SESSION, history: History = History.UNASKED, **more: Any) -> SessionRow:
        """Let a session of old be found; where it stands is decided unless it is to be asked about."""
        self.write(session=session)
        subject, date, number = session.split("/")
        row = find_session(self.journal, "s0", session.encode(), subject, date, int(number), history=History.UNASKED)
        if history is not History.UNASKED:
            self.journal.backlog.judge(row.id, history, more.pop("code", ""), more.pop("why", "because"), **more)
        return self.now(row)

    def complete(self, session: str = SESSION, root: str = "s0") -> SessionRow:
        """Let a session be found, signalled and complete; its job is queued."""
        row = self.found(session, root)
        self.journal.sessions.signal(row.id, FLAG)
        self.settle(row)
        return self.now(row)

    def settle(self, row: SessionRow) -> None:
        settings = self.config.root(row.root)
        assert self.journal.sessions.complete(row.id, b"-", register=settings.registers, targets=settings.archive)

    def run(self, stage: Stage, outcome: Outcome | None = None, target: str = "") -> JobRow:
        """Let a lane claim the next job of a stage; with an outcome, let the attempt end so."""
        job = self.journal.jobs.claim(stage, target)
        assert job is not None, f"no job is due at stage {stage}"
        if outcome is None:
            return job
        move = decide(job, outcome, self.clock.now(), 0.5, LIMITS)
        if stage is Stage.REGISTER and isinstance(outcome, Done):
            row = self.journal.sessions.get(job.session_id)
            assert row is not None
            self.journal.jobs.complete_registration(job, move, self.config.root(row.root).archive, 10)
        else:
            self.journal.jobs.finish_attempt(job, move)
        return self.journal.jobs.get(job.id)

    def sealed(
        self, session: str = SESSION, files: Iterable[tuple[str, Decision]] = (), root: str = "s0"
    ) -> SessionRow:
        """Let a session become sealed with these files; their checksums are known."""
        row = self.complete(session, root)
        self.run(Stage.RESOLVE, Done())
        versions = [(FileVersion(os.fsencode(path), 100, 1, 1), decision) for path, decision in files]
        self.journal.files.list_files(row.id, row.generation, versions)
        checksum = f"{random.Random(0).getrandbits(128):032x}"
        self.journal.files.checksums(row.id, [(v, checksum) for v, d in versions if d.fate is FileFate.DATASET])
        self.journal.sessions.sealed(row.id, row.generation)
        self.run(Stage.SEAL, Done())
        return self.now(row)

    def registered(
        self, session: str = SESSION, files: Iterable[tuple[str, Decision]] = (), root: str = "s0"
    ) -> SessionRow:
        """Let a session become registered; where its root has an archive, that job has only the copy before it."""
        row = self.sealed(session, files, root)
        self.journal.sessions.recorded(row.id, EID, {}, created_here=False)
        for file in self.journal.files.each_dataset(row.id):
            self.journal.files.registered(file.id, f"dataset-{file.id}", file.md5 or "", ())
        self.run(Stage.REGISTER, Done())
        if self.config.root(root).archive:
            self.run(Stage.SEAL, Done())
        return self.now(row)

    def archived(self, session: str = SESSION, files: Iterable[tuple[str, Decision]] = ()) -> SessionRow:
        """Let a session go all the way."""
        row = self.registered(session, files)
        self.run(Stage.ARCHIVE, Done(), "nas")
        return self.now(row)

    def now(self, row: SessionRow) -> SessionRow:
        """Return a session as the journal has it now."""
        again = self.journal.sessions.get(row.id)
        assert again is not None
        return again

    def job(self, row: SessionRow, kind: JobKind = JobKind.REGISTER) -> JobRow:
        """Return the newest job of a kind."""
        return [job for job in self.journal.jobs.of_session(row.id) if job.kind is kind][-1]

    def time(self) -> str:
        """Return now as reports write it."""
        return utc_text(self.clock.now()) or ""


DATASET = Decision(FileFate.DATASET, pattern="*", dataset_type="trials.table", data_format="parquet")
UNMATCHED = Decision(FileFate.UNMATCHED, "no_pattern", "no registration pattern asks for it")
REJECTED = Decision(FileFate.REJECTED, "not_utf8", "the name is not UTF-8")
