"""What `explain` tells an operator to do can be done: its paths are those meant, its commands can be typed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labferry.engine.reports.explain import explain
from labferry.engine.reports.sessions import show
from labferry.engine.reports.status import status
from labferry.errors import LabferryError
from labferry.model import Blocked, Decision, FileFate, SessionState, Stage
from support.clock import FakeClock
from support.world import DATASET, FLAG, SESSION, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def ask(world: World, path: object = SESSION) -> dict[str, Any]:
    return explain(world.context, world.live, str(path))


def facts(found: dict[str, Any]) -> list[str]:
    return [fact["what"] for fact in found["evidence"]]


def pass_by(world: World, seconds: float) -> None:
    assert isinstance(world.clock, FakeClock)
    world.clock.pass_by(seconds)


def scan(world: World, **order: bool) -> None:
    world.detect.rescan("s0", **order)
    world.detect.wake()
    world.detect.turn()


# --- commands ---------------------------------------------------------------------------------------------------


def test_win_04_a_remedy_names_the_session_as_it_can_be_typed(world: World) -> None:
    row = world.complete()
    world.run(Stage.RESOLVE, Blocked("crash", "why", "Read `labferry history SESSION`, then `labferry retry SESSION`."))
    folder = world.folder_of()
    hint = f"Read `labferry history {folder}`, then `labferry retry {folder}`."
    assert ask(world)["hint"] == hint
    shown = show(world.context, row)
    assert (shown["attention"]["hint"], shown["jobs"][0]["hint"]) == (hint, hint)


def test_win_04_a_remedy_quotes_what_a_shell_would_split(tmp_path: Path) -> None:
    (tmp_path / "a lab").mkdir()
    world = World(tmp_path / "a lab")
    try:
        world.complete()
        world.run(Stage.RESOLVE, Blocked("crash", "why", "`labferry retry SESSION`"))
        assert ask(world)["hint"] == f"`labferry retry '{world.folder_of()}'`"
    finally:
        world.close()


def test_win_04_what_vanished_with_unfinished_work_says_how_to_end_it(world: World) -> None:
    row = world.complete()
    world.run(Stage.RESOLVE, Blocked("subject_not_on_alyx", "no subject KS005", "Create it."))
    shutil.rmtree(world.folder_of())
    world.journal.sessions.vanished(row.id)
    found = ask(world)
    assert (found["verdict"], found["code"]) == ("vanished", "subject_not_on_alyx")
    assert f"`labferry cancel {world.folder_of()}`" in found["hint"]
    assert "no subject KS005" in " ".join(facts(found))
    world.journal.jobs.cancel(world.job(row).id, "Cancelled by anna.")
    assert "leave it" in ask(world)["hint"]
    assert status(world.context, world.live)["attention"] == 0


def test_win_04_the_evidence_does_not_repeat_the_message(world: World) -> None:
    world.complete()
    world.run(Stage.RESOLVE, Blocked("subject_not_on_alyx", "Alyx does not know the subject KS005", "Create it."))
    found = ask(world)
    assert found["message"] == "Alyx does not know the subject KS005"
    assert "register job 1 is blocked at stage resolve, 1 attempt" in facts(found)


# --- what is waited for -----------------------------------------------------------------------------------------


def test_win_04_settling_says_how_long_nothing_changed_when_it_is_asked(world: World) -> None:
    row = world.found()
    world.journal.sessions.signal(row.id, FLAG)
    world.journal.sessions.looked(row.id, b"-", "settling", "nothing changed for 0 of 60 s")
    pass_by(world, 20)
    assert ask(world)["message"] == "Not complete: nothing changed for 20 of 60 s."
    assert show(world.context, row)["waits"]["message"] == "nothing changed for 20 of 60 s"
    pass_by(world, 600)
    assert ask(world)["message"] == "Not complete: nothing changed for 60 of 60 s."


def test_ruling_05_never_settles_says_when_it_changed_last(world: World) -> None:
    row = world.found()
    world.journal.sessions.looked(row.id, b"1", "settling", "nothing changed for 0 of 60 s")
    pass_by(world, world.config.detection.stale_after)
    world.journal.sessions.looked(row.id, b"2", "settling", "nothing changed for 0 of 60 s")
    pass_by(world, 40)
    found = ask(world)
    assert found["message"] == "Not complete: files keep changing, the last change was seen 40 s ago (for 1 day)."
    (told,) = [one for one in status(world.context, world.live)["health"] if one["code"] == "never_settles"]
    assert told["text"] == f"1 session without rest for too long: {world.folder_of()}."


def test_ruling_05_temporary_names_are_waited_for_and_no_time_is_promised(world: World) -> None:
    row = world.found()
    world.journal.sessions.looked(row.id, b"1", "temporary_files", "still being written: x.part")
    assert ask(world)["next"] == {"what": "the copy ends, and the files get their names", "at": None}
    pass_by(world, world.config.detection.stale_after + 1)
    found = ask(world)
    assert found["verdict"] == "never_settles"
    assert "remove what an aborted copy left" in found["hint"]


# --- many at once -----------------------------------------------------------------------------------------------


def test_done_09_none_of_many_that_are_missing_at_once_has_vanished(world: World) -> None:
    folders = [world.write("a.b.npy", session=f"KS{number:03d}/2019-04-02/001") for number in range(10)]
    world.detect.first_scan()
    for folder in folders[:8]:
        shutil.rmtree(folder.parent.parent)
    scan(world)
    found = ask(world, folders[0])
    assert (found["verdict"], found["attention"]) == ("root_frozen", True)
    assert "8 of 10 sessions disappeared at once" in found["message"]
    assert "`labferry rescan s0 --accept-missing`" in found["hint"]
    assert ask(world, folders[9])["verdict"] != "root_frozen", "what is there goes on"
    scan(world, accept_missing=True)
    assert ask(world, folders[0])["verdict"] == "vanished"
    assert world.journal.sessions.counts()[0][SessionState.VANISHED] == 8
    shutil.rmtree(folders[9])
    assert ask(world, folders[9])["verdict"] == "vanished", "the doubt is over"


def test_done_09_a_root_that_is_away_says_what_to_do_also_in_status(world: World) -> None:
    world.write()
    world.detect.first_scan()
    world.root.rename(world.folder / "unmounted")
    scan(world)
    (told,) = [one for one in status(world.context, world.live)["health"] if one["code"] == "root_frozen"]
    hint = ask(world)["hint"]
    assert hint.startswith("Mount the disk")
    assert told["text"].endswith(f". {hint}")


def test_done_04_every_root_counts_its_own_watches(tmp_path: Path) -> None:
    paths = {name: str(tmp_path / name) for name in ("s0", "s1")}
    roots = [{"name": name, "path": path, "repository": "local"} for name, path in paths.items()]
    world = World(tmp_path, roots=roots)
    try:
        world.write("a", session="KS005/2019-04-02/001")
        world.detect.first_scan()
        watched = {root["name"]: root["watches"] for root in status(world.context, world.live)["roots"]}
        assert watched["s1"] == 1, "the root itself"
        assert watched["s0"] > watched["s1"]
    finally:
        world.detect.tidy()
        world.close()


# --- places -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "wrong", "right"),
    [
        ("KS005/20190402/001/alf", "KS005/20190402", "KS005/2019-04-02"),
        ("KS005/2019-04-02/0001", "KS005/2019-04-02/0001", "KS005/2019-04-02/001"),
        ("KS005 /2019-04-02/001", "KS005 ", "KS005"),
    ],
)
def test_win_04_a_name_that_is_nearly_right_is_renamed_by_the_command_it_says(
    world: World, path: str, wrong: str, right: str
) -> None:
    world.write(session=path)
    found = ask(world, world.root / path)
    assert found["evidence"][0]["what"] == f"at {world.root / wrong}"
    command = found["hint"].split("`")[1]
    assert os.system(command) == 0
    assert (world.root / right).is_dir()
    (world.root / wrong).mkdir(parents=True)
    assert "is there, too" in ask(world, world.root / wrong)["hint"]


def test_win_04_a_file_is_not_told_to_be_renamed(world: World) -> None:
    world.write(session="KS005/20190402/001")
    (world.root / "KS005" / "notes.txt").touch()
    (world.root / "KS005/20190402/001/notes.txt").touch()
    found = ask(world, world.root / "KS005" / "notes.txt")
    assert (found["part"], found["rule"]) == ("notes.txt", "sessions are folders, and only folders lead to them")
    assert ("Nothing to do" in found["hint"], found["attention"]) == (True, False)
    found = ask(world, world.root / "KS005/20190402/001/notes.txt")
    assert (found["part"], found["attention"]) == ("20190402", True), "the folder is to blame"


def test_win_04_a_link_says_where_it_leads(world: World) -> None:
    (world.root / "KS005").mkdir()
    (world.root / "KS005" / "2019-04-02").symlink_to("../elsewhere/2019-04-02")
    hint = ask(world, world.root / "KS005" / "2019-04-02")["hint"]
    assert str(world.root / "elsewhere/2019-04-02") in hint


def test_win_04_a_link_within_a_session_is_no_file_of_it(world: World) -> None:
    world.complete()
    world.write()
    (world.folder_of() / "loop").symlink_to(".")
    found = ask(world, world.folder_of() / "loop" / "a.npy")
    assert (found["verdict"], found["code"]) == ("inside_session", "not_regular")
    assert f"{world.folder_of() / 'loop'} is a symbolic link" in found["message"]


@pytest.mark.parametrize(
    ("code", "fate"), [("about_session", FileFate.EXCLUDED), ("no_pattern", FileFate.UNMATCHED), ("", None)]
)
def test_win_04_the_completion_signal_is_said_to_be_one_and_asks_for_nothing(
    world: World, code: str, fate: FileFate | None
) -> None:
    listed = [(FLAG, Decision(fate, code, "why"))] if fate else []
    world.sealed(files=[("a.b.npy", DATASET), *listed])
    world.write(FLAG)
    found = ask(world, world.folder_of() / FLAG)
    assert (found["verdict"], found["code"], found["attention"]) == ("inside_session", "about_session", False)
    assert "completion signal" in found["message"]
    assert found["hint"] == "Nothing to do."
    assert found["evidence"] == [{"what": "seen, and remembered", "at": world.time()}]
    assert ("file" in found) is bool(listed)


def test_win_04_a_completion_signal_that_nobody_looked_at_yet(world: World) -> None:
    world.found()
    world.write(FLAG, "transfer_me.flag")
    assert facts(ask(world, world.folder_of() / FLAG)) == ["not seen yet: the next look at the session sees it"]
    other = ask(world, world.folder_of() / "transfer_me.flag")
    assert (other["code"], other["evidence"], "completion signal" in other["message"]) == ("about_session", [], False)


def test_ruling_04_a_pipe_under_the_name_of_the_signal_is_not_said_to_be_one(world: World) -> None:
    world.found()
    os.mkfifo(world.folder_of() / FLAG)
    found = ask(world, world.folder_of() / FLAG)
    assert (found["verdict"], found["code"], found["attention"]) == ("inside_session", "not_regular", False)


def test_win_04_a_flag_that_somebody_registers_is_a_dataset_like_any_other(world: World) -> None:
    world.sealed(files=[(FLAG, DATASET)])
    world.write(FLAG)
    assert "a dataset" in ask(world, world.folder_of() / FLAG)["message"]


def test_done_05_what_would_end_a_session_without_a_signal_is_said_and_can_be_typed(world: World) -> None:
    row = world.found()
    world.journal.sessions.looked(row.id, b"-", "waiting_signal", "no raw_session.flag yet, and why")
    found = ask(world)
    assert f"`touch {world.folder_of()}/raw_session.flag`" in found["hint"]
    assert "SESSION_END_TIME" in found["hint"]


def test_win_04_a_folder_above_sessions_lists_what_is_not_picked_up(world: World) -> None:
    world.write(session="KS005/20190402/001")
    world.write(session="KS006/yesterday/001")
    world.detect.first_scan()
    told = facts(ask(world, world.root))
    assert "not picked up: KS005/20190402 (date: YYYY-MM-DD; 2019-04-02 would be right)" in told
    assert "not picked up: KS006/yesterday (date: YYYY-MM-DD)" in told
    below = facts(ask(world, world.root / "KS006"))
    assert [fact for fact in below if fact.startswith("not picked up")] == [
        "not picked up: KS006/yesterday (date: YYYY-MM-DD)"
    ]
    (told,) = [one for one in status(world.context, world.live)["health"] if one["code"] == "near_misses"]
    assert told["text"].endswith(f"`labferry explain {world.root}` lists them.")


@pytest.mark.parametrize("text", ["nonsense", "KS005/2019-04-09/001", "1b2c3d4e-0000-4000-8000-00000000dead"])
def test_a_text_that_names_nothing_is_not_said_to_be_a_folder_of_the_first_root(world: World, text: str) -> None:
    with pytest.raises(LabferryError) as caught:
        ask(world, text)
    assert caught.value.code == "no_such_path"
    assert str(world.root) not in caught.value.message
    assert f"There is no {text} below any root (s0, s1)" in caught.value.message


def test_a_name_that_no_file_system_can_hold_does_not_exist(world: World) -> None:
    with pytest.raises(LabferryError) as caught:
        ask(world, world.root / ("x" * 300))
    assert caught.value.code == "no_such_path"
