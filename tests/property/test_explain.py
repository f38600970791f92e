"""`explain` answers for any path: with a verdict of the closed list, or with what of the path exists."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from labferry.engine.reports.explain import explain
from labferry.engine.reports.verdicts import Verdict
from labferry.errors import LabferryError
from support.rights import folder_for_everyone
from support.world import FLAG, SESSION, World

SUBJECT, DAY, NUMBER = SESSION.split("/")
BELOW = ("alf", "a.b.npy", "up", "pipe", "link", FLAG, "logs", "caf\udce9.npy")
NAMES = (
    SUBJECT,
    DAY,
    NUMBER,
    "1",
    "002",
    "0001",
    "2019-02-29",
    "2019-4-2",
    "test",
    ".",
    "..",
    "",
    "~",
    "\\xe9",
    "n" * 300,
)
NAME = st.one_of(
    st.sampled_from([*NAMES, *BELOW]),
    st.binary(min_size=1, max_size=12).map(lambda name: os.fsdecode(name.replace(b"\0", b"0"))),
)
PATHS = st.tuples(
    st.sampled_from(["", "/", "{root}/", "{root}/../s0/", f"{SESSION}/", f"{{root}}/{SESSION}/"]),
    st.lists(NAME, max_size=8),
)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One root with an archived session, one that settles, odd entries, and what only comes near a session."""
    with folder_for_everyone() as folder:
        world = World(folder)
        world.archived()
        world.write("alf/a.b.npy", "caf\udce9.npy")
        os.symlink("..", world.folder_of() / "up")
        os.mkfifo(world.folder_of() / "pipe")
        os.symlink(SUBJECT, world.root / "link")
        world.found(f"{SUBJECT}/{DAY}/002")
        for session in (f"{SUBJECT}/2019-02-29/001", f"{SUBJECT}/{DAY}/0001", "test/2019-04-02/001"):
            world.write("alf/a.b.npy", session=session)
        yield world
        world.close()


def asked(world: World, text: str) -> dict[str, Any] | LabferryError:
    try:
        return explain(world.context, world.live, text)
    except LabferryError as error:
        return error


@given(path=PATHS)
@example(path=("", [SUBJECT, DAY, NUMBER, *["up"] * 60]))
@example(path=("{root}/", ["n" * 300]))
@example(path=("", ["n/" * 3000]))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_win_04_every_path_has_a_verdict_or_is_told_how_far_it_exists(
    world: World, path: tuple[str, list[str]]
) -> None:
    start, names = path
    text = start.replace("{root}", str(world.root)) + "/".join(names)
    found = asked(world, text)
    if isinstance(found, LabferryError):
        assert found.code == "no_such_path"
        assert found.message
        return
    assert found["verdict"] in set(Verdict)
    assert found["message"]
    assert found["hint"] or not found["attention"], "where a person must act, it says how"
    assert found["path"].isprintable() or "path_b64" in found
