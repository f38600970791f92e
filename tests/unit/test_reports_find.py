"""Which session an operator means."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.engine.reports.find import find
from labferry.engine.reports.places import places, spellings
from labferry.errors import LabferryError
from support.world import EID, SESSION, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def refused(world: World, text: str) -> LabferryError:
    with pytest.raises(LabferryError) as caught:
        find(world.context, text)
    return caught.value


def test_a_session_is_found_by_path_key_and_eid(world: World) -> None:
    row = world.registered()
    folder = world.folder_of()
    for text in (
        str(folder),
        f"{folder}/",
        f"{folder}/alf/../",
        f"/{folder}",
        SESSION,
        f"{SESSION}/",
        f"./{SESSION}",
        "KS005/2019-04-02/1",
        "KS005/2019-04-02/01",
        EID,
        EID.upper(),
    ):
        assert find(world.context, text).id == row.id, text


def test_a_session_below_a_lab_is_found_by_its_key(world: World) -> None:
    row = world.found("cortexlab/Subjects/KS005/2019-04-02/001")
    assert find(world.context, SESSION).id == row.id


def test_a_session_is_found_when_its_folder_is_gone(world: World) -> None:
    row = world.found()
    world.folder_of().rmdir()
    assert find(world.context, str(world.folder_of())).id == row.id


def test_a_session_is_found_over_a_link_to_the_root(world: World) -> None:
    row = world.found()
    (world.folder / "way").symlink_to(world.root)
    assert find(world.context, str(world.folder / "way" / SESSION)).id == row.id


def test_several_sessions_are_named(world: World) -> None:
    world.found()
    world.found("KS005/2019-04-02/1", root="s1")
    error = refused(world, SESSION)
    assert error.code == "several_sessions"
    assert str(world.folder_of()) in error.message
    assert str(world.folder_of("KS005/2019-04-02/1", root="s1")) in error.message
    assert find(world.context, str(world.folder_of())).root == "s0"


def test_ruling_03_the_name_of_a_folder_is_not_another_spelling_beside_it(world: World) -> None:
    """A second folder with the same subject, date and number must not make the first one unnameable."""
    row = world.found()
    other = world.found("KS005/2019-04-02/1")
    assert find(world.context, SESSION).id == row.id
    assert find(world.context, "KS005/2019-04-02/1").id == other.id
    assert refused(world, "KS005/2019-04-02/01").code == "several_sessions"


@pytest.mark.parametrize("text", [SESSION, "KS005", "/nowhere", EID, "../x", "", f"{SESSION}/alf", "caf\udce9"])
def test_no_session_says_so_and_points_at_explain(world: World, text: str) -> None:
    world.found("KS006/2019-04-02/001")
    error = refused(world, text)
    assert error.code == "no_such_session"
    assert "labferry explain" in error.hint
    assert error.message.isprintable()


def test_ruling_25_shown_names_are_read_back_as_bytes() -> None:
    assert spellings("caf\\xe9") == (b"caf\\xe9", b"caf\xe9")
    assert spellings("a\\x41") == (b"a\\x41",), "we show only bytes that are not UTF-8 so"
    assert spellings("caf\udce9") == (b"caf\xe9",)


def test_a_path_beside_a_root_is_not_below_it(world: World) -> None:
    assert places(world.config, os.fsencode(f"{world.root}0/KS005")) == []
    (place,) = places(world.config, os.fsencode(world.root))
    assert (place.root.name, place.path, place.absolute) == ("s0", b"", os.fsencode(world.root))
