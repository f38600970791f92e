"""Sandbox: which files a recording session of the International Brain Laboratory consists of.

A plan is a value: the same arguments always give the same files, byte for byte. Nothing is written from here.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import yaml

from labferry.sandbox.rig_devices import Content, Noise, camera_files, daq_files, probe_files
from labferry.sandbox.rig_task import TaskRun, alf_task_files, raw_task_files, simulate_trials

FLAG_NAME = "raw_session.flag"
PROJECT = "ibl_neuropixel_brainwide_01"

# Subject → lab, the labs by turns, so that a few sessions already cover both.
DEFAULT_SUBJECTS: Mapping[str, str] = MappingProxyType(
    {
        "KS005": "cortexlab",
        "ZFM-01935": "mainenlab",
        "KS014": "cortexlab",
        "ZFM-02601": "mainenlab",
        "SWC_001": "cortexlab",
        "ZM_1150": "mainenlab",
        "SWC_002": "cortexlab",
        "ZM_1743": "mainenlab",
        "SWC_054": "cortexlab",
        "ZM_001": "mainenlab",
    }
)


class Kind(StrEnum):
    """What is recorded in a session."""

    TRAINING = "training"  # behaviour and one camera
    BIASED = "biased"  # the same later in training, in iblrig's newer folder names
    EPHYS = "ephys"  # behaviour, passive stimuli, three cameras, one probe
    PASSIVE = "passive"  # the mouse only watches


@dataclass(frozen=True, slots=True)
class RigFile:
    """One file that the rig writes.

    Attributes
    ----------
    path : str
        Relative to the session folder, `/` between parts.
    size : int
        Bytes.
    md5 : str
        Of the whole content, hexadecimal.
    registrable : bool
        Whether its name follows IBL's registration patterns and dataset types.
    """

    path: str
    size: int
    md5: str
    registrable: bool
    content: Content = field(repr=False)

    def pieces(self, limit: int = 65536) -> Iterator[bytes]:
        """Yield the content in pieces of at most `limit` bytes."""
        for block in _blocks(self.content):
            for start in range(0, len(block), limit):
                yield block[start : start + limit]


@dataclass(frozen=True, slots=True)
class RigSession:
    """One session as it will be on disk, without its flag."""

    subject: str
    lab: str
    date: dt.date
    number: int
    kind: Kind
    files: tuple[RigFile, ...] = field(repr=False)

    @property
    def relative(self) -> str:
        """The session's folder, relative to the root: `KS005/2019-04-02/001`."""
        return session_folder(self.subject, self.date, self.number)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def session_folder(subject: str, date: dt.date, number: int) -> str:
    """Return the path of a session relative to its root."""
    return f"{subject}/{date.isoformat()}/{number:03d}"


def plan_session(
    subject: str,
    lab: str,
    date: dt.date,
    number: int,
    kind: str = Kind.TRAINING,
    *,
    seed: int = 0,
    scale: float = 1.0,
) -> RigSession:
    """Return the session that a rig of `lab` would record.

    Parameters
    ----------
    subject, lab : str
        As in Alyx.
    number : int
        Of the session on that day, 1 to 999.
    kind : str
        One of `Kind`.
    seed : int
        Another seed gives other data under the same names.
    scale : float
        1 makes sessions of 1 to 3 MB.

    Raises
    ------
    ValueError
        One of the arguments cannot be part of a session.
    """
    if not re.fullmatch(r"(?!\.{1,2}\Z)[\w.-]{1,64}", subject, re.ASCII):
        raise ValueError(f"{subject!r} cannot be a subject: letters, digits, '_', '.' and '-' only, 64 at most")
    if not re.fullmatch(r"\w+", lab, re.ASCII):
        raise ValueError(f"{lab!r} cannot be a lab: letters, digits and '_' only")
    if not 1 <= number <= 999:
        raise ValueError(f"{number} cannot be the number of a session: 1 to 999 only")
    if scale <= 0:
        raise ValueError(f"{scale} cannot be a scale: it must be positive")
    key = f"{seed}/{session_folder(subject, date, number)}"
    plan = _Plan(subject, lab, date, number, Kind(kind), key=key, scale=scale)
    files = tuple(
        _file(path, content, registrable)
        for contents, registrable in ((plan.registrable_files(), True), (plan.other_files(), False))
        for path, content in sorted(contents.items())
    )
    return RigSession(subject, lab, date, number, plan.kind, files)


