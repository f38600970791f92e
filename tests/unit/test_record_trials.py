"""Trial data: counts, end and water, line by line (REG-05, REG-09)."""

from __future__ import annotations

import io
import json
import tracemalloc
from typing import Any

import pytest

from labferry.errors import BlockedError
from labferry.sessions.record import Trials, read_trials
from labferry.sessions.record.trials import LONGEST_LINE
from support.records import TRIALS, jsonable, trial
from support.trees import SHARED, needs_shared


def read(content: bytes) -> Trials:
    return read_trials(io.BytesIO(content), TRIALS)


def read_all(*trials: dict[str, Any]) -> Trials:
    return read(jsonable(trials))


@needs_shared
@pytest.mark.parametrize(
    ("name", "count", "correct", "duration", "water"),
    [("session_training_ge5", 12, 6, 108.177, 18.0), ("session_biased_ge5", 8, 4, 90.463, 6.0)],
)
def test_reg_05_real_trials_of_a_rig(name: str, count: int, correct: int, duration: float, water: float) -> None:
    path = SHARED / "data" / "ibl" / "raw" / name / "raw_behavior_data" / TRIALS
    with path.open("rb") as stream:
        trials = read_trials(stream, TRIALS)
    assert (trials.count, trials.correct, trials.water) == (count, correct, water)
    assert trials.duration == pytest.approx(duration, abs=0.001)
    assert trials.remarks == ()


@pytest.mark.parametrize("first", [0, 1])
def test_reg_05_trials_are_counted_from_0_or_from_1(first: int) -> None:
    trials = read_all(trial(first), trial(first + 1, correct=False), trial(first + 2, end=200.0))
    assert (trials.count, trials.correct, trials.duration) == (3, 2, 200.0)


@pytest.mark.parametrize("numbers", [(1, 2, 4), (2, 3), (0, 2), (0, 1, 1), (1, 2, "3"), (1, 2, float("nan"))])
def test_reg_05_a_last_number_that_is_not_the_count_is_blocked(numbers: tuple[int, ...]) -> None:
    with pytest.raises(BlockedError) as error:
        read_all(*(trial(number) for number in numbers))
    assert error.value.code == "corrupt_trials"
    assert f"{len(numbers)} trials" in error.value.message
    assert "number" in error.value.message


def test_reg_05_protocols_that_do_not_number_their_trials_are_counted() -> None:
    trials = read_all({"reward_amount": 2.0}, {"reward_amount": 2.0})
    assert (trials.count, trials.correct, trials.reward) == (2, None, 4.0)


def test_reg_05_the_rigs_own_count_of_correct_trials_wins() -> None:
    assert read_all(trial(1, ntrials_correct=1), trial(2, ntrials_correct=1)).correct == 1
    assert read_all(trial(1), trial(2, ntrials_correct=5)).correct == 2  # more than there are is none


def test_reg_05_a_trial_of_more_than_six_hours_is_not_the_end() -> None:
    trials = read_all(trial(1, end=60.0), trial(2, end=21_599.0), trial(3, end=21_600.0), trial(4, end=1e9))
    assert (trials.count, trials.duration) == (4, 21_599.0)
    assert [remark.code for remark in trials.remarks] == ["odd_trials"]
    assert "2 trials" in trials.remarks[0].text


def test_reg_05_a_broken_clock_in_the_middle_needs_no_remark() -> None:
    trials = read_all(trial(1, end=1e9), trial(2, end=90.0))
    assert (trials.duration, trials.remarks) == (90.0, ())


@pytest.mark.parametrize("behaviour", [None, [], {}, {"Trial end timestamp": "x"}, {"Trial end timestamp": 3}])
def test_reg_05_trials_without_an_end_leave_it_open(behaviour: object) -> None:
    trials = read_all(trial(1, behavior_data=behaviour))
    assert (trials.duration, [remark.code for remark in trials.remarks]) == (None, ["odd_trials"])


def test_reg_05_a_last_line_without_its_end_is_left_out() -> None:
    whole = jsonable([trial(1), trial(2)])
    trials = read(whole + jsonable([trial(3)])[:50])
    assert trials.count == 2
    assert [remark.code for remark in trials.remarks] == ["odd_trials"]
    assert read(whole.rstrip(b"\n")).count == 2  # only the line end is missing: nothing is lost


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"17",
        b"null",
        b"\0" * 100,
        b"\xff\xff",
        b"[" * 100_000,
        b'{"a": ' + b"1" * 5000 + b"}",
    ],
)
def test_reg_05_a_line_that_is_no_trial_is_blocked_and_numbered(line: bytes) -> None:
    with pytest.raises(BlockedError, match="line 2") as error:
        read(jsonable([trial(1)]) + line + b"\n" + jsonable([trial(2)]))
    assert error.value.code == "corrupt_trials"
    assert len(error.value.message) < 400


def test_reg_05_a_line_without_an_end_is_not_read_into_memory() -> None:
    with pytest.raises(BlockedError, match="longer") as error:
        read(b" " * (LONGEST_LINE + 10))
    assert error.value.code == "corrupt_trials"


def test_reg_05_no_trials_are_none() -> None:
    assert read(b"").count == 0
    assert read(b"\n\n").count == 0


def test_reg_05_long_files_are_read_in_the_memory_of_a_line() -> None:
    line = jsonable([trial(1, wheel=[0.123456] * 4000)])

    class Endless(io.BytesIO):
        left = 400

        def readline(self, size: int | None = -1) -> bytes:
            self.left -= 1
            return line.replace(b'"trial_num": 1', b'"trial_num": %d' % (400 - self.left)) if self.left >= 0 else b""

    tracemalloc.start()
    try:
        trials = read_trials(Endless(), TRIALS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert trials.count == 400
    assert peak < 20 * len(line) < 400 * len(line) / 10


def test_reg_09_water_is_the_rigs_own_sum_of_the_last_trial() -> None:
    trials = read_all(trial(1, water_delivered=1.5), trial(2, correct=False, water_delivered=1.5))
    assert (trials.water, trials.reward) == (1.5, 1.5)


def test_reg_09_rewards_are_summed_with_and_without_wrong_answers() -> None:
    trials = read_all(trial(1), trial(2, correct=False, reward_amount=1.5), trial(3, reward_amount=None))
    assert (trials.water, trials.reward, trials.correct_reward) == (None, 3.0, 1.5)


@pytest.mark.parametrize("amount", [None, "1.5", float("nan"), float("inf"), -3, [], True])
def test_reg_09_what_is_no_reward_counts_as_none(amount: object) -> None:
    one = json.loads(json.dumps(trial(1, reward_amount=amount)))
    assert read_all(one).reward == 0.0
    del one["reward_amount"]
    assert read_all(one).reward == 0.0
