"""The Globus archive while the world changes under it: operators, sessions, the configuration, a restart."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from labferry.engine.detection.overtaking import TURN, Work, work_on
from labferry.engine.globus.endings import PATIENCE
from labferry.engine.reports.status import current_conditions
from labferry.journal.rows import SessionRow
from labferry.model import JobState, Stage
from labferry.sandbox.seed import LOCAL_ENDPOINT, SERVER_ENDPOINT
from support.globus import DATASETS, PATH, POLL, SECOND, WHEEL, GlobusBench, Make, while_held
from support.stages import FILES

LATE = {"alf/_ibl_wheel.timestamps.npy": b"late"}
NOT_MARKED = {name.rpartition("/")[2]: False for name in DATASETS}
SERVER = 'path = "auto"'


@pytest.fixture
def make(make: Make) -> Iterator[Make]:
    with capture_logs() as logs:
        yield make
    assert [record for record in logs if record["log_level"] in {"error", "critical"}] == []


TASK_BEGUN = {"text": "submission_id", "n": 2}  # the first one is the preflight's


def finish(bench: GlobusBench) -> None:
    """Remove all faults and let everything be done."""
    bench.heal()
    bench.wait_for_end()
    bench.clock.pass_by(bench.context.config.worker.backoff_max)
    bench.rest()


def stalled(bench: GlobusBench, path: str = PATH) -> SessionRow:
    """Return a session whose task has moved nothing yet; `heal` lets it go on."""
    bench.fault(action="task", becomes="STALLED", times=None)
    _, session = bench.submitted(path)
    bench.wait_for_mover()
    return session


def lines(bench: GlobusBench) -> list[set[str]]:
    """Return the destinations of each submission."""
    return [{item["destination_path"] for item in post["body"]["DATA"]} for post in bench.posts()]


def work(bench: GlobusBench, session: SessionRow) -> Work:
    return work_on(bench.journal, session.id, bench.clock.now())


def test_ruling_01_what_waits_for_a_task_may_be_overtaken_and_what_a_task_carries_may_not(bench: GlobusBench) -> None:
    _, session = bench.registered()
    assert work(bench, session) is Work.GOES_ON
    bench.clock.pass_by(TURN)
    assert work(bench, session) is Work.WAITS, "nobody takes it: a login may be needed"
    assert bench.step(Stage.ARCHIVE).code == "in_batch"
    assert work(bench, session) is Work.WAITS
    bench.fault(action="task", becomes="STALLED", times=None)
    bench.work()
    assert bench.archive_job(session).code == "in_flight"
    bench.wait_for_mover()
    bench.clock.pass_by(TURN)
    assert work(bench, session) is Work.GOES_ON, "it would be sent twice"
    finish(bench)
    assert work(bench, session) is Work.NONE
    _, asked = bench.registered(SECOND)
    bench.journal.jobs.ask(bench.archive_job(asked).id, '{"by": "ann", "trust_size": true}')
    bench.clock.pass_by(TURN)
    assert work(bench, asked) is Work.GOES_ON, "an operator's word is for this generation"


# --- operators -----------------------------------------------------------------------------------------------------


def test_a_session_held_in_flight_is_verified_when_it_is_released(bench: GlobusBench) -> None:
    session = stalled(bench)
    bench.journal.sessions.hold(session.id)
    finish(bench)
    assert bench.archive_job(session).state is JobState.WAITING
    assert bench.marked(session) == NOT_MARKED, "nothing more is begun"
    bench.journal.sessions.release(session.id)
    bench.work()
    assert bench.is_archived(session)
    assert len(bench.tasks()) == 1


def test_a_session_held_before_its_task_is_made_is_not_in_it(bench: GlobusBench) -> None:
    _, held = bench.registered(PATH)
    _, other = bench.registered(SECOND)
    with while_held(bench, TASK_BEGUN):
        bench.journal.sessions.hold(held.id)
    finish(bench)
    assert bench.is_archived(other)
    assert [len(post["body"]["DATA"]) for post in bench.posts()] == [len(DATASETS)]
    assert not bench.is_archived(held)
    bench.journal.sessions.release(held.id)
    finish(bench)
    assert bench.is_archived(held)


def test_a_task_is_not_made_for_nothing(bench: GlobusBench) -> None:
    _, session = bench.registered()
    with while_held(bench, TASK_BEGUN):
        assert bench.journal.jobs.cancel(bench.archive_job(session).id, "by a test")
    bench.rest()
    assert bench.posts() == []
    assert bench.ask("SELECT count(*) FROM task") == [(0,)]


def test_a_session_cancelled_in_flight_is_left_alone_until_it_is_retried(bench: GlobusBench) -> None:
    session = stalled(bench)
    assert bench.journal.jobs.cancel(bench.archive_job(session).id, "by a test")
    finish(bench)
    assert bench.archive_job(session).state is JobState.CANCELLED
    assert bench.marked(session) == NOT_MARKED
    assert bench.journal.jobs.revive(bench.archive_job(session).id)
    bench.rest()
    assert bench.is_archived(session)
    assert len(bench.tasks()) == 1


# --- sessions ------------------------------------------------------------------------------------------------------


def test_win_02_a_newer_generation_waits_for_the_task_of_the_older_one(bench: GlobusBench) -> None:
    session = stalled(bench)
    bench.settle_again(session, LATE)
    for _ in range(5):
        bench.look()
    assert len(bench.posts()) == 1, "two tasks would write the same files"
    assert bench.archive_job(session).code == "in_batch"
    finish(bench)
    assert bench.is_archived(session)
    first, second = bench.posts()
    assert len(first["body"]["DATA"]) == len(DATASETS)
    assert len(second["body"]["DATA"]) == len(DATASETS) + 1, "nobody has verified what the older one brought"
    assert [task["files_skipped"] for task in bench.tasks()] == [0, len(DATASETS)]
    assert bench.archived(f"cortexlab/Subjects/{PATH}") == {**DATASETS, **LATE}


def test_a_file_changed_in_flight_is_registered_and_sent_as_it_is_now(bench: GlobusBench) -> None:
    session = stalled(bench)
    bench.settle_again(session, {WHEEL: b"pOsItIoNs"})
    finish(bench)
    assert bench.is_archived(session)
    assert bench.archived(f"cortexlab/Subjects/{PATH}") == {**DATASETS, WHEEL: b"pOsItIoNs"}
    assert all(bench.marked(session).values())


def test_sessions_that_changed_before_their_task_was_made_do_not_keep_the_lane_busy(bench: GlobusBench) -> None:
    made = [bench.registered(path) for path in (PATH, SECOND)]
    for _ in made:
        assert bench.step(Stage.ARCHIVE).code == "in_batch"
    for folder, _ in made:
        (folder / WHEEL).write_bytes(b"other")
    bench.work()
    assert bench.posts() == []
    assert bench.posts() == []
    assert [bench.archive_job(session).code for _, session in made] == ["changed", "changed"]


def test_a_root_that_is_not_mounted_is_waited_for(bench: GlobusBench) -> None:
    folder, session = bench.registered(PATH)
    _, other = bench.registered("ZM_1150/2026-03-02/001")
    assert bench.step(Stage.ARCHIVE).code == "in_batch"
    subject = folder.parents[1]
    subject.rename(away := subject.with_name("away"))
    bench.work()
    bench.wait_for_mover()
    bench.rest()
    assert bench.is_archived(other)
    assert bench.archive_job(session).code == "source_missing"
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    assert row.complete_at is not None, "nothing is concluded from a disk that is away"
    away.rename(subject)
    finish(bench)
    assert bench.is_archived(session)


# --- a restart -----------------------------------------------------------------------------------------------------


def test_win_08_a_restart_adopts_the_task_and_sends_nothing_again(bench: GlobusBench) -> None:
    session = stalled(bench)
    bench.restart()
    for _ in range(3):
        bench.look()
    assert len(bench.posts()) == len(bench.tasks()) == 1
    finish(bench)
    assert bench.is_archived(session)
    assert len(bench.posts()) == 1
    (task,) = bench.tasks()
    assert (task["files_transferred"], task["bytes_transferred"]) == (3, sum(map(len, DATASETS.values())))


@pytest.mark.parametrize("turns", [4, 5, 6])
def test_win_08_restarts_after_few_turns_double_nothing(bench: GlobusBench, turns: int) -> None:
    sessions = [bench.registered(path)[1] for path in (PATH, SECOND)]
    for _ in range(10):
        for _ in range(turns):
            bench.lane.turn()
        bench.wait_for_mover()
        bench.restart()
        bench.clock.pass_by(POLL)
    assert all(map(bench.is_archived, sessions))
    sent = [one for line in lines(bench) for one in line]
    assert len(sent) == len(set(sent)) == 2 * len(DATASETS)
    assert sum(task["files_skipped"] for task in bench.tasks()) == 0


# --- the configuration ---------------------------------------------------------------------------------------------


def test_a_task_under_way_to_an_old_place_is_submitted_as_it_was(bench: GlobusBench) -> None:
    bench.fault(match="POST /v0.10/transfer", action="drop")
    bench.registered()
    bench.work()
    bench.restart(
        {SERVER: 'path = "/new/{lab}"', SERVER_ENDPOINT: LOCAL_ENDPOINT, "[globus]": "[globus]\nmax_items = 1"}
    )
    bench.look()
    first, second = bench.posts()[:2]
    assert first["body"] == second["body"]
    assert second["body"]["destination_endpoint"] == SERVER_ENDPOINT


def test_a_new_path_is_looked_at_before_what_waits_is_sent_there(bench: GlobusBench) -> None:
    _, session = bench.registered()
    assert bench.step(Stage.ARCHIVE).code == "in_batch"
    old = bench.destination(session, WHEEL)
    bench.restart({SERVER: 'path = "/new/{lab}"'})
    foreign = bench.sandbox.places.archive / "new" / old.relative_to(bench.sandbox.places.archive / "cortexlab").name
    assert not foreign.exists()
    place = bench.sandbox.places.archive / "new/cortexlab" / PATH / "alf" / old.name
    place.parent.mkdir(parents=True)
    place.write_bytes(b"somebody else's")
    bench.work()
    assert bench.archive_job(session).code == "destination_differs"
    assert bench.posts() == []
    place.unlink()
    assert bench.journal.jobs.revive(bench.archive_job(session).id)
    bench.rest()
    assert bench.is_archived(session)
    assert bench.archived(f"new/cortexlab/{PATH}") == DATASETS
    assert not old.exists()


def test_a_new_endpoint_is_looked_at_before_what_waits_is_sent_there(bench: GlobusBench) -> None:
    copies = bench.sandbox.places.root / "copies"
    plain = 'naming = "plain"\nrepository = ""'
    bench.restart({'naming = "alyx"\nrepository = "auto"': plain, SERVER: f'path = "{copies}"'})
    _, session = bench.registered()
    assert bench.step(Stage.ARCHIVE).code == "in_batch"
    bench.restart({SERVER_ENDPOINT: LOCAL_ENDPOINT})
    place = copies / PATH / WHEEL
    place.parent.mkdir(parents=True)
    place.write_bytes(b"somebody else's")
    bench.work()
    assert bench.archive_job(session).code == "destination_differs"
    place.unlink()
    assert bench.journal.jobs.revive(bench.archive_job(session).id)
    bench.rest()
    assert bench.is_archived(session)
    assert {str(p.relative_to(copies / PATH)) for p in copies.rglob("*") if p.is_file()} == set(FILES)
    assert bench.archived() == {}


def test_an_endpoint_of_the_same_path_has_no_evidence_of_the_other(make: Make) -> None:
    plain = 'naming = "plain"\nrepository = ""'
    bench = make(config={'naming = "alyx"\nrepository = "auto"': plain})
    places = bench.sandbox.places
    bench.restart({SERVER: f'path = "{places.root}/copies"'})
    _, session = bench.registered()
    bench.rest()
    assert bench.is_archived(session)
    theirs = places.root / "copies" / PATH / WHEEL
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"POSITIONS")
    bench.restart({SERVER_ENDPOINT: LOCAL_ENDPOINT})
    bench.settle_again(session, LATE)
    bench.rest()
    assert bench.archive_job(session).code == "destination_unverified", "it was verified elsewhere"
    assert theirs.read_bytes() == b"POSITIONS"


def test_what_travelled_to_an_old_path_travels_again_to_the_new_one(bench: GlobusBench) -> None:
    session = stalled(bench)
    bench.restart({SERVER: 'path = "/new/{lab}"'})
    bench.look()
    assert len(bench.posts()) == 1, "first the old task ends"
    assert bench.archive_job(session).code == "in_flight"
    finish(bench)
    assert bench.is_archived(session)
    assert bench.archived(f"new/cortexlab/{PATH}") == DATASETS
    assert bench.archived(f"cortexlab/Subjects/{PATH}") == DATASETS, "what is there stays"
    order = [kind for kind, _ in bench.log()]
    marked = order.index("PATCH /files/*")
    assert max(n for n, kind in enumerate(order) if kind == "POST /v0.10/transfer") < marked


def test_what_an_old_task_did_not_bring_goes_to_the_new_path_only(bench: GlobusBench) -> None:
    first = stalled(bench)
    bench.restart({SERVER: 'path = "/new/{lab}"'})
    bench.fault(action="task", becomes="FAILED", code="QUOTA_EXCEEDED")
    bench.sandbox.faults.remove(1)
    bench.wait_for_end()
    bench.look()
    for _ in range(3):  # a try, the look at the new place, a task
        bench.clock.pass_by(PATIENCE)
        bench.rest()
    assert bench.is_archived(first)
    old, new = lines(bench)
    assert all(one.startswith("/cortexlab/") for one in old)
    assert all(one.startswith("/new/cortexlab/") for one in new)
    assert bench.archived("cortexlab") == {}


def test_map_02_a_corrected_mapping_counts_for_what_was_planned(make: Make) -> None:
    bench = make(config={"[globus]": '[globus]\nendpoint_subdir = "/wrong"'})
    _, session = bench.registered()
    bench.work()
    assert bench.archive_job(session).code == "source_wrong_subdir"
    bench.restart({'endpoint_subdir = "/wrong"': 'endpoint_subdir = "/"'})
    bench.clock.pass_by(60.0)
    bench.rest()
    assert bench.is_archived(session)
    assert all("/wrong" not in item["source_path"] for item in bench.posts()[0]["body"]["DATA"])


ELSEWHERE = {'name = "rig"': 'name = "other"'}
BACK = {'name = "other"': 'name = "rig"'}


def new_root(bench: GlobusBench, tmp_path: Path) -> dict[str, str]:
    """Return the change that takes root `rig` out of the configuration and another one in."""
    (tmp_path / "other").mkdir(exist_ok=True)
    return {**ELSEWHERE, f'path = "{bench.sandbox.places.watch_root}"': f'path = "{tmp_path}/other"'}


def old_root(bench: GlobusBench, tmp_path: Path) -> dict[str, str]:
    return {new: old for old, new in new_root(bench, tmp_path).items()}


def test_a_root_removed_in_flight_is_archived_when_all_arrives(bench: GlobusBench, tmp_path: Path) -> None:
    session = stalled(bench)
    bench.restart(new_root(bench, tmp_path))
    finish(bench)
    assert bench.is_archived(session)
    assert all(bench.marked(session).values())


def test_a_root_removed_in_flight_holds_up_nobody_when_its_task_fails(bench: GlobusBench, tmp_path: Path) -> None:
    rule = bench.fault(action="task", becomes="STALLED")
    _, session = bench.submitted()
    bench.wait_for_mover()
    bench.restart(new_root(bench, tmp_path))
    bench.lane._service.cancel(bench.tasks()[0]["task_id"])
    for _ in range(3):
        bench.look()
    assert bench.ask("SELECT state FROM task") == [("failed",)]
    bench.sandbox.faults.remove(rule)
    bench.restart(old_root(bench, tmp_path))
    bench.clock.pass_by(900.0)
    bench.work()
    assert bench.archive_job(session).code == "transfer_cancelled"
    assert bench.journal.jobs.revive(bench.archive_job(session).id)
    finish(bench)
    assert bench.is_archived(session)


def test_a_root_removed_while_its_sessions_wait_for_a_task_is_left_out(bench: GlobusBench, tmp_path: Path) -> None:
    _, session = bench.registered()
    assert bench.step(Stage.ARCHIVE).code == "in_batch"
    bench.restart(new_root(bench, tmp_path))
    for _ in range(4):
        bench.clock.pass_by(1800.0)
        bench.work()
    assert bench.posts() == []
    assert bench.archive_job(session).code == "root_unknown"
    bench.restart(old_root(bench, tmp_path))
    finish(bench)
    assert bench.is_archived(session)


SECOND_TARGET = {
    'archive = ["server"]': 'archive = ["server", "second"]',
    "[globus]": f'[archive.second]\nkind = "globus"\nendpoint = "{SERVER_ENDPOINT}"\npath = "/second"\n'
    'naming = "plain"\nrepository = ""\n\n[globus]\nmax_active = 1',
}


def test_a_target_that_is_not_used_any_more_takes_no_place(make: Make) -> None:
    bench = make(config=SECOND_TARGET)
    _, session = bench.write()
    for stage in (Stage.RESOLVE, Stage.SEAL, Stage.REGISTER, Stage.SEAL, Stage.SEAL):
        bench.step(stage)
    bench.fault(match="POST /v0.10/transfer", action="drop")
    bench.work("second")
    assert bench.ask("SELECT target, state FROM task") == [("second", "submitting")]
    bench.restart({'archive = ["server", "second"]': 'archive = ["server"]'})
    bench.clock.pass_by(900.0)
    bench.rest()
    assert bench.is_archived(session), "its one place is free"
    bench.clock.pass_by(7 * 86_400.0)
    assert "transfer_stalled" not in {one.code for one in current_conditions(bench.context, bench.live)}
    bench.restart({'archive = ["server"]': 'archive = ["server", "second"]'})
    bench.step(Stage.SEAL)
    for target in ("second", "server"):
        bench.rest(target)
    assert bench.is_archived(session, "second")
    assert bench.ask("SELECT count(*) FROM task WHERE ended_at IS NULL") == [(0,)]


# --- progress ------------------------------------------------------------------------------------------------------


def test_progress_never_exceeds_what_there_is_to_do(make: Make) -> None:
    bench = make(LABFERRY_GLOBUS__MAX_ITEMS="1", LABFERRY_GLOBUS__MAX_ACTIVE="2")
    _, session = bench.registered(files={**FILES, WHEEL: os.urandom(3_000_000)})
    seen = []
    while not bench.is_archived(session):
        bench.look()
        seen += bench.ask("SELECT bytes_done, bytes_total FROM transfer")
    assert len(bench.posts()) == len(DATASETS)
    assert all(0 <= done <= total for done, total in seen)
    assert seen[-1][0] == seen[-1][1]
