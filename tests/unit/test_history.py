"""History without Alyx: what is met how, how often may be asked, what the journal and its reports say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from labferry.config import Detection
from labferry.control.api import Api
from labferry.control.messages import Reply, Request
from labferry.control.peers import Peer
from labferry.engine import operations
from labferry.engine.history.allowance import AT_ONCE, RATE, Allowance
from labferry.engine.history.meeting import LIVE, Past, past_of
from labferry.engine.reports.explain import explain
from labferry.engine.reports.sessions import show
from labferry.engine.reports.status import status
from labferry.journal.files import KnownRecord
from labferry.model import Decision, FileFate, FileVersion, History, SessionState
from labferry.sessions.session import Session
from support.clock import FakeClock
from support.world import DATASET, EID, REJECTED, SESSION, World

DAY = 86_400.0
FLAG = b"raw_session.flag"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


# --- meeting --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "register", "flag", "expected"),
    [
        ("adopt", True, False, (History.UNASKED, "", False)),
        ("adopt", True, True, (History.UNASKED, "", True)),
        ("adopt", False, False, (History.BACKLOG, "history_unregistered", False)),
        ("adopt", False, True, (None, "", False)),
        ("ignore", True, False, (History.IGNORED, "history_ignored", False)),
        ("ignore", True, True, (None, "", False)),
        ("process", True, False, (None, "", False)),
    ],
)
def test_ruling_02_what_is_to_become_of_an_old_session(
    world: World, mode: str, register: bool, flag: bool, expected: tuple[History | None, str, bool]
) -> None:
    folder = world.write(*([FLAG.decode()] if flag else []))
    met_at = folder.stat().st_ctime + 8 * DAY
    root = world.config.roots[0].model_copy(update={"registers": register})
    session = Session("ibl", SESSION.encode(), "KS005", date(2019, 4, 2), 1)
    settings = Detection.model_validate({"history": mode})
    past = past_of(session, bytes(folder), root, met_at, settings, (FLAG,))
    assert (past.history, past.code, past.signalled) == expected
    assert past_of(session, bytes(folder), root, met_at - 2 * DAY, settings, (FLAG,)) == LIVE


def test_ruling_02_a_folder_that_cannot_be_asked_is_not_history(world: World) -> None:
    session = Session("ibl", SESSION.encode(), "KS005", date(2019, 4, 2), 1)
    past = past_of(session, b"/nowhere/at/all", world.config.roots[0], 4e9, Detection(), (FLAG,))
    assert past == Past()


# --- asking ---------------------------------------------------------------------------------------------------


def test_ruling_02_no_minute_has_more_questions_than_alyx_takes_beside_live_work() -> None:
    clock = FakeClock()
    allowance = Allowance(clock)
    asked: list[float] = []
    while clock.mono < 1000.0 + 600.0:
        if (rest := allowance.wait()) > 0:
            clock.pass_by(rest)
            continue
        allowance.spend()
        asked.append(clock.mono)
    most = max(sum(at <= one < at + 60.0 for one in asked) for at in asked)
    assert most <= AT_ONCE + 60.0 * RATE <= 400, "Alyx takes 550"
    assert len(asked) == pytest.approx(AT_ONCE + 600.0 * RATE, abs=2)


def test_ruling_02_a_question_of_many_pages_is_paid_for_afterwards() -> None:
    clock = FakeClock()
    allowance = Allowance(clock, rate=2.0, at_once=5.0)
    for _ in range(25):
        allowance.spend()
    assert allowance.wait() == pytest.approx(10.5)
    clock.pass_by(10.5)
    assert allowance.wait() == 0.0
    clock.pass_by(3600)
    allowance.wait()
    for _ in range(5):
        assert allowance.wait() == 0.0
        allowance.spend()
    assert allowance.wait() > 0, "time that nobody used is not saved up for ever"


# --- the journal ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "state"),
    [
        (History.UNASKED, SessionState.BACKLOG),
        (History.ADOPTED, SessionState.ADOPTED),
        (History.BACKLOG, SessionState.BACKLOG),
        (History.IGNORED, SessionState.IGNORED),
    ],
)
def test_ruling_22_the_state_of_an_old_session(world: World, history: History, state: SessionState) -> None:
    row = world.old(history=history)
    assert (row.state, row.attention, row.seen_complete) == (state, False, False)
    assert world.journal.sessions.unsettled("s0") == []
    assert world.journal.sessions.stuck(world.clock.now() + DAY, 1, ["s0", "s1"]) == []
    world.journal.sessions.hold(row.id)
    assert world.now(row).state is SessionState.HELD
    world.journal.sessions.release(row.id)
    world.journal.sessions.vanished(row.id)
    left = state in {SessionState.ADOPTED, SessionState.IGNORED}
    assert world.now(row).state is (state if left else SessionState.VANISHED)


def test_ruling_02_files_that_cannot_be_registered_are_no_alert_in_an_old_session(world: World) -> None:
    row = world.old(history=History.ADOPTED)
    world.journal.files.list_files(row.id, 0, [(FileVersion(b"x", 1, 1, 1), REJECTED)])
    assert world.now(row).attention is False
    assert operations.stuck(world.context) == []
    assert world.journal.sessions.counts() == ({"adopted": 1}, 0)


def test_ruling_02_what_is_taken_over_belongs_to_one_version_of_a_file(world: World) -> None:
    row = world.old()
    files, md5 = world.journal.files, "a" * 32
    files.list_files(row.id, 0, [(FileVersion(b"x", 10, 1, 1), DATASET), (FileVersion(b"y", 10, 1, 1), DATASET)])
    for file in files.of_session(row.id):
        records = [KnownRecord(f"record-{file.id}", "server", "x", exists=True)]
        world.journal.backlog.take_over(file.id, f"dataset-{file.id}", md5, records)
    assert [bool(file.taken_over) for file in files.of_session(row.id)] == [True, True]
    files.list_files(row.id, 1, [(FileVersion(b"x", 10, 1, 1), DATASET), (FileVersion(b"y", 10, 2, 2), DATASET)])
    same, changed = files.of_session(row.id)
    assert (bool(same.taken_over), same.md5) == (True, md5)
    assert (bool(changed.taken_over), changed.md5, changed.registered_hash) == (False, None, md5)
    assert world.journal.backlog.existing_at(row.id, "server") == {same.id}
    assert world.journal.backlog.unknown(row.id) == [b"y"]
    files.registered(same.id, "dataset", md5, ())
    assert not files.of_session(row.id)[0].taken_over, "this one we have read and written ourselves"


@pytest.mark.parametrize("remote", ["", "0" * 40, "A" * 32])
def test_a_hash_that_is_no_md5_is_remembered_and_not_used(world: World, remote: str) -> None:
    row = world.old()
    world.journal.files.list_files(row.id, 0, [(FileVersion(b"x", 10, 1, 1), DATASET)])
    (file,) = world.journal.files.of_session(row.id)
    world.journal.backlog.take_over(file.id, "dataset", remote, ())
    (file,) = world.journal.files.of_session(row.id)
    assert (file.md5, file.registered_hash) == (None, remote)
    counts = world.journal.files.summary(row.id)
    assert (counts["registered"], counts["changed"]) == (1, 0)


def test_every_turn_of_an_old_session_is_an_event(world: World) -> None:
    row = world.old(history=History.BACKLOG, code="history_unknown")
    world.journal.backlog.release(row.id)
    events = [(e.action, e.from_state, e.to_state, e.code) for e in world.journal.history(row.id)]
    assert events == [
        ("found", None, "unasked", ""),
        ("history", "unasked", "backlog", "history_unknown"),
        ("history", "backlog", "settling", ""),
        ("signal", None, None, "backlog release"),
    ]


def test_what_was_released_in_the_middle_of_the_question_is_not_judged(world: World) -> None:
    row = world.old()
    world.journal.files.list_files(row.id, 0, [(FileVersion(b"x", 10, 1, 1), DATASET)])
    (file,) = world.journal.files.of_session(row.id)
    world.journal.backlog.release(row.id)
    world.journal.backlog.take_over(file.id, "dataset", "a" * 32, ())
    world.journal.backlog.judge(row.id, History.ADOPTED, "", "too late")
    assert world.journal.files.of_session(row.id) == [file]
    assert world.now(row).state is SessionState.SETTLING


def test_ruling_02_a_session_that_was_live_after_all_is_read(world: World) -> None:
    row = world.old()
    world.journal.files.list_files(row.id, 0, [(FileVersion(b"x", 10, 1, 1), DATASET)])
    (file,) = world.journal.files.of_session(row.id)
    world.journal.backlog.take_over(file.id, "dataset", "a" * 32, ())
    assert world.journal.backlog.was_live(row.id)
    (file,) = world.journal.files.of_session(row.id)
    assert (file.md5, file.registered_hash, world.now(row).seen_complete) == (None, None, True)


# --- reports --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("history", "code", "verdict"),
    [
        (History.ADOPTED, "", "adopted"),
        (History.ADOPTED, "history_unarchived", "adopted"),
        (History.BACKLOG, "history_unknown", "backlog"),
        (History.BACKLOG, "history_differs", "backlog"),
        (History.IGNORED, "history_ignored", "ignored_rule"),
    ],
)
def test_ruling_26_old_sessions_have_verdicts_of_their_own(
    world: World, history: History, code: str, verdict: str
) -> None:
    world.old(history=history, code=code, why="as Alyx says")
    found = explain(world.context, world.live, SESSION)
    assert (found["verdict"], found["code"], found["attention"]) == (verdict, code, False)
    assert "as Alyx says" in found["message"]
    assert ("labferry backlog" in found["hint"]) == bool(code)


def test_ruling_26_an_ordinary_session_is_never_adopted_or_backlog(world: World) -> None:
    world.found()
    assert explain(world.context, world.live, SESSION)["verdict"] == "settling"
    world.settle(world.now(world.journal.sessions.by_key("KS005", "2019-04-02", 1)[0]))
    assert explain(world.context, world.live, SESSION)["verdict"] == "queued"


def test_ruling_26_a_session_that_is_to_be_asked_about_says_so(world: World) -> None:
    world.old()
    found = explain(world.context, world.live, SESSION)
    assert (found["verdict"], found["next"]["what"]) == ("backlog", "Alyx is asked in its turn")
    assert show(world.context, world.now(world.old("KS006/2019-04-02/001")))["history"]["standing"] == "unasked"


def test_show_says_where_an_old_session_stands(world: World) -> None:
    row = world.old(history=History.ADOPTED, code="history_unarchived", why="3 datasets", eid=EID, lab="cortexlab")
    found = show(world.context, row)
    assert (found["state"], found["eid"], found["lab"], found["attention"]) == ("adopted", EID, "cortexlab", None)
    assert found["history"] == {
        "standing": "adopted",
        "code": "history_unarchived",
        "message": "3 datasets",
        "at": world.time(),
    }
    assert show(world.context, world.found("KS006/2019-04-02/001"))["history"] is None


def test_status_counts_old_sessions_and_open_questions(world: World) -> None:
    world.old()
    for number, history in enumerate((History.ADOPTED, History.BACKLOG, History.IGNORED)):
        world.old(f"KS00{number}/2019-04-02/001", history)
    data = status(world.context, world.live)
    assert {state: count for state, count in data["sessions"].items() if count} == {
        "adopted": 1,
        "backlog": 2,
        "ignored": 1,
    }
    assert (data["history"], data["attention"]) == ({"unasked": 1}, 0)


# --- orders ---------------------------------------------------------------------------------------------------


def order(world: World, path: str, **body: object) -> tuple[int, Any]:
    """Give an order as root does; return the HTTP status, and data or error."""
    reply = Api(world.context, world.live).answer(Request("POST", path, {}, body, Peer(1, 0, 0)))
    assert isinstance(reply, Reply)
    answer = json.loads(reply.body)
    return reply.status, answer["data"] if answer["ok"] else answer["error"]


def test_orders_about_the_backlog(world: World) -> None:
    for number in range(1, 5):
        world.old(f"KS005/2019-04-0{number}/001", History.BACKLOG)
    world.old("KS006/2019-04-01/001", History.BACKLOG)
    assert order(world, "/v1/backlog/release", subject="KS006") == (200, {"sessions": 1, "left": 4})
    assert order(world, "/v1/backlog/ignore", limit=1, root="s0") == (200, {"sessions": 1, "left": 3})
    (ignored,) = world.journal.sessions.by_key("KS005", "2019-04-04", 1)
    assert (ignored.state, ignored.history_code) == (SessionState.IGNORED, "history_ignored")
    assert order(world, "/v1/backlog/ignore") == (200, {"sessions": 3, "left": 0})
    assert order(world, "/v1/backlog/release", session="KS005/2019-04-01/001") == (200, {"sessions": 1, "left": 0})


def test_a_portion_is_a_hundred_unless_another_number_is_given(world: World) -> None:
    for number in range(1, 103):
        world.old(f"KS005/2019-04-01/{number:03d}", History.BACKLOG)
    assert order(world, "/v1/backlog/release") == (200, {"sessions": 100, "left": 2})


@pytest.mark.parametrize(
    ("body", "status_code", "code"),
    [
        ({"root": "nowhere"}, 400, "bad_request"),
        ({"limit": 0}, 400, "bad_request"),
        ({"limit": "all"}, 400, "bad_request"),
        ({"limit": True}, 400, "bad_request"),
        ({"session": SESSION}, 409, "not_history"),
        ({"session": "KS009/2019-04-01/001"}, 404, "no_such_session"),
    ],
)
def test_orders_that_make_no_sense_are_refused(
    world: World, body: dict[str, object], status_code: int, code: str
) -> None:
    world.found()
    answered, error = order(world, "/v1/backlog/release", **body)
    assert (answered, error["code"]) == (status_code, code)


def test_what_was_moved_away_or_is_held_is_not_released_with_the_others(world: World) -> None:
    away, held = world.old(history=History.BACKLOG), world.old("KS006/2019-04-01/001", History.BACKLOG)
    world.journal.sessions.vanished(away.id)
    world.journal.sessions.hold(held.id)
    assert order(world, "/v1/backlog/release") == (200, {"sessions": 0, "left": 2})


def test_retry_asks_again_about_an_old_session(world: World) -> None:
    row = world.old(history=History.IGNORED)
    assert operations.retry(world.context, [row])["asked"] == 1
    assert world.now(row).history is History.UNASKED
    assert operations.retry(world.context, [world.found("KS006/2019-04-02/001")])["asked"] == 0


def test_inside_an_adopted_session_a_file_is_a_registered_dataset(world: World) -> None:
    row = world.old()
    world.write("a.npy")
    listing = [(FileVersion(b"a.npy", 10, 1, 1), Decision(FileFate.DATASET))]
    world.journal.files.list_files(row.id, 0, listing)
    (file,) = world.journal.files.of_session(row.id)
    world.journal.backlog.take_over(file.id, "dataset", "", ())
    world.journal.backlog.judge(row.id, History.ADOPTED, "", "known")
    found = explain(world.context, world.live, f"{SESSION}/a.npy")
    assert (found["verdict"], found["file"]["registered"]) == ("inside_session", True)
    assert "a registered dataset" in found["message"]
