"""What a session's experiment description asks for: its tasks, devices and the sync, as far as it can be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from labferry.engine.reports.verdicts import Explanation, Fact
from labferry.errors import LabferryError
from labferry.model import first_of, show_path
from labferry.sessions.record import Description, SessionFolder, read_description

NAMED = 10  # tasks or devices in one line


def described(found: Explanation, folder: bytes) -> Explanation:
    """Return an explanation with what the experiment description in a folder says; it is read now."""
    try:
        description = read_description(SessionFolder(folder))
    except (LabferryError, OSError) as error:
        why = error.message if isinstance(error, LabferryError) else error.strerror or str(error)
        fact = Fact(f"experiment description: {why}")
        return replace(found, evidence=(*found.evidence, fact), more={**found.more, "description": None})
    if description.path is None:
        return replace(found, more={**found.more, "description": None})
    return replace(
        found,
        evidence=(*found.evidence, *_facts(description)),
        more={**found.more, "description": _fields(description)},
    )


def _facts(description: Description) -> Iterator[Fact]:
    parts = {
        "tasks": [_place(task.protocol, task.collection) for task in description.tasks],
        "devices": [_place(f"{one.kind} {one.label}", one.collection) for one in description.devices],
        "sync": [_place(description.sync.name, description.sync.collection)] if description.sync else [],
    }
    for name, listed in parts.items():
        if listed:
            yield Fact(f"experiment description, {name}: {first_of(listed[:NAMED], len(listed))}")


def _place(name: str, collection: str | None) -> str:
    return f"{name} ({collection})" if collection else name


def _fields(description: Description) -> dict[str, Any]:
    sync = description.sync
    return {
        "path": show_path(description.path or b""),
        "version": description.version,
        "tasks": [{"protocol": one.protocol, "collection": one.collection} for one in description.tasks],
        "devices": [
            {"kind": one.kind, "label": one.label, "collection": one.collection} for one in description.devices
        ],
        "sync": {"name": sync.name, "collection": sync.collection} if sync else None,
        "projects": list(description.projects),
        "procedures": list(description.procedures),
    }
