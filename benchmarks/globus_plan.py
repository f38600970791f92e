"""A session of 100,000 files on its way to Globus: what it takes to plan it and to make the document of its task.

Two parts are measured: from the sealed manifest to the stored plan, and from a task that was made of it to the
document that the service gets, handed over. Between them, and not measured, lie the first look at the destination
and the commit of the task, which are the collection's and SQLite's time. Every run is a process of its own on a copy
of the same journal; the memory is the highest resident set of either part, above that of the process before it.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from uuid import NAMESPACE_URL, uuid5

FILES = 100_000
GOAL = 2.0  # seconds
MEMORY_GOAL = 100  # MiB
TARGET = "hpc"
SETTINGS: dict[str, Any] = {
    "archive": {
        TARGET: {
            "kind": "globus",
            "endpoint": "00000000-0000-0000-0000-000000000002",
            "path": "/data/{lab}/Subjects",
        }
    },
    "globus": {"endpoint": "00000000-0000-0000-0000-000000000001", "max_items": FILES},
}


def run(workdir: Path, runs: int) -> dict[str, object]:
    """Measure the time."""
    seconds = [measured["seconds"] for measured in _measure(workdir, runs)]
    return _result("globus_plan", "s", seconds, GOAL)


def run_memory(workdir: Path, runs: int) -> dict[str, object]:
    """Measure the memory."""
    mib = [measured["mib"] for measured in _measure(workdir, runs)]
    return _result("globus_plan_rss", "MiB", mib, MEMORY_GOAL)


def _result(name: str, unit: str, values: list[float], goal: float) -> dict[str, object]:
    value = median(values)
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "reference": 1,  # the goal is in this unit, not a ratio
        "ratio": value,
        "goal": goal,
        "ok": value <= goal,
        "runs": values,
    }


def _measure(workdir: Path, runs: int) -> list[dict[str, float]]:
    sealed = workdir / "sealed"
    _child("prepare", sealed)
    measured = []
    for _ in range(runs):
        with TemporaryDirectory(dir=workdir) as folder:
            shutil.copytree(sealed, folder, dirs_exist_ok=True)
            measured.append(json.loads(_child("work", Path(folder))))
    return measured


def _child(what: str, folder: Path) -> str:
    command = [sys.executable, __file__, what, str(folder)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return printed.splitlines()[-1] if printed else ""


# --- in a process of its own --------------------------------------------------------------------------------


def prepare(folder: Path) -> None:
    """Leave a journal in which the session is sealed and registered, and its archive job due."""
    from labferry.model import Done, FileVersion, Stage
    from support.world import DATASET

    folder.mkdir()
    world = _world(folder)
    row = world.complete()
    world.run(Stage.RESOLVE, Done())
    names = [b"raw_video_data/frames/_iblrig_leftCamera.frame%06d.png" % number for number in range(FILES)]
    versions = [FileVersion(name, 100, 1, 1) for name in names]
    files = world.journal.files
    files.list_files(row.id, row.generation, [(version, DATASET) for version in versions])
    files.checksums(row.id, [(one, hashlib.md5(one.path).hexdigest()) for one in versions])
    world.journal.sessions.sealed(row.id)
    with world.journal.together():
        for file in files.datasets(row.id):
            files.registered(file.id, str(uuid5(NAMESPACE_URL, str(file.id))), file.md5 or "", ())
    for stage in (Stage.SEAL, Stage.REGISTER, Stage.SEAL):
        world.run(stage, Done())
    world.close()


def work(folder: Path) -> dict[str, float]:
    """Plan the session, then submit its task; return what both took together."""
    from labferry.archive.globus.document import transfer_document
    from labferry.archive.globus.values import Submission
    from labferry.engine.globus.filling import Filling
    from labferry.engine.planning import base_of, filled_through_globus, items_of, new_batch
    from labferry.engine.policy import decide
    from labferry.journal.tasks import NewTask
    from labferry.model import Stage, Waiting
    from labferry.service.assembly import assemble
    from support.world import LIMITS

    class Service:
        """Takes a submission as far as the document."""

        def submit(self, submission: Submission, *, blame: str) -> str:
            self.document = transfer_document(submission)
            return "00000000-0000-0000-0000-000000000003"

    world = _world(folder)
    context = assemble(world.config, world.journal, world.wakeup, world.clock).context
    transfers, tasks = world.journal.transfers, world.journal.tasks
    job = world.journal.jobs.claim(Stage.ARCHIVE, TARGET)
    session = world.now(world.journal.sessions.all()[0])
    service, settings = Service(), world.config.archive[TARGET]
    filling = Filling(context, TARGET, settings, service)

    def plan() -> Any:
        items = items_of(context, job, session)
        base = base_of(context, session, TARGET)
        return transfers.plan(job.id, TARGET, base, new_batch(), items, "/mnt/s0/Subjects/x", settings.endpoint)

    def submit() -> None:
        filling.submit(made, lambda _what, _seconds: None)

    transfer, seconds, peak = _watched(plan)
    transfers.looked(transfer.id, [item.destination for item in transfers.items(transfer.id)])
    waiting = decide(job, Waiting(900.0, "in_batch", "its turn"), world.clock.now(), 0.0, LIMITS)
    world.journal.jobs.finish_attempt(job, waiting)
    new = NewTask(TARGET, "lf-1", "lf server lf-1", "submission", "a", "b")
    made = tasks.create(new, {transfer.id: FILES}, filled_through_globus(world.config), 2)
    _, seconds_too, peak_too = _watched(submit)
    assert len(service.document["DATA"]) == FILES, "not every file is in the document"
    return {"seconds": seconds + seconds_too, "mib": max(peak, peak_too)}


def _world(folder: Path) -> Any:
    from support.world import World

    root = {"name": "s0", "path": str(folder / "s0"), "repository": "local", "lab": "cortexlab", "archive": [TARGET]}
    return World(folder, roots=[root], **SETTINGS)


def _watched(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what `work` returns, its seconds, and by how many MiB the memory was higher than before."""
    importlib.import_module("globus_sdk")  # what is loaded once is not what a plan costs
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the highest resident set begins anew
    before = _memory("VmRSS")
    began = time.perf_counter()
    done = work()
    seconds = time.perf_counter() - began
    return done, seconds, _memory("VmHWM") - before


def _memory(field: str) -> float:
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text("ascii"), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path.append(str(here.parent / "tests"))  # the world of the tests
    what, folder = sys.argv[1], Path(os.path.abspath(sys.argv[2]))
    if what == "prepare":
        prepare(folder)
    else:
        print(json.dumps(work(folder)))
