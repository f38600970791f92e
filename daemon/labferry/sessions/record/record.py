"""The record of a session: what Alyx should hold about it, read from nothing but its folder.

Room: sessions. Reads below the session's folder; asks nobody.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo

from labferry.errors import BlockedError
from labferry.model import show_path
from labferry.sessions.record.description import Description, as_names, read_description, unique
from labferry.sessions.record.narrative import read_narrative
from labferry.sessions.record.reading import SessionFolder
from labferry.sessions.record.remark import Remark
from labferry.sessions.record.settings import TEST_USER
from labferry.sessions.record.tasks import BEHAVIOUR, TaskRun, read_tasks, task_collections
from labferry.sessions.record.weights import Water, Weight, recorder, waters, weights
from labferry.sessions.session import Session
from labferry.sessions.walk import walk_session

EXPERIMENT = "Experiment"  # the type of every session that holds data
_LONGEST_PROTOCOL = 1023  # characters that Alyx takes
_VIDEO = "raw_video_data"
_WITHOUT_DATA = frozenset({b"logs", b"_devices"})
_WORDS = (b".yaml", b".txt")  # descriptions and narratives: files of the session's folder that are no recording


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """What Alyx should hold about a session.

    Attributes
    ----------
    subject, date, number : str, datetime.date, int
        As the folder is named; every task agrees with it.
    start_time, end_time : datetime.datetime or None
        Naive local wall time. None: nothing says so.
    task_protocol : str
        Protocols and versions in the order of time, `/` between them; empty without a task.
    users : tuple of str
        Who ran the tasks, as the rig says. Which of them Alyx knows is not known here (`session_users`).
    projects, procedures : tuple of str
        Names; empty leaves the projects to those of the subject.
    n_trials, n_correct_trials : int or None
        Of all tasks together. None: nothing says so, and what Alyx has stays.
    narrative : str or None
        None leaves what Alyx has.
    json : dict
        Fields of Alyx' `json` that are ours to write.
    type : str
        Of the session.
    location : str or None
        Name of the rig.
    passive : bool
        No task was run, so that there is nothing to create a session from: it must be in Alyx (REG-06) ...
    described : bool
        ... if there is an experiment description. Without one this is no rig's session at all.
    weights, waters : tuple
        Each to be sent at most once.
    description : Description
        As read; empty when there is none.
    runs : tuple of TaskRun
        The tasks in the order of time.
    remarks : tuple of Remark
        What is worth knowing.
    """

    subject: str
    date: date
    number: int
    start_time: datetime | None
    end_time: datetime | None
    task_protocol: str
    users: tuple[str, ...]
    projects: tuple[str, ...]
    procedures: tuple[str, ...]
    n_trials: int | None
    n_correct_trials: int | None
    narrative: str | None
    json: Mapping[str, object]
    type: str
    location: str | None
    passive: bool
    described: bool
    weights: tuple[Weight, ...]
    waters: tuple[Water, ...]
    description: Description
    runs: tuple[TaskRun, ...]
    remarks: tuple[Remark, ...]


def read_record(
    folder: bytes,
    session: Session,
    *,
    timezone: tzinfo | None = None,
    projects: Sequence[str] | str = (),
    procedures: Sequence[str] | str = (),
) -> SessionRecord:
    """Read the record of a finished session.

    Parameters
    ----------
    folder : bytes
        The session's folder.
    session : Session
        What its path says.
    timezone : datetime.tzinfo or None
        Of the lab's wall clocks, for times that end in `Z`; None is this machine's.
    projects, procedures : sequence of str, or str
        Further names, after those of the experiment description.

    Raises
    ------
    BlockedError
        `no_files`, `only_logs`, `bad_description`, `no_settings`, `corrupt_settings`, `corrupt_trials`,
        `subject_mismatch`, `number_mismatch`, `date_mismatch`, `unreadable`.
    NotYetError
        `source_missing`: the folder is not there.
    """
    files = SessionFolder(folder)
    names = files.names()
    require_data(folder)
    description = read_description(files)
    collections = task_collections(files, description)
    described = description.path is not None
    if not collections and not described and BEHAVIOUR in names:
        raise BlockedError("no_settings", f"{BEHAVIOUR.decode()} holds no task settings (_iblrig_taskSettings.raw)")
    runs = read_tasks(files, collections, session, timezone)
    narrative = read_narrative(files)
    remarks = [*description.remarks, *narrative.remarks, *_remarks(files, description, runs)]
    weighings, administrations = weights(runs, remarks), waters(runs, remarks)
    return SessionRecord(
        subject=session.subject,
        date=session.date,
        number=session.number,
        start_time=runs[0].settings.start if runs else None,
        end_time=runs[-1].end if runs else None,
        task_protocol=_task_protocol(runs),
        users=unique(recorder(run) for run in runs),
        projects=unique([*description.projects, *as_names(projects)]),
        procedures=unique([*description.procedures, *as_names(procedures)]),
        n_trials=_sum([run.trials.count for run in runs if run.trials is not None]),
        n_correct_trials=_sum([run.correct for run in runs if run.trials is not None]),
        narrative=narrative.text,
        json=_json(runs),
        type=EXPERIMENT,
        location=next((run.settings.location for run in runs if run.settings.location), None),
        passive=not runs,
        described=described,
        weights=weighings,
        waters=administrations,
        description=description,
        runs=runs,
        remarks=tuple(remarks),
    )


def require_data(folder: bytes) -> None:
    """Make sure that there is more than flags and logs: what is left of an aborted session is no recording.

    Raises
    ------
    BlockedError
        `no_files`, `only_logs`.
    """
    seen: set[bytes] = set()
    for walked in walk_session(folder, versions=False):
        top, _, below = walked.path.partition(b"/")
        if below:
            if top not in _WITHOUT_DATA:
                return
            seen.add(top)
        elif not top.endswith((b".flag", *_WORDS)):
            return
        elif not top.endswith(b".flag"):
            seen.add(top)
    if not seen:
        raise BlockedError("no_files", "the session's folder holds no file")
    if seen & _WITHOUT_DATA:
        raise BlockedError("only_logs", f"the session's folder holds {_listed(seen)} and no data")


def _task_protocol(runs: Sequence[TaskRun]) -> str:
    protocol = "/".join(run.settings.task_protocol for run in runs if run.settings.task_protocol)
    if len(protocol) > _LONGEST_PROTOCOL:
        text = f"the protocols of {len(runs)} tasks have {len(protocol)} characters together, Alyx takes"
        raise BlockedError("corrupt_settings", f"{text} {_LONGEST_PROTOCOL}")
    return protocol


def _json(runs: Sequence[TaskRun]) -> dict[str, object]:
    """Return the fields of Alyx' `json` under the names that its users search for."""
    if not runs:
        return {}
    first = runs[0].settings
    fields: dict[str, object] = {
        "IS_MOCK": first.is_mock,
        "IBLRIG_VERSION": first.version or None,
        "PROJECT_EXTRACTION_VERSION": first.extraction_version,
        "TASK_VERSION": first.task_version,
        "POOP_COUNT": _sum([run.settings.droppings for run in runs if run.settings.droppings is not None]),
        "SESSION_DELAY_START": _sum([int(run.settings.delay) for run in runs if run.settings.delay is not None]),
    }
    return {key: value for key, value in fields.items() if value is not None}


