"""What stands at the destination already: nobody's file is overwritten but our own unfinished ones (ruling 18)."""

from __future__ import annotations

from pathlib import Path

import pytest

from labferry.journal.rows import SessionRow
from labferry.model import JobState, Stage
from support.globus import DATASETS, PATH, WHEEL, GlobusBench, Make

CAMERA = "raw_video_data/_iblrig_leftCamera.timestamps.ssv"
LATE = {"alf/_ibl_wheel.timestamps.npy": b"late"}
UNREGISTERED = {
    'naming = "alyx"\nrepository = "auto"': 'naming = "plain"\nrepository = ""',
    'path = "auto"': 'path = "/all"',
    'layout = "ibl"': 'layout = "ibl"\nregister = false',
}


def place_of(bench: GlobusBench, session: SessionRow, name: str) -> Path:
    """Return where a dataset will go, before anything is planned."""
    ids = {one["name"]: one["url"][-36:] for one in bench.datasets(session)}
    stem, _, extension = name.rpartition(".")
    return bench.place(f"{session.path.decode()}/{stem}.{ids[name.rpartition('/')[2]]}.{extension}")


def put(place: Path, content: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)


def unfinished(bench: GlobusBench) -> SessionRow:
    """Return a session whose task failed half-way: one of its files is there in part."""
    bench.fault(action="task", when="after", becomes="FAILED")
    _, session = bench.submitted()
    bench.wait_for_mover()
    bench.destination(session, WHEEL).write_bytes(b"posi")
    bench.look()
    bench.heal()
    return session


# --- somebody else's ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"somebody else's", "destination_differs"),
        (b"", "destination_differs"),
        (b"POSITIONS", "destination_unverified"),
        (DATASETS[WHEEL], "destination_unverified"),
    ],
)
def test_map_07_ruling_18_a_file_that_is_there_stays(bench: GlobusBench, content: bytes, code: str) -> None:
    _, session = bench.registered()
    place = place_of(bench, session, WHEEL)
    put(place, content)
    bench.work()
    job = bench.archive_job(session)
    assert (job.state, job.code, job.failures) == (JobState.BLOCKED, code, 0)
    assert place.name in job.reason
    assert job.hint
    assert place.read_bytes() == content
    assert bench.archived() == {f"cortexlab/Subjects/{PATH}/{WHEEL}": content}, "and nothing beside it"
    assert bench.posts() == []
    place.unlink()
    assert bench.journal.jobs.revive(job.id)
    bench.rest()
    assert bench.is_archived(session)
    assert place.read_bytes() == DATASETS[WHEEL]


def test_map_07_a_folder_in_the_place_of_a_file_stays(bench: GlobusBench) -> None:
    _, session = bench.registered()
    put(place_of(bench, session, WHEEL) / "inside", b"x")
    bench.work()
    assert (bench.archive_job(session).state, bench.archive_job(session).code) == (
        JobState.BLOCKED,
        "destination_differs",
    )
    assert bench.posts() == []


def test_ruling_18_there_is_one_look_at_each_directory_before_anything_is_sent(bench: GlobusBench) -> None:
    bench.registered()
    bench.work()
    before = bench.log()[: [kind for kind, _ in bench.log()].index("POST /v0.10/transfer")]
    looks = [path for kind, path in before if kind.endswith("/ls")]
    assert sorted(looks) == [f"/cortexlab/Subjects/{PATH}/{name}" for name in ("alf", "raw_video_data")]


def test_ruling_18_what_was_free_when_another_file_was_in_the_way_is_looked_at_again(bench: GlobusBench) -> None:
    _, session = bench.registered()
    put(place_of(bench, session, WHEEL), b"somebody else's")
    bench.work()
    assert bench.archive_job(session).code == "destination_differs"
    place_of(bench, session, WHEEL).unlink()
    put(place_of(bench, session, CAMERA), b"days later")
    assert bench.journal.jobs.revive(bench.archive_job(session).id)
    bench.rest()
    assert bench.archive_job(session).code == "destination_differs"
    assert place_of(bench, session, CAMERA).read_bytes() == b"days later"


