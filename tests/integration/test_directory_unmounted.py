"""A directory archive whose mount is gone: the folder beneath is there, empty, and must not be filled in its place."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.engine.dependencies import Health
from labferry.engine.reports.doctor import doctor
from labferry.engine.worker import Worker
from labferry.journal.rows import SessionRow
from labferry.model import JobState, Stage
from support.stages import StageBench

SECOND = "KS005/2026-03-02/002"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StageBench]:
    bench = StageBench(tmp_path)
    yield bench
    bench.close()


def registered(bench: StageBench, path: str = "KS005/2026-03-02/001") -> SessionRow:
    _, session = bench.write(path)
    for stage in (Stage.RESOLVE, Stage.SEAL, Stage.REGISTER, Stage.SEAL):
        bench.step(stage)
    return session


def work(bench: StageBench) -> None:
    lane = bench.lanes["server"]
    assert isinstance(lane, Worker)
    while lane.turn() == 0.0:
        pass


def test_map_03_an_empty_folder_in_the_place_of_a_mount_is_not_filled(bench: StageBench, tmp_path: Path) -> None:
    first = registered(bench)
    work(bench)
    assert bench.job(first).state is JobState.DONE
    archive = bench.sandbox.places.archive
    archive.rename(tmp_path / "unmounted")
    archive.mkdir()
    second = registered(bench, SECOND)
    for _ in range(10):
        work(bench)
        bench.clock.pass_by(60.0)
    (down,) = [one for one in bench.context.dependencies.snapshot() if one.name == "archive:server"]
    assert (down.state, down.code) == (Health.DOWN, "target_missing")
    assert "is not mounted" in down.detail
    assert bench.job(second).state is JobState.WAITING
    check = {one["name"]: one for one in doctor(bench.context, bench.live)["checks"]}["archive:server"]
    assert (check["result"], "is not mounted" in check["text"]) == ("error", True)
    assert list(archive.iterdir()) == []
    archive.rmdir()
    (tmp_path / "unmounted").rename(archive)
    bench.clock.pass_by(900.0)
    work(bench)
    assert bench.job(second).state is JobState.DONE


def test_map_03_a_new_disk_is_filled_when_a_person_says_so(bench: StageBench, tmp_path: Path) -> None:
    registered(bench)
    work(bench)
    archive = bench.sandbox.places.archive
    archive.rename(tmp_path / "old disk")
    (archive / "cortexlab" / "Subjects").mkdir(parents=True)
    second = registered(bench, SECOND)
    work(bench)
    assert bench.job(second).state is JobState.DONE


def test_map_03_a_new_archive_is_empty_and_is_filled(bench: StageBench) -> None:
    shutil.rmtree(bench.sandbox.places.archive)
    bench.sandbox.places.archive.mkdir()
    session = registered(bench)
    work(bench)
    assert bench.job(session).state is JobState.DONE
