"""A session that changes after it was archived, on its way into the archive once more; and what Alyx says meanwhile.

Everything happens in the thread of the test: one attempt, or one turn of a Globus lane, at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from labferry.engine.asked import Asked
from labferry.engine.replacing.explicit import archive
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import JobKind, JobState, Stage
from support.globus import GlobusBench
from support.stages import FILES, StageBench

PATH = "KS005/2026-03-02/001"
WHEEL = "alf/_ibl_wheel.position.npy"
CAMERA = "raw_video_data/_iblrig_leftCamera.timestamps.ssv"
NEW = b"other positions"
MANY = 300  # attempts: more than any way needs
WORKING = (Stage.RESOLVE, Stage.SEAL, Stage.REGISTER)


def go_on(bench: StageBench, after_each: Callable[[], None] = lambda: None, target: str = "server") -> None:
    """Run everything that is due, again and again, until nothing is; `after_each` attempt."""
    for _ in range(MANY):
        if not _one(bench, target):
            return
        after_each()
    raise AssertionError("it never comes to rest")


def _one(bench: StageBench, target: str) -> bool:
    now = bench.clock.now()
    for stage in WORKING:
        due = bench.journal.jobs.next_due(stage)
        if due is not None and due <= now:
            bench.step(stage)
            return True
    if isinstance(bench, GlobusBench):
        bench.wait_for_mover()
        if bench.lane_of(target).turn() == 0.0:
            return True
        if bench.journal.tasks.open(target) and not bench.sandbox.faults.list():
            bench.clock.pass_by(1.0)
            return True
        return False
    due = bench.journal.jobs.next_due(Stage.ARCHIVE, target)
    if due is None or due > now:
        return False
    bench.step(Stage.ARCHIVE, target)
    return True


def archived(bench: StageBench, path: str = PATH, files: Mapping[str, bytes] = FILES) -> tuple[Path, SessionRow]:
    """Return a session that is registered and archived."""
    folder, session = bench.write(path, files)
    go_on(bench)
    assert jobs(bench, session) == {"register": "done", "archive": "done"}
    return folder, session


def change(bench: StageBench, session: SessionRow, files: Mapping[str, bytes]) -> None:
    """Change files of a session, which becomes complete again: its next generation."""
    bench.journal.sessions.unsettle(session.id, "changed by a test")
    bench.write(session.path.decode(), files)


def jobs(bench: StageBench, session: SessionRow) -> dict[str, str]:
    """Return how far the jobs of a session's generation are: their state, or why they do not go on."""
    found: dict[str, str] = {}
    for kind in (JobKind.REGISTER, JobKind.ARCHIVE):
        for job in bench.journal.jobs.of_generation(session.id, kind):
            found[kind.value] = job.code or job.state.value
    return found


def job_of(bench: StageBench, session: SessionRow, kind: JobKind = JobKind.ARCHIVE) -> JobRow:
    """Return the job of a kind of a session's generation."""
    (job,) = bench.journal.jobs.of_generation(session.id, kind)
    return job


def replace(bench: StageBench, session: SessionRow, *, trust_size: bool = False) -> dict[str, Any]:
    """Give the operator's word."""
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    return archive(bench.context, row, Asked(not trust_size, trust_size, "alice"))


def holdings(bench: StageBench) -> dict[str, bytes]:
    """Return everything that is in the archive's folder, by its path."""
    top = bench.sandbox.places.archive
    return {str(file.relative_to(top)): file.read_bytes() for file in sorted(top.rglob("*")) if file.is_file()}


def copy_of(bench: StageBench, session: SessionRow, name: str = WHEEL) -> Path:
    """Return where a dataset of a session is, or goes, in archive `server`."""
    transfer = [one for one in bench.journal.transfers.of_session(session.id) if one.target == "server"][-1]
    (row,) = [one for one in bench.journal.transfers.items(transfer.id) if one.path.decode() == name]
    base = transfer.base.decode()
    archive_folder = str(bench.sandbox.places.archive)
    inside = base.removeprefix(archive_folder).lstrip("/")
    return bench.sandbox.places.archive / inside / row.destination.decode()


def lies(bench: StageBench) -> list[str]:
    """Return every copy that Alyx says exists, and that is not there with the hash Alyx has."""
    state = httpx.get(f"{bench.sandbox.alyx_url}/_sandbox/state").json()
    tops = {one["name"]: one["globus_path"].strip("/") for one in state["repositories"]}
    found = []
    for dataset in state["datasets"]:
        for record in dataset["file_records"]:
            if not record["exists"] or not record["data_repository"].startswith("flatiron"):
                continue
            stem, _, extension = record["relative_path"].rpartition(".")
            name = f"{stem}.{dataset['id']}.{extension}"
            place = bench.sandbox.places.archive / tops[record["data_repository"]] / name
            if not place.is_file() or hashlib.md5(place.read_bytes()).hexdigest() != dataset["hash"]:
                found.append(str(place))
    return found


def published(bench: StageBench) -> dict[str, tuple[str, bool]]:
    """Return what Alyx says of every dataset: its hash, and whether it exists in the server's repository."""
    state = httpx.get(f"{bench.sandbox.alyx_url}/_sandbox/state").json()
    return {
        dataset["name"]: (
            dataset["hash"],
            any(r["exists"] for r in dataset["file_records"] if r["data_repository"].startswith("flatiron")),
        )
        for dataset in state["datasets"]
    }


def is_done(bench: StageBench, session: SessionRow) -> bool:
    """Say whether all jobs of the session's generation are done."""
    found = bench.journal.jobs.of_session(session.id)
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    return all(job.state is JobState.DONE for job in found if job.generation == row.generation)