def test_ruling_18_a_session_in_the_way_of_itself_holds_up_no_other(bench: GlobusBench) -> None:
    _, blocked = bench.registered(PATH)
    _, other = bench.registered("KS005/2026-03-02/002")
    put(place_of(bench, blocked, WHEEL), b"somebody else's")
    bench.rest()
    assert bench.archive_job(blocked).state is JobState.BLOCKED
    assert bench.is_archived(other)


# --- our own ------------------------------------------------------------------------------------------------------


def test_ruling_18_our_own_unfinished_file_is_overwritten(bench: GlobusBench) -> None:
    session = unfinished(bench)
    bench.rest()
    assert bench.is_archived(session)
    assert bench.destination(session, WHEEL).read_bytes() == DATASETS[WHEEL]


def test_ruling_18_our_own_unfinished_file_is_known_after_a_restart(bench: GlobusBench) -> None:
    session = unfinished(bench)
    bench.restart()
    bench.clock.pass_by(900.0)
    bench.rest()
    assert bench.is_archived(session)
    assert bench.destination(session, WHEEL).read_bytes() == DATASETS[WHEEL]


def test_ruling_18_a_newer_generation_knows_what_an_older_one_left_unfinished(bench: GlobusBench) -> None:
    session = unfinished(bench)
    bench.settle_again(session, LATE)
    bench.rest()
    assert bench.is_archived(session)
    assert bench.destination(session, WHEEL).read_bytes() == DATASETS[WHEEL]


def test_ruling_18_a_generation_that_did_nothing_does_not_make_us_forget(bench: GlobusBench) -> None:
    session = unfinished(bench)
    bench.settle_again(session, LATE)
    bench.fault(match="/ls?", action="status", status=503)
    bench.work()
    assert bench.archive_job(session).code == "globus_down", "the second generation is planned and has not looked"
    bench.settle_again(session, {"alf/_ibl_trials.goCue_times.npy": b"later still"})
    bench.clock.pass_by(900.0)
    bench.rest()
    assert bench.is_archived(session)
    assert bench.destination(session, WHEEL).read_bytes() == DATASETS[WHEEL]


def test_ruling_18_what_an_older_generation_only_planned_is_not_ours(bench: GlobusBench) -> None:
    _, session = bench.registered()
    assert bench.step(Stage.ARCHIVE).code == "in_batch", "it has looked, and nothing is sent yet"
    bench.settle_again(session, LATE)
    put(place_of(bench, session, WHEEL), b"somebody else's")
    bench.rest()
    assert bench.archive_job(session).code == "destination_differs"
    assert place_of(bench, session, WHEEL).read_bytes() == b"somebody else's"


def test_ruling_18_what_a_refused_task_was_made_with_is_not_ours(bench: GlobusBench) -> None:
    body = {"code": "ClientError.BadRequest.Strange", "message": "we do not like it"}
    bench.fault(match="POST /v0.10/transfer", action="status", status=400, body=body)
    _, session = bench.registered()
    bench.work()
    assert bench.archive_job(session).code == "transfer_refused"
    put(place_of(bench, session, WHEEL), b"somebody else's")
    bench.settle_again(session, LATE)
    bench.rest()
    assert bench.archive_job(session).code == "destination_differs"
    assert place_of(bench, session, WHEEL).read_bytes() == b"somebody else's"


def test_ruling_18_a_refusal_does_not_make_us_forget_what_an_earlier_task_left_unfinished(bench: GlobusBench) -> None:
    session = unfinished(bench)
    body = {"code": "ClientError.BadRequest.Strange", "message": "we do not like it"}
    bench.fault(match="POST /v0.10/transfer", action="status", status=400, body=body)
    bench.clock.pass_by(900.0)
    bench.rest()
    assert bench.archive_job(session).code == "transfer_refused"
    bench.settle_again(session, LATE)
    bench.rest()
    assert bench.is_archived(session)
    assert bench.destination(session, WHEEL).read_bytes() == DATASETS[WHEEL]


# --- what was verified ---------------------------------------------------------------------------------------------


def test_map_07_a_newer_generation_sends_only_what_is_new(bench: GlobusBench) -> None:
    _, session = bench.registered()
    bench.rest()
    bench.settle_again(session, LATE)
    bench.rest()
    assert bench.is_archived(session)
    assert [len(post["body"]["DATA"]) for post in bench.posts()] == [len(DATASETS), 1]
    assert bench.posts()[1]["body"]["DATA"][0]["source_path"].endswith("_ibl_wheel.timestamps.npy")
    assert set(bench.archived(f"cortexlab/Subjects/{PATH}")) == {*DATASETS, *LATE}
    assert all(bench.marked(session).values())


