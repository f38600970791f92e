"""Session folders made from real dataset lists and real raw data, where the shared reference data is at hand."""

from __future__ import annotations

import csv
import json
import random
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from support.recordings import MANY_BYTES, header, meta

SHARED = Path(__file__).resolve().parents[3] / "shared"
IBL_DATASETS = SHARED / "data" / "ibl" / "datasets.csv"
needs_shared = pytest.mark.skipif(not IBL_DATASETS.is_file(), reason="needs the reference data in ../shared")

FLAG_NAME = "raw_session.flag"
MISSING_SIZE = 1024  # bytes of a file whose size the list does not give (ruling 33)
_BLOCK = 65536
_SETTINGS = "_iblrig_taskSettings.raw.json"
_TRIALS = "_iblrig_taskData.raw.jsonable"


@dataclass(frozen=True)
class RealSession:
    """One session of the tree; `relative` is its folder below the tree's root, `files` below the session."""

    folder: Path
    relative: str
    lab: str
    subject: str
    date: str
    number: str
    files: tuple[str, ...]


def build_real_tree(
    dest: Path,
    csv_path: Path = IBL_DATASETS,
    *,
    cap: int = _BLOCK,
    large: Literal["cut", "sparse"] = "cut",
    with_labs: bool = True,
) -> tuple[RealSession, ...]:
    """Build below `dest` every session that a dataset list names, and those of the raw folders beside it.

    Contents are the same in every run. Task settings and trials are real ones, since they will be parsed:
    copied from the raw folders and made out to their session.

    Parameters
    ----------
    csv_path : Path
        Columns `session_path,rel_path,file_size`; `raw/` beside it holds real raw folders.
    cap : int
        Bytes above which a file is large.
    large : str
        What becomes of a large file: `cut` to `cap` bytes, or `sparse` with its full size.
    with_labs : bool
        Whether session folders lie below `<lab>/Subjects/`, as in the list, or directly in `dest`.
    """
    raw = csv_path.parent / "raw"
    model = raw / "session_training_ge5" / "raw_behavior_data"
    sessions: dict[str, list[str]] = {}
    with csv_path.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            session = _session(dest, row["session_path"], with_labs)
            sessions.setdefault(row["session_path"], []).append(row["rel_path"])
            target = session.folder / row["rel_path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.name == _SETTINGS:
                _write_settings(target, model / _SETTINGS, session)
            elif target.name == _TRIALS:
                shutil.copyfile(model / _TRIALS, target)
            else:
                key = f"{row['session_path']}/{row['rel_path']}"
                _fill(target, key, int(row["file_size"] or MISSING_SIZE), cap, large)
    listed = tuple(_session(dest, path, with_labs, tuple(files)) for path, files in sessions.items())
    for session in listed:
        _describe_recordings(session)
    return (*listed, *_copy_raw(dest, raw, with_labs))


def flag(session: RealSession | Path, name: str = FLAG_NAME) -> Path:
    """Say that a session is complete: put its flag there."""
    path = (session.folder if isinstance(session, RealSession) else session) / name
    path.touch()
    return path


def _session(dest: Path, path: str, with_labs: bool, files: tuple[str, ...] = ()) -> RealSession:
    lab, _, subject, date, number = path.split("/")
    relative = path if with_labs else f"{subject}/{date}/{number}"
    return RealSession(dest / relative, relative, lab, subject, date, number, files)


def _copy_raw(dest: Path, raw: Path, with_labs: bool) -> Iterator[RealSession]:
    """Copy the real raw folders to where their own settings say they belong."""
    for source in sorted(raw.iterdir()):
        settings = json.loads((source / "raw_behavior_data" / _SETTINGS).read_text(encoding="utf-8"))
        lab = re.match(r"_iblrig_(\w+?)_", settings["PYBPOD_BOARD"])
        assert lab is not None, settings["PYBPOD_BOARD"]
        place = "/".join(
            (lab[1], "Subjects", settings["SUBJECT_NAME"], settings["SESSION_DATE"], settings["SESSION_NUMBER"])
        )
        files = tuple(sorted(str(file.relative_to(source)) for file in source.rglob("*") if file.is_file()))
        session = _session(dest, place, with_labs, files)
        for file in files:
            target = session.folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, target)  # contents only: the reference data is read-only
        yield session


def _write_settings(target: Path, model: Path, session: RealSession) -> None:
    settings: dict[str, Any] = json.loads(model.read_text(encoding="utf-8"))
    started = settings["SESSION_DATETIME"].partition("T")[2]
    settings |= {
        "PYBPOD_BOARD": f"_iblrig_{session.lab}_behavior_0",
        "PYBPOD_SUBJECTS": [session.subject],
        "SESSION_DATE": session.date,
        "SESSION_DATETIME": f"{session.date}T{started}",
        "SESSION_NUMBER": session.number.zfill(3),
        "SUBJECT_NAME": session.subject,
    }
    target.write_text(json.dumps(settings, indent=1), encoding="utf-8")


def _describe_recordings(session: RealSession) -> None:
    """Let the files beside every compressed recording say how large it is here."""
    for recording in session.folder.rglob("*.cbin"):
        size = recording.stat().st_size
        _say(recording.with_suffix(".meta"), meta(MANY_BYTES))
        _say(recording.with_suffix(".ch"), header(size))


def _say(target: Path, content: bytes) -> None:
    """Give a file other content, and leave its size if that is enough."""
    target.write_bytes(content.ljust(target.stat().st_size, b"\n"))


def _fill(target: Path, key: str, size: int, cap: int, large: Literal["cut", "sparse"]) -> None:
    rng = random.Random(key)
    head = min(size, cap)
    with target.open("wb") as stream:
        for start in range(0, head, _BLOCK):
            stream.write(rng.randbytes(min(_BLOCK, head - start)))
        if large == "sparse":
            stream.truncate(size)
