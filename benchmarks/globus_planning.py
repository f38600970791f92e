"""One run of `globus_plan`, in a process of its own.

    python benchmarks/globus_planning.py prepare|work FOLDER

Two parts are measured: from the sealed manifest to the stored plan, and from a task that was made of it to the
document that the service gets, handed over. Between them, and not measured, lie the first look at the destination
and the commit of the task, which are the collection's and SQLite's time.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from uuid import NAMESPACE_URL, uuid5

from labferry.archive.globus.document import transfer_document
from labferry.archive.globus.service import GlobusService
from labferry.archive.globus.values import Submission
from labferry.config import GlobusArchive
from labferry.engine.globus.filling import Filling
from labferry.engine.globus.preflight import Preflight
from labferry.engine.planning import base_of, filled_through_globus, items_of, new_batch
from labferry.engine.policy import decide
from labferry.journal.tasks import NewTask
from labferry.journal.transfer_rows import TransferRow
from labferry.model import Done, FileVersion, Stage, Waiting
from labferry.service.assembly import assemble
from support.world import DATASET, LIMITS, World

FILES = 100_000
TARGET = "hpc"
HERE, THERE, TASK = (f"00000000-0000-0000-0000-00000000000{number}" for number in (1, 2, 3))
SETTINGS: dict[str, Any] = {
    "archive": {TARGET: {"kind": "globus", "endpoint": THERE, "path": "/data/{lab}/Subjects"}},
    "globus": {"endpoint": HERE, "max_items": FILES},
}


def world_in(folder: Path) -> World:
    """Open the journal in a folder, with one root that Globus archives."""
    root = {"name": "s0", "path": str(folder / "s0"), "repository": "local", "lab": "cortexlab", "archive": [TARGET]}
    return World(folder, roots=[root], **SETTINGS)


def prepare(folder: Path) -> None:
    """Leave a journal in which the session is sealed and registered, and its archive job due."""
    folder.mkdir()
    world = world_in(folder)
    row = world.complete()
    world.run(Stage.RESOLVE, Done())
    names = [b"raw_video_data/frames/_iblrig_leftCamera.frame%06d.png" % number for number in range(FILES)]
    versions = [FileVersion(name, 100, 1, 1) for name in names]
    files = world.journal.files
    files.list_files(row.id, row.generation, [(version, DATASET) for version in versions])
    files.checksums(row.id, [(one, hashlib.md5(one.path).hexdigest()) for one in versions])
    world.journal.sessions.sealed(row.id, row.generation)
    with world.journal.together():
        for file in files.of_session(row.id):
            files.registered(file.id, str(uuid5(NAMESPACE_URL, str(file.id))), file.md5 or "", ())
    for stage in (Stage.SEAL, Stage.REGISTER, Stage.SEAL):
        world.run(stage, Done())
    world.close()


class Service:
    """A Globus that is given a submission, and keeps its document."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {}

    def submit(self, submission: Submission, **_: object) -> str:
        self.document = transfer_document(submission)
        return TASK


def work(folder: Path) -> dict[str, float]:
    """Plan the session, then submit its task; return what both took together."""
    importlib.import_module("globus_sdk")  # what is loaded once is not what a plan costs
    world = world_in(folder)
    context = assemble(world.config, world.journal, world.wakeup, world.clock).context
    transfers, tasks = world.journal.transfers, world.journal.tasks
    job = world.journal.jobs.claim(Stage.ARCHIVE, TARGET)
    assert job is not None
    (session,) = world.journal.sessions.all()
    settings = world.config.archive[TARGET]
    assert isinstance(settings, GlobusArchive)
    service = Service()
    asked = cast("GlobusService", service)
    filling = Filling(context, TARGET, settings, asked, Preflight(context, TARGET, settings, asked))

    def plan() -> TransferRow:
        items = items_of(context, job, session)
        base = base_of(context, session, TARGET)
        return transfers.plan(job.id, TARGET, base, new_batch(), items, str(world.folder_of()), THERE)

    transfer, seconds, peak = watched(plan)
    transfers.looked(transfer.id, [item.destination for item in transfers.items(transfer.id)])
    waiting = decide(job, Waiting(900.0, "in_batch", "its turn"), world.clock.now(), 0.0, LIMITS)
    world.journal.jobs.finish_attempt(job, waiting)
    new = NewTask(TARGET, "lf-1", "lf server lf-1", "submission", HERE, THERE)
    task = tasks.create(new, {transfer.id: FILES}, filled_through_globus(world.config), 2)
    assert task is not None
    _, seconds_too, peak_too = watched(lambda: filling.submit(task, lambda _what, _seconds: None))
    assert len(service.document["DATA"]) == FILES, "not every file is in the document"
    return {"seconds": seconds + seconds_too, "mib": max(peak, peak_too)}


def watched(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what `work` returns, its seconds, and by how many MiB the memory was higher than before."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the highest resident set begins anew
    before = memory("VmRSS")
    began = time.perf_counter()
    done = work()
    seconds = time.perf_counter() - began
    return done, seconds, memory("VmHWM") - before


def memory(field: str) -> float:
    """Return a field of this process's status, in MiB."""
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text("ascii"), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == "prepare":
        prepare(folder)
    else:
        print(json.dumps(work(folder)))
