"""Trial data (`_iblrig_taskData.raw.jsonable`): one JSON object per line and trial, read line by line.

Room: sessions. Files of some hundred megabytes are read in the memory of their longest line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from labferry.errors import BlockedError
from labferry.sessions.record.fields import finite, shown
from labferry.sessions.record.remark import Remark

LONGEST_LINE = 8 * 1024 * 1024  # bytes; a trial has some kilobytes, one of an hour a few megabytes
LONGEST_TRIAL = 6 * 3600.0  # seconds since the task began; a later end is a broken clock


@dataclass(frozen=True, slots=True)
class Trials:
    """What the trial data of one task amount to.

    Attributes
    ----------
    count : int
        Trials that were completed.
    correct : int or None
        None when the protocol does not say which were.
    duration : float or None
        Seconds from the task's beginning to the end of its last trial that has a sensible end.
    water : float or None
        Microlitres given, as the rig itself added them up; None when it did not.
    reward, correct_reward : float
        Microlitres: the rewards of all trials, and of the correct ones alone.
    remarks : tuple of Remark
        What was not used.
    """

    count: int
    correct: int | None
    duration: float | None
    water: float | None
    reward: float
    correct_reward: float
    remarks: tuple[Remark, ...] = ()


def read_trials(stream: BinaryIO, name: str) -> Trials:
    """Read trial data to the end.

    Parameters
    ----------
    stream : binary file
        Open for reading.
    name : str
        The file's path, for messages.

    Raises
    ------
    BlockedError
        `corrupt_trials`: a line is no trial, or the numbers of the trials say that some are missing.
    """
    tally = _Tally(name)
    for number, line, is_whole in _lines(stream, name):
        try:
            trial = json.loads(line)
        except (ValueError, RecursionError) as error:
            if not is_whole and not isinstance(error, RecursionError):
                tally.cut_off(number)
                break
            why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise BlockedError("corrupt_trials", f"{name}, line {number}: {why}") from None
        if not isinstance(trial, dict):
            what = f"holds {shown(trial)} where a trial is expected"
            raise BlockedError("corrupt_trials", f"{name}, line {number} {what}")
        tally.add(trial)
    return tally.result()


def _lines(stream: BinaryIO, name: str) -> Iterator[tuple[int, bytes, bool]]:
    """Yield number and content of every line that is not blank, and whether it has its end."""
    number = 0
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise BlockedError("corrupt_trials", f"{name}, line {number} is longer than {LONGEST_LINE} bytes")
        if line.strip():
            yield number, line, line.endswith(b"\n")


class _Tally:
    """Adds trials up, one after the other, without keeping them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._remarks: list[Remark] = []
        self._count = 0
        self._begins_at_zero = False
        self._last: Mapping[str, object] = {}
        self._outcomes = 0
        self._correct = 0
        self._duration: float | None = None
        self._late = 0  # trials since the last sensible end
        self._reward = 0.0
        self._correct_reward = 0.0

    def add(self, trial: Mapping[str, object]) -> None:
        """Take one trial into account."""
        if not self._count:
            self._begins_at_zero = finite(trial.get("trial_num")) == 0
        self._count += 1
        # Only what the end needs: a whole trial may have megabytes.
        self._last = {key: trial.get(key) for key in ("trial_num", "ntrials_correct", "water_delivered")}
        outcome = trial.get("trial_correct")
        reward = max(0.0, finite(trial.get("reward_amount")) or 0.0)
        self._reward += reward
        if isinstance(outcome, bool) or finite(outcome) is not None:
            self._outcomes += 1
            if outcome:
                self._correct += 1
                self._correct_reward += reward
        duration = _duration(trial.get("behavior_data"))
        if duration is None or not 0 <= duration < LONGEST_TRIAL:
            self._late += 1
        else:
            self._late = 0
            self._duration = duration

    def cut_off(self, line: int) -> None:
        """Note that the last line ends in the middle: the rig went down while it wrote."""
        self._odd(f"line {line} ends in the middle of a trial, which is not counted")

    def result(self) -> Trials:
        """Return the sums; raises `BlockedError` when trials are missing."""
        self._require_all()
        if self._late:
            what = "trial has" if self._late == 1 else f"{self._late} trials have"
            self._odd(f"the last {what} no end within {LONGEST_TRIAL / 3600:.0f} hours; not used for the end time")
        return Trials(
            count=self._count,
            correct=self._correct_count(),
            duration=self._duration,
            water=finite(self._last.get("water_delivered")),
            reward=self._reward,
            correct_reward=self._correct_reward,
            remarks=tuple(self._remarks),
        )

    def _require_all(self) -> None:
        """Compare the count with the number of the last trial; some protocols begin at 0, others at 1."""
        number = self._last.get("trial_num")
        if number is None:
            return
        last = finite(number)
        if last is None or last + self._begins_at_zero != self._count:
            counted = f"{self._count} trials, but the last one is number {shown(number)}"
            first = "counting from 0" if self._begins_at_zero else "counting from 1"
            raise BlockedError("corrupt_trials", f"{self._name}: {counted}, {first}")

    def _correct_count(self) -> int | None:
        counted = finite(self._last.get("ntrials_correct"))
        if counted is not None and 0 <= counted <= self._count:
            return int(counted)
        return self._correct if self._outcomes else None

    def _odd(self, text: str) -> None:
        self._remarks.append(Remark("odd_trials", f"{self._name}: {text}"))


def _duration(behavior: object) -> float | None:
    """Return the seconds from the start of the Bpod to the end of the trial."""
    if not isinstance(behavior, dict):
        return None
    end, begin = finite(behavior.get("Trial end timestamp")), finite(behavior.get("Bpod start timestamp"))
    return None if end is None or begin is None else end - begin
