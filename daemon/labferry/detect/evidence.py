"""Detection room: what a session's own files say about whether it is finished. Pure: names and contents in, values out.

Rigs of the International Brain Laboratory say it in several places: each device has a status file while it is copied,
the experiment description names the folders that must come, the task settings get their end when the task ends
cleanly, and SpikeGLX writes down how long its recordings are. None of it is believed on its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from labferry.model import first_of
from labferry.sessions.record import Description

NAMED = 5  # of one kind in a sentence; the rest is counted
FINISHED = frozenset({"complete", "final"})  # what the status file of a copied device is called
UNSAID = "its files do not say themselves that it is finished"


class Wanted(NamedTuple):
    """A folder that the experiment description asks for, and what it means when it is missing."""

    collection: str
    code: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What there is to know about one session's end; with nothing to know, everything is empty.

    Attributes
    ----------
    late_devices : tuple of str
        Devices whose copy is not finished, each with how far it is.
    missing : tuple of Wanted
        Folders that are asked for and hold no file.
    not_ended : str
        Why the tasks do not say that the session ended cleanly; empty when they do.
    recordings : int
        How many SpikeGLX recordings there are ...
    broken, lacking : tuple of str
        ... and what is wrong with those that are not whole; of those of which there is no data at all.
    """

    late_devices: tuple[str, ...] = ()
    missing: tuple[Wanted, ...] = ()
    not_ended: str = "no experiment description"
    recordings: int = 0
    broken: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """The evidence under one rule of `completion`.

    Attributes
    ----------
    code, why : str
        What has to come or change before the session can be complete; empty when nothing has.
    not_ended : str
        Why a completion signal is needed, as the rest of a sentence; empty when the session's files say themselves that
        it is finished.
    """

    code: str = ""
    why: str = ""
    not_ended: str = ""


NO_EVIDENCE = Evidence()


def judge(evidence: Evidence, completion: str, *, again: bool = False) -> Finding:
    """Return what the evidence means where sessions become complete by a rule of `completion`.

    A session that was complete before (`again`) has come as a whole; what is missing now was removed by somebody, first
    of all raw data that is archived. Only recordings that are there and not whole hold it: they are being compressed.
    """
    if again:
        return _first(_sizes(evidence.broken) if completion in {"auto", "spikeglx"} else (), not_ended="")
    match completion:
        case "quiet":
            return Finding()
        case "spikeglx":
            if not evidence.recordings:
                return Finding("waiting_size", "no SpikeGLX recording (.meta file) yet")
            return _first(_sizes(evidence.broken + evidence.lacking), not_ended="")
        case "flag":
            return _first(_devices(evidence), not_ended="nothing else ends a session below this root")
        case _:
            sizes = _sizes(evidence.broken + evidence.lacking)
            obstacles = (*_devices(evidence), *_collections(evidence), *sizes)
            return _first(obstacles, not_ended=evidence.not_ended and f"{UNSAID}: {evidence.not_ended}")


def _first(obstacles: Iterable[tuple[str, str]], *, not_ended: str) -> Finding:
    code, why = next(iter(obstacles), ("", ""))
    return Finding(code, why, not_ended)


def _devices(evidence: Evidence) -> Iterator[tuple[str, str]]:
    if evidence.late_devices:
        yield "waiting_device", f"not copied yet: {listed(evidence.late_devices)}"


def _collections(evidence: Evidence) -> Iterator[tuple[str, str]]:
    if evidence.missing:
        yield evidence.missing[0].code, f"{listed([one.collection for one in evidence.missing])} missing"


def _sizes(recordings: Sequence[str]) -> Iterator[tuple[str, str]]:
    if recordings:
        yield "waiting_size", listed(recordings, "; ")


def listed(names: Sequence[str], between: str = ", ") -> str:
    """Return the first names in one line, and how many more there are."""
    return first_of(names[:NAMED], len(names), between)


def late_devices(stubs: Iterable[str], statuses: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return the devices whose copy is not finished.

    Parameters
    ----------
    stubs : iterable of str
        The descriptions of single devices, `2024-03-01_1_KS005@video`, without the suffix.
    statuses : mapping
        What the status files of each say: `pending`, `complete`, `final`. A device that has a description and no
        status has not begun: its computer is late.
    """
    late = []
    for stem in sorted({*stubs, *statuses}):
        unfinished = sorted(status for status in statuses.get(stem, ()) if status not in FINISHED)
        if unfinished or not statuses.get(stem):
            late.append(f"{stem.rpartition('@')[2]} ({', '.join(unfinished) or 'not begun'})")
    return tuple(late)


def missing_collections(descriptions: Iterable[Description], folders: Collection[str]) -> tuple[Wanted, ...]:
    """Return the folders that descriptions ask for and that hold no file: those of tasks, of cameras, of the others.

    Parameters
    ----------
    descriptions : iterable of Description
        Of the session, and of its single devices.
    folders : collection of str
        Every folder with a file in it, relative to the session's folder.
    """
    parts = [folder.split("/") for folder in folders]
    wanted = dict.fromkeys(sorted((one for each in descriptions for one in _wanted(each)), key=_by_weight))
    return tuple(one for one in wanted if not any(_matches(one.collection.split("/"), folder) for folder in parts))


def _wanted(description: Description) -> Iterator[Wanted]:
    codes = {device.collection: "no_video" for device in description.devices if device.kind == "cameras"}
    codes |= dict.fromkeys(description.task_collections, "no_behaviour")
    for collection in description.collections:
        yield Wanted(collection, codes.get(collection, "waiting_collection"))


def _by_weight(wanted: Wanted) -> int:
    return ("no_behaviour", "no_video", "waiting_collection").index(wanted.code)


def _matches(pattern: Sequence[str], folder: Sequence[str]) -> bool:
    """Say whether a folder is the one that is asked for, or lies in it."""
    return len(folder) >= len(pattern) and all(
        fnmatchcase(name, part) for name, part in zip(folder, pattern, strict=False)
    )
