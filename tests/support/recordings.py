"""What a rig of the International Brain Laboratory leaves in a session's folder, as far as completion looks at it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

DESCRIPTION = "_ibl_experiment.description.yaml"
TASK = "raw_behavior_data"
VIDEO = "raw_video_data"
PROBE = "raw_ephys_data/probe00"
STEM = f"{PROBE}/_spikeglx_ephysData_g0_t0.imec0.ap"
MANY_BYTES = 770_000  # of a second of signal and 385 channels, nearly


def put(folder: Path, path: str, content: bytes = b"data") -> Path:
    """Write one file of a session."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def describe(folder: Path, *, tasks: Sequence[str] = (TASK,), cameras: str = VIDEO, path: str = DESCRIPTION) -> None:
    """Write an experiment description, of the session or of one of its devices."""
    lines = ["tasks:", *(f"- choiceWorld:\n    collection: {task}" for task in tasks)] if tasks else []
    if cameras:
        lines += ["devices:", "  cameras:", f"    left:\n      collection: {cameras}"]
    put(folder, path, "\n".join([*lines, "version: 1.0.0", ""]).encode())


def settings(
    folder: Path, *, ended: bool = True, collection: str = TASK, session: str = "KS005/2024-03-01/001"
) -> Path:
    """Write the task settings of a rig of version 8, with or without the end of the task."""
    subject, day, number = session.split("/")
    values = {
        "SUBJECT_NAME": subject,
        "SESSION_NUMBER": int(number),
        "SESSION_START_TIME": f"{day}T10:00:00",
        "SESSION_END_TIME": f"{day}T11:00:00" if ended else None,
        "IBLRIG_VERSION": "8.24.0",
        "PYBPOD_PROTOCOL": "choiceWorld",
    }
    return put(folder, f"{collection}/_iblrig_taskSettings.raw.json", json.dumps(values).encode())


def device(folder: Path, name: str, status: str = "") -> None:
    """Write the description of one device, and in which state its copy is."""
    stem = f"_devices/2024-03-01_1_KS005@{name}"
    put(folder, f"{stem}.yaml", b"version: 1.0.0\n")
    if status:
        put(folder, f"{stem}.status_{status}", b"")


def meta(size: int | None = MANY_BYTES) -> bytes:
    """Return a `.meta` file; without a size, one of a recording that goes on."""
    length = b"" if size is None else b"fileSizeBytes=%d\n" % size
    return b"fileName=D:/g0_t0.imec0.ap.bin\n" + length + b"typeThis=imec\n"


def header(stored: int, *, holds: int = MANY_BYTES) -> bytes:
    """Return the `.ch` file of a `.cbin` file of so many bytes."""
    fields = {"dtype": "int16", "n_channels": 385, "chunk_bounds": [0, holds // 770], "chunk_offsets": [0, stored]}
    return json.dumps(fields).encode()
