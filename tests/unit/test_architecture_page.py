"""docs/architecture.md names every room, and nothing that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "daemon" / "labferry"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| `")]


def rooms() -> Iterator[str]:
    for room in PROGRAM.rglob("__init__.py"):
        name = str(room.parent.relative_to(PROGRAM))
        if name != ".":
            yield f"{name}/"


def test_every_room_is_named() -> None:
    assert {room for room in rooms() if f"`{room}`" not in PAGE} == set()


def test_every_room_and_module_that_is_named_is_there() -> None:
    paths = set(re.findall(r"`([a-z_/]+(?:\.py|\.sql|/))`", PAGE))
    somewhere = {path for path in paths if (PROGRAM / path).exists() or (ROOT / path).exists()}
    assert {
        path for path in paths - somewhere if not any((PROGRAM / room / path).exists() for room in rooms())
    } == set()


def test_modules_that_a_row_names_are_in_the_room_of_the_row() -> None:
    for row in ROWS:
        room = row.split("`")[1]
        modules = re.findall(r"`([a-z_]+\.py)`", row.split("|", 2)[2]) if (PROGRAM / room).is_dir() else []
        assert [name for name in modules if not (PROGRAM / room / name).exists()] == [], room
