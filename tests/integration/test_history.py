"""Sessions that were there before labferry: adopted, released, never read and never overwritten (rulings 2 and 23)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import product
from pathlib import Path

import pytest

from labferry.detect.cadence import HOUR
from labferry.engine.detection import attendance
from labferry.engine.history import lane
from labferry.engine.history.releasing import chosen, release
from labferry.engine.reports.backlog import backlog
from labferry.engine.reports.health import Severity
from labferry.engine.reports.status import current_conditions
from labferry.engine.reports.verify import verify
from labferry.errors import UnavailableError
from labferry.model import JobState, SessionState
from support.past import DATASETS, FILES, FLAG, FOREIGN, MONTH, SESSION, Past, md5_of

SECOND = "KS005/2026-03-02/002"
OTHER = "ZM_1150/2026-03-02/001"
LATE = "alf/_ibl_wheel.timestamps.npy"
SETTINGS = {
    "raw_behavior_data/_iblrig_taskSettings.raw.json": json.dumps(
        {
            "SUBJECT_NAME": "KS005",
            "SESSION_DATE": "2026-03-02",
            "SESSION_DATETIME": "2026-03-02T09:30:00",
            "SESSION_NUMBER": "001",
            "SUBJECT_WEIGHT": 21.5,
            "PYBPOD_PROTOCOL": "_iblrig_tasks_trainingChoiceWorld6.4.2",
            "IBLRIG_VERSION_TAG": "6.4.2",
        }
    ).encode(),
    "raw_behavior_data/_iblrig_taskData.raw.jsonable": b'{"water_delivered": 3.0}\n',
}


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    past = Past(tmp_path)
    yield past
    past.close()


def hashes(past: Past, session: str = SESSION) -> dict[str, str | None]:
    """Return what the journal believes the MD5 of each file to be."""
    return {os.fsdecode(file.path): file.md5 for file in past.journal.files.of_session(past.row(session).id)}


def datasets(past: Past, eid: str) -> dict[str, str | None]:
    """Return the names and hashes of a session's datasets in Alyx."""
    rows = past.alyx("GET", f"/datasets?session={eid}")["results"]
    return {"/".join(filter(None, (row["collection"], row["name"]))): row["hash"] for row in rows}


def posted(past: Past) -> list[str]:
    """Return the files that were registered since the root was met."""
    return [name for one in past.requests("POST", "/register-file") for name in one["body"]["filenames"]]


# --- what is adopted ------------------------------------------------------------------------------------------


def test_ruling_02_known_sessions_are_adopted_and_no_file_is_read(past: Past) -> None:
    past.write()
    eid = past.register()
    past.adopt()
    assert past.standing() == ("adopted", "")
    assert hashes(past) == {**dict.fromkeys(DATASETS, FOREIGN), "notes.txt": None}, "Alyx' word, not the files'"
    assert past.row().eid == eid
    assert past.changes() == []
    assert past.journal.jobs.of_session(past.row().id) == []
    assert past.journal.sessions.counts() == ({"adopted": 1}, 0)
    assert past.show()["files"] == {
        "total": 4,
        "datasets": 3,
        "bytes": sum(map(len, FILES.values())),
        "registered": 3,
        "archived": 0,
        "unmatched": 1,
        "unmatched_bytes": len(FILES["notes.txt"]),
        "rejected": 0,
        "changed": 0,
        "removed": 0,
        "never_archived": 0,
    }
    repositories = {"cortexlab_SR", "flatiron_cortexlab"}
    found = {name: past.journal.backlog.existing_at(past.row().id, name) for name in repositories}
    assert {name: len(files) for name, files in found.items()} == dict.fromkeys(repositories, 3)


