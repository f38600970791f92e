"""The daemon's own checks that need a world that is not well."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.alyx.vocabulary import VocabularySnapshot
from labferry.config.checks import Check, Result
from labferry.datasets import DataFormat, DatasetType, Vocabulary
from labferry.engine.doctor import alyx, sample
from labferry.engine.doctor.alyx import OLD_WORDS, USUAL_FILES
from labferry.engine.reports.doctor import doctor
from support.world import NOWHERE, SESSION, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def checks(world: World) -> dict[str, Check]:
    return {check.name: check for check in alyx.checks(world.context)}


def know(world: World, *types: DatasetType) -> None:
    """Let these be the words that were kept."""
    formats = [DataFormat(name, f".{name}") for name in ("yaml", "json", "jsonable", "ssv", "mp4", "pqt")]
    words = VocabularySnapshot(Vocabulary(types, formats), {}, {}, world.clock.now())
    (world.state / "vocabulary.json").write_text(json.dumps({"url": NOWHERE, **words.to_json()}), encoding="utf-8")


def test_old_words_are_a_warning_with_their_age(world: World) -> None:
    assert checks(world)["alyx_vocabulary"].result is Result.OK
    world.clock.pass_by(OLD_WORDS + 60)
    check = checks(world)["alyx_vocabulary"]
    assert (check.result, "fetched 1441 min ago" in check.text) == (Result.WARNING, True)


def test_no_words_at_all_are_an_error(world: World) -> None:
    (world.state / "vocabulary.json").unlink()
    found = checks(world)
    assert (found["alyx_vocabulary"].result, found["alyx_dataset_types"].result) == (Result.ERROR, Result.SKIPPED)


def test_an_alyx_without_types_for_a_rigs_files_is_told_of(world: World) -> None:
    know(world)
    found = checks(world)
    assert found["alyx_vocabulary"].result is Result.ERROR
    assert found["alyx_dataset_types"].result is Result.WARNING
    for path in USUAL_FILES:
        assert path.rpartition("/")[2] in found["alyx_dataset_types"].text


def test_types_that_are_there_once_are_enough_and_twice_are_not(world: World) -> None:
    know(world, DatasetType("anything", "*"))
    assert checks(world)["alyx_dataset_types"].result is Result.OK


def test_types_that_fit_twice_are_told_of(world: World) -> None:
    know(world, DatasetType("anything", "*"), DatasetType("settings", "*taskSettings*"))
    check = checks(world)["alyx_dataset_types"]
    assert check.result is Result.WARNING
    assert "taskSettings" in check.text
    assert "leftCamera" not in check.text


def test_the_newest_session_that_is_there_is_the_example(world: World) -> None:
    for session in ("KS005/2019-04-03/001", "KS005/2019-04-03/002", SESSION):
        world.found(session)
    gone = world.found("KS005/2020-01-01/001")
    world.journal.sessions.vanished(gone.id)
    first, other = sample.samples(world.context, ask=False)
    assert first.session is not None
    assert first.session.path == b"KS005/2019-04-03/002"
    assert other.session is None


def test_everything_is_answered_while_nothing_else_does(world: World) -> None:
    world.found()
    found = {check["name"]: check["result"] for check in doctor(world.context, world.live)["checks"]}
    assert [name for name, result in found.items() if result == "error"] == ["alyx_reachable"]
    assert found["subject:s0"] == "skipped"
    assert found["archive:nas"] == "ok"


def test_a_root_that_lost_sessions_is_told_how_to_accept_that(world: World) -> None:
    for number in range(1, 9):
        world.write(session=f"KS005/2019-04-02/{number:03d}")
    world.detect.first_scan()
    for number in range(1, 9):
        world.folder_of(f"KS005/2019-04-02/{number:03d}").rmdir()
    world.detect.first_scan()
    found = {check["name"]: check for check in doctor(world.context, world.live)["checks"]}["watch:s0"]
    assert "8 of 8 sessions disappeared" in found["text"]
    assert "`labferry rescan s0 --accept-missing`" in found["hint"]
    assert "scanning" not in found["hint"]
