"""Breakers: an outage is one state, burns nothing, and heals by itself."""

from __future__ import annotations

import pytest

from labferry.engine.dependencies import LONGEST_SILENCE, Dependencies, Health
from labferry.engine.policy import Limits
from labferry.errors import UnavailableError
from support.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def dependencies(clock: FakeClock) -> Dependencies:
    return Dependencies(["alyx", "archive:nas"], clock, Limits(10, 900.0))


def down(code: str = "alyx_down", retry_after: float = 0.0) -> UnavailableError:
    return UnavailableError("alyx", code, "connection refused", retry_after)


def state(dependencies: Dependencies) -> Health:
    return next(one.state for one in dependencies.snapshot() if one.name == "alyx")


def test_unknown_is_tried_and_up_is_not_limited(dependencies: Dependencies) -> None:
    assert dependencies.open_for("alyx") == 0.0
    dependencies.came_up("alyx")
    assert [dependencies.open_for("alyx") for _ in range(3)] == [0.0, 0.0, 0.0]


def test_while_down_one_probe_at_a_time_is_let_through(dependencies: Dependencies, clock: FakeClock) -> None:
    dependencies.went_down(down())
    assert dependencies.open_for("alyx") > 0
    clock.pass_by(dependencies.open_for("alyx"))
    assert dependencies.open_for("alyx") == 0.0, "the probe"
    assert dependencies.open_for("alyx") > 0, "the next one waits for the probe"


def test_win_03_an_outage_is_reported_once_and_so_is_its_end(dependencies: Dependencies) -> None:
    assert [dependencies.went_down(down()) for _ in range(3)] == [True, False, False]
    assert dependencies.came_up("alyx") == "alyx_down"
    assert dependencies.came_up("alyx") is None


def test_the_time_of_the_outage_is_that_of_its_beginning(dependencies: Dependencies, clock: FakeClock) -> None:
    dependencies.went_down(down())
    began = clock.now()
    clock.pass_by(600)
    dependencies.went_down(down())
    (alyx,) = [one for one in dependencies.snapshot() if one.name == "alyx"]
    assert (alyx.since, alyx.detail) == (began, "connection refused")


def test_a_login_that_is_needed_is_a_state_of_its_own(dependencies: Dependencies) -> None:
    dependencies.went_down(down("alyx_login"))
    assert state(dependencies) is Health.NEEDS_LOGIN


def test_retry_after_is_honoured_and_probes_never_lie_further_apart_than_a_minute(
    dependencies: Dependencies, clock: FakeClock
) -> None:
    dependencies.went_down(down("alyx_throttled", retry_after=300.0))
    assert dependencies.open_for("alyx") == pytest.approx(300.0)
    for _ in range(50):
        clock.pass_by(1000)
        dependencies.went_down(down())
    assert dependencies.open_for("alyx") <= LONGEST_SILENCE


def test_dependencies_do_not_disturb_each_other(dependencies: Dependencies) -> None:
    dependencies.went_down(down())
    assert dependencies.open_for("archive:nas") == 0.0


def test_a_person_who_asks_for_a_retry_gets_a_probe_at_once(dependencies: Dependencies, clock: FakeClock) -> None:
    for _ in range(10):
        dependencies.went_down(down("alyx_throttled", retry_after=300.0))
    dependencies.hurry()
    assert dependencies.open_for("alyx") == 0.0, "the probe"
    assert dependencies.open_for("alyx") > 0, "the next one waits for the probe"
    assert state(dependencies) is Health.DOWN
