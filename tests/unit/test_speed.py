"""How fast transfers are and what is left of them: by a window of the monotonic clock, and None where nobody knows."""

from __future__ import annotations

from labferry.engine.speed import WINDOW, Speeds, seconds_left
from support.clock import FakeClock


def noted(clock: FakeClock, *steps: tuple[float, int]) -> Speeds:
    """Note, after so many seconds each, that so many bytes of transfer 1 are done."""
    speeds = Speeds(clock)
    for seconds, done in steps:
        clock.pass_by(seconds)
        speeds.note(1, done)
    return speeds


def test_a_speed_is_known_from_the_second_look_on() -> None:
    clock = FakeClock()
    assert noted(clock).of(1) is None
    assert noted(clock, (0, 500)).of(1) is None
    assert noted(clock, (0, 500), (2, 900)).of(1) == 200.0


def test_what_was_longer_ago_than_the_window_does_not_count() -> None:
    steps = [(0.0, 0), *((10.0, 10_000 * number) for number in range(1, 7)), *((10.0, 60_000) for _ in range(6))]
    assert noted(FakeClock(), *steps).of(1) == 0.0, "it has stood still for a whole window"


def test_looks_that_are_farther_apart_than_the_window_give_a_speed_all_the_same() -> None:
    assert noted(FakeClock(), (0, 0), (5 * WINDOW, 600), (5 * WINDOW, 1800)).of(1) == 1200 / (5 * WINDOW)


def test_a_speed_that_nobody_has_looked_at_for_long_is_not_known() -> None:
    clock = FakeClock()
    speeds = noted(clock, (0, 0), (10, 1000))
    clock.pass_by(WINDOW)
    assert speeds.of(1) == 100.0
    clock.pass_by(1)
    assert speeds.of(1) is None


def test_a_wall_clock_that_jumps_changes_nothing() -> None:
    clock = FakeClock()
    speeds = noted(clock, (0, 0), (10, 1000))
    clock.wall -= 86_400
    assert speeds.of(1) == 100.0


def test_what_begins_again_or_is_forgotten_has_no_speed() -> None:
    assert noted(FakeClock(), (0, 0), (10, 1000), (10, 0)).of(1) is None
    speeds = noted(FakeClock(), (0, 0), (10, 1000))
    assert speeds.moving() == [1]
    speeds.forget(1)
    assert (speeds.of(1), speeds.moving()) == (None, [])


def test_many_reports_within_a_second_are_one() -> None:
    assert noted(FakeClock(), (0, 0), *((0.01, 10 * number) for number in range(1, 50)), (0.6, 600)).of(1) is not None
    assert noted(FakeClock(), (0, 0), (0.5, 100)).of(1) is None


def test_the_time_left_is_known_only_while_something_moves() -> None:
    assert seconds_left(1000, 100.0) == 10.0
    assert seconds_left(1000, 0.0) is None
    assert seconds_left(1000, None) is None
