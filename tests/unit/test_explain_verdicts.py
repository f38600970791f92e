"""The closed list of `explain` (ruling 26): what leads to each verdict, and the nearest thing that must not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from labferry.engine.reports.explain import explain
from labferry.engine.reports.verdicts import NEEDS_A_PERSON, Verdict
from labferry.errors import UnavailableError
from labferry.model import Blocked, Done, History, Retry, Stage, Waiting
from support.clock import FakeClock
from support.rights import folder_for_everyone, without_rights
from support.world import DATASET, REJECTED, SESSION, World

Makes = Callable[[World], object]


class Case(NamedTuple):
    """What leads to a verdict, and what comes near it; each returns the path to ask about, or None for SESSION."""

    leads: Makes
    near: Makes


# --- steps ----------------------------------------------------------------------------------------------------


def waits(code: str, seconds: float = 0.0) -> Makes:
    """A session that detection has looked into."""

    def make(world: World) -> None:
        row = world.found()
        world.journal.sessions.looked(row.id, b"signature", code, "why")
        pass_by(world, seconds)

    return make


def pass_by(world: World, seconds: float) -> None:
    assert isinstance(world.clock, FakeClock)
    world.clock.pass_by(seconds)


def stale(world: World) -> float:
    return world.config.detection.stale_after


def blocked(code: str) -> Makes:
    def make(world: World) -> None:
        world.complete()
        world.run(Stage.RESOLVE, Blocked(code, "why", "what to do"))

    return make


def history(state: History) -> Makes:
    def make(world: World) -> None:
        world.old(history=state)

    return make


def moved_away(world: World, *, as_it_was: bool) -> None:
    """Rename a session's folder after detection has looked into it, or put one with other files in another place."""
    old = world.write("alf/a.b.npy")
    world.detect.first_scan()
    look(world)
    new = world.folder_of("KS005/2019-04-02/002")
    old.rename(new)
    if not as_it_was:
        (new / "alf" / "a.b.npy").write_bytes(b"other")
    world.detect.rescan()
    look(world)


def look(world: World) -> None:
    world.detect.wake()
    world.detect.turn()


def paused(world: World) -> None:
    world.complete()
    for lane in world.lanes[1:3]:
        lane.pause(True)


def down(name: str) -> Makes:
    def make(world: World) -> None:
        world.complete()
        world.context.dependencies.went_down(UnavailableError(name, "alyx_down", "no answer"))

    return make


def frozen(world: World, *, gone: bool) -> Path:
    folder = world.write("a")
    world.detect.first_scan()
    if gone:
        world.root.rename(world.folder / "unmounted")
    world.detect.first_scan()
    return folder


def closed(world: World, *, on_the_way: bool) -> Path:
    folder = world.write("a")
    (folder / "alf").mkdir()
    (folder.parent if on_the_way else folder / "alf").chmod(0o000)
    return folder


def steps(*stages: Stage) -> Makes:
    """A session whose job passed these stages but for the last, which runs."""

    def make(world: World) -> None:
        world.complete()
        for stage in stages[:-1]:
            world.run(stage, Done())
        world.run(stages[-1])

    return make


def archiving(world: World) -> None:
    world.registered()
    world.run(Stage.ARCHIVE, target="nas")


def path(text: str) -> Makes:
    def make(world: World) -> Path:
        return world.write("a", session=text)

    return make


def vanish(world: World, *, for_good: bool) -> None:
    row = world.complete()
    world.journal.sessions.vanished(row.id)
    if not for_good:
        world.journal.sessions.returned(row.id)
        return
    world.folder_of().rmdir()


def elsewhere(world: World, *, same: bool) -> Path:
    world.complete("KS005/2019-04-02/001")
    other = "KS005/2019-04-02/1" if same else "KS005/2019-04-02/002"
    world.complete(other)
    return world.folder_of(other)


def hold(world: World, *, released: bool) -> None:
    row = world.complete()
    world.journal.sessions.hold(row.id)
    if released:
        world.journal.sessions.release(row.id)


def inside(world: World) -> Path:
    return world.write("alf/a.b.npy") / "alf" / "a.b.npy"


