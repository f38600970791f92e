"""`logs`: the last lines of the log, and those that follow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labferry.engine.reports.logs import BLOCK, follow, logs
from labferry.errors import LabferryError
from support.world import EID, SESSION, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def write(path: Path, *entries: Any) -> None:
    with path.open("a", encoding="utf-8") as stream:
        for entry in entries:
            stream.write((entry if isinstance(entry, str) else json.dumps(entry)) + "\n")


def numbers(entries: list[dict[str, Any]]) -> list[int]:
    return [entry["n"] for entry in entries]


def test_the_last_lines_oldest_first(world: World) -> None:
    write(world.log, *({"n": n} for n in range(10)))
    assert numbers(logs(world.live, None, 3)) == [7, 8, 9]
    assert numbers(logs(world.live, None, 100)) == list(range(10))
    assert logs(world.live, None, 0) == []


def test_lines_that_are_longer_than_a_block(world: World) -> None:
    write(world.log, *({"n": n, "text": "é" * BLOCK} for n in range(4)))
    assert numbers(logs(world.live, None, 3)) == [1, 2, 3]


def test_what_is_no_record_is_left_out(world: World) -> None:
    write(world.log, {"n": 1}, "{cut short", "[]", "", {"n": 2})
    assert numbers(logs(world.live, None)) == [1, 2]


def test_full_files_beside_it_are_read_too(world: World) -> None:
    write(world.log, {"n": 5})
    write(Path(f"{world.log}.1"), {"n": 3}, {"n": 4})
    write(Path(f"{world.log}.2"), {"n": 1}, {"n": 2})
    assert numbers(logs(world.live, None)) == [1, 2, 3, 4, 5]
    assert numbers(logs(world.live, None, 4)) == [2, 3, 4, 5]


def test_the_lines_of_one_session(world: World) -> None:
    row = world.registered()
    write(
        world.log,
        {"n": 1, "session": f"s0:{SESSION}"},
        {"n": 2, "session": f"s1:{SESSION}"},
        {"n": 3, "root": "s0", "session": SESSION},
        {"n": 4, "root": "s1", "session": SESSION},
        {"n": 5, "eid": EID},
        {"n": 6},
    )
    assert numbers(logs(world.live, row)) == [1, 3, 5]


def test_following_goes_on_after_the_last_lines(world: World) -> None:
    row = world.registered()
    write(world.log, {"n": 1, "eid": EID}, {"n": 2}, {"n": 3, "eid": EID})
    steps = follow(world.live, row, 1)
    assert numbers(next(steps)) == [3]
    assert next(steps) == []
    write(world.log, {"n": 4}, {"n": 5, "eid": EID})
    with world.log.open("a") as stream:
        stream.write('{"n": 6, "eid": ')
    assert numbers(next(steps)) == [5]
    write(world.log, f'"{EID}"}}')
    assert numbers(next(steps)) == [6]


def test_following_goes_over_to_the_next_file(world: World) -> None:
    write(world.log, {"n": 1})
    steps = follow(world.live, None, 10)
    assert numbers(next(steps)) == [1]
    write(world.log, {"n": 2})
    world.log.rename(f"{world.log}.1")
    write(world.log, {"n": 3})
    seen = [number for _ in range(4) for number in numbers(next(steps))]
    assert seen == [2, 3]


def test_without_a_file_the_way_out_is_named(world: World) -> None:
    for live in (world.live, replace(world.live, log_file=None)):
        with pytest.raises(LabferryError) as caught:
            logs(live, None)
        assert caught.value.code == "no_log_file"
        assert "journalctl" in caught.value.hint
