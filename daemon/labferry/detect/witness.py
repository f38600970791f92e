"""Detection room: looks at one session, and reads the few files that say whether it is finished.

Of the content of files it reads only experiment descriptions, task settings and the `.meta` and `.ch` files of
SpikeGLX, each up to a limit, and what was read is kept until the file is another version: a session that waits for
weeks costs one walk per look and nothing more.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from labferry.detect.evidence import Evidence, late_devices, listed, missing_collections
from labferry.detect.signature import DEVICES, Signature, take_signature
from labferry.detect.spikeglx import (
    DATA,
    HEADER_LIMIT,
    META_LIMIT,
    Recording,
    meta_size,
    packed_size,
    part_of_recording,
)
from labferry.errors import LabferryError
from labferry.model import FileVersion, show_path
from labferry.sessions.record import Description, SessionFolder, parse_description, parse_settings
from labferry.sessions.record.description import DESCRIPTION_LIMIT, FILE_NAME, FILE_NAMES
from labferry.sessions.record.settings import SETTINGS_LIMIT
from labferry.sessions.record.tasks import SETTINGS_NAMES
from labferry.sessions.walk import WalkedFile

T = TypeVar("T")
Kept = dict[bytes, tuple[FileVersion, Any]]

_STATUS = re.compile(rb"(.+)\.status_(\w+)")
_STUB = b".yaml"
MOST_STUBS = 50  # descriptions of single devices that are read; a rig has five


class Witness:
    """Looks at one session again and again.

    Parameters
    ----------
    completion : str
        The rule of its root: nothing is read that it does not ask for.
    """

    def __init__(self, completion: str) -> None:
        self._completion = completion
        self._kept: Kept = {}

    def look(self, folder: bytes) -> tuple[Signature, Evidence]:
        """Walk over the session's folder once, and read what is new of what matters."""
        if self._completion == "quiet":
            return take_signature(folder), Evidence()
        seen = _Seen()
        signature = take_signature(folder, onlooker=seen.notice)
        reading = _Reading(SessionFolder(folder), self._kept)
        evidence = _evidence(self._completion, seen, reading)
        self._kept = reading.kept
        return signature, evidence


class _Seen:
    """What one walk passed by."""

    def __init__(self) -> None:
        self.folders: set[bytes] = set()  # with a file in them
        self.stubs: dict[str, FileVersion] = {}
        self.statuses: dict[str, list[str]] = defaultdict(list)
        self.descriptions: list[FileVersion] = []
        self.settings: dict[bytes, list[FileVersion]] = defaultdict(list)
        self.recordings: dict[bytes, dict[bytes, FileVersion]] = defaultdict(dict)

    def notice(self, walked: WalkedFile) -> None:
        """Take note of one regular file."""
        version = walked.version
        if version is None:
            return
        folder, _, name = walked.path.rpartition(b"/")
        if not folder:
            if FILE_NAMES.fullmatch(name):
                self.descriptions.append(version)
        elif folder + b"/" == DEVICES:
            self._device(name, version)
        else:
            self.folders.add(folder)
            if SETTINGS_NAMES.fullmatch(name):
                self.settings[folder].append(version)
        if part := part_of_recording(walked.path):
            self.recordings[part[0]][part[1]] = version

    def _device(self, name: bytes, version: FileVersion) -> None:
        if status := _STATUS.fullmatch(name):
            self.statuses[show_path(status[1])].append(show_path(status[2]))
        elif name.endswith(_STUB):
            self.stubs[show_path(name.removesuffix(_STUB))] = version


class _Reading:
    """Reads files of one session, each version of them once."""

    def __init__(self, folder: SessionFolder, known: Kept) -> None:
        self._folder = folder
        self._known = known
        self.kept: Kept = {}

    def read(self, version: FileVersion, limit: int, parse: Callable[[bytes], T]) -> T | LabferryError:
        """Return what `parse` makes of a file, or why it cannot be used."""
        known = self._known.get(version.path)
        if known is None or known[0] != version:
            known = (version, self._anew(version.path, limit, parse))
        found: T | LabferryError = known[1]
        if not (isinstance(found, LabferryError) and found.code == "unreadable"):  # the disk may be better next time
            self.kept[version.path] = known
        return found

    def _anew(self, path: bytes, limit: int, parse: Callable[[bytes], T]) -> T | LabferryError:
        try:
            return parse(self._folder.read(path, limit, "too_large") or b"")
        except LabferryError as error:
            return error
        except OSError as error:
            return LabferryError("unreadable", f"{show_path(path)} cannot be read: {error.strerror or error}")


