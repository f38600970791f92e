"""Looks at complete sessions: often enough, rarer with age, and never all at once (ruling 1)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from labferry.detect import cadence
from labferry.detect.cadence import DAY, HOUR, RAREST_FILES, RAREST_TIMES, YOUNG

AGES = st.floats(-1e6, 20 * 365 * DAY)
IDS = st.integers(1, 10**7)
NOWS = st.floats(0.0, 1e9)


@given(st.floats(-1e6, YOUNG))
def test_ruling_01_a_young_session_is_looked_at_hourly_and_its_files_daily(age: float) -> None:
    assert (cadence.times_every(age), cadence.files_every(age)) == (HOUR, DAY)


@given(AGES, AGES)
def test_ruling_01_looks_become_rarer_with_age_and_never_stop(one: float, other: float) -> None:
    young, old = sorted((one, other))
    assert HOUR <= cadence.times_every(young) <= cadence.times_every(old) <= RAREST_TIMES
    assert DAY <= cadence.files_every(young) <= cadence.files_every(old) <= RAREST_FILES


@given(IDS, AGES, st.none() | st.floats(-1e6, 1e9), NOWS)
def test_ruling_01_a_start_looks_at_each_within_its_interval(
    id_: int, age: float, seen: float | None, now: float
) -> None:
    due = cadence.first(id_, age, seen, now)
    assert now <= due.times <= now + cadence.first_within(age, seen) <= now + cadence.times_every(age)
    assert now <= due.files <= now + cadence.files_every(age)


@given(st.floats(-1e6, DAY, exclude_max=True), st.none() | st.floats(0.0, 1e6))
def test_ruling_01_what_nobody_saw_since_it_was_complete_is_seen_in_minutes(age: float, seen: float | None) -> None:
    unseen = seen is None or seen > age
    assert cadence.first_within(age, seen) == (10 * 60 if unseen else HOUR)


@given(IDS, AGES, NOWS, st.booleans())
def test_ruling_01_the_next_look_is_in_time_and_not_much_too_early(
    id_: int, age: float, now: float, files: bool
) -> None:
    due = cadence.Due(now, now + 7.0)
    after = cadence.after(id_, age, due, now, files=files)
    assert 0.74 * cadence.times_every(age) <= after.times - now <= cadence.times_every(age) + 1e-6 * now
    if files:
        assert 0.74 * cadence.files_every(age) <= after.files - now <= cadence.files_every(age) + 1e-6 * now
    else:
        assert after.files == due.files


@given(st.integers(1, 10**6), st.floats(0.0, 10 * 365 * DAY), st.none() | st.floats(0.0, 1e9))
def test_ruling_01_after_a_start_no_moment_has_much_more_than_its_share(
    first_id: int, age: float, seen: float | None
) -> None:
    sessions = 2000
    due = [cadence.first(first_id + number, age, seen, 0.0) for number in range(sessions)]
    tenth = cadence.first_within(age, seen) / 10
    shares = [0] * 10
    for one in due:
        shares[min(9, int(one.times / tenth))] += 1
    assert max(shares) < 1.2 * sessions / 10
