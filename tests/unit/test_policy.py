"""The policy table: what becomes of a job after an attempt."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labferry.engine.policy import LOST_MAX, Limits, backoff, decide
from labferry.journal.rows import JobRow
from labferry.model import STAGES, Blocked, Done, JobKind, JobState, Retry, Stage, Waiting

LIMITS = Limits(max_attempts=10, backoff_max=900.0)
NOW = 1_700_000_000.0


def running(kind: JobKind = JobKind.REGISTER, stage: Stage = Stage.RESOLVE, **changes: object) -> JobRow:
    job = JobRow(
        id=1,
        session_id=1,
        kind=kind,
        target="nas" if kind is JobKind.ARCHIVE else "",
        dedupe="",
        generation=1,
        state=JobState.RUNNING,
        stage=stage,
        attempts=1,
        failures=0,
        outages=0,
        not_before=NOW,
        bytes_left=0,
        code="",
        reason="",
        hint="",
        claimed_by="me",
        created_at=NOW,
        updated_at=NOW,
        finished_at=None,
    )
    return replace(job, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", list(JobKind))
def test_ruling_21_done_passes_through_the_stages_in_order_and_ends(kind: JobKind) -> None:
    job = running(kind, STAGES[kind][0])
    seen = [job.stage]
    while (move := decide(job, Done(), NOW, 0.5, LIMITS)).state is JobState.QUEUED:
        job = replace(job, stage=move.stage)
        seen.append(move.stage)
        assert move.not_before == NOW
    assert tuple(seen) == STAGES[kind]
    assert move.state is JobState.DONE


def test_waiting_for_the_world_burns_no_attempts_and_names_its_reason() -> None:
    move = decide(running(failures=3), Waiting(30.0, "source_missing", "gone"), NOW, 0.5, LIMITS)
    assert (move.state, move.not_before, move.failures) == (JobState.WAITING, NOW + 30.0, 3)
    assert (move.code, move.reason) == ("source_missing", "gone")
    assert "Mount the root" in move.hint


def test_an_outage_backs_off_and_honours_what_the_dependency_asked_for() -> None:
    job = running(outages=4)
    asked = decide(job, Waiting(60.0, "alyx_throttled", "slow", dependency="alyx"), NOW, 0.5, LIMITS)
    own = decide(job, Waiting(0.0, "alyx_down", "down", dependency="alyx"), NOW, 0.5, LIMITS)
    assert asked.not_before == NOW + 60.0
    assert own.not_before == NOW + backoff(4, 0.5, LIMITS)
    assert own.outages == 5


def test_ruling_13_an_answer_that_is_lost_again_and_again_is_asked_for_more_and_more_rarely() -> None:
    lost, watched = Waiting(1.0, "answer_lost", "dropped"), Waiting(30.0, "files_in_flight", "Alyx is given time")
    job, delays = running(), []
    for _ in range(20):
        move = decide(job, lost, NOW, 1.0, LIMITS)
        delays.append(move.not_before - NOW)
        assert (move.state, move.failures) == (JobState.WAITING, 0)
        job = replace(job, outages=move.outages)
        job = replace(job, outages=decide(job, watched, NOW, 1.0, LIMITS).outages)  # the look does not begin anew
    assert delays[:4] == [1.0, 2.0, 4.0, 8.0]
    assert delays[-1] == max(delays) == LOST_MAX
    assert decide(job, Waiting(0.0, "files_left", "others first"), NOW, 1.0, LIMITS).outages == 0, "it got on"
    assert decide(job, Done(), NOW, 1.0, LIMITS).outages == 0


def test_ruling_30_unexpected_errors_block_after_the_configured_number() -> None:
    job, states = running(), []
    for _ in range(LIMITS.max_attempts):
        move = decide(job, Retry("unexpected", "ZeroDivisionError", detail="trace"), NOW, 0.5, LIMITS)
        states.append(move.state)
        job = replace(job, failures=move.failures)
    assert states == [JobState.QUEUED] * (LIMITS.max_attempts - 1) + [JobState.BLOCKED]
    assert (move.code, move.detail) == ("crash", "trace")
    assert "ZeroDivisionError" in move.reason


def test_win_06_blocked_waits_for_a_person_and_keeps_the_way_out() -> None:
    move = decide(running(), Blocked("ambiguous_subject", "two labs", "rename one"), NOW, 0.5, LIMITS)
    assert (move.state, move.code, move.reason, move.hint) == (
        JobState.BLOCKED,
        "ambiguous_subject",
        "two labs",
        "rename one",
    )


def test_an_outcome_is_for_running_jobs_only() -> None:
    with pytest.raises(AssertionError, match="is done"):
        decide(running(state=JobState.DONE), Done(), NOW, 0.5, LIMITS)


outcomes = st.one_of(
    st.just(Done()),
    st.builds(Waiting, st.floats(0, 1e6), st.just("alyx_down"), st.text(), st.sampled_from([None, "alyx"])),
    st.builds(Retry, st.just("unexpected"), st.text(), st.floats(0, 1e6)),
    st.builds(Blocked, st.just("crash"), st.text(), st.text()),
)


@given(
    outcome=outcomes,
    kind=st.sampled_from(list(JobKind)),
    failures=st.integers(0, 9),
    outages=st.integers(0, 10_000),
    jitter=st.floats(0, 1),
)
def test_every_outcome_has_one_defined_move(
    outcome: Done | Waiting | Retry | Blocked, kind: JobKind, failures: int, outages: int, jitter: float
) -> None:
    for stage in STAGES[kind]:
        move = decide(running(kind, stage, failures=failures, outages=outages), outcome, NOW, jitter, LIMITS)
        assert move.state in {JobState.QUEUED, JobState.WAITING, JobState.BLOCKED, JobState.DONE}
        assert move.stage in STAGES[kind]
        assert NOW <= move.not_before <= NOW + 1e6 + LIMITS.backoff_max
        assert move.failures <= LIMITS.max_attempts


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_backoff_is_bounded(tries: int, jitter: float) -> None:
    assert 0.0 <= backoff(tries, jitter, LIMITS) <= LIMITS.backoff_max