def test_ruling_02_alyx_is_asked_once_for_each_session_and_never_again(past: Past) -> None:
    sessions = [f"{subject}/2026-03-0{day}/001" for subject in ("KS005", "ZM_1150") for day in (2, 3, 4)]
    for session in sessions:
        past.write(session)
        past.register(session)
    past.adopt()
    assert len(past.requests("GET", "/datasets?")) == len(sessions)
    assert len(past.requests("GET", "/sessions")) == 2, "one for each subject"
    asked = len(past.requests())
    past.clock.pass_by(MONTH)
    past.work()
    past.ask()
    past.end()
    past.open()
    past.detect.first_scan()
    past.work()
    past.ask()
    assert len(past.requests()) == asked
    assert past.journal.sessions.unsettled("rig") == [], "nor does a scan look into them"
    assert past.journal.sessions.counts() == ({"adopted": 6}, 0)


@pytest.mark.parametrize(
    ("known", "sizes", "why"),
    [
        (DATASETS[:1], {}, "2 files not in Alyx (alf/_ibl_trials.intervals.npy, raw_video_data/"),
        (DATASETS, {DATASETS[0]: 1000}, "1 file of another, or of unknown, size there (alf/_ibl_wheel.position.npy)"),
        (DATASETS, {DATASETS[0]: None}, "1 file of another, or of unknown, size there (alf/_ibl_wheel.position.npy)"),
    ],
    ids=["unknown", "size", "no size"],
)
def test_ruling_02_what_differs_is_backlog(
    past: Past, known: tuple[str, ...], sizes: dict[str, int | None], why: str
) -> None:
    past.write()
    past.register(names=known, sizes=sizes)
    past.adopt()
    assert past.standing() == ("backlog", "history_differs")
    assert past.row().history_why.startswith(why)
    assert past.changes() == []
    assert past.journal.sessions.counts() == ({"backlog": 1}, 0), "no alert"


def test_ruling_02_a_session_that_alyx_does_not_have_is_backlog(past: Past) -> None:
    past.write()
    past.write("NEW_001/2026-03-02/001")  # nor the subject
    past.adopt()
    assert past.standing() == ("backlog", "history_unknown")
    assert past.standing("NEW_001/2026-03-02/001") == ("backlog", "history_unknown")
    assert past.explain()["attention"] is False
    assert past.changes() == []


def test_ruling_02_what_is_known_to_alyx_and_not_archived_is_adopted_and_said(past: Past) -> None:
    past.write()
    past.register(archived=False)
    past.adopt()
    assert past.standing() == ("adopted", "history_unarchived")
    found = past.explain()
    assert (found["verdict"], found["code"]) == ("adopted", "history_unarchived")
    assert "3 of them not in archive server" in found["message"]
    assert "labferry backlog release" in found["hint"]


@pytest.mark.parametrize("md5", [FOREIGN, None])
def test_what_was_taken_over_can_be_verified(past: Past, md5: str | None) -> None:
    past.write()
    eid = past.register(md5=md5)
    past.adopt()
    assert verify(past.context, past.row())["verdict"] == "ok"
    (row, *_) = past.alyx("GET", f"/datasets?session={eid}")["results"]
    past.alyx("PATCH", f"/datasets/{row['url'][-36:]}", {"hash": "e" * 32})
    found = verify(past.context, past.row())
    assert (found["verdict"], found["alyx"]["differing"]) == ("differs", 1)


def test_ruling_02_two_sessions_of_one_name_in_alyx_are_backlog(past: Past) -> None:
    past.write()
    past.register()
    past.alyx("POST", "/sessions", {"subject": "KS005", "number": 1, "start_time": "2026-03-02T10:00:00"})
    past.adopt()
    assert past.standing() == ("backlog", "duplicate_session")


