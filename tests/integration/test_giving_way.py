"""The lane of a directory archive: ruling 19 in the queue and within a copy, and an archive that goes away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from labferry.engine.worker import Worker
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import JobKind, JobState, Stage
from support.stages import FILES, StageBench

SMALL = [f"KS005/2026-03-02/{number:03d}" for number in range(2, 7)]
GIANT = {f"raw_video_data/_iblrig_{side}Camera.raw.mp4": b"x" * 100_000 for side in ("left", "right", "body")}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StageBench]:
    bench = StageBench(tmp_path)
    yield bench
    bench.close()


def registered(bench: StageBench, path: str, files: dict[str, bytes]) -> SessionRow:
    """Let everything be done but the copy."""
    _, row = bench.write(path, files)
    for stage in (Stage.RESOLVE, Stage.SEAL, Stage.REGISTER, Stage.SEAL):
        assert bench.step(stage).state is JobState.QUEUED or stage is Stage.REGISTER
    return row


def lane_of(bench: StageBench) -> Worker:
    lane = bench.lanes["server"]
    assert isinstance(lane, Worker)
    return lane


def archived(bench: StageBench) -> list[str]:
    """Return the sessions whose copies are done, in the order of their ends."""
    events = [event for event in bench.journal.events(0) if event.action == "transfer" and event.to_state == "verified"]
    rows = [bench.journal.sessions.get(event.session_id or 0) for event in events]
    return [row.path.decode() for row in rows if row is not None]


def interrupt(bench: StageBench, word: str, come: Iterable[str] = (), then: Callable[[], object] = tuple) -> None:
    """When the lane first says so, let sessions come, and let something happen."""
    lane = lane_of(bench)
    beat, left = lane.beat, [lambda path=path: registered(bench, path, dict(FILES)) for path in come] + [then]

    def meanwhile(doing: str, at_most: float = 10.0) -> None:
        beat(doing, at_most)
        while left and word in doing:
            left.pop(0)()

    lane.beat = meanwhile  # type: ignore[method-assign]


def job_of(bench: StageBench, row: SessionRow) -> JobRow:
    return next(job for job in bench.journal.jobs.of_session(row.id) if job.kind is JobKind.ARCHIVE)


def test_ruling_19_small_sessions_are_archived_before_a_giant_that_was_first_in_the_queue(bench: StageBench) -> None:
    registered(bench, "KS005/2026-03-02/001", {**FILES, **GIANT})
    for path in SMALL:
        registered(bench, path, dict(FILES))
    while lane_of(bench).turn() == 0.0:
        pass
    assert archived(bench) == [*SMALL, "KS005/2026-03-02/001"]


def test_ruling_19_a_giant_in_the_middle_of_its_copy_lets_small_sessions_pass(bench: StageBench) -> None:
    giant = registered(bench, "KS005/2026-03-02/001", {**FILES, **GIANT})
    lane = lane_of(bench)
    interrupt(bench, "001 to server: 1", SMALL)
    lane.turn()
    job = job_of(bench, giant)
    assert (job.state, job.code) == (JobState.WAITING, "files_left")
    items = bench.journal.transfers.items(bench.journal.transfers.of_session(giant.id)[0].id)
    done = [row.size for row in items if row.verified_at is not None]
    assert 0 < len(done) < len(items), "it stopped between two files, with evidence for those that are through"
    assert job.bytes_left == sum(row.size for row in items) - sum(done)
    while lane.turn() == 0.0:
        pass
    assert archived(bench) == [*SMALL, "KS005/2026-03-02/001"]


def test_ruling_19_two_giants_do_not_take_turns(bench: StageBench) -> None:
    first = registered(bench, "KS005/2026-03-02/001", {**FILES, **GIANT})
    second = registered(bench, "KS005/2026-03-02/002", {**FILES, **GIANT, "alf/spikes.times.npy": b"y" * 1000})
    while lane_of(bench).turn() == 0.0:
        pass
    assert [job_of(bench, row).attempts for row in (first, second)] == [2, 2], "one look by the seal lane, one copy"


def test_ruling_19_whoever_waits_longest_is_not_passed_for_ever(bench: StageBench) -> None:
    registered(bench, "KS005/2026-03-02/001", {**FILES, **GIANT})
    bench.clock.pass_by(1.0)  # a second of age is worth a megabyte
    registered(bench, SMALL[0], dict(FILES))
    lane_of(bench).turn()
    assert archived(bench) == ["KS005/2026-03-02/001"]


def test_nobody_passes_while_the_archive_is_not_to_be_tried(bench: StageBench) -> None:
    """The probe of an archive that was down is not given up for somebody who may not be claimed yet."""
    giant = registered(bench, "KS005/2026-03-02/001", {**FILES, **GIANT})
    archive, lane = bench.sandbox.places.archive, lane_of(bench)
    archive.rename(archive.with_name("away"))
    lane.turn()
    assert job_of(bench, giant).code == "target_missing"
    archive.with_name("away").rename(archive)
    bench.clock.pass_by(2.0)
    interrupt(bench, "001 to server: 1", [SMALL[0]])
    lane.turn()
    assert archived(bench) == ["KS005/2026-03-02/001"]


def test_a_copy_that_an_operator_holds_ends_with_the_file_at_hand(bench: StageBench) -> None:
    giant = registered(bench, "KS005/2026-03-02/001", {**FILES, **GIANT})
    interrupt(bench, "001 to server: 1", then=lambda: bench.journal.sessions.hold(giant.id))
    lane_of(bench).turn()
    assert job_of(bench, giant).code == "files_left"
    assert archived(bench) == []
    assert lane_of(bench).turn() > 0


def test_an_archive_that_vanishes_in_the_middle_of_a_copy_is_waited_for_and_nothing_is_told_to_alyx(
    bench: StageBench,
) -> None:
    giant = registered(bench, "KS005/2026-03-02/001", {**FILES, **GIANT})
    archive, lane = bench.sandbox.places.archive, lane_of(bench)

    def vanish() -> None:
        archive.rename(archive.with_name("away"))
        archive.mkdir()

    interrupt(bench, "001 to server: 1", then=vanish)
    lane.turn()
    job = job_of(bench, giant)
    assert (job.state, job.code) == (JobState.WAITING, "target_missing")
    assert bench.requests("PATCH", "/files") == []
    archive.rmdir()
    archive.with_name("away").rename(archive)
    bench.clock.pass_by(60.0)
    while lane.turn() == 0.0:
        pass
    assert job_of(bench, giant).state is JobState.DONE
    assert archived(bench) == ["KS005/2026-03-02/001"]