class _Plan:
    """Puts together the files of one session."""

    def __init__(
        self, subject: str, lab: str, date: dt.date, number: int, kind: Kind, *, key: str, scale: float
    ) -> None:
        self.subject, self.lab, self.number = subject, lab, number
        self.kind, self.key, self.scale = kind, key, scale
        self.rng = random.Random(key)
        self.begin = dt.datetime.combine(date, dt.time(9)) + dt.timedelta(seconds=self.rng.uniform(0, 6 * 3600))
        self.runs = self._runs()
        self.seconds = (self.runs[-1].end - self.begin).total_seconds()

    def registrable_files(self) -> dict[str, Content]:
        files: dict[str, Content] = {"_ibl_experiment.description.yaml": self._description()}
        for run in self.runs:
            files |= raw_task_files(run, self.rng)
            if not run.passive:
                files |= alf_task_files(run, self.rng)
        cameras = self._cameras()
        for camera in cameras:
            size = self._size(900_000 / len(cameras))
            files |= camera_files(camera, self.begin, self.seconds, size, self.key)
        if self.kind is Kind.EPHYS:
            files |= daq_files(self.begin, self.seconds, self._size(150_000), self.key)
            files |= probe_files(0, self.begin, self.seconds, self._size(700_000), self.key)
        return files

    def other_files(self) -> dict[str, Content]:
        """Return files which no registration pattern asks for."""
        log = "".join(f"{run.start.isoformat(' ')} INFO {run.protocol} started\n" for run in self.runs)
        stamp = self.begin.strftime("%Y%m%d_%H%M%S")
        return {
            f"logs/{stamp}_iblrig.log": log.encode(),
            f"snapshots/{stamp}_left_camera.png": Noise(f"{self.key}/snapshot", 6000, b"\x89PNG\r\n\x1a\n"),
        }

    def _runs(self) -> tuple[TaskRun, ...]:
        match self.kind:
            case Kind.TRAINING:
                return (self._run("trainingChoiceWorld", "raw_behavior_data", self.begin),)
            case Kind.BIASED:
                return (self._run("biasedChoiceWorld", "raw_task_data_00", self.begin),)
            case Kind.PASSIVE:
                return (self._run("passiveChoiceWorld", "raw_passive_data", self.begin, passive=True),)
            case Kind.EPHYS:
                task = self._run("ephysChoiceWorld", "raw_behavior_data", self.begin)
                later = task.end + dt.timedelta(seconds=30)
                return (task, self._run("passiveChoiceWorld", "raw_passive_data", later, passive=True))

    def _run(self, task: str, collection: str, start: dt.datetime, *, passive: bool = False) -> TaskRun:
        count = max(3, round(self.rng.randint(25, 40) * self.scale))
        return TaskRun(
            task=task,
            collection=collection,
            passive=passive,
            subject=self.subject,
            lab=self.lab,
            number=self.number,
            setup=f"_iblrig_{self.lab}_{'ephys' if self.kind is Kind.EPHYS else 'behavior'}_0",
            start=start,
            weight=round(self.rng.gauss(24, 1.5), 1) if start == self.begin else None,
            trials=simulate_trials(self.rng, count),
        )

    def _cameras(self) -> tuple[str, ...]:
        if self.kind is Kind.EPHYS:
            return ("leftCamera", "rightCamera", "bodyCamera")
        return ("leftCamera",)

    def _size(self, typical: float) -> int:
        return max(64, round(typical * self.scale * self.rng.uniform(0.8, 1.4)))

    def _description(self) -> bytes:
        devices: dict[str, object] = {
            "cameras": {
                camera.removesuffix("Camera"): {"collection": "raw_video_data", "sync_label": "audio"}
                for camera in self._cameras()
            }
        }
        procedures = ["Behavior training/tasks"]
        sync: dict[str, object] = {
            "bpod": {"collection": self.runs[0].collection, "acquisition_software": "pybpod", "extension": ".jsonable"}
        }
        if self.kind is Kind.EPHYS:
            devices["neuropixel"] = {"probe00": {"collection": "raw_ephys_data/probe00", "sync_label": "imec_sync"}}
            procedures.append("Ephys recording with acute probe(s)")
            sync = {"nidq": {"collection": "raw_ephys_data", "acquisition_software": "spikeglx", "extension": "bin"}}
        description = {
            "devices": devices,
            "procedures": procedures,
            "projects": [PROJECT],
            "sync": sync,
            "tasks": [{run.protocol: {"collection": run.collection, "sync_label": "bpod"}} for run in self.runs],
            "version": "1.0.0",
        }
        return yaml.safe_dump(description, sort_keys=False).encode()


def _file(path: str, content: Content, registrable: bool) -> RigFile:
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    for block in _blocks(content):
        digest.update(block)
        size += len(block)
    return RigFile(path, size, digest.hexdigest(), registrable, content)


def _blocks(content: Content) -> Iterator[bytes]:
    return content.blocks() if isinstance(content, Noise) else iter((content,))
