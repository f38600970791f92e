"""The tasks of a session: which were run, what each one's settings and trials say, in the order of time.

Room: sessions.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from labferry.errors import BlockedError
from labferry.model import show_path
from labferry.sessions.record.description import Description
from labferry.sessions.record.reading import SessionFolder
from labferry.sessions.record.settings import SETTINGS_LIMIT, TaskSettings, parse_settings
from labferry.sessions.record.trials import Trials, read_trials
from labferry.sessions.session import Session

BEHAVIOUR = b"raw_behavior_data"  # where one task's data lie that no description names
_CHAINED = re.compile(rb"raw_task_data_\d+")
SETTINGS_NAMES = re.compile(rb"_iblrig_taskSettings\.raw.*\.json")
_TRIALS = re.compile(rb"_iblrig_taskData\.raw.*\.jsonable")


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One task of a session.

    Attributes
    ----------
    collection : str
        The folder of its raw data.
    settings : TaskSettings
        What the rig noted.
    trials : Trials or None
        None when there is no trial data: passive protocols have none.
    """

    collection: str
    settings: TaskSettings
    trials: Trials | None

    @property
    def end(self) -> datetime | None:
        """When it ended: what the rig wrote, else its last trial; naive local wall time."""
        if self.settings.end is not None or self.trials is None or self.trials.duration is None:
            return self.settings.end
        return self.settings.start + timedelta(seconds=self.trials.duration)

    @property
    def correct(self) -> int | None:
        """How many trials were correct; habituation knows no correct ones."""
        if self.trials is None:
            return None
        return 0 if self.settings.is_habituation else self.trials.correct


def task_collections(folder: SessionFolder, description: Description) -> tuple[bytes, ...]:
    """Return the folders of the session's tasks: those described, else those that hold task settings.

    Sessions before version 8 have no description and one task in `raw_behavior_data`.
    """
    if description.task_collections:
        return tuple(os.fsencode(collection) for collection in description.task_collections)
    usual = [name for name in folder.names() if name == BEHAVIOUR or _CHAINED.fullmatch(name)]
    return tuple(name for name in usual if any(SETTINGS_NAMES.fullmatch(file) for file in folder.names(name)))


def read_tasks(
    folder: SessionFolder, collections: tuple[bytes, ...], session: Session, timezone: tzinfo | None
) -> tuple[TaskRun, ...]:
    """Read the tasks in these folders and return them by their start.

    Raises
    ------
    BlockedError
        `no_settings`, `corrupt_settings`, `corrupt_trials`, `unreadable`; `subject_mismatch`, `number_mismatch` or
        `date_mismatch` when a task says that it belongs to another session.
    """
    runs = [_read_task(folder, collection, session, timezone) for collection in collections]
    return tuple(sorted(runs, key=lambda run: (run.settings.start, run.collection)))


def read_all_settings(
    folder: SessionFolder, collections: tuple[bytes, ...], timezone: tzinfo | None = None
) -> list[TaskSettings]:
    """Read the settings in these folders, and nothing else; raises what `read_tasks` raises of them."""
    return [_read_settings(folder, collection, timezone)[0] for collection in collections]


def _read_task(folder: SessionFolder, collection: bytes, session: Session, timezone: tzinfo | None) -> TaskRun:
    settings, path = _read_settings(folder, collection, timezone)
    _require_same_session(settings, path, session)
    return TaskRun(show_path(collection), settings, _read_trials(folder, collection))


def _read_settings(folder: SessionFolder, collection: bytes, timezone: tzinfo | None) -> tuple[TaskSettings, str]:
    path = _only(folder, collection, SETTINGS_NAMES, "corrupt_settings")
    content = None if path is None else folder.read(path, SETTINGS_LIMIT, "corrupt_settings")
    if path is None or content is None:
        raise BlockedError("no_settings", f"{show_path(collection)} holds no task settings (_iblrig_taskSettings.raw)")
    return parse_settings(content, show_path(path), timezone), show_path(path)


def _read_trials(folder: SessionFolder, collection: bytes) -> Trials | None:
    path = _only(folder, collection, _TRIALS, "corrupt_trials")
    if path is None:
        return None
    with folder.open(path) as stream:
        trials = None if stream is None else read_trials(stream, show_path(path))
    return trials if trials is not None and trials.count else None


def _only(folder: SessionFolder, collection: bytes, names: re.Pattern[bytes], code: str) -> bytes | None:
    """Return the path of the one file of this name; the plainest one where others have something inserted."""
    found = sorted((name for name in folder.names(collection) if names.fullmatch(name)), key=len)
    if not found:
        return None
    if len(found) > 1 and len(found[0].split(b".")) == len(found[1].split(b".")):
        several = ", ".join(show_path(name) for name in found)
        raise BlockedError(code, f"{show_path(collection)} holds several files of one kind: {several}")
    return collection + b"/" + found[0]


def _require_same_session(settings: TaskSettings, path: str, session: Session) -> None:
    if settings.subject != session.subject:
        text = f"the folder says subject {session.subject}, {path} says {settings.subject}"
        raise BlockedError("subject_mismatch", text)
    for day in (settings.date, settings.start.date()):
        if day != session.date:
            raise BlockedError("date_mismatch", f"the folder says {session.date}, {path} says {day}")
    if settings.number != session.number:
        text = f"the folder says session {session.number:03d}, {path} says {settings.number:03d}"
        raise BlockedError("number_mismatch", text)