def test_ruling_02_what_cannot_be_listed_is_not_taken_for_known(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = past.write()
    past.register()
    really = os.scandir

    def scandir(path: bytes) -> object:
        if os.fsdecode(path).rstrip("/") == str(folder / "alf"):
            raise PermissionError(13, "Permission denied")
        return really(path)

    monkeypatch.setattr(os, "scandir", scandir)
    past.adopt()
    assert past.standing() == ("backlog", "history_differs")
    assert "1 file that cannot be read (alf)" in past.row().history_why


def test_ruling_03_a_second_folder_of_the_same_session_is_not_adopted(past: Past) -> None:
    past.write()
    past.write("KS005/2026-03-02/1")
    past.register()
    past.adopt()
    standings = sorted([past.standing(), past.standing("KS005/2026-03-02/1")])
    assert standings == [("adopted", ""), ("backlog", "same_session_elsewhere")]


def test_ruling_03_a_live_folder_of_an_adopted_session_is_blocked(past: Past) -> None:
    past.write()
    past.register()
    past.adopt()
    session = past.journal.sessions.add(
        "rig", b"KS005/2026-03-02/1", layout="ibl", subject="KS005", date="2026-03-02", number=1, lab=None
    )
    past.journal.sessions.complete(session, b"signature", register=True, targets=[])
    (job,) = past.journal.jobs.of_session(session)
    assert (job.state, job.code) == (JobState.BLOCKED, "same_session_elsewhere")


# --- what is history ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "day"),
    [(0.0, "2026-03-02"), (6 * 86_400.0, "2026-03-02"), (MONTH, "2099-01-01")],
    ids=["a young folder", "not old enough", "a young day"],
)
def test_ruling_02_a_session_that_is_young_in_any_way_is_live(tmp_path: Path, ahead: float, day: str) -> None:
    past = Past(tmp_path, ahead)
    try:
        session = f"KS005/{day}/001"
        past.write(session, flag=True)
        past.adopt()
        assert past.standing(session) == ("settling", "")
        past.work()
        assert past.row(session).state is SessionState.ARCHIVED
        assert past.row(session).seen_complete
    finally:
        past.close()


def test_ruling_02_history_age_is_configured(tmp_path: Path) -> None:
    past = Past(tmp_path, 6 * 86_400.0, LABFERRY_DETECTION__HISTORY_AGE="5d")
    try:
        past.write()
        past.register()
        past.adopt()
        assert past.standing() == ("adopted", "")
    finally:
        past.close()


@pytest.mark.parametrize(
    ("mode", "standing"), [("ignore", ("ignored", "history_ignored")), ("process", ("settling", ""))]
)
def test_ruling_02_history_may_be_ignored_or_processed(tmp_path: Path, mode: str, standing: tuple[str, str]) -> None:
    past = Past(tmp_path, LABFERRY_DETECTION__HISTORY=mode)
    try:
        past.write()
        past.register()
        past.adopt()
        assert past.standing() == standing
        assert past.requests() == [], "Alyx has no say in it"
        assert past.explain()["verdict"] == ("ignored_rule" if mode == "ignore" else "settling")
    finally:
        past.close()


def test_ruling_02_a_session_with_a_signal_is_live_whatever_its_age(past: Past) -> None:
    past.write(flag=True)
    past.write(OTHER, flag=True)
    past.register(OTHER, archived=False, md5="")
    past.adopt()
    assert past.standing() == ("settling", "")
    past.work()
    for session in (SESSION, OTHER):
        assert past.row(session).state is SessionState.ARCHIVED
    assert hashes(past)[DATASETS[0]] == md5_of(FILES[DATASETS[0]])


def test_ruling_02_a_signal_that_was_left_behind_does_not_make_anybody_read_ten_years_of_data(past: Past) -> None:
    past.write(flag=True)
    past.register()
    past.adopt()
    assert past.standing() == ("adopted", "")
    past.work()
    assert past.standing() == ("adopted", "")
    assert hashes(past)[DATASETS[0]] == FOREIGN
    assert past.changes() == []


def test_ruling_02_a_first_contact_that_was_cut_short_is_made_good_later(past: Past) -> None:
    past.write()
    past.register()
    away = past.sandbox.places.watch_root.with_name("away")
    past.sandbox.places.watch_root.rename(away)  # the disk is not mounted yet
    past.meet()
    past.clock.pass_by(MONTH)
    past.end()
    past.open()
    away.rename(past.sandbox.places.watch_root)
    past.adopt()
    assert past.standing() == ("adopted", "")


