"""A lab in a storm: two roots, three archives, sessions that arrive and change, faults, kills, outages, wrong clocks.

Everything is drawn from one seeded random generator; what the machine makes of it in time is its own affair, so a seed
brings a failure back often, not always.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labferry.archive.naming import dataset_id
from labferry.sandbox.rig import plan_session, write_session
from support import jumping
from support.lab import Lab, files_below
from support.wait import wait_until

FIRST_DAY = dt.date(2026, 3, 2)
HERE = {"KS005": "cortexlab", "ZM_1150": "mainenlab", "KS014": "cortexlab"}  # below the sandbox's own root
THERE = {"ZFM-01935": "mainenlab"}  # below the second one
JUMPS = (0.0, 3600.0, -3600.0, 90_000.0, -90_000.0)  # seconds from the true time
CHANGED = "_iblrig_taskData.raw.jsonable"
PASSING: tuple[dict[str, Any], ...] = (
    {"action": "status", "status": 503, "when": "before"},
    {"action": "status", "status": 502, "when": "after"},
    {"action": "status", "status": 429, "when": "before", "headers": {"Retry-After": "1"}},
    {"action": "drop", "when": "before"},
    {"action": "drop", "when": "after"},
    {"action": "delay", "when": "before", "seconds": 0.5},
    {"action": "delay", "when": "after", "seconds": 0.3, "then": "drop"},
)
LASTING: tuple[dict[str, Any], ...] = (
    {"action": "task", "becomes": "FAILED", "when": "before", "match": ""},
    {"action": "task", "becomes": "FAILED", "when": "after", "match": ""},
    {"action": "task", "becomes": "PAUSED", "when": "before", "match": "", "times": None},
    {"action": "task", "becomes": "STALLED", "when": "before", "match": "", "times": None},
    {"action": "collection", "becomes": "offline", "match": "", "times": None},
    {"action": "collection", "becomes": "full", "match": "", "times": None},
)
WHERE = (
    "/sessions",
    "/register-file",
    "/files",
    "/datasets",
    "/weighings",
    "/water-admin",
    "/v0.10/",
    "/auth-token",
    "",
)


class Storm:
    """The weather over one lab.

    Parameters
    ----------
    lab : Lab
        With Globus as the sandbox's archive; its daemon is not running.
    seed : int
    """

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab = lab
        self.dice = random.Random(seed)
        self.sessions: list[Path] = []
        self.story: list[str] = []
        self.lives = 0
        self._clock = lab.directory / "clock"
        jumping.set_offset(self._clock, 0.0)
        lab.program = (os.path.abspath(jumping.__file__), str(self._clock))
        lab.environment["LABFERRY_REGISTRATION__CHUNK"] = "10"
        for folder in (self.second, self.disk):
            folder.mkdir(parents=True)
        self._configure()

    @property
    def second(self) -> Path:
        """The second root."""
        return self.lab.directory / "second" / "Subjects"

    @property
    def disk(self) -> Path:
        """The directory archive of both roots."""
        return self.lab.directory / "disk"

    def _configure(self) -> None:
        """Add the second root and its archive to the configuration that the sandbox wrote."""
        config = Path(self.lab.config)
        text = config.read_text()
        assert text.count('archive = ["server"]') == 1
        more = (
            f'[[roots]]\nname = "second"\npath = "{self.second}"\nlayout = "ibl"\narchive = ["disk"]\n'
            'repository = "mainenlab_SR"\n\n'
            f'[archive.disk]\nkind = "directory"\npath = "{self.disk}"\nnaming = "plain"\nrepository = ""\n\n'
        )
        text = text.replace('archive = ["server"]', 'archive = ["server", "disk"]')
        config.write_text(text.replace("[detection]", f"{more}[detection]"))

    # --- what may happen ----------------------------------------------------------------------------------

    def live(self, longest: float, most: int) -> None:
        """Let the daemon live for a while, with whatever happens meanwhile, and end it."""
        self.lives += 1
        self.lab.start_ready()
        deadline = time.monotonic() + self.dice.uniform(0.05, longest)
        while (left := deadline - time.monotonic()) > 0:
            if len(self.sessions) < most and self.dice.random() < 0.5:
                self._arrive()
            if self.dice.random() < 0.4:
                self._hinder()
            if self.dice.random() < 0.3:
                self._set_clock()
            self.lab.let_work(min(left, self.dice.uniform(0.1, 1.0)))
        if self.dice.random() < 0.8:
            self._say("kill")
            self.lab.kill()
        else:
            self._say("stop")
            assert self.lab.stop() == 0
        if self.dice.random() < 0.5:
            self._change()
        if self.dice.random() < 0.1:
            self._say("outage")
            self.lab.restart_sandbox()
            self._configure()

    def calm(self, timeout: float) -> None:
        """Let everything come to its end."""
        self._say("calm")
        self.lab.clear_faults()
        self.lab.start_ready()
        count = len(self.sessions)

        def over() -> bool:
            self.lab.require_running()
            status = self.lab.status()
            return bool(status["sessions"]["archived"] == count and not any(status["jobs"].values()))

        wait_until(over, timeout, self._left)
        # What came while no daemon ran, after the last look at a session's folder, is found by the watch within the
        # hour; nobody waits for that here.
        assert self.lab.ask("/v1/rescan", "POST", {})["ok"]
        wait_until(lambda: not self._missing() and over(), timeout, lambda: f"{self._missing()}\n{self._left()}")
        assert self.lab.stop() == 0

    def _missing(self) -> list[str]:
        """Return the files that are in no archive yet."""
        names = {file.relative_to(self.disk) for file in files_below(self.disk)}
        found = [file.relative_to(root) for root in (self.lab.root, self.second) for file in files_below(root)]
        return [str(name) for name in found if name not in names and name.suffix != ".flag"]

    def _left(self) -> str:
        listed = self.lab.ask("/v1/sessions")["data"]
        jobs = self.lab.ask("/v1/jobs")["data"]
        late = [f"{one['path']} {one['state']} {one['attention']}" for one in listed if one["state"] != "archived"]
        why = [f"{job['path']} {job['kind']} {job['target']} {job['state']} {job['reason']}" for job in jobs]
        return "\n".join(["all sessions to be archived", *late, *why, *self.story[-20:], self.lab.log[-3000:]])

    def _say(self, what: str) -> None:
        self.story.append(f"{self.lives}: {what}")

    def _arrive(self) -> None:
        """Let a rig bring a session; every animal has one a day, so that each has its own weighing."""
        subject, lab = self.dice.choice([*HERE.items(), *THERE.items()])
        root = self.second if subject in THERE else self.lab.root
        day = FIRST_DAY + dt.timedelta(days=len(self.sessions))
        session = plan_session(subject, lab, day, 1, scale=0.1, seed=len(self.sessions))
        self.sessions.append(write_session(root, session, rate=None))
        self._say(f"session {subject} {day}")

    def _hinder(self) -> None:
        """Let something go wrong, or everything go well again."""
        match self.dice.randrange(4):
            case 0:
                self.lab.clear_faults()
                self._say("faults end")
            case 1:
                rule = self.dice.choice(LASTING)
                self.lab.add_fault(**rule)
                self._say(f"fault {rule}")
            case _:
                rule = {**self.dice.choice(PASSING), "match": self.dice.choice(WHERE), "times": self.dice.randint(1, 3)}
                self.lab.add_fault(**rule)
                self._say(f"fault {rule}")

    def _set_clock(self) -> None:
        offset = self.dice.choice(JUMPS)
        jumping.set_offset(self._clock, offset)
        self._say(f"clock {offset:+.0f} s")

    def _change(self) -> None:
        """Let somebody change a session of which no byte is archived yet, while no daemon runs: a file, or one more."""
        begun = {
            (root, bytes(path))
            for root, path in self.lab.journal(
                "SELECT session.root, session.path FROM session JOIN job ON job.session_id = session.id"
                " JOIN transfer ON transfer.job_id = job.id"
            )
        }
        free = [folder for folder in self.sessions if self._key(folder) not in begun]
        if not free:
            return
        folder = self.dice.choice(free)
        if self.dice.random() < 0.5:
            file = folder / "alf" / f"_ibl_trials.late{self.lives}.npy"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(self.dice.randbytes(1000))
        else:
            file = self.dice.choice(sorted(folder.rglob("*.raw.mp4")) or sorted(folder.rglob("*.ssv")))
            with file.open("ab") as stream:
                stream.write(self.dice.randbytes(100))
        self._say(f"changed {file.relative_to(self.lab.directory)}")

    def _key(self, folder: Path) -> tuple[str, bytes]:
        if folder.is_relative_to(self.second):
            return "second", os.fsencode(folder.relative_to(self.second))
        return "rig", os.fsencode(folder.relative_to(self.lab.root))

    # --- what must be true in the end ---------------------------------------------------------------------

    def require_identical(self) -> None:
        """Fail unless every archive holds what its roots hold, every byte."""
        source = {
            os.fsencode(file.relative_to(root)): file.read_bytes()
            for root in (self.lab.root, self.second)
            for file in files_below(root)
        }
        disk = {os.fsencode(file.relative_to(self.disk)): file.read_bytes() for file in files_below(self.disk)}
        _require_equal(disk, {path: data for path, data in source.items() if not path.endswith(b".flag")}, source)
        state = self.lab.state()
        registered = dict(self._registered(state))
        assert {path: hashlib.md5(source[path]).hexdigest() for path in registered} == registered
        here = {path: source[path] for path in registered if path.split(b"/")[0].decode() in HERE}
        server = {}
        for file in files_below(self.lab.archive):
            known = dataset_id(os.fsencode(file.relative_to(self.lab.archive)))
            assert known is not None, file
            server[known[1].split(b"/", 2)[2]] = file.read_bytes()
        _require_equal(server, here, here)

    def _registered(self, state: dict[str, Any]) -> Iterator[tuple[bytes, str]]:
        sessions = {one["id"]: one for one in state["sessions"]}
        for dataset in state["datasets"]:
            session = sessions[dataset["session"]]
            parts = [session["subject"], session["start_time"][:10], f"{session['number']:03d}", dataset["collection"]]
            yield os.fsencode("/".join([*filter(None, parts), dataset["name"]])), dataset["hash"]

    def require_nothing_twice(self) -> None:
        """Fail if anything is in Alyx, or was carried by Globus, twice; or is missing there."""
        state = self.lab.state()
        once = {
            "session": [(s["subject"], s["start_time"][:10], s["number"]) for s in state["sessions"]],
            "weighing": [(w["subject"], w["date_time"]) for w in state["weighings"]],
            "water": [(w["session"], w["date_time"], w["water_type"]) for w in state["water_administrations"]],
            "dataset": [(d["session"], d["collection"], d["name"], d["revision"]) for d in state["datasets"]],
            "record": [(r["dataset"], r["data_repository"]) for d in state["datasets"] for r in d["file_records"]],
            "carried": [
                (item["destination_path"], item["external_checksum"])
                for task in state["globus"]["tasks"]
                if task["status"] == "SUCCEEDED"
                for item in task["items"]
            ],
        }
        twice = {what: [row for row, times in Counter(rows).items() if times > 1] for what, rows in once.items()}
        assert {what: rows for what, rows in twice.items() if rows} == {}
        counted = {name: len(once[name]) for name in ("session", "weighing", "water")}
        count = len(self.sessions)
        assert counted == {"session": count, "weighing": count, "water": sum(map(_drank, self.sessions))}, str(counted)
        here = {one["id"] for one in state["sessions"] if one["subject"] in HERE}
        records = [r for d in state["datasets"] if d["session"] in here for r in d["file_records"]]
        late = [one for one in records if one["data_repository"].startswith("flatiron") and not one["exists"]]
        assert late == [], f"{len(late)} copies that Alyx was not told of"


def _drank(folder: Path) -> bool:
    """Say whether the animal earned water: in a short session it may have answered nothing right."""
    settings = next(folder.rglob("_iblrig_taskSettings.raw.json"))
    return bool(json.loads(settings.read_text())["TOTAL_WATER_DELIVERED"])


def _require_equal(found: dict[bytes, bytes], least: dict[bytes, bytes], most: dict[bytes, bytes]) -> None:
    """Fail unless files are there with their content: at least those, at most these."""
    assert sorted(path for path in least if path not in found) == [], "missing"
    assert sorted(path for path in found if path not in most) == [], "too much"
    assert sorted(path for path in found if found[path] != most[path]) == [], "different"