CASES: dict[Verdict, Case] = {
    Verdict.OK_ARCHIVED: Case(lambda w: w.archived() and None, lambda w: w.registered() and None),
    Verdict.OK_REGISTERED: Case(
        lambda w: w.registered(root="s1") and w.folder_of(root="s1"), lambda w: w.registered() and None
    ),
    Verdict.ADOPTED: Case(history(History.ADOPTED), history(History.BACKLOG)),
    Verdict.BACKLOG: Case(history(History.BACKLOG), history(History.IGNORED)),
    Verdict.IGNORED_RULE: Case(history(History.IGNORED), history(History.UNASKED)),
    Verdict.SETTLING: Case(waits("settling"), waits("waiting_signal")),
    Verdict.WAITING_SIGNAL: Case(waits("waiting_signal", 90_000), waits("signal_before_data")),
    Verdict.WAITING_COLLECTION: Case(waits("no_video"), waits("waiting_device")),
    Verdict.WAITING_DEVICE: Case(waits("waiting_device"), waits("waiting_size")),
    Verdict.WAITING_SIZE: Case(waits("waiting_size"), waits("waiting_collection")),
    Verdict.SIGNAL_BEFORE_DATA: Case(waits("signal_before_data"), waits("no_files")),
    Verdict.NEVER_SETTLES: Case(waits("temporary_files", 86_401), waits("temporary_files", 86_399)),
    Verdict.QUEUED: Case(paused, down("alyx")),
    Verdict.SEALING: Case(steps(Stage.RESOLVE, Stage.SEAL), steps(Stage.RESOLVE)),
    Verdict.REGISTERING: Case(steps(Stage.RESOLVE, Stage.SEAL, Stage.REGISTER), steps(Stage.RESOLVE, Stage.SEAL)),
    Verdict.ARCHIVING: Case(archiving, lambda w: w.registered() and None),
    Verdict.WAITING_DEPENDENCY: Case(down("alyx"), down("archive:nas")),
    Verdict.HELD: Case(lambda w: hold(w, released=False), lambda w: hold(w, released=True)),
    Verdict.IGNORED_SUBJECT: Case(path("test/2019-04-02/001"), path("test2/2019-04-02/001")),
    Verdict.NOT_A_SESSION: Case(path("KS005/2019-04-02/001a"), path("KS005/2019-04-02/1")),
    Verdict.INSIDE_SESSION: Case(inside, lambda w: inside(w).parents[1]),
    Verdict.ABOVE_SESSION: Case(lambda w: w.write("a").parent, lambda w: w.write("a") and None),
    Verdict.UNREADABLE: Case(lambda w: closed(w, on_the_way=True), lambda w: closed(w, on_the_way=False)),
    Verdict.OUTSIDE_ROOTS: Case(lambda w: w.folder, lambda w: w.root),
    Verdict.ROOT_FROZEN: Case(lambda w: frozen(w, gone=True), lambda w: frozen(w, gone=False)),
    Verdict.VANISHED: Case(lambda w: vanish(w, for_good=True), lambda w: vanish(w, for_good=False)),
    Verdict.MOVED: Case(lambda w: moved_away(w, as_it_was=True), lambda w: moved_away(w, as_it_was=False)),
    Verdict.SAME_SESSION_ELSEWHERE: Case(lambda w: elsewhere(w, same=True), lambda w: elsewhere(w, same=False)),
    Verdict.CHANGED_AFTER_ARCHIVE: Case(blocked("changed_after_archive"), blocked("hash_conflict")),
    Verdict.BLOCKED: Case(
        blocked("no_settings"),
        lambda w: w.archived(files=[("alf/a.b.npy", DATASET), ("alf/\udcff", REJECTED)]) and None,
    ),
}


CLOSED = CASES[Verdict.UNREADABLE]  # the superuser would not notice that anything is


@pytest.fixture
def world() -> Iterator[World]:
    with folder_for_everyone() as folder:
        world = World(folder)
        yield world
        world.close()


def verdict(world: World, makes: Makes) -> str:
    asked = makes(world)
    with without_rights() if makes in CLOSED else contextlib.nullcontext():
        return str(explain(world.context, world.live, str(asked or SESSION))["verdict"])


@pytest.mark.parametrize("wanted", list(Verdict))
def test_ruling_26_every_verdict_is_reached_by_what_leads_to_it(world: World, wanted: Verdict) -> None:
    assert verdict(world, CASES[wanted].leads) == wanted


@pytest.mark.parametrize("wanted", list(Verdict))
def test_ruling_26_no_verdict_is_reached_by_what_only_comes_near_it(world: World, wanted: Verdict) -> None:
    found = verdict(world, CASES[wanted].near)
    assert found != wanted
    assert found in set(Verdict)


def test_ruling_26_every_verdict_has_its_case() -> None:
    assert set(CASES) == set(Verdict)
    assert set(Verdict) >= NEEDS_A_PERSON


def test_ruling_26_a_retry_is_no_verdict_of_its_own(world: World) -> None:
    world.complete()
    world.run(Stage.RESOLVE, Retry("crash", "why"))
    assert verdict(world, lambda _: None) == "queued"
    pass_by(world, 1000)
    world.run(Stage.RESOLVE, Waiting(60.0, "session_not_on_alyx", "why"))
    assert verdict(world, lambda _: None) == "waiting_dependency"


def test_done_09_the_new_folder_says_where_its_files_were(world: World) -> None:
    moved_away(world, as_it_was=True)
    world.journal.sessions.vanished(1)
    found = explain(world.context, world.live, "KS005/2019-04-02/002")
    assert found["verdict"] == "waiting_signal"
    assert any(f"the same files were at {world.folder_of()}" in fact["what"] for fact in found["evidence"])
    old = explain(world.context, world.live, SESSION)
    assert (old["verdict"], old["attention"]) == ("moved", True)
    assert str(world.folder_of("KS005/2019-04-02/002")) in old["message"]


def test_done_09_folders_without_files_are_not_the_same_session(world: World) -> None:
    world.write()
    world.write(session="KS005/2019-04-02/002")
    world.detect.first_scan()
    look(world)
    world.folder_of().rmdir()
    assert explain(world.context, world.live, SESSION)["verdict"] == "vanished"
