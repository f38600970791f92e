"""An archive that Alyx fills itself: nothing is carried, what Alyx says is waited for and compared (ruling 17)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labferry.alyx.client import AlyxClient
from labferry.engine.observing import LATEST_LOOK, SOONEST_LOOK
from labferry.engine.reports.explain import explain
from labferry.engine.reports.sessions import show
from labferry.engine.reports.status import status
from labferry.journal.rows import SessionRow
from labferry.model import JobState, SessionState, Stage, SystemClock
from labferry.sandbox.seed import plant
from labferry.sandbox.seed import repositories as repositories_of
from support.lab import FAST, Lab, archived_files
from support.stages import StageBench
from support.wait import wait_until

PATH = "KS005/2026-03-02/001"
SERVER, LOCAL = "flatiron_cortexlab", "cortexlab_SR"
OFFSITE = "2f6b0d1e-8c34-4a57-9b02-61d7e5f3a948"  # an endpoint of its own
FIRST, SECOND, THIRD = (  # by path, as a session's files are named
    "alf/_ibl_trials.intervals.npy",
    "alf/_ibl_wheel.position.npy",
    "raw_video_data/_iblrig_leftCamera.timestamps.ssv",
)
STALE = 86400.0  # seconds, `[detection] stale_after`


def observing(folder: Path, *archives: str, **environ: str) -> dict[str, str]:
    """Return the settings of a root that Alyx' own transfer archives, and others where they are named."""
    root = {"name": "rig", "path": str(folder / "Subjects"), "archive": [*archives, "flatiron"]}
    return {"LABFERRY_ARCHIVE__FLATIRON__KIND": "observe", "LABFERRY_ROOTS": json.dumps([root]), **environ}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., StageBench]]:
    made: list[StageBench] = []

    def make(**environ: str) -> StageBench:
        made.append(StageBench(tmp_path, **observing(tmp_path, **environ)))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make: Callable[..., StageBench]) -> StageBench:
    return make()


def registered(bench: StageBench, path: str = PATH) -> SessionRow:
    """Bring a session to where its archive job is due."""
    _, session = bench.write(path)
    bench.run_until(Stage.REGISTER)
    bench.step(Stage.SEAL)
    return session


def look(bench: StageBench) -> Any:
    return bench.step(Stage.ARCHIVE, "flatiron")


def look_when_due(bench: StageBench) -> Any:
    """Let the time pass until the next look, and look."""
    due = bench.journal.jobs.next_due(Stage.ARCHIVE, "flatiron")
    assert due is not None
    bench.clock.pass_by(max(0.0, due - bench.clock.now()))
    return look(bench)


def dataset(bench: StageBench, session: SessionRow, file: str) -> dict[str, Any]:
    collection, _, name = file.rpartition("/")
    (found,) = [d for d in bench.datasets(session) if (d["collection"], d["name"]) == (collection, name)]
    return found


def transferred(bench: StageBench, session: SessionRow, *files: str, repository: str = SERVER) -> None:
    """Say that files are on a server, as Alyx' own transfer does when it has moved them."""
    for file in files:
        for record in dataset(bench, session, file)["file_records"]:
            if record["data_repository"] == repository:
                bench.alyx("PATCH", f"/files/{record['id']}", {"exists": True})


def changed(bench: StageBench, session: SessionRow, file: str, **values: object) -> None:
    """Let somebody else change a dataset in Alyx."""
    bench.alyx("PATCH", f"/datasets/{dataset(bench, session, file)['url'][-36:]}", values)


def now(bench: StageBench, session: SessionRow) -> SessionRow:
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    return row


def conditions(bench: StageBench) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = status(bench.context, bench.live)["health"]
    return found


# --- waiting, and its end ---------------------------------------------------------------------------------


def test_ruling_17_nothing_is_moved_and_alyx_own_transfer_is_waited_for(bench: StageBench) -> None:
    session = registered(bench)
    move = look(bench)
    assert (move.state, move.code) == (JobState.WAITING, "not_observed")
    assert move.reason == f"{FIRST} and 2 more not in {SERVER} yet"
    assert "Alyx" in move.hint
    transferred(bench, session, FIRST, THIRD)
    assert look_when_due(bench).reason == f"{SECOND} not in {SERVER} yet"
    (transfer,) = bench.journal.transfers.of_session(session.id)
    assert (transfer.state, transfer.files_done, transfer.files_total) == ("active", 2, 3)
    assert now(bench, session).state is SessionState.REGISTERED
    transferred(bench, session, SECOND)
    sent = len(bench.requests("POST", "/")), len(bench.requests("PATCH", "/"))
    assert look_when_due(bench).state is JobState.DONE
    assert now(bench, session).state is SessionState.ARCHIVED
    assert sent == (len(bench.requests("POST", "/")), len(bench.requests("PATCH", "/"))), "Alyx is told nothing"
    assert [path for path in bench.sandbox.places.archive.rglob("*") if path.is_file()] == []
    assert bench.requests("GET", "/v0.10") == [], "Globus is asked nothing"


