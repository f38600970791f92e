"""Weighings and water administrations: what the tasks of a session say about the animal.

Room: sessions. Pure. Each has a `date_time` of its own, chosen from the settings alone, so that a second reading finds
what a first one sent (ruling 11).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from labferry.sessions.record.remark import Remark
from labferry.sessions.record.settings import TEST_USER
from labferry.sessions.record.tasks import TaskRun

DEFAULT_WATER = "Water"  # the water type every Alyx has
_ZERO_ON_ERROR = 8  # from this generation on, `reward_amount` is 0 where none was given


@dataclass(frozen=True, slots=True)
class Weight:
    """One weighing.

    Attributes
    ----------
    date_time : datetime.datetime
        The start of the task, naive local wall time.
    weight : float
        Grams.
    user : str or None
        Who ran the task; whether Alyx knows that name is not known here.
    collection : str
        The task whose settings say so.
    """

    date_time: datetime
    weight: float
    user: str | None
    collection: str


@dataclass(frozen=True, slots=True)
class Water:
    """One water administration.

    Attributes
    ----------
    date_time : datetime.datetime
        The end of the task, naive local wall time.
    volume : float
        Millilitres, four significant figures.
    water_type : str
        Name of a water type; whether Alyx knows it is not known here.
    user, collection : as for `Weight`
    """

    date_time: datetime
    volume: float
    water_type: str
    user: str | None
    collection: str


def recorder(run: TaskRun) -> str | None:
    """Return who ran a task; the rig's test user stands for nobody."""
    return None if run.settings.user == TEST_USER else run.settings.user


def weights(runs: Iterable[TaskRun], remarks: list[Remark]) -> tuple[Weight, ...]:
    """Return one weighing per task whose settings have a weight; the others that should have one get a remark."""
    found: dict[datetime, Weight] = {}
    for run in runs:
        settings = run.settings
        if settings.weight is None and settings.is_passive:
            continue  # nobody weighs an animal again between two tasks
        if settings.weight is None:
            remarks.append(Remark("weight_skipped", f"{run.collection}: no weighing, {settings.no_weight}"))
        elif settings.start in found:
            first = found[settings.start].collection
            remarks.append(Remark("weight_skipped", f"{run.collection}: no weighing, it began when {first} did"))
        else:
            found[settings.start] = Weight(settings.start, settings.weight, recorder(run), run.collection)
    return tuple(found.values())


def waters(runs: Iterable[TaskRun], remarks: list[Remark]) -> tuple[Water, ...]:
    """Return one water administration per task with trials that gave any; none for a volume of 0."""
    found: dict[tuple[datetime, str], Water] = {}
    for run in runs:
        if run.trials is None:
            continue
        volume = float(f"{_microlitres(run) / 1000:.4g}")
        water = Water(
            run.end or run.settings.start,
            volume,
            run.settings.reward_type or DEFAULT_WATER,
            recorder(run),
            run.collection,
        )
        key = (water.date_time, water.water_type)
        if volume <= 0:
            remarks.append(Remark("water_skipped", f"{run.collection}: no water administration, none was given"))
        elif key in found:
            text = f"no water administration, it ended when {found[key].collection} did"
            remarks.append(Remark("water_skipped", f"{run.collection}: {text}"))
        else:
            found[key] = water
    return tuple(found.values())


def _microlitres(run: TaskRun) -> float:
    """Return what was given, as the rig added it up, else by the rewards of the trials."""
    trials, settings = run.trials, run.settings
    assert trials is not None, "asked for tasks with trials only"
    if trials.water is not None:
        return trials.water
    # Older rigs write the reward that a correct answer would have had beside wrong answers too.
    is_given = settings.is_habituation or (settings.generation or 0) >= _ZERO_ON_ERROR
    return trials.reward if is_given else trials.correct_reward