def _evidence(completion: str, seen: _Seen, reading: _Reading) -> Evidence:
    late = late_devices(seen.stubs, seen.statuses)
    if completion == "flag":
        return Evidence(late)
    broken: list[str] = []
    lacking: list[str] = []
    for stem, parts in sorted(seen.recordings.items()):
        if problem := _recording(stem, seen, reading):
            (broken if DATA & parts.keys() else lacking).append(problem)
    of_recordings = Evidence(late, recordings=len(seen.recordings), broken=tuple(broken), lacking=tuple(lacking))
    if completion == "spikeglx":
        return of_recordings
    description = _description(seen.descriptions, reading)
    few = [seen.stubs[name] for name in sorted(seen.stubs)[:MOST_STUBS]]
    stubs = [reading.read(stub, DESCRIPTION_LIMIT, parse_description) for stub in few]
    # What cannot be read asks for nothing; registration says what is wrong with it.
    readable = [one for one in (description, *stubs) if isinstance(one, Description)]
    return replace(
        of_recordings,
        missing=missing_collections(readable, {os.fsdecode(folder) for folder in seen.folders}),
        not_ended=_why_not_ended(description, seen, reading),
    )


def _description(found: Iterable[FileVersion], reading: _Reading) -> Description | LabferryError:
    """Return the session's own description, as registration will read it; an empty one when there is none."""
    by_name = {version.path: version for version in found}
    if FILE_NAME in by_name:
        return reading.read(by_name[FILE_NAME], DESCRIPTION_LIMIT, parse_description)
    if len(by_name) > 1:
        return LabferryError("bad_description", f"none of {listed(sorted(map(show_path, by_name)))} is the description")
    return next((reading.read(one, DESCRIPTION_LIMIT, parse_description) for one in by_name.values()), Description())


def _why_not_ended(description: Description | LabferryError, seen: _Seen, reading: _Reading) -> str:
    """Return why the session's files do not say that it ended cleanly; empty when they do."""
    if isinstance(description, LabferryError):
        return description.message
    if description.path is None:
        return "no experiment description"
    if not description.tasks:
        return "the experiment description names no task that could end"
    return next(_not_ended(description, seen, reading), "")


def _not_ended(description: Description, seen: _Seen, reading: _Reading) -> Iterator[str]:
    for task in description.tasks:
        if task.collection is None:
            yield f"task {task.protocol} names no folder"
            continue
        found = seen.settings.get(os.fsencode(task.collection), [])
        if not found:
            yield f"{task.collection} holds no task settings"
            continue
        settings = min(found, key=lambda version: len(version.path))  # others have something inserted
        name = show_path(settings.path)
        end = reading.read(settings, SETTINGS_LIMIT, partial(_end, name))
        if isinstance(end, LabferryError):
            yield end.message
        elif end is None:
            yield f"SESSION_END_TIME is not set in {name}"


def _end(name: str, content: bytes) -> datetime | None:
    return parse_settings(content, name).end


def _recording(stem: bytes, seen: _Seen, reading: _Reading) -> str:
    """Return why a recording is not whole; empty when it is."""
    parts = seen.recordings[stem]
    meta = reading.read(parts[b"meta"], META_LIMIT, meta_size) if b"meta" in parts else None
    header = reading.read(parts[b"ch"], HEADER_LIMIT, packed_size) if b"ch" in parts else None
    for problem in (meta, header):
        if isinstance(problem, LabferryError):
            return problem.message
    return Recording(
        stem,
        described=b"meta" in parts,
        size=meta if isinstance(meta, int) else None,
        plain=parts[b"bin"].size if b"bin" in parts else None,
        packed=parts[b"cbin"].size if b"cbin" in parts else None,
        header=None if isinstance(header, LabferryError) else header,
    ).problem