def test_ruling_17_the_evidence_says_where_alyx_has_it(bench: StageBench) -> None:
    session = registered(bench)
    transferred(bench, session, FIRST, SECOND, THIRD)
    assert look(bench).state is JobState.DONE
    (transfer,) = show(bench.context, now(bench, session))["transfers"]
    assert (transfer["state"], transfer["destination"]) == ("verified", "/cortexlab/Subjects")
    assert (transfer["files_done"], transfer["bytes_done"]) == (transfer["files_total"], transfer["bytes_total"])
    file = bench.sandbox.places.watch_root / PATH / FIRST
    told = [fact["what"] for fact in explain(bench.context, bench.live, str(file))["evidence"]]
    name = FIRST.replace(".npy", f".{dataset(bench, session, FIRST)['url'][-36:]}.npy")
    assert f"in archive flatiron, as Alyx says, as /cortexlab/Subjects/{PATH}/{name}" in told


def test_ruling_17_records_of_another_repository_do_not_count(bench: StageBench) -> None:
    session = registered(bench)
    transferred(bench, session, FIRST, SECOND, THIRD, repository=LOCAL)
    assert look(bench).code == "not_observed"


def test_ruling_17_what_was_seen_and_is_gone_again_is_waited_for(bench: StageBench) -> None:
    session = registered(bench)
    transferred(bench, session, FIRST)
    assert look(bench).reason == f"{SECOND} and 1 more not in {SERVER} yet"
    (record,) = [r for r in dataset(bench, session, FIRST)["file_records"] if r["data_repository"] == SERVER]
    bench.alyx("PATCH", f"/files/{record['id']}", {"exists": False})
    transferred(bench, session, SECOND, THIRD)
    assert look_when_due(bench).reason == f"{FIRST} not in {SERVER} yet"


def test_ruling_17_looks_become_rare_the_longer_it_takes(bench: StageBench) -> None:
    registered(bench)
    pauses = []
    while bench.clock.now() < 1_700_000_000.0 + 2 * STALE:
        move = look_when_due(bench)
        assert move.code == "not_observed"
        pauses.append(move.not_before - bench.clock.now())
        assert len(pauses) < 100, "two days of waiting are not hundreds of questions"
    assert pauses[0] == SOONEST_LOOK == 5.0
    assert pauses == sorted(pauses)
    assert pauses[-1] == LATEST_LOOK == 3600.0
    assert bench.job(the_session(bench)).failures == 0


def the_session(bench: StageBench) -> SessionRow:
    row = bench.journal.sessions.at("rig", PATH.encode())
    assert row is not None
    return row


# --- what is not the same ---------------------------------------------------------------------------------


def test_ruling_17_another_size_is_blocked(bench: StageBench) -> None:
    session = registered(bench)
    changed(bench, session, FIRST, file_size=3)
    transferred(bench, session, FIRST, SECOND, THIRD)
    move = look(bench)
    assert (move.state, move.code) == (JobState.BLOCKED, "destination_differs")
    assert all(part in move.reason for part in (FIRST, "9 bytes", "3 in", SERVER))
    assert now(bench, session).state is SessionState.REGISTERED


def test_ruling_17_a_size_that_alyx_was_never_told_is_no_difference(bench: StageBench) -> None:
    session = registered(bench)
    changed(bench, session, FIRST, file_size=None)
    transferred(bench, session, FIRST, SECOND, THIRD)
    assert look(bench).state is JobState.DONE


@pytest.mark.parametrize("there", [True, False], ids=["moved", "not moved yet"])
def test_ruling_17_ruling_10_another_hash_is_a_conflict(bench: StageBench, there: bool) -> None:
    session = registered(bench)
    other = hashlib.md5(b"other").hexdigest()
    changed(bench, session, SECOND, hash=other)
    if there:
        transferred(bench, session, FIRST, SECOND, THIRD)
    else:
        transferred(bench, session, FIRST, THIRD)
    move = look(bench)
    assert (move.state, move.code) == (JobState.BLOCKED, "hash_conflict")
    assert SECOND in move.reason
    assert other in move.reason


# --- which repository -------------------------------------------------------------------------------------


def more(bench: StageBench, *names: str, **changes: object) -> None:
    """Give the lab more server repositories, before the daemon has asked for them."""
    known = repositories_of("/", "http://127.0.0.1")["repositories"]
    (model,) = [repository for repository in known if repository["name"] == SERVER]
    with bench.sandbox._store.database() as db:
        plant(db, {"repositories": [{**model, **changes, "name": name} for name in names]})


