"""Whether a user gets what the rig wrote, and whether everything is there exactly once.

Room: cli. Reads the rig's files and nothing else of the disk; values in, sentences out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from labferry.sandbox.rig import RigFile, RigSession

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Compared:
    """One dataset that should be there; `problem` is empty when it is, byte for byte."""

    session: RigSession
    path: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """Size in bytes and MD5 (hexadecimal) of what was read."""

    size: int
    md5: str


def content_of(blocks: Iterable[bytes]) -> Content:
    """Read to the end and return what was read."""
    digest, size = hashlib.md5(usedforsecurity=False), 0
    for block in blocks:
        digest.update(block)
        size += len(block)
    return Content(size, digest.hexdigest())


def blocks(file: BinaryIO) -> Iterable[bytes]:
    """Yield a file's bytes."""
    return iter(lambda: file.read(CHUNK), b"")


def differences(got: Content, source: Path, written: RigFile) -> str:
    """Say how what a user got differs from its source; empty when it does not.

    Parameters
    ----------
    got : Content
        What the user got.
    source : Path
        The rig's file on disk; that it is still as the rig wrote it is part of the promise.
    written : RigFile
        What the rig wrote there.
    """
    try:
        with source.open("rb") as file:
            here = content_of(blocks(file))
    except OSError as error:
        return f"the source cannot be read any more: {error.strerror}"
    if here != Content(written.size, written.md5):
        return f"the source is not what the rig wrote any more (MD5 {here.md5}, was {written.md5})"
    if got != here:
        return f"differs from its source: {got.size} bytes, MD5 {got.md5}; the source has {here.size}, {here.md5}"
    return ""


def doubled(state: Mapping[str, Any]) -> list[str]:
    """Name everything that the registry holds, or Globus carried, more than once.

    Parameters
    ----------
    state : Mapping
        `/_sandbox/state`.
    """
    sessions = Counter((one["subject"], str(one["start_time"])[:10], one["number"]) for one in state["sessions"])
    rows = Counter((one["session"], one["collection"], one["revision"], one["name"]) for one in state["datasets"])
    records = Counter(
        (one["id"], record["data_repository"]) for one in state["datasets"] for record in one["file_records"]
    )
    # What a task failed to bring is carried again by another one.
    tasks = [one for one in state["globus"]["tasks"] if one["status"] != "FAILED"]
    carried = Counter(item["destination_path"] for one in tasks for item in one["items"])
    return [
        *(
            f"session {'/'.join(map(str, key))} is in Alyx {count} times"
            for key, count in sessions.items()
            if count > 1
        ),
        *(
            f"dataset {'/'.join(str(part) for part in key[1:] if part)} of session {key[0]} is in Alyx {count} times"
            for key, count in rows.items()
            if count > 1
        ),
        *(
            f"dataset {dataset} has {count} file records in {repository}"
            for (dataset, repository), count in records.items()
            if count > 1
        ),
        *(f"{path} was carried by Globus {count} times" for path, count in carried.items() if count > 1),
    ]