def test_map_07_a_newer_generation_sends_again_what_is_gone(bench: GlobusBench) -> None:
    _, session = bench.registered()
    bench.rest()
    bench.destination(session, WHEEL).unlink()
    bench.settle_again(session, LATE)
    bench.rest()
    assert bench.is_archived(session)
    assert [len(post["body"]["DATA"]) for post in bench.posts()] == [len(DATASETS), 2]
    assert bench.destination(session, WHEEL).read_bytes() == DATASETS[WHEEL]


def unregistered(bench: GlobusBench, files: dict[str, bytes]) -> SessionRow:
    """Write a session of a root that is not registered, again if it is there, and let it be archived."""
    if row := bench.journal.sessions.at("rig", PATH.encode()):
        bench.journal.sessions.unsettle(row.id, "changed by a test")
    _, session = bench.write(PATH, files, register=False)
    bench.step(Stage.SEAL)
    bench.rest()
    return session


def test_map_07_a_verified_file_is_never_overwritten_by_a_newer_generation(make: Make) -> None:
    bench = make(config=UNREGISTERED)
    session = unregistered(bench, {WHEEL: b"positions", CAMERA: b"{}"})
    assert bench.is_archived(session)
    for content in (b"POSITIONS", b"other positions"):
        unregistered(bench, {WHEEL: content})
        job = bench.archive_job(session)
        assert (job.state, job.code) == (JobState.BLOCKED, "destination_differs")
        assert bench.archived(f"all/{PATH}") == {WHEEL: b"positions", CAMERA: b"{}"}
    unregistered(bench, {WHEEL: b"positions"})
    assert bench.is_archived(session), "what was verified once is known again"
    assert len(bench.posts()) == 1


def test_map_07_evidence_of_an_older_generation_is_looked_at(make: Make) -> None:
    bench = make(config=UNREGISTERED)
    session = unregistered(bench, {WHEEL: b"positions"})
    bench.destination(session, WHEEL).write_bytes(b"somebody else's")
    unregistered(bench, LATE)
    assert bench.archive_job(session).code == "destination_differs"
    assert bench.destination(session, WHEEL).read_bytes() == b"somebody else's"


# --- two folders of one session ------------------------------------------------------------------------------------


def unpadded(bench: GlobusBench, content: bytes) -> SessionRow:
    """Write a second folder of the same session, which has the same place in the archive."""
    _, second = bench.write(PATH.replace("/001", "/1"), {WHEEL: content}, register=False)
    bench.step(Stage.SEAL)
    return second


def test_ruling_03_ruling_18_two_folders_do_not_write_one_place(make: Make) -> None:
    """Neither is registered, and neither has sent anything when both are looked for."""
    bench = make(config=UNREGISTERED)
    _, first = bench.write(PATH, {WHEEL: b"of the first"}, register=False)
    bench.step(Stage.SEAL)
    second = unpadded(bench, b"of the second")
    bench.rest()
    job = bench.archive_job(second)
    assert (job.state, job.code) == (JobState.BLOCKED, "same_session_elsewhere")
    assert f"{PATH} below root rig" in job.reason
    assert bench.is_archived(first)
    assert bench.archived(f"all/{PATH}") == {WHEEL: b"of the first"}
    assert len(bench.posts()) == 1


def test_ruling_03_a_folder_that_is_gone_and_done_leaves_its_place_to_what_is_found_there(make: Make) -> None:
    bench = make(config=UNREGISTERED)
    first = unregistered(bench, {WHEEL: b"of the first"})
    second = unpadded(bench, b"of another size")
    bench.rest()
    assert bench.archive_job(second).code == "same_session_elsewhere"
    bench.journal.sessions.vanished(first.id)
    assert bench.journal.jobs.revive(bench.archive_job(second).id)
    bench.rest()
    assert bench.archive_job(second).code == "destination_differs", "by what is there"
    bench.destination(first, WHEEL).unlink()
    assert bench.journal.jobs.revive(bench.archive_job(second).id)
    bench.rest()
    assert bench.is_archived(second)