def test_ruling_16_each_labs_own_repository_is_looked_at(bench: StageBench) -> None:
    first, second = registered(bench), registered(bench, "ZM_1150/2026-03-02/001")
    assert (now(bench, first).lab, now(bench, second).lab) == ("cortexlab", "mainenlab")
    transferred(bench, second, FIRST, SECOND, THIRD, repository="flatiron_mainenlab")
    moves = [look(bench), look(bench)]
    assert sorted(move.state for move in moves) == [JobState.DONE, JobState.WAITING]
    assert (now(bench, first).state, now(bench, second).state) == (SessionState.REGISTERED, SessionState.ARCHIVED)


def test_ruling_17_of_several_servers_alyx_fills_flatiron(bench: StageBench) -> None:
    more(bench, "aws_cortexlab")
    session = registered(bench)
    transferred(bench, session, FIRST, SECOND, THIRD)
    assert look(bench).state is JobState.DONE


def test_ruling_16_not_exactly_one_repository_is_blocked(bench: StageBench) -> None:
    more(bench, "flatiron_second")
    registered(bench)
    move = look(bench)
    assert (move.state, move.code) == (JobState.BLOCKED, "ambiguous_repository")
    assert all(name in move.reason for name in (SERVER, "flatiron_second"))


def test_ruling_16_a_lab_without_a_server_is_blocked(bench: StageBench) -> None:
    more(bench, SERVER, globus_is_personal=True)
    registered(bench)
    move = look(bench)
    assert (move.state, move.code) == (JobState.BLOCKED, "lab_without_repository")
    assert "cortexlab" in move.reason


def test_ruling_17_a_repository_may_be_named(make: Callable[..., StageBench]) -> None:
    bench = make(LABFERRY_ARCHIVE__FLATIRON__REPOSITORY="offsite")
    more(bench, "offsite", globus_endpoint_id=OFFSITE, globus_path="/offsite/")
    session = registered(bench)
    transferred(bench, session, FIRST, SECOND, THIRD)
    assert look(bench).reason.endswith("not in offsite yet")
    transferred(bench, session, FIRST, SECOND, THIRD, repository="offsite")
    assert look_when_due(bench).state is JobState.DONE
    (transfer,) = bench.journal.transfers.of_session(session.id)
    assert transfer.base == b"/offsite"


def test_ruling_17_another_repository_after_a_reload_is_looked_at_from_the_start(bench: StageBench) -> None:
    more(bench, "offsite", globus_endpoint_id=OFFSITE, globus_path="/offsite/")
    session = registered(bench)
    transferred(bench, session, FIRST, SECOND)
    look(bench)
    bench.environ["LABFERRY_ARCHIVE__FLATIRON__REPOSITORY"] = "offsite"
    bench.journal.close()
    bench.open()
    assert look_when_due(bench).reason == f"{FIRST} and 2 more not in offsite yet"
    (transfer,) = bench.journal.transfers.of_session(session.id)
    assert (transfer.base, transfer.files_done) == (b"/offsite", 0)


# --- when it takes long, or Alyx is away ------------------------------------------------------------------


def test_win_03_ruling_17_an_alyx_that_is_down_costs_no_attempt(bench: StageBench) -> None:
    session = registered(bench)
    look(bench)
    outage = {"match": "GET /datasets", "when": "before", "action": "status", "status": 503, "times": None}
    rule = bench.sandbox.faults.add(outage)
    for _ in range(20):
        move = look_when_due(bench)
        assert (move.state, move.failures) == (JobState.WAITING, 0)
        assert move.code == "alyx_down"
    bench.sandbox.faults.remove(rule.id)
    transferred(bench, session, FIRST, SECOND, THIRD)
    assert look_when_due(bench).state is JobState.DONE


def test_ruling_17_what_takes_too_long_is_a_condition_that_does_not_break_the_promise(bench: StageBench) -> None:
    session = registered(bench)
    look(bench)
    bench.clock.pass_by(STALE - 1)
    look(bench)
    assert conditions(bench) == []
    bench.clock.pass_by(2)
    (late,) = conditions(bench)
    assert (late["code"], late["severity"]) == ("archive_late", "warning")
    assert late["text"].startswith("1 session not in flatiron yet: Alyx moves them")
    assert late["since"] == "2023-11-14T22:13:20.000Z"
    transferred(bench, session, FIRST, SECOND, THIRD)
    assert look_when_due(bench).state is JobState.DONE
    assert conditions(bench) == []


def test_ruling_17_a_late_session_stays_late_while_alyx_is_asked_and_while_it_is_down(bench: StageBench) -> None:
    registered(bench)
    look(bench)
    bench.clock.pass_by(STALE + 1)
    job = bench.journal.jobs.claim(Stage.ARCHIVE, "flatiron")
    assert job is not None
    assert [condition["code"] for condition in conditions(bench)] == ["archive_late"]


