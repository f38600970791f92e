"""`explain`: every verdict that exists is reached by what leads to it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labferry.engine.reports.explain import explain
from labferry.errors import LabferryError, UnavailableError
from labferry.journal.transfers import NewItem
from labferry.model import Blocked, Done, FileVersion, History, JobKind, JobState, Retry, Stage, Waiting, utc_text
from support.clock import FakeClock
from support.rights import folder_for_everyone, without_rights
from support.world import DATASET, EID, FLAG, REJECTED, SESSION, UNMATCHED, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def ask(world: World, path: object = SESSION) -> dict[str, Any]:
    return explain(world.context, world.live, str(path))


def facts(found: dict[str, Any]) -> str:
    return "\n".join(fact["what"] for fact in found["evidence"])


def pass_by(world: World, seconds: float) -> None:
    assert isinstance(world.clock, FakeClock)
    world.clock.pass_by(seconds)


# --- finished -----------------------------------------------------------------------------------------------


def test_win_04_ok_archived(world: World) -> None:
    world.archived()
    found = ask(world)
    assert (found["verdict"], found["code"], found["attention"], found["next"]) == ("ok_archived", "", False, None)
    assert found["path"] == str(world.folder_of())
    assert found["root"] == "s0"
    assert EID in found["message"]
    assert "nas" in found["message"]
    assert f"completion signal {FLAG} seen" in facts(found)


def test_win_04_remarks_are_evidence_and_only_the_first_are_told(world: World) -> None:
    row = world.archived()
    world.journal.sessions.remark(row.id, [("odd_trials", f"line {number} ends early") for number in range(7)])
    told = facts(ask(world))
    assert "remark odd_trials: line 0 ends early" in told
    assert "2 more remarks" in told
    assert "line 6" not in told


def test_win_04_ok_archived_stays_so_without_the_folder(world: World) -> None:
    world.archived()
    world.folder_of().rmdir()
    assert ask(world)["verdict"] == "ok_archived"


def test_win_04_ok_archived_stays_so_behind_a_link_to_where_the_folder_was_put(world: World) -> None:
    world.archived()
    world.folder_of().rename(world.folder / "cold")
    world.folder_of().symlink_to(world.folder / "cold")
    found = ask(world)
    assert (found["verdict"], found["attention"]) == ("ok_archived", False)
    assert "in its place is a symbolic link" in facts(found)


def test_win_04_not_a_session_where_a_link_hides_what_is_not_finished(world: World) -> None:
    world.complete()
    world.folder_of().rename(world.folder / "cold")
    world.folder_of().symlink_to(world.folder / "cold")
    assert ask(world)["verdict"] == "not_a_session"


def test_win_04_ok_archived_with_rejected_files_needs_a_person(world: World) -> None:
    world.archived(files=[("alf/trials.table.pqt", DATASET), ("alf/odd.name.x", REJECTED)])
    found = ask(world)
    assert (found["verdict"], found["code"], found["attention"]) == ("ok_archived", "not_utf8", True)
    assert "alf/odd.name.x" in found["message"]
    assert "labferry retry" in found["hint"]


def test_win_04_ok_registered_where_the_root_has_no_archive(world: World) -> None:
    world.registered(root="s1")
    found = ask(world)
    assert (found["verdict"], found["attention"]) == ("ok_registered", False)


def test_win_04_ok_registered_where_the_archive_is_not_asked_for_any_more(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.registered()
    world.close()
    roots = [{"name": "s0", "path": str(world.root), "repository": "local", "events": "off"}]
    again = World(tmp_path, roots=roots)
    try:
        found = ask(again)
        assert (found["verdict"], found["attention"]) == ("ok_registered", False)
        assert again.job(again.journal.sessions.all()[0], JobKind.ARCHIVE).state is JobState.SUPERSEDED
    finally:
        again.close()


# --- detection ----------------------------------------------------------------------------------------------


def test_win_04_settling_says_when_it_may_be_complete(world: World) -> None:
    row = world.found()
    world.journal.sessions.signal(row.id, FLAG)
    world.journal.sessions.looked(row.id, b"-", "settling", "nothing changed for 0 of 60 s")
    started = world.clock.now()
    pass_by(world, 20)
    found = ask(world)
    assert (found["verdict"], found["code"], found["attention"]) == ("settling", "settling", False)
    assert found["next"]["at"] == utc_text(started + 60)


def test_win_04_settling_before_the_first_look(world: World) -> None:
    world.found()
    assert ask(world)["verdict"] == "settling"


def test_win_04_settling_when_the_next_scan_will_find_it(world: World) -> None:
    world.write("a")
    found = ask(world)
    assert (found["verdict"], found["code"]) == ("settling", "not_seen_yet")
    assert found["next"]["what"] == "the next scan"


def test_win_04_waiting_signal(world: World) -> None:
    row = world.found()
    world.journal.sessions.looked(row.id, b"-", "waiting_signal", f"no completion signal yet ({FLAG})")
    since = world.time()
    pass_by(world, 3600)
    found = ask(world)
    assert (found["verdict"], found["code"], found["attention"]) == ("waiting_signal", "waiting_signal", False)
    assert FLAG in found["message"]
    assert found["evidence"][-1] == {"what": "waits since then", "at": since}
    assert found["hint"]


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("no_video", "waiting_collection"),
        ("no_behaviour", "waiting_collection"),
        ("waiting_collection", "waiting_collection"),
        ("waiting_device", "waiting_device"),
        ("waiting_size", "waiting_size"),
    ],
)
def test_win_04_waiting_collection_and_waiting_device_and_waiting_size_say_for_what_and_how_long(
    world: World, code: str, verdict: str
) -> None:
    row = world.found()
    world.journal.sessions.looked(row.id, b"-", code, "raw_video_data missing")
    since = world.time()
    pass_by(world, 2 * 3600)
    found = ask(world)
    assert (found["verdict"], found["code"], found["attention"]) == (verdict, code, False)
    assert found["message"] == "Not complete: raw_video_data missing (for 2 h)."
    assert found["evidence"][-1] == {"what": "waits since then", "at": since}
    assert "completion" in found["hint"] or "_devices" in found["hint"]


def test_win_04_signal_before_data(world: World) -> None:
    row = world.found()
    world.journal.sessions.signal(row.id, FLAG)
    world.journal.sessions.looked(
        row.id, b"-", "signal_before_data", "the completion signal is there, but not one file"
    )
    assert ask(world)["verdict"] == "signal_before_data"


def test_win_04_never_settles_after_stale_after(world: World) -> None:
    row = world.found()
    world.journal.sessions.looked(row.id, b"-", "settling", "nothing changed for 1 of 60 s")
    pass_by(world, world.config.detection.stale_after + 1)
    found = ask(world)
    assert (found["verdict"], found["code"], found["attention"]) == ("never_settles", "never_settles", True)


def test_win_04_unreadable_as_detection_saw_it(world: World) -> None:
    row = world.found()
    world.journal.sessions.looked(row.id, b"-", "unreadable", "cannot be read: alf (Permission denied)")
    found = ask(world)
    assert (found["verdict"], found["attention"]) == ("unreadable", True)
    assert "alf" in found["message"]


def test_win_04_unreadable_on_the_way_to_a_session() -> None:
    with folder_for_everyone() as folder:
        world = World(folder)
        try:
            closed = world.write("a").parent
            (closed / "002").mkdir()
            closed.chmod(0o000)
            with without_rights():
                found = ask(world, closed / "002")
        finally:
            world.close()
            closed.chmod(0o755)
    assert (found["verdict"], found["attention"]) == ("unreadable", True)
    assert "Permission denied" in found["message"]


def test_win_04_vanished(world: World) -> None:
    row = world.complete()
    world.folder_of().rmdir()
    assert ask(world)["verdict"] == "vanished", "the disk knows it before the journal"
    world.journal.sessions.vanished(row.id)
    found = ask(world)
    assert (found["verdict"], found["attention"]) == ("vanished", True)
    assert {"what": "not found by two scans in a row", "at": world.time()} in found["evidence"]


def test_win_04_a_folder_that_is_back_has_not_vanished_although_no_scan_saw_it_yet(world: World) -> None:
    row = world.complete()
    world.journal.sessions.vanished(row.id)
    found = ask(world)
    assert (found["verdict"], found["code"], found["attention"]) == ("settling", "not_seen_yet", False)
    world.folder_of().rmdir()
    world.folder_of().touch()
    assert ask(world)["verdict"] == "vanished", "a file in its place is not the folder"


def test_win_04_what_settles_again_is_not_explained_by_what_blocked_it_before(world: World) -> None:
    row = world.complete()
    world.run(Stage.RESOLVE, Blocked("subject_not_on_alyx", "Alyx has no subject KS005", "Create it."))
    world.journal.sessions.unsettle(row.id, "a.npy added since it was complete")
    world.journal.sessions.looked(row.id, b"+", "waiting_size", "a.ap.ch is missing")
    found = ask(world)
    assert (found["verdict"], found["attention"]) == ("waiting_size", True)
    assert "Alyx has no subject KS005" in facts(found)


def test_win_04_root_frozen_without_a_look_at_the_disk(world: World) -> None:
    world.archived("KS005/2019-04-03/001")
    world.complete()
    world.root.rename(world.folder / "unmounted")
    world.detect.first_scan()
    found = ask(world, world.folder_of())
    assert (found["verdict"], found["attention"]) == ("root_frozen", True)
    assert str(world.root) in found["message"]
    assert f"completion signal {FLAG} seen" in facts(found)
    assert ask(world, world.folder_of("KS005/2019-04-03/001"))["verdict"] == "ok_archived"
    assert ask(world, world.folder_of("KS005/2019-04-04/001"))["verdict"] == "root_frozen"


# --- work ---------------------------------------------------------------------------------------------------


def test_win_04_queued(world: World) -> None:
    world.complete()
    found = ask(world)
    assert (found["verdict"], found["attention"]) == ("queued", False)
    assert "register job 1 is queued at stage resolve, 0 attempts" in facts(found)


def test_win_04_queued_while_the_lane_is_paused(world: World) -> None:
    world.complete()
    world.lanes[1].pause(True)
    found = ask(world)
    assert (found["verdict"], found["code"]) == ("queued", "paused")
    assert "labferry resume" in found["hint"]


def test_win_04_queued_again_after_an_unexpected_error(world: World) -> None:
    world.complete()
    world.run(Stage.RESOLVE, Retry("unexpected", "KeyError: 'x'", after=30.0, detail="Traceback …\nKeyError: 'x'\n"))
    found = ask(world)
    assert (found["verdict"], found["code"]) == ("queued", "unexpected")
    assert found["next"] == {"what": "the next attempt", "at": utc_text(world.clock.now() + 30)}
    assert {"what": "last error: KeyError: 'x'", "at": world.time()} in found["evidence"]


def test_win_04_sealing_names_what_the_lane_does(world: World) -> None:
    world.complete()
    world.run(Stage.RESOLVE, Done())
    world.run(Stage.SEAL)
    world.lanes[0].beat(f"hashing {SESSION}: 5 of 10 bytes")
    found = ask(world)
    assert found["verdict"] == "sealing"
    assert f"lane seal-1: hashing {SESSION}: 5 of 10 bytes" in facts(found)


@pytest.mark.parametrize("stage", [Stage.RESOLVE, Stage.REGISTER])
def test_win_04_registering(world: World, stage: Stage) -> None:
    if stage is Stage.RESOLVE:
        world.complete()
    else:
        world.sealed()
    world.run(stage)
    assert ask(world)["verdict"] == "registering"


@pytest.mark.parametrize("code", ["files_in_flight", "answer_lost"])
def test_win_04_registering_while_an_answer_is_looked_for(world: World, code: str) -> None:
    world.sealed()
    world.run(Stage.REGISTER, Waiting(15.0, code, "watching what becomes of the last request"))
    found = ask(world)
    assert (found["verdict"], found["code"]) == ("registering", code)
    assert found["next"]["at"] == utc_text(world.clock.now() + 15)


def test_win_04_archiving(world: World) -> None:
    world.registered()
    assert ask(world)["verdict"] == "queued"
    world.run(Stage.ARCHIVE, None, "nas")
    found = ask(world)
    assert found["verdict"] == "archiving"
    assert "nas" in found["message"]


def test_win_04_archiving_while_somebody_else_moves_the_bytes(world: World) -> None:
    world.registered()
    world.run(Stage.ARCHIVE, Waiting(60.0, "in_flight", "5 of 10 bytes"), "nas")
    found = ask(world)
    assert (found["verdict"], found["code"]) == ("archiving", "in_flight")


def test_win_04_waiting_dependency_while_it_is_down(world: World) -> None:
    world.complete()
    world.context.dependencies.went_down(UnavailableError("alyx", "alyx_down", "connection refused", retry_after=40.0))
    found = ask(world)
    assert (found["verdict"], found["code"], found["attention"]) == ("waiting_dependency", "alyx_down", False)
    assert "connection refused" in found["message"]
    assert found["next"] == {"what": "alyx is asked again", "at": utc_text(world.clock.now() + 40)}


def test_win_04_waiting_dependency_of_an_archive(world: World) -> None:
    world.registered()
    error = UnavailableError("archive:nas", "target_full", "No space left on device")
    world.run(Stage.ARCHIVE, Waiting(0.0, error.code, error.message, dependency=error.dependency), "nas")
    assert ask(world)["code"] == "target_full", "also before the breaker is asked"
    world.context.dependencies.went_down(error)
    found = ask(world)
    assert (found["verdict"], found["code"]) == ("waiting_dependency", "target_full")
    assert found["message"].startswith("Archiving to nas waits for archive:nas")


def test_win_04_waiting_dependency_on_another_creator(world: World) -> None:
    world.sealed()
    world.run(Stage.REGISTER, Waiting(600.0, "session_not_on_alyx", "Alyx has no session KS005/2019-04-02/001 yet"))
    found = ask(world)
    assert (found["verdict"], found["code"]) == ("waiting_dependency", "session_not_on_alyx")
    assert found["hint"]


def test_win_04_blocked(world: World) -> None:
    world.complete()
    world.run(Stage.RESOLVE, Blocked("subject_not_on_alyx", "Alyx has no subject KS005.", "Create the subject."))
    found = ask(world)
    assert (found["verdict"], found["code"], found["attention"]) == ("blocked", "subject_not_on_alyx", True)
    assert (found["message"], found["hint"]) == ("Alyx has no subject KS005.", "Create the subject.")


def test_win_04_blocked_after_too_many_crashes(world: World) -> None:
    world.complete()
    for _ in range(3):
        world.run(Stage.RESOLVE, Retry("unexpected", "KeyError: 'x'", detail="KeyError: 'x'"))
        pass_by(world, 900)
    found = ask(world)
    assert (found["verdict"], found["code"]) == ("blocked", "crash")
    assert "3 attempts" in facts(found)


def test_win_04_changed_after_archive(world: World) -> None:
    world.sealed()
    world.run(Stage.REGISTER, Blocked("changed_after_archive", "a changed after it was verified", "Keep it."))
    assert ask(world)["verdict"] == "changed_after_archive"


def test_win_04_ruling_03_same_session_elsewhere_names_the_other_folder(world: World) -> None:
    world.complete()
    world.complete("KS005/2019-04-02/1", root="s1")
    found = ask(world, world.folder_of("KS005/2019-04-02/1", root="s1"))
    assert (found["verdict"], found["attention"]) == ("same_session_elsewhere", True)
    assert SESSION in found["message"]
    assert ask(world, world.folder_of())["verdict"] == "queued"


def test_win_04_held(world: World) -> None:
    row = world.complete()
    world.journal.sessions.hold(row.id)
    found = ask(world)
    assert (found["verdict"], found["attention"]) == ("held", False)
    assert "labferry release" in found["hint"]


def test_win_04_held_after_a_cancel(world: World) -> None:
    row = world.complete()
    world.journal.jobs.cancel(world.job(row).id, "Cancelled by anna.")
    assert world.job(row).state is JobState.CANCELLED
    found = ask(world)
    assert (found["verdict"], found["code"], found["message"]) == ("held", "cancelled", "Cancelled by anna.")


def test_win_04_ignored_rule_where_the_root_asks_for_nothing(tmp_path: Path) -> None:
    root = {"name": "s0", "path": str(tmp_path / "s0"), "layout": "ibl", "register": False, "events": "off"}
    world = World(tmp_path, roots=[root])
    try:
        world.complete()
        found = ask(world)
    finally:
        world.close()
    assert (found["verdict"], found["attention"]) == ("ignored_rule", False)


def test_win_04_a_superseded_job_does_not_explain_the_new_generation(world: World) -> None:
    row = world.complete()
    world.run(Stage.RESOLVE, Blocked("ambiguous_subject", "two", "rename one"))
    world.journal.sessions.unsettle(row.id, "a file changed")
    world.settle(row)
    assert ask(world)["verdict"] == "queued"


# --- places -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "part", "rule"),
    [
        ("KS005/2023-02-29/001", "2023-02-29", "calendar"),
        ("KS005/2019-04-02/001a", "001a", "number"),
        ("KS005/20190402/001", "20190402", "date"),
    ],
)
def test_win_04_not_a_session_names_part_and_rule(world: World, path: str, part: str, rule: str) -> None:
    world.write(session=path)
    found = ask(world, path)
    assert (found["verdict"], found["code"], found["attention"]) == ("not_a_session", "not_a_session", True)
    assert found["part"] == part
    assert rule in found["rule"]
    assert part in found["message"]
    assert found["hint"]


def test_win_04_not_a_session_tells_the_right_spelling(world: World) -> None:
    world.write(session="KS005/20190402/001")
    assert ask(world, "KS005/20190402/001")["nearest"] == "2019-04-02"


def test_win_04_not_a_session_behind_a_link(world: World) -> None:
    real = world.write("a", session="KS005/2019-04-03/001")
    world.folder_of().parent.mkdir(parents=True)
    world.folder_of().symlink_to(real)
    found = ask(world, world.folder_of())
    assert found["verdict"] == "not_a_session"
    assert "link" in found["rule"]
    assert ask(world, world.folder_of() / "a")["verdict"] == "not_a_session", "links on the way are not followed"


def test_win_04_not_a_session_when_it_is_a_file(world: World) -> None:
    world.folder_of().parent.mkdir(parents=True)
    world.folder_of().touch()
    found = ask(world)
    assert (found["verdict"], found["attention"]) == ("not_a_session", False)
    assert "file" in found["message"]


def test_win_04_ignored_subject(world: World) -> None:
    world.write(session="test/2019-04-02/001")
    for path in ("test/2019-04-02/001", "test/2019-04-02", "test"):
        found = ask(world, path)
        assert (found["verdict"], found["attention"]) == ("ignored_subject", False)
        assert "exclude_subjects" in found["hint"]


def test_win_04_above_session_counts_what_is_below(world: World) -> None:
    world.complete()
    world.found("KS005/2019-04-03/001")
    world.found("KS0050/2019-04-03/001")
    found = ask(world, world.root / "KS005")
    assert (found["verdict"], found["attention"]) == ("above_session", False)
    assert found["sessions"] == {"complete": 1, "settling": 1}
    assert ask(world, world.root)["sessions"] == {"complete": 1, "settling": 2}


def test_win_04_inside_session_tells_the_fate_of_a_file(world: World) -> None:
    row = world.archived(files=[("alf/trials.table.pqt", DATASET), ("notes.txt", UNMATCHED)])
    file = next(world.journal.files.each_dataset(row.id))
    job = world.job(row, JobKind.ARCHIVE)
    item = NewItem(file.id, b"KS005/2019-04-02/001/alf/trials.table.pqt", 100, file.md5 or "")
    transfer = world.journal.transfers.plan(job.id, "nas", b"/nas", "lf-1", [item])
    world.journal.transfers.verified(transfer.id, [(item.destination, "md5")])
    world.write("alf/trials.table.pqt")
    found = ask(world, world.folder_of() / "alf/trials.table.pqt")
    assert (found["verdict"], found["code"], found["attention"]) == ("inside_session", "", False)
    assert SESSION in found["message"]
    assert "a registered dataset" in found["message"]
    assert found["file"]["fate"] == "dataset"
    assert f"MD5 {file.md5}" in facts(found)
    assert f"registered as dataset dataset-{file.id}" in facts(found)
    assert "verified in archive nas as /nas/KS005/2019-04-02/001/alf/trials.table.pqt" in facts(found)


def test_win_04_inside_session_of_a_file_that_is_left_out(world: World) -> None:
    world.archived(files=[("alf/trials.table.pqt", DATASET), ("notes.txt", UNMATCHED)])
    world.write("notes.txt")
    found = ask(world, world.folder_of() / "notes.txt")
    assert (found["verdict"], found["code"], found["attention"]) == ("inside_session", "no_pattern", False)
    assert "no registration pattern" in found["message"]
    assert found["hint"]


def test_win_04_inside_session_of_a_rejected_file_needs_a_person(world: World) -> None:
    world.archived(files=[("alf/trials.table.pqt", DATASET), ("alf/x", REJECTED)])
    world.write("alf/x")
    found = ask(world, world.folder_of() / "alf/x")
    assert (found["verdict"], found["code"], found["attention"]) == ("inside_session", "not_utf8", True)


def test_win_04_inside_session_of_what_is_not_listed_yet(world: World) -> None:
    world.found()
    world.write("alf/new.npy")
    assert ask(world, world.folder_of() / "alf/new.npy")["code"] == "not_listed"
    assert ask(world, world.folder_of() / "alf")["verdict"] == "inside_session"


def test_win_04_inside_a_session_that_no_scan_has_found(world: World) -> None:
    world.write("alf/new.npy")
    found = ask(world, world.folder_of() / "alf/new.npy")
    assert (found["verdict"], found["code"]) == ("inside_session", "not_seen_yet")


def test_win_04_outside_roots_names_the_roots(world: World) -> None:
    found = ask(world, "/somewhere/else/")
    assert (found["verdict"], found["path"], found["root"]) == ("outside_roots", "/somewhere/else", None)
    assert str(world.root) in facts(found)


@pytest.mark.parametrize("path", ["KS005/2019-04-09/001", "KS005/2023-02-29/001", "KS005", f"{SESSION}/alf/none"])
def test_what_does_not_exist_is_no_verdict(world: World, path: str) -> None:
    world.complete("KS006/2019-04-02/001")
    world.found(SESSION) if path.startswith(SESSION) else None
    with pytest.raises(LabferryError) as caught:
        ask(world, world.root / path)
    assert caught.value.code == "no_such_path"
    assert str(world.root) in caught.value.hint


# --- how it is asked ----------------------------------------------------------------------------------------


def test_explain_takes_a_path_in_any_spelling(world: World) -> None:
    world.complete()
    folder = world.folder_of()
    for text in (
        SESSION,
        f"{folder}/",
        f"{folder}/alf/..",
        f"{folder.parent}/./001",
        "KS005/2019-04-02/1",
        f"/{folder}",
    ):
        assert ask(world, text)["path"] == str(folder), text


def test_explain_takes_an_eid(world: World) -> None:
    world.archived()
    assert ask(world, EID)["path"] == str(world.folder_of())


def test_explain_finds_the_root_behind_a_link(world: World) -> None:
    world.complete()
    (world.folder / "way").symlink_to(world.root)
    assert ask(world, world.folder / "way" / SESSION)["path"] == str(world.folder_of())


def test_explain_takes_names_that_are_not_utf8_as_they_are_and_as_they_are_shown(world: World) -> None:
    world.found()
    name = b"caf\xe9.txt"
    with open(os.path.join(os.fsencode(world.folder_of()), name), "wb"):
        pass
    world.journal.files.list_files(1, 0, [(FileVersion(name, 1, 1, 1), REJECTED)])
    for text in (f"{world.folder_of()}/{os.fsdecode(name)}", f"{world.folder_of()}/caf\\xe9.txt"):
        found = explain(world.context, world.live, text)
        assert found["code"] == "not_utf8"
        assert found["path"].endswith("caf\\xe9.txt")
        assert "path_b64" in found


def test_explain_works_in_the_state_of_a_full_disk(world: World) -> None:
    world.complete()
    world.journal._db.problem = "The journal cannot be written: disk full"
    assert ask(world)["code"] == "journal_full"


@pytest.mark.parametrize("history", list(History))
def test_win_04_adopted_and_backlog_and_ignored_rule_of_what_was_there_before(world: World, history: History) -> None:
    world.old(history=history)
    found = ask(world)
    verdicts = {History.ADOPTED: "adopted", History.IGNORED: "ignored_rule"}
    assert (found["verdict"], found["attention"]) == (verdicts.get(history, "backlog"), False)