def test_ruling_02_what_comes_after_the_first_contact_is_live(tmp_path: Path) -> None:
    past = Past(tmp_path, ahead=0.0)
    try:
        past.adopt()
        past.write()
        past.clock.pass_by(MONTH)  # the daemon did not run for a while
        past.end()
        past.open()
        past.adopt()
        assert past.standing() == ("settling", "")
    finally:
        past.close()


# --- asking ---------------------------------------------------------------------------------------------------


def test_ruling_02_an_outage_is_waited_for_and_loses_nothing(past: Past) -> None:
    past.write()
    past.register()
    rule = past.sandbox.faults.add({"match": "GET /datasets", "action": "status", "status": 503, "times": 100})
    past.meet()
    while past.history.turn() == 0.0:
        pass
    assert past.standing() == ("backlog", "")
    assert past.explain()["next"] == {"what": "Alyx is asked in its turn", "at": None}
    (alyx,) = [one for one in past.context.dependencies.snapshot() if one.name == "alyx"]
    assert (alyx.state, alyx.code) == ("down", "alyx_down")
    past.sandbox.faults.remove(rule.id)
    past.clock.pass_by(600)
    past.ask()
    assert past.standing() == ("adopted", "")


def test_ruling_02_live_work_has_the_way(past: Past) -> None:
    past.write()
    past.register()
    past.meet()
    session = past.journal.sessions.add(
        "rig", SECOND.encode(), layout="ibl", subject="KS005", date="2026-03-02", number=2, lab=None
    )
    past.journal.sessions.complete(session, b"signature", register=True, targets=[])
    assert past.history.turn() > 0
    assert past.requests() == []
    past.journal.jobs.cancel(past.journal.jobs.of_session(session)[0].id, "enough")
    past.ask()
    assert past.standing() == ("adopted", "")


