"""What is history: whatever the days, times and ages are."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from labferry.detect.history import is_history

DAY = 86_400.0
days = st.dates(date(1990, 1, 1), date(2099, 12, 31))
moments = st.floats(0, 4e9)
ages = st.sampled_from([0.0, 1.0, 7 * DAY]) | st.floats(0, 400 * DAY)


def midnight(day: date) -> float:
    """Return when a day begins, epoch seconds."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


@given(days, moments, moments, ages)
def test_ruling_02_history_is_old_by_its_day_and_by_its_folder(
    day: date, changed_at: float, met_at: float, age: float
) -> None:
    before = met_at - age
    assert is_history(day, changed_at, met_at, age) == (midnight(day + timedelta(1)) <= before and changed_at <= before)


@given(days, moments, ages, st.floats(0, 400 * DAY))
def test_ruling_02_what_changes_after_the_first_contact_is_never_history(
    day: date, met_at: float, age: float, later: float
) -> None:
    assert not is_history(day, met_at + later + 1.0, met_at, age)


@given(moments, ages, st.floats(0, 400 * DAY))
def test_ruling_02_what_is_recorded_on_the_day_of_the_first_contact_or_later_is_never_history(
    met_at: float, age: float, later: float
) -> None:
    day = datetime.fromtimestamp(met_at + later, UTC).date()
    assert not is_history(day, 0.0, met_at, age)


@given(days, moments, moments, ages, st.floats(0, 400 * DAY))
def test_ruling_02_a_longer_age_makes_nothing_history(
    day: date, changed_at: float, met_at: float, age: float, more: float
) -> None:
    if is_history(day, changed_at, met_at, age + more):
        assert is_history(day, changed_at, met_at, age)
