"""Counting sessions: right after every transition, and not done again while nothing happens."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from labferry.journal import Journal
from labferry.model import Blocked, Decision, Done, FileVersion, History, Stage
from support.world import DATASET, REJECTED, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def counted_anew(world: World) -> tuple[dict[str, int], int, dict[str, int]]:
    """Return what a journal says that has never counted before."""
    journal = Journal(world.state, world.clock)
    try:
        return *journal.sessions.counts(), journal.sessions.counts_by_root()
    finally:
        journal.close()


def counts(world: World) -> tuple[dict[str, int], int, dict[str, int]]:
    return *world.journal.sessions.counts(), world.journal.sessions.counts_by_root()


def test_win_05_every_transition_shows_in_the_counts(world: World) -> None:
    sessions = world.journal.sessions
    seen = [counts(world)]

    def happened() -> None:
        assert counts(world) == counted_anew(world)
        seen.append(counts(world))

    row = world.found()
    happened()
    sessions.signal(row.id, "raw_session.flag")
    world.settle(row)
    happened()
    world.run(Stage.RESOLVE, Blocked("subject_not_on_alyx", "who?", "ask"))
    happened()
    sessions.hold(row.id)
    happened()
    sessions.release(row.id)
    happened()
    sessions.unsettle(row.id, "changed")
    happened()
    sessions.vanished(row.id)
    happened()
    sessions.returned(row.id)
    happened()
    world.sealed("KS005/2019-04-02/002", [("a", DATASET)])
    happened()
    other = world.registered("KS005/2019-04-02/003", [("a", DATASET)])
    happened()
    world.run(Stage.ARCHIVE, Done(), "nas")
    happened()
    world.journal.files.list_files(other.id, other.generation, [*_versions(world, other.id), _rejected()])
    happened()
    sessions.add(
        "s1", b"KS006/2019-04-02/001", layout="ibl", subject="KS006", date="2019-04-02", number=1, lab=None,
        history=History.UNASKED,
    )  # fmt: skip
    happened()
    assert all(before != after for before, after in pairwise(seen)), "nothing was to be seen"


def _versions(world: World, session_id: int) -> list[tuple[FileVersion, Decision]]:
    return [(file.version, DATASET) for file in world.journal.files.each(session_id)]


def _rejected() -> tuple[FileVersion, Decision]:
    return FileVersion(b"bad", 1, 1, 1), REJECTED


def test_win_05_sessions_are_not_counted_again_while_nothing_happens(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = world.sealed(files=[("a", DATASET)])
    before = counts(world)
    asked: list[str] = []
    real = type(world.journal.sessions._db).read

    def read(self: object, sql: str, *parameters: object) -> object:
        asked.append(sql)
        return real(self, sql, *parameters)  # type: ignore[arg-type]

    monkeypatch.setattr(type(world.journal.sessions._db), "read", read)
    (file,) = world.journal.files.each(row.id)
    world.journal.files.checksums(row.id, [(file.version, "0" * 32)])  # what a seal lane does all the time
    assert counts(world) == before
    assert [sql for sql in asked if "session" in sql.replace("session_id", "")] == []