# --- what an operator reads -------------------------------------------------------------------------------


def test_ruling_17_a_waiting_session_says_what_it_waits_for(bench: StageBench) -> None:
    session = registered(bench)
    transferred(bench, session, FIRST)
    move = look(bench)
    told = explain(bench.context, bench.live, str(bench.sandbox.places.watch_root / PATH))
    assert (told["verdict"], told["code"]) == ("waiting_dependency", "not_observed")
    assert told["message"] == f"Archiving to flatiron waits: {SECOND} and 1 more not in {SERVER} yet."
    assert "Alyx' own nightly transfer" in told["hint"]
    assert told["next"] == {"what": "the next attempt", "at": "2023-11-14T22:13:25.000Z"}
    assert move.not_before == bench.clock.now() + SOONEST_LOOK
    shown = show(bench.context, now(bench, session))
    assert (shown["state"], shown["attention"]) == ("registered", None)
    assert shown["files"]["archived"] == 1
    job = shown["jobs"][-1]
    assert (job["state"], job["code"], job["reason"]) == ("waiting", "not_observed", move.reason)
    assert [(t["target"], t["files_done"], t["files_total"]) for t in shown["transfers"]] == [("flatiron", 1, 3)]


# --- the whole daemon -------------------------------------------------------------------------------------


def test_ruling_15_ruling_17_ruling_22_a_root_with_three_archives_is_archived_when_all_have_it(tmp_path: Path) -> None:
    nas = tmp_path / "nas"
    nas.mkdir()
    settings = observing(
        tmp_path,
        "server",
        "nas",
        LABFERRY_ARCHIVE__FLATIRON__REPOSITORY="flatiron_offsite",
        LABFERRY_ARCHIVE__NAS__KIND="directory",
        LABFERRY_ARCHIVE__NAS__PATH=str(nas),
        LABFERRY_ARCHIVE__NAS__NAMING="plain",
        LABFERRY_ARCHIVE__NAS__REPOSITORY="",
        LABFERRY_ARCHIVE__NAS__EXCLUDE=json.dumps([f"{THIRD.partition('/')[0]}/*", "*.flag"]),
        LABFERRY_ARCHIVE__SERVER__INCLUDE='["alf/*"]',
        LABFERRY_ARCHIVE__SERVER__EXCLUDE='["*wheel*"]',
        LABFERRY_GLOBUS__POLL_EVERY="0.2",
    )
    with Lab(tmp_path, environment={**FAST, **settings}, archive="globus") as lab:
        offsite = {"name": "flatiron_offsite", "labs": ["cortexlab"], "globus_is_personal": False}
        lab.add_facts(repositories=[{**offsite, "globus_path": "/", "globus_endpoint_id": OFFSITE}])
        lab.start_ready()
        lab.write(PATH, {name: name.encode() for name in (FIRST, SECOND, THIRD)})
        done = wait_until(lambda: targets_done(lab) >= {"server", "nas"} and targets_done(lab), 30, lambda: lab.log)
        told = lab.wait_for_code(lab.root / PATH, "not_observed")
        assert told["message"] == f"Archiving to flatiron waits: {FIRST} and 2 more not in flatiron_offsite yet."
        assert done == {"server", "nas"}
        assert lab.show(PATH)["state"] == "registered", "one of three is not there yet"
        observe_all(lab, "flatiron_offsite")
        lab.wait_for("archived")
        assert sorted(archived_files(lab)) == [f"cortexlab/Subjects/{PATH}/{FIRST}"], "only what is included"
        assert sorted(p.relative_to(nas / PATH).as_posix() for p in nas.rglob("*.*")) == [FIRST, SECOND]
        lab.require_calm()


def targets_done(lab: Lab) -> set[str]:
    shown = lab.ask(f"/v1/session?q={PATH.replace('/', '%2F')}")["data"]
    return {job["target"] for job in (shown or {}).get("jobs", ()) if job["target"] and job["state"] == "done"}


def observe_all(lab: Lab, repository: str) -> None:
    """Do in Alyx what its own transfer does when everything has been moved."""
    alyx = AlyxClient(
        lab.up["alyx_url"],
        username=lab.up["alyx_user"],
        password=lambda: Path(lab.up["password_file"]).read_text().strip(),
        timeout=10.0,
        clock=SystemClock(),
        user_agent="the nightly transfer",
    )
    for found in lab.state()["datasets"]:
        for record in found["file_records"]:
            if record["data_repository"] == repository:
                alyx.patch(f"/files/{record['id']}", {"exists": True})
    alyx.close()