def test_ruling_02_the_rate_is_limited(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = [f"KS005/2026-03-02/{number:03d}" for number in range(1, 21)]
    for session in sessions:
        past.write(session, {})
        past.register(session, ())
    monkeypatch.setattr(past.history._allowance, "_at_once", 5.0)
    past.meet()
    began = past.clock.mono
    past.ask()
    assert past.journal.sessions.counts() == ({"adopted": 20}, 0)
    asked = len(past.requests("GET", "/sessions")) + len(past.requests("GET", "/datasets?"))
    assert asked == 21
    assert (asked - 6) / 2.0 <= past.clock.mono - began <= asked / 2.0, "five at once, then two in a second"


def test_a_session_that_cannot_be_understood_does_not_stop_the_others(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    past.write()
    past.write(OTHER)
    past.register(OTHER)
    known = past.history._asking._known

    def broken(session: object) -> object:
        if session == past.row():
            raise ZeroDivisionError("made up")
        return known(session)  # type: ignore[arg-type]

    monkeypatch.setattr(past.history._asking, "_known", broken)
    past.adopt()
    assert past.standing() == ("backlog", "crash")
    assert "ZeroDivisionError: made up" in past.row().history_why
    assert past.standing(OTHER) == ("adopted", "")


def test_a_folder_that_is_away_is_asked_about_when_it_is_back(past: Past) -> None:
    folder = past.write()
    past.register()
    past.meet()
    folder.rename(folder.with_name("away"))
    past.ask()
    assert past.standing() == ("backlog", "")
    folder.with_name("away").rename(folder)
    past.clock.pass_by(600)
    past.ask()
    assert past.standing() == ("adopted", "")


def test_an_adopted_session_that_is_moved_away_is_no_loss(past: Past) -> None:
    for session in (SESSION, OTHER):
        past.write(session)
    past.register()
    past.adopt()
    for session in (SESSION, OTHER):
        past.journal.sessions.vanished(past.row(session).id)
    assert past.standing() == ("adopted", "")
    assert past.standing(OTHER) == ("vanished", "history_unknown")
    assert past.explain()["attention"] is False


def test_a_held_session_is_not_asked_about(past: Past) -> None:
    past.write()
    past.meet()
    past.journal.sessions.hold(past.row().id)
    past.ask()
    assert past.requests() == []
    assert past.row().state is SessionState.HELD
    past.journal.sessions.release(past.row().id)
    past.ask()
    assert past.standing() == ("backlog", "history_unknown")


def test_ruling_02_a_root_without_registration_is_not_copied_because_it_is_met(tmp_path: Path) -> None:
    root = {"name": "rig", "path": str(tmp_path / "Subjects"), "register": False, "archive": ["server"]}
    environ = {
        "LABFERRY_ROOTS": json.dumps([root, {**root, "name": "other", "path": "/nowhere", "register": True}]),
        "LABFERRY_ARCHIVE__SERVER__NAMING": "plain",
        "LABFERRY_ARCHIVE__SERVER__REPOSITORY": "",
        "LABFERRY_ARCHIVE__SERVER__PATH": str(tmp_path / "archive" / "all"),
    }
    (tmp_path / "archive" / "all").mkdir(parents=True)
    past = Past(tmp_path, **environ)
    try:
        past.write()
        past.register()
        past.adopt()
        past.work()
        assert past.standing() == ("backlog", "history_unregistered")
        assert past.retry()["asked"] == 0
        past.end()
        past.environ = {}
        past.open()
        past.adopt()
        assert past.standing()[0] == "adopted", "now somebody can be asked"
    finally:
        past.close()


# --- what becomes of it ---------------------------------------------------------------------------------------


def test_ruling_02_a_released_session_is_an_ordinary_one(past: Past) -> None:
    past.write()
    past.adopt()
    past.work()
    assert past.standing() == ("backlog", "history_unknown")
    release(past.context, [past.row()])
    assert past.standing() == ("settling", "")
    past.work()
    assert past.row().state is SessionState.ARCHIVED
    assert sorted(posted(past)) == sorted(DATASETS)
    assert hashes(past)[DATASETS[0]] == md5_of(FILES[DATASETS[0]])


def test_ruling_02_the_backlog_is_released_in_portions_the_newest_first(past: Past) -> None:
    days = ["2026-03-02", "2026-03-05", "2026-03-04", "2026-03-03"]
    for day in days:
        past.write(f"KS005/{day}/001")
    past.write("ZM_1150/2026-03-09/001")
    past.adopt()
    listed = [one["date"] for one in backlog(past.context, subject="KS005", limit=3)["sessions"]]
    assert listed == ["2026-03-05", "2026-03-04", "2026-03-03"]
    assert release(past.context, chosen(past.context, subject="KS005", limit=3)) == {"sessions": 3, "left": 2}
    assert past.standing("KS005/2026-03-02/001") == ("backlog", "history_unknown")
    assert past.standing("KS005/2026-03-03/001") == ("settling", "")
    assert backlog(past.context)["counts"] == {"unasked": 0, "adopted": 0, "backlog": 2, "ignored": 0}


def test_ruling_01_of_an_adopted_session_only_what_was_added_is_registered_and_archived(past: Past) -> None:
    folder = past.write()
    eid = past.register()
    past.adopt()
    (folder / LATE).write_bytes(b"late")
    assert past.retry()["asked"] == 1
    past.ask()
    assert past.standing() == ("backlog", "history_differs")
    assert past.row().history_why == f"1 file not in Alyx ({LATE})"
    release(past.context, [past.row()])
    past.work()
    assert (past.row().state, past.row().generation) == (SessionState.ARCHIVED, 1)
    assert posted(past) == [LATE]
    assert datasets(past, eid) == {**dict.fromkeys(DATASETS, FOREIGN), LATE: md5_of(b"late")}
    assert hashes(past)[DATASETS[0]] == FOREIGN, "not read now either"
    archived = [path.name for path in past.sandbox.places.archive.rglob("*") if path.is_file()]
    assert len(archived) == 1
    assert archived[0].startswith("_ibl_wheel.timestamps.")
    exists = [
        record["exists"]
        for row in past.alyx("GET", f"/datasets?session={eid}")["results"]
        for record in row["file_records"]
    ]
    assert exists == [True] * 2 * 4, "nothing was un-published"


def test_ruling_02_what_alyx_has_and_the_archive_has_not_is_archived_after_release(past: Past) -> None:
    past.write()
    past.register(archived=False, md5=None)
    past.adopt()
    assert past.standing() == ("adopted", "history_unarchived")
    release(past.context, [past.row()])
    past.work()
    assert past.row().state is SessionState.ARCHIVED
    archived = [path for path in past.sandbox.places.archive.rglob("*") if path.is_file()]
    assert len(archived) == len(DATASETS)


def test_ruling_10_a_release_never_overwrites_what_alyx_has(past: Past) -> None:
    past.write()
    eid = past.register(sizes={DATASETS[0]: 1000})
    (past.sandbox.places.watch_root / SESSION / LATE).write_bytes(b"late")
    past.adopt()
    release(past.context, [past.row()])
    past.work()
    (job,) = past.journal.jobs.of_session(past.row().id)
    assert (job.state, job.code) == (JobState.BLOCKED, "hash_conflict")
    assert DATASETS[0] in job.reason
    assert posted(past) == [LATE], "the rest proceeds"
    assert datasets(past, eid)[DATASETS[0]] == FOREIGN


@pytest.mark.parametrize("changed", [False, True])
def test_ruling_10_published_data_without_a_hash_is_not_un_published(past: Past, changed: bool) -> None:
    folder = past.write()
    eid = past.register(md5=None)
    past.adopt()
    assert past.standing() == ("adopted", "")
    (folder / LATE).write_bytes(b"late")
    if changed:
        (folder / DATASETS[0]).write_bytes(b"Positions")
    release(past.context, [past.row()])
    past.work()
    assert posted(past) == [LATE]
    rows = past.alyx("GET", f"/datasets?session={eid}")["results"]
    old = [record for row in rows if row["name"] != LATE.rpartition("/")[2] for record in row["file_records"]]
    assert all(record["exists"] for record in old)
    codes = [job.code for job in past.journal.jobs.of_session(past.row().id) if job.state is JobState.BLOCKED]
    assert codes == (["hash_conflict"] if changed else [])


def test_ruling_10_what_is_not_in_alyx_any_more_as_it_was_taken_over_is_read_after_all(past: Past) -> None:
    past.write()
    eid = past.register()
    past.adopt()
    rows = {row["name"]: row for row in past.alyx("GET", f"/datasets?session={eid}")["results"]}
    past.context.alyx.delete(f"/datasets/{rows['_ibl_wheel.position.npy']['url'][-36:]}")
    release(past.context, [past.row()])
    past.work()
    past.work()
    assert posted(past) == [DATASETS[0]]
    assert datasets(past, eid)[DATASETS[0]] == md5_of(FILES[DATASETS[0]]), "never a hash that nobody computed here"
    (job,) = [job for job in past.journal.jobs.of_session(past.row().id) if job.state is JobState.BLOCKED]
    assert job.code == "hash_conflict", "the others turned out to be something else than Alyx says"


# --- a lost journal -------------------------------------------------------------------------------------------


def test_ruling_23_after_a_lost_journal_everything_is_adopted_again(past: Past) -> None:
    past.environ = {"LABFERRY_DETECTION__HISTORY": "process"}
    past.end()
    past.open()
    past.write(files={**FILES, **SETTINGS}, flag=True)
    past.meet()
    past.work()
    assert past.row().state is SessionState.ARCHIVED
    weighings = len(past.alyx("GET", "/weighings?nickname=KS005")["results"])
    assert weighings == 1
    past.environ = {}
    past.lose_the_journal()
    past.adopt()
    assert past.standing() == ("adopted", "")
    past.work()
    assert past.changes() == []
    assert past.journal.jobs.unfinished() == []


def test_ruling_23_with_a_damaged_journal_and_no_backup_nothing_is_read_or_sent(past: Past) -> None:
    sessions = [f"{subject}/2026-03-{day:02}/001" for subject in ("KS005", "ZM_1150") for day in range(2, 22)]
    for session in sessions:
        past.write(session)
        past.register(session)
    past.adopt()
    assert past.journal.sessions.counts() == ({"adopted": len(sessions)}, 0)
    past.end()
    (Path(past.context.config.state_dir) / "journal.sqlite").write_bytes(b"no journal any more" * 1000)
    past.open()
    past.adopt()
    for _ in range(3):
        past.work()
        past.clock.pass_by(86_400)
    assert past.journal.sessions.counts() == ({"adopted": len(sessions)}, 0)
    assert past.changes() == []
    assert past.journal.jobs.unfinished() == []
    read = [file for session in sessions for file in hashes(past, session).values() if file not in {FOREIGN, None}]
    assert read == [], "every hash is Alyx' word"
    told = {one.code for one in current_conditions(past.context, past.live) if one.severity is not Severity.INFO}
    assert told - {"lane_silent"} == {"journal_replaced"}, "and that is said; lanes have no threads here"


def test_ruling_23_no_weighing_and_no_water_for_a_session_that_was_not_seen_complete(past: Past) -> None:
    past.write(files={**FILES, **SETTINGS})
    past.adopt()
    release(past.context, [past.row()])
    past.work()
    assert past.row().state is SessionState.ARCHIVED
    assert past.requests("POST", "/weighings") == []
    assert past.requests("POST", "/water-administrations") == []
    remarks = dict(past.journal.sessions.remarks(past.row().id))
    assert "older than labferry's journal" in remarks["weight_skipped"]


def test_ruling_02_a_signal_in_a_session_of_the_backlog_is_noticed_and_makes_it_live(past: Past) -> None:
    folder = past.write(SESSION)
    past.adopt()
    assert past.standing()[0] == "backlog"
    (folder / FLAG).touch()
    past.clock.pass_by(3601)
    past.look()
    assert past.row().signal == FLAG
    (folder / FLAG).unlink()
    past.ask()
    assert past.row().history is None, "an ordinary session, though the flag is gone again"


def test_ruling_02_a_signal_in_the_middle_of_the_question_is_not_overlooked(past: Past) -> None:
    folder = past.write(SESSION)
    past.meet()
    asked = past.row()
    finding = past.history._asking(asked, lambda _what, _seconds: None)
    (folder / FLAG).touch()
    past.clock.pass_by(3601)
    past.look()
    past.history._write_down(asked, finding)
    past.ask()
    assert (past.row().signal, past.row().history) == (FLAG, None)


# --- a whole server's past ------------------------------------------------------------------------------------

SUBJECTS = ("KS005", "KS014", "SWC_001", "SWC_002", "SWC_054", "ZFM-01935", "ZFM-02601", "ZM_1150", "ZM_1743", "ZM_001")
TERABYTES = 100_000_000  # bytes of each of 20,000 files, of which none is on the disk
ASKED = 50  # of these Alyx is asked here: it takes all of them one by one


def write_a_servers_past(past: Past) -> list[str]:
    """Write 20,000 sessions of one sparse file each."""
    first, found = date(2015, 1, 1), []
    for subject, day in product(SUBJECTS, range(1000)):
        for number in (1, 2):
            found.append(f"{subject}/{first + timedelta(day)}/{number:03d}")
            folder = os.path.join(past.sandbox.places.watch_root, found[-1], "alf")
            os.makedirs(folder)
            with open(os.path.join(folder, "_ibl_wheel.position.npy"), "wb") as stream:
                stream.truncate(TERABYTES)
    return found


@pytest.mark.slow
def test_ruling_02_ruling_23_twenty_thousand_old_sessions_are_no_work_at_first_sight_nor_without_a_journal(
    past: Past,
) -> None:
    sessions = write_a_servers_past(past)
    for first_sight in (True, False):
        if not first_sight:
            past.lose_the_journal()
        past.meet()
        for _ in range(ASKED):
            past.clock.pass_by(past.history.turn())
        past.clock.pass_by(2 * HOUR)
        past.look()
        past.turn_once()
        asked = past.journal.backlog.unasked_count()
        assert (len(sessions), asked) == (20_000, 20_000 - ASKED)
        assert past.journal.sessions.counts() == ({"backlog": 20_000}, 0)
        assert past.journal.jobs.unfinished() == []
        assert past.changes() == []
        assert 0 < len(past.requests()) <= ASKED + len(SUBJECTS)
        assert past.journal._db.read("SELECT count(md5) FROM file")[0][0] == 0
        told = {one.code for one in current_conditions(past.context, past.live) if one.severity is not Severity.INFO}
        assert told - {"lane_silent"} == set(), "lanes have no threads here"


def test_ruling_02_signals_in_old_sessions_are_looked_for_by_every_scan_a_few_at_a_time(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attendance, "IN_TURN", 2)
    sessions = [f"KS005/2026-03-{day:02}/001" for day in range(2, 7)]
    folders = [past.write(session) for session in sessions]
    past.adopt()
    for session, folder in zip(sessions, folders, strict=True):
        (folder / FLAG).touch()
        for _ in range(4):  # three portions, and the end of the round
            past.clock.pass_by(past.context.config.detection.scan_every)
            past.look()
        assert past.row(session).signal == FLAG


def test_ruling_02_a_rescan_looks_for_signals_in_all_old_sessions_whosever_turn_it_is(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attendance, "IN_TURN", 1)
    folders = {session: past.write(session) for session in (SESSION, SECOND, OTHER)}
    past.adopt()
    past.clock.pass_by(past.context.config.detection.scan_every)
    past.look()
    first = min(folders, key=lambda session: past.row(session).id)  # it had its turn a moment ago
    (folders[first] / FLAG).touch()
    past.detect.rescan()
    past.look()
    assert past.row(first).signal == FLAG


def test_ruling_04_a_hint_of_a_signal_in_an_old_session_is_dealt_with_at_once(past: Past) -> None:
    folder = past.write(SESSION)
    past.adopt()
    past.detect._hints.watch([os.fsencode(folder)])
    (folder / FLAG).touch()
    (folder / FLAG).unlink()
    past.look()
    assert (past.row().signal, past.standing()) == (FLAG, ("backlog", "")), "Alyx is asked again"
    past.ask()
    assert past.row().history is None


def test_ruling_04_a_signal_in_an_old_session_does_not_wait_until_alyx_was_asked_about_all_others(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "IN_A_ROW", 2)
    sessions = [f"KS005/2026-03-{day:02}/001" for day in range(2, 10)]
    *_, last = [past.write(session) for session in sessions]
    past.meet()
    past.history.turn()
    (last / FLAG).touch()
    past.detect.rescan()
    past.look()
    for _ in range(2):
        past.history.turn()
    assert past.row(sessions[-1]).history is None
    assert [past.standing(session) for session in sessions[2:-1]] == [("backlog", "")] * 5, "these wait for their turn"


def test_ruling_04_a_hint_of_a_signal_while_the_journal_takes_nothing_is_kept(past: Past) -> None:
    folder = past.write(SESSION)
    past.adopt()
    past.detect._hints.watch([os.fsencode(folder)])
    (folder / FLAG).touch()
    (folder / FLAG).unlink()
    past.journal._db._writer.execute("PRAGMA query_only = ON")
    with pytest.raises(UnavailableError):
        past.look()
    past.journal._db._writer.execute("PRAGMA query_only = OFF")
    past.look()
    assert past.row().signal == FLAG
