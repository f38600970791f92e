"""A lab that was there before labferry: folders a month old, an Alyx that knows some of them, and lanes turned by hand.

No program can set the change time of a folder back, so it is the clock that is a month ahead.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from labferry.config import load
from labferry.engine import operations
from labferry.engine.history.allowance import AT_ONCE
from labferry.engine.history.lane import HistoryLane
from labferry.engine.lanes import IDLE_BEAT
from labferry.engine.reports.explain import explain
from labferry.engine.reports.live import LiveState
from labferry.engine.reports.sessions import show
from labferry.engine.wakeup import Wakeup
from labferry.engine.worker import Worker
from labferry.journal import open_journal
from labferry.journal.rows import SessionRow
from labferry.model import Stage
from labferry.sandbox.run import Sandbox
from labferry.service.assembly import assemble
from support.clock import FakeClock

MONTH = 30 * 86_400.0
SESSION = "KS005/2026-03-02/001"
FILES: Mapping[str, bytes] = {
    "alf/_ibl_wheel.position.npy": b"positions",
    "alf/_ibl_trials.intervals.npy": b"intervals",
    "raw_video_data/_iblrig_leftCamera.timestamps.ssv": b"{}",
    "notes.txt": b"not a dataset",
}
DATASETS = tuple(name for name in FILES if name != "notes.txt")
FOREIGN = "f" * 32  # the MD5 of nothing that is here: whoever reads a file finds another one
FLAG = "raw_session.flag"


class Past:
    """One sandbox and one life of the daemon after the other, without threads."""

    def __init__(self, directory: Path, ahead: float = MONTH, **environ: str) -> None:
        self.sandbox = Sandbox(directory, archive="directory")
        self.sandbox.start()
        self.environ = environ
        self.clock = FakeClock(time.time() + ahead)
        self._before = 0
        self._idle: set[Worker] = set()
        self.open()

    def open(self) -> None:
        """Begin a life of the daemon; nothing is looked at yet."""
        config = load(str(self.sandbox.config), {"HOME": "/nonexistent", **self.environ})
        state = Path(config.state_dir)
        state.mkdir(exist_ok=True)
        self.journal = open_journal(state, self.clock)
        self.journal.jobs.begin_life()
        assembly = assemble(config, self.journal, Wakeup(), self.clock)
        self.context, self.detect = assembly.context, assembly.detect
        self.workers = [lane for lane in assembly.lanes if isinstance(lane, Worker)]
        (self.history,) = [lane for lane in assembly.lanes if isinstance(lane, HistoryLane)]
        self.live = LiveState(assembly.lanes, assembly.detect, started_at=self.clock.now())

    def end(self) -> None:
        """End this life."""
        self.detect.tidy()
        self.context.alyx.close()
        self.journal.close()

    def lose_the_journal(self) -> None:
        """Begin a life that remembers nothing."""
        self.end()
        for file in Path(self.context.config.state_dir).glob("journal.sqlite*"):
            file.unlink()
        self.open()

    def close(self) -> None:
        """End everything."""
        self.end()
        self.sandbox.stop()

    # --- what was there before us -------------------------------------------------------------------------

    def write(self, session: str = SESSION, files: Mapping[str, bytes] = FILES, *, flag: bool = False) -> Path:
        """Write a session's folder."""
        folder = self.sandbox.places.watch_root / session
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        if flag:
            (folder / FLAG).touch()
        return folder

    def register(
        self,
        session: str = SESSION,
        names: Iterable[str] = DATASETS,
        *,
        archived: bool = True,
        sizes: Mapping[str, int | None] | None = None,
        md5: str | None = FOREIGN,
    ) -> str:
        """Let Alyx know files of a session, as some other program would have registered them; return its id.

        `md5` is that of every file; empty for what it really is, None for none.
        """
        subject, day, number = session.split("/")
        found = self.alyx("GET", f"/sessions?subject={subject}&date_range={day},{day}&number={int(number)}")["results"]
        if not found:
            record = {"subject": subject, "number": int(number), "start_time": f"{day}T09:30:00"}
            found = [self.alyx("POST", "/sessions", record)]
        names = list(names)
        folder = self.sandbox.places.watch_root / session
        here = {name: (folder / name).stat().st_size for name in names if (folder / name).exists()}
        lab = self.alyx("GET", f"/subjects?nickname={subject}")["results"][0]["lab"]
        body = {
            "path": session,
            "filenames": names,
            "filesizes": [{**here, **(sizes or {})}.get(name) for name in names],
            "name": f"{lab}_SR",
            "labs": lab,
            "exists": True,
            "server_only": archived,
        }
        if md5 is not None:
            body["hashes"] = [md5 or md5_of((folder / name).read_bytes()) for name in names]
        if names:
            self.alyx("POST", "/register-file", body)
        return str(found[0]["url"])[-36:]

    def alyx(self, method: str, path: str, body: object = None) -> Any:
        """Ask the sandbox's Alyx as somebody else would."""
        client = self.context.alyx
        if method == "GET":
            return client.get(path)
        return client.post(path, body) if method == "POST" else client.patch(path, body)  # type: ignore[arg-type]

    # --- what we do ---------------------------------------------------------------------------------------

    def meet(self) -> None:
        """Scan the root, for the first time in this life; requests count from now on."""
        self.count_anew()
        self.detect.first_scan()

    def count_anew(self) -> None:
        """Count requests from now on."""
        self._before = len(self._logged())

    def adopt(self) -> None:
        """Meet the root, and ask about everything."""
        self.meet()
        self.ask()

    def ask(self) -> int:
        """Let Alyx be asked about everything that it may be asked about; return how many turns that took."""
        turns = 0
        while (pause := self.history.turn()) < IDLE_BEAT:
            turns += 1
            assert turns < 2 * AT_ONCE, "it does not come to an end"
            self.clock.pass_by(pause)
        return turns

    def work(self) -> None:
        """Let time pass until sessions are complete, and lanes work until no job is due."""
        self.settle()
        self.work_off()

    def work_off(self) -> None:
        """Let lanes work until no job is due."""
        while any(lane.turn() == 0.0 for lane in self.workers if lane not in self._idle):
            self.clock.pass_by(0.1)

    def settle(self) -> None:
        """Let time pass until sessions are complete; no lane works on them."""
        for _ in range(4):
            self.clock.pass_by(max(self.context.config.detection.quiet, self.context.config.detection.scan_every))
            self.detect.wake()
            self.detect.turn()

    def look(self) -> None:
        """Let the detect lane do what is due."""
        self.detect.wake()
        self.detect.turn()

    def work_until(self, last: Stage) -> None:
        """Let lanes work until the first stage of this kind is done."""
        for stage in (Stage.RESOLVE, Stage.SEAL, Stage.REGISTER):
            (lane, *_) = [lane for lane in self.workers if stage in lane.stages]
            assert lane.turn() == 0.0
            if stage is last:
                return

    def turn_once(self) -> None:
        """Let every lane have one turn."""
        for lane in self.workers:
            lane.turn()

    def pause_archives(self, paused: bool = True) -> None:
        """Let no lane archive anything until `pause_archives(False)`."""
        self._idle = {lane for lane in self.workers if paused and lane.name.startswith("archive-")}

    def retry(self, session: str = SESSION) -> dict[str, Any]:
        """Do what `labferry retry SESSION` does."""
        return operations.retry(self.context, [self.row(session)])

    # --- what can be seen ---------------------------------------------------------------------------------

    def row(self, session: str = SESSION) -> SessionRow:
        """Return a session as the journal has it."""
        row = self.journal.sessions.at("rig", os.fsencode(session))
        assert row is not None, f"{session} was not found"
        return row

    def standing(self, session: str = SESSION) -> tuple[str, str]:
        """Return a session's state and the reason below it."""
        row = self.row(session)
        return row.state.value, row.history_code

    def explain(self, session: str = SESSION) -> dict[str, Any]:
        """Return `explain.data`."""
        return explain(self.context, self.live, str(self.sandbox.places.watch_root / session))

    def show(self, session: str = SESSION) -> dict[str, Any]:
        """Return `show.data`."""
        return show(self.context, self.row(session))

    def requests(self, method: str = "", path: str = "") -> list[dict[str, Any]]:
        """Return the requests since the root was met whose path begins so; logging in is none of them."""
        asked = [one for one in map(json.loads, self._logged()[self._before :]) if one["path"] != "/auth-token"]
        return [one for one in asked if method in {"", one["method"]} and one["path"].startswith(path)]

    def changes(self) -> list[str]:
        """Return the requests since the root was met that change something in Alyx."""
        return [f"{one['method']} {one['path']}" for one in self.requests() if one["method"] != "GET"]

    def _logged(self) -> list[str]:
        log = self.sandbox.places.requests
        return log.read_text().splitlines() if log.exists() else []


def md5_of(content: bytes) -> str:
    """Return an MD5 as Alyx stores it."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