def _sum(numbers: Sequence[int | None]) -> int | None:
    """Return the sum; None when there is nothing to add up, or something of it is not known."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known and len(known) == len(numbers) else None


def _remarks(files: SessionFolder, description: Description, runs: Sequence[TaskRun]) -> Iterator[Remark]:
    for run in runs:
        yield from run.settings.remarks
        if run.settings.user == TEST_USER:
            yield Remark("test_user", f"{run.collection}: the task was run as {TEST_USER}, which stands for nobody")
        if run.trials is not None:
            yield from run.trials.remarks
            if run.correct is None:
                text = (
                    f"{run.collection}: the protocol does not say which trials were correct; their number is not sent"
                )
                yield Remark("odd_trials", text)
    yield from _differences(runs)
    if not runs and description.path is None:
        yield Remark("no_behaviour", f"neither an experiment description nor {show_path(BEHAVIOUR)} is there")
    for collection in _video_collections(description, runs):
        if not files.names(os.fsencode(collection)):
            yield Remark("no_video", f"{collection} is missing or empty, though the rig has cameras")


def _differences(runs: Sequence[TaskRun]) -> Iterator[Remark]:
    """Yield a remark for what all tasks of a session should have in common; the first task's counts."""
    for what, values in (
        ("rigs", [run.settings.location for run in runs]),
        ("rig versions", [run.settings.version for run in runs]),
        ("mock settings", [str(run.settings.is_mock).lower() for run in runs]),
    ):
        different = unique(values)
        if len(different) > 1:
            yield Remark("odd_settings", f"the tasks have different {what}: {', '.join(different)}; the first is taken")


def _video_collections(description: Description, runs: Sequence[TaskRun]) -> tuple[str, ...]:
    """Return the folders that should hold videos, by the description or, before there was one, by the settings."""
    if description.path is None:
        return (_VIDEO,) if any(run.settings.records_video for run in runs) else ()
    return unique(device.collection for device in description.devices if device.kind == "cameras")


def _listed(names: Iterable[bytes]) -> str:
    return ", ".join(show_path(name) for name in sorted(names))
