"""Task settings (`_iblrig_taskSettings.raw.json`) of every rig generation, read into one shape.

Room: sessions. Pure: bytes in, a value or a `BlockedError` out.

Up to version 7 (PyBpod) the start is `SESSION_DATETIME`, who ran the task is `PYBPOD_CREATOR`, the rig is
`PYBPOD_BOARD`, and the version often stands in `IBLRIG_VERSION_TAG` alone. From version 8 on these are
`SESSION_START_TIME`, `ALYX_USER`, `RIG_NAME` and `IBLRIG_VERSION`, numbers are numbers, and the end is written too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo

from labferry.errors import BlockedError
from labferry.sessions.record.fields import Fields, finite, shown
from labferry.sessions.record.remark import Remark

SETTINGS_LIMIT = 4 * 1024 * 1024  # bytes; passive protocols write some hundred kilobytes
TEST_USER = "_iblrig_test_user"  # what a rig writes when nobody chose a user
_GENERATION = re.compile(r"\d{1,4}(?=\D|\Z)", re.ASCII)
_NEW = 8  # the generation that changed the names


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """What a rig noted about one task.

    Attributes
    ----------
    subject : str
        Nickname.
    date : datetime.date
        Of the session, as the rig named its folder.
    number : int
        Of the session on that day.
    start : datetime.datetime
        Naive local wall time.
    end : datetime.datetime or None
        None when the rig did not write it: up to version 7, and after a crash.
    protocol, version : str
        Name of the task and version of the rig's software; empty when they are missing.
    user : str or None
        Who ran the task, as far as the rig knew.
    location : str or None
        Name of the rig.
    weight : float or None
        Of the subject, grams.
    no_weight : str
        Why there is none; empty when there is one.
    reward_type : str or None
        Name of a water type.
    is_mock : bool
        A run without an animal.
    droppings : int or None
        How many were counted; up to version 7 the field also says whether they shall be.
    delay : float or None
        Seconds the task waited before its first trial.
    task_version, extraction_version : str or None
        Of the task and of the project's extraction code.
    records_video : bool
        Up to version 7: the rig was told to record video.
    remarks : tuple of Remark
        What could not be used.
    """

    subject: str
    date: date
    number: int
    start: datetime
    end: datetime | None
    protocol: str
    version: str
    user: str | None
    location: str | None
    weight: float | None
    no_weight: str
    reward_type: str | None
    is_mock: bool
    droppings: int | None
    delay: float | None
    task_version: str | None
    extraction_version: str | None
    records_video: bool
    remarks: tuple[Remark, ...] = ()

    @property
    def generation(self) -> int | None:
        """The first part of the version; None when there is none."""
        return _generation(self.version)

    @property
    def is_passive(self) -> bool:
        """Whether the animal only watched."""
        return "passive" in self.protocol.lower()

    @property
    def is_habituation(self) -> bool:
        """Whether every trial is rewarded and none can be right or wrong."""
        return "habituationchoiceworld" in self.protocol.lower()

    @property
    def task_protocol(self) -> str:
        """Protocol and version, as Alyx keeps them together."""
        return self.protocol + self.version if self.protocol else ""


def parse_settings(content: bytes, name: str, timezone: tzinfo | None = None) -> TaskSettings:
    """Read a settings file.

    Parameters
    ----------
    content : bytes
        Of the file.
    name : str
        Its path, for messages.
    timezone : datetime.tzinfo or None
        Of times that end in `Z`; None is this machine's.

    Raises
    ------
    BlockedError
        `corrupt_settings`.
    """
    fields = Fields(_object(content, name), name, timezone)
    version = _version(fields)
    is_new = _is_new(fields, version)
    start_keys = ("SESSION_START_TIME", "SESSION_DATETIME")
    start = fields.required_moment(*(start_keys if is_new else reversed(start_keys)))
    end = fields.moment("SESSION_END_TIME")
    if end is not None and end < start:
        text = f"{name}: SESSION_END_TIME {end.isoformat()} lies before the start {start.isoformat()}; it is not used"
        fields.remarks.append(Remark("odd_settings", text))
        end = None
    weight, no_weight = _weight(fields)
    droppings = None if isinstance(fields.get("POOP_COUNT"), bool) else fields.number("POOP_COUNT")
    return TaskSettings(
        subject=fields.required_text("SUBJECT_NAME"),
        date=(None if is_new else fields.day("SESSION_DATE")) or start.date(),
        number=fields.required_integer("SESSION_NUMBER"),
        start=start,
        end=end,
        protocol=fields.text("PYBPOD_PROTOCOL") or "",
        version=version,
        user=fields.text("ALYX_USER") if is_new else _creator(fields),
        location=fields.text("RIG_NAME", "PYBPOD_BOARD") if is_new else fields.text("PYBPOD_BOARD"),
        weight=weight,
        no_weight=no_weight,
        reward_type=fields.text("REWARD_TYPE"),
        is_mock=fields.flag("IS_MOCK"),
        droppings=None if droppings is None else int(droppings),
        delay=fields.number("SESSION_DELAY_START"),
        task_version=fields.text("TASK_VERSION"),
        extraction_version=fields.text("PROJECT_EXTRACTION_VERSION"),
        records_video=fields.flag("RECORD_VIDEO"),
        remarks=tuple(fields.remarks),
    )


def _object(content: bytes, name: str) -> Mapping[str, object]:
    if not content.strip():
        raise BlockedError("corrupt_settings", f"{name} is empty")
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BlockedError("corrupt_settings", f"{name} is not JSON: {why}") from None
    if not isinstance(values, dict):
        raise BlockedError("corrupt_settings", f"{name} holds {shown(values)} where an object is expected")
    return values


def _version(fields: Fields) -> str:
    """Return the rig's version; one that does not begin with a number is left out, as nobody could compare it."""
    version = fields.text("IBLRIG_VERSION", "IBLRIG_VERSION_TAG") or ""
    if version and _generation(version) is None:
        fields.odd("IBLRIG_VERSION", version)
        return ""
    return version


def _is_new(fields: Fields, version: str) -> bool:
    """Say whether the names of version 8 hold; a rig that runs from a working copy may have no version at all."""
    generation = _generation(version)
    return fields.get("ALYX_USER") is not None if generation is None else generation >= _NEW


def _generation(version: str) -> int | None:
    match = _GENERATION.match(version)
    return int(match[0]) if match else None


def _creator(fields: Fields) -> str | None:
    """Return who ran the task: the field holds name, UUID and origin, or the name alone."""
    value = fields.get("PYBPOD_CREATOR")
    name = value[0] if isinstance(value, list) and value else value
    return fields.name("PYBPOD_CREATOR", name)


def _weight(fields: Fields) -> tuple[float | None, str]:
    value = fields.get("SUBJECT_WEIGHT")
    if value is None:
        return None, "SUBJECT_WEIGHT is not given"
    weight = finite(value)
    if weight is None or weight <= 0:
        return None, f"SUBJECT_WEIGHT is {shown(value)}"
    return weight, ""
