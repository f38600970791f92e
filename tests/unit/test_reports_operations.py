"""What an operator may change, and what `explain` says then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.engine import operations
from labferry.engine.policy import decide
from labferry.engine.reports.explain import explain
from labferry.errors import LabferryError
from labferry.model import Blocked, Done, JobKind, JobState, SessionState, Stage, Waiting
from support.world import DATASET, LIMITS, REJECTED, SESSION, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def block(world: World, session: str, code: str = "ambiguous_subject") -> None:
    world.complete(session)
    world.run(Stage.RESOLVE, Blocked(code, "why", "hint"))


def test_retry_queues_blocked_and_waiting_work_now(world: World) -> None:
    row = world.complete()
    world.run(Stage.RESOLVE, Waiting(600.0, "session_not_on_alyx", "not yet"))
    assert operations.retry(world.context, [row])["retried"] == 1
    assert (world.job(row).state, world.job(row).not_before) == (JobState.QUEUED, world.clock.now())
    world.run(Stage.RESOLVE, Blocked("ambiguous_subject", "two", "rename"))
    rings = world.wakeup.rings
    assert operations.retry(world.context, [row])["jobs"] == [world.job(row).id]
    assert world.job(row).state is JobState.QUEUED
    assert world.wakeup.rings > rings
    assert operations.retry(world.context, [row])["retried"] == 0, "it is queued already"


def test_retry_lifts_a_cancel(world: World) -> None:
    row = world.complete()
    assert operations.cancel(world.context, [row], "anna")["jobs"] == [world.job(row).id]
    assert operations.retry(world.context, [row])["retried"] == 1
    assert explain(world.context, world.live, SESSION)["verdict"] == "queued"


def test_retry_leaves_older_generations_alone(world: World) -> None:
    row = world.complete()
    operations.cancel(world.context, [row], "anna")
    world.journal.sessions.unsettle(row.id, "a file changed")
    world.settle(row)
    assert operations.retry(world.context, [world.now(row)])["retried"] == 0
    assert [job.state for job in world.journal.jobs.of_session(row.id)] == [JobState.CANCELLED, JobState.QUEUED]


def test_ruling_22_retry_takes_nothing_back_from_an_archived_session_whose_folder_was_removed(world: World) -> None:
    row = world.archived(files=[("alf/trials.table.pqt", DATASET), ("alf/odd.name.x", REJECTED)])
    world.journal.sessions.vanished(row.id)
    assert operations.stuck(world.context) == []
    assert operations.retry(world.context, [world.now(row)])["retried"] == 0
    assert world.now(row).state is SessionState.ARCHIVED


def test_retry_looks_again_at_a_session_with_rejected_files(world: World) -> None:
    row = world.archived(files=[("x", REJECTED)])
    assert operations.retry(world.context, [row]) == {"jobs": [], "sessions": 1, "asked": 0, "retried": 1}
    assert world.now(row).state is SessionState.SETTLING
    world.settle(row)
    assert world.job(row, JobKind.REGISTER).generation == 2


def test_stuck_sessions_are_chosen_by_their_reason(world: World) -> None:
    world.archived("KS001/2019-04-02/001", files=[("x", REJECTED)])
    block(world, "KS002/2019-04-02/001")
    block(world, "KS003/2019-04-02/001", "subject_not_on_alyx")
    world.complete("KS004/2019-04-02/001")

    def chosen(code: str = "") -> set[str]:
        return {row.subject for row in operations.stuck(world.context, code)}

    assert chosen() == {"KS001", "KS002", "KS003"}
    assert chosen("subject_not_on_alyx") == {"KS003"}
    assert chosen("not_utf8") == {"KS001"}
    assert {row.subject for row in operations.unfinished(world.context)} == {"KS002", "KS003", "KS004"}


def test_a_cancel_does_not_disturb_an_attempt_that_runs(world: World) -> None:
    row = world.complete()
    job = world.run(Stage.RESOLVE)
    operations.cancel(world.context, [row], "anna")

    moved = world.journal.jobs.finish_attempt(job, decide(job, Done(), world.clock.now(), 0.5, LIMITS))
    assert moved is False
    assert world.job(row).state is JobState.CANCELLED
    assert [attempt["outcome"] for attempt in world.journal.jobs.attempts(job.id)] == ["done"]


def test_hold_and_release(world: World) -> None:
    row = world.complete()
    operations.hold(world.context, [row])
    assert world.now(row).state is SessionState.HELD
    assert world.journal.jobs.claim(Stage.RESOLVE) is None
    assert [one.id for one in operations.held(world.context)] == [row.id]
    operations.release(world.context, [row])
    assert world.now(row).state is SessionState.COMPLETE
    assert world.journal.jobs.claim(Stage.RESOLVE) is not None
    actions = [event.action for event in world.journal.history(row.id)]
    assert (actions.count("held"), actions.count("released")) == (1, 1)


def test_pause_and_resume_one_kind_of_lane_or_all(world: World) -> None:
    assert operations.pause(world.live, "register", paused=True) == {"paused": ["register"]}
    assert [lane.paused for lane in world.lanes] == [False, True, True, False]
    assert operations.pause(world.live, "", paused=True) == {"paused": ["archive", "register", "seal"]}
    assert operations.pause(world.live, "archive", paused=False) == {"paused": ["register", "seal"]}
    assert operations.pause(world.live, "", paused=False) == {"paused": []}


@pytest.mark.parametrize("lane", ["detect", "control", "lost"])
def test_what_is_no_work_cannot_be_paused(world: World, lane: str) -> None:
    with pytest.raises(LabferryError) as caught:
        operations.pause(world.live, lane, paused=True)
    assert caught.value.code == "bad_request"


def test_rescan_makes_scans_due(world: World) -> None:
    world.detect.first_scan()
    world.write("a")
    assert operations.rescan(world.context, world.live, "s0") == {"roots": ["s0"]}
    world.detect.turn()
    assert world.journal.sessions.at("s0", SESSION.encode()) is not None
    with pytest.raises(LabferryError, match="no root"):
        operations.rescan(world.context, world.live, "lost")
