"""The files of a session on their way into Alyx: refused, protected, doubled, lost, in chunks, and what that costs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from labferry.engine.dependencies import Health
from labferry.engine.policy import LOST_MAX
from labferry.engine.registering import plan
from labferry.engine.reports.explain_session import explain_session
from labferry.engine.reports.live import LiveState
from labferry.engine.wakeup import Wakeup
from labferry.engine.worker import StageRun, StoppedEarly
from labferry.journal.jobs import GIVES_WAY, Move
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import FileFate, JobKind, JobState, Outcome, Stage
from labferry.sandbox.alyx.store import Database, new_id
from labferry.sandbox.seed import plant
from labferry.service.assembly import assemble
from support.stages import FILES, StageBench

PATH = "KS005/2026-03-02/001"
WHEEL = "alf/_ibl_wheel.position.npy"
DATASETS = 3  # of FILES
LOOK_EVERY = 15.0  # seconds
OLD, NEW = "2023-01-01T00:00:00", "2999-01-01T00:00:00"  # when Alyx says that a row was created


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StageBench]:
    yield from opened(tmp_path)


@pytest.fixture
def chunky(tmp_path: Path) -> Iterator[StageBench]:
    """A bench that sends one file at a time."""
    yield from opened(tmp_path, LABFERRY_REGISTRATION__CHUNK="1")


def opened(tmp_path: Path, **environ: str) -> Iterator[StageBench]:
    patience = {
        "LABFERRY_REGISTRATION__RESEND_AFTER": "30s",
        "LABFERRY_REGISTRATION__RESEND_LOOK_EVERY": f"{LOOK_EVERY}",
    }
    bench = StageBench(tmp_path, **{**patience, **environ})
    yield bench
    bench.close()


def many(count: int) -> dict[str, bytes]:
    """Return so many datasets."""
    return {f"alf/probe{n:02d}/spikes.times.npy": b"%d" % n for n in range(count)}


def existing_session(bench: StageBench) -> str:
    """Create the session as another program would; return its id."""
    record = {"subject": "KS005", "number": 1, "start_time": "2026-03-02T09:30:00", "users": ["lab_server"]}
    return str(bench.alyx("POST", "/sessions", record)["url"])[-36:]


def register_elsewhere(bench: StageBench, name: str, content: bytes) -> None:
    """Register a file as another program would."""
    md5 = hashlib.md5(content).hexdigest()
    body = {"path": PATH, "filenames": [name], "hashes": [md5], "filesizes": [6], "name": "cortexlab_SR"}
    bench.alyx("POST", "/register-file", {**body, "labs": "cortexlab", "exists": True})


def ask_alyx(bench: StageBench, work: Callable[[Database], None]) -> None:
    """Do something to Alyx' tables."""
    with bench.sandbox._store.database() as db:
        work(db)


def add_row(bench: StageBench, name: str = WHEEL, created: str = OLD) -> str:
    """Put a second dataset row, without file records, beside the one of a file: what a lost race leaves."""
    orphan = new_id()

    def insert(db: Database) -> None:
        row = dict(db.all("SELECT * FROM dataset WHERE name = ?", name.rpartition("/")[2])[0])
        db.insert("dataset", {**row, "id": orphan, "created_datetime": created})

    ask_alyx(bench, insert)
    return orphan


def orphaned(bench: StageBench, created: str = OLD) -> tuple[SessionRow, str]:
    """Let a session have a file with an orphan beside its row; return the session, sealed, and the orphan."""
    existing_session(bench)
    register_elsewhere(bench, WHEEL, FILES[WHEEL])
    orphan = add_row(bench, created=created)
    _, session = bench.write()
    bench.run_until(Stage.SEAL)
    return session, orphan


def hashes(bench: StageBench, session: SessionRow) -> dict[str, str]:
    return {f"{d['collection']}/{d['name']}": d["hash"] for d in bench.datasets(session)}


def expected(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.md5(content).hexdigest() for name, content in files.items()}


def posts(bench: StageBench) -> list[dict[str, Any]]:
    return bench.requests("POST", "/register-file")


def posted(bench: StageBench) -> list[str]:
    """Return the files of all requests, in the order they were sent."""
    return [name for post in posts(bench) for name in post["body"]["filenames"]]


def fail(bench: StageBench, text: str, status: int = 500, **rule: Any) -> None:
    """Let Alyx answer the next registration with a text of its own."""
    body = {"status_code": status, "detail": text}
    fault = {"match": "POST /register-file", "when": "before", "action": "status", "status": status, "body": body}
    bench.sandbox.faults.add({**fault, **rule})


def rejected(bench: StageBench, session: SessionRow) -> dict[str, str]:
    files = bench.journal.files.of_session(session.id)
    return {file.path.decode(): file.code for file in files if file.fate is FileFate.REJECTED}


class Told:
    """A stage that keeps what it said about its progress."""

    def __init__(self, run: StageRun) -> None:
        self._run = run
        self.words: list[str] = []

    def __call__(self, job: JobRow, _beat: object) -> Outcome:
        return self._run(job, lambda what, _seconds: self.words.append(what))

    def finish(self, job: JobRow, move: Move) -> bool:
        return self._run.finish(job, move)


# --- doubled rows -----------------------------------------------------------------------------------------


def test_ruling_13_an_orphan_is_deleted_by_a_step_once_it_stood_still(bench: StageBench) -> None:
    session, orphan = orphaned(bench)
    move = bench.step(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.WAITING, "orphan_young")
    assert set(hashes(bench, session)) >= {name for name in FILES if "Camera" in name}, "the others are registered"
    assert bench.requests("DELETE", "/") == []
    bench.clock.pass_by(LOOK_EVERY)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert [r["path"] for r in bench.requests("DELETE", "/")] == [f"/datasets/{orphan}"]
    assert len(bench.datasets(session)) == DATASETS
    job = bench.journal.jobs.of_session(session.id)[0]
    step = bench.journal.steps.get(job.id, f"repair:{orphan}")
    assert step is not None
    assert step.answered_at is not None
    assert WHEEL not in posted(bench)[1:], "its own row holds the content already"


def test_ruling_13_a_row_that_is_younger_than_ten_minutes_is_not_deleted(bench: StageBench) -> None:
    session, _ = orphaned(bench, created=NEW)
    assert bench.step(Stage.REGISTER).code == "orphan_young"
    bench.clock.pass_by(590)
    assert bench.journal.jobs.revive(bench.job(session).id), "an operator is impatient"
    assert bench.step(Stage.REGISTER).code == "orphan_young"
    assert bench.requests("DELETE", "/") == []
    bench.clock.pass_by(10)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert len(bench.requests("DELETE", "/")) == 1


def protect(bench: StageBench, dataset: str) -> None:
    ask_alyx(bench, lambda db: plant(db, {"tags": [{"name": "published", "protected": True}]}))
    bench.alyx("PATCH", f"/datasets/{dataset}", {"tags": ["published"]})


def give_records(bench: StageBench, dataset: str) -> None:
    values = {"id": new_id(), "dataset": dataset, "data_repository": "flatiron_mainenlab", "relative_path": "x/y.npy"}
    ask_alyx(bench, lambda db: db.insert("file_record", values))


def take_records(bench: StageBench, _dataset: str) -> None:
    ask_alyx(bench, lambda db: db.run("DELETE FROM file_record"))


@pytest.mark.parametrize("trouble", [protect, give_records, take_records])
def test_ruling_13_a_row_that_may_not_be_deleted_is_named_and_the_rest_registered(
    bench: StageBench, trouble: Callable[[StageBench, str], None]
) -> None:
    session, orphan = orphaned(bench)
    trouble(bench, orphan)
    bench.clock.pass_by(3600)
    move = bench.step(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.BLOCKED, "orphan_dataset")
    assert WHEEL in move.reason
    assert orphan in move.reason
    assert bench.requests("DELETE", "/") == []
    assert set(hashes(bench, session)) >= {name for name in FILES if name.count("/") == 1}


def test_ruling_13_the_lost_answer_to_a_delete_is_looked_for(bench: StageBench) -> None:
    session, _ = orphaned(bench)
    assert bench.step(Stage.REGISTER).code == "orphan_young"
    bench.clock.pass_by(LOOK_EVERY)
    bench.sandbox.faults.add({"match": "DELETE /datasets", "when": "after", "action": "drop"})
    assert bench.step(Stage.REGISTER).code == "answer_lost"
    bench.clock.pass_by(1)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert len(bench.requests("DELETE", "/")) == 1
    assert len(bench.datasets(session)) == DATASETS


def test_ruling_13_doubled_rows_that_alyx_complains_of_are_looked_for(bench: StageBench) -> None:
    """A session that we created is not looked at before its first chunk: the race is lost in between."""
    _, session = bench.write()
    bench.run_until(Stage.SEAL)
    rule = bench.sandbox.faults.add({"match": "POST /register-file", "when": "before", "action": "hold"})
    with ThreadPoolExecutor(1) as pool:
        ours = pool.submit(bench.step, Stage.REGISTER)
        assert bench.sandbox.faults.wait(rule.id, 1, 20.0)
        register_elsewhere(bench, WHEEL, FILES[WHEEL])
        add_row(bench)
        bench.sandbox.faults.release()
        assert ours.result(20.0).code == "orphan_young"
    assert len(hashes(bench, session)) == DATASETS, "all others are registered"
    bench.clock.pass_by(LOOK_EVERY)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert len(bench.datasets(session)) == DATASETS


def test_ruling_13_what_an_older_generation_sent_may_still_be_on_its_way(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.SEAL)
    bench.sandbox.faults.add({"match": "POST /register-file", "when": "before", "action": "drop"})
    assert bench.step(Stage.REGISTER).code == "answer_lost"
    bench.journal.sessions.unsettle(session.id, "grew")
    bench.write(files={"alf/_ibl_wheel.timestamps.npy": b"late"})
    assert bench.run_until(Stage.REGISTER).code == "files_in_flight"
    bench.clock.pass_by(30)
    assert bench.step(Stage.REGISTER).code == "files_in_flight"
    assert len(posts(bench)) == 1
    bench.clock.pass_by(LOOK_EVERY)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert len(posted(bench)) == DATASETS + DATASETS + 1


@pytest.mark.parametrize("registered_before", [False, True])
def test_ruling_10_what_was_sent_and_whose_answer_was_lost_is_ours(bench: StageBench, registered_before: bool) -> None:
    folder, session = bench.write()
    if registered_before:
        assert bench.run_until(Stage.REGISTER).state is JobState.DONE
        (folder / WHEEL).write_bytes(b"edited")
        bench.journal.sessions.unsettle(session.id, "edited")
        bench.write(files={})
    bench.sandbox.faults.add({"match": "POST /register-file", "when": "after", "action": "drop"})
    assert bench.run_until(Stage.REGISTER).code == "answer_lost"
    sent = hashes(bench, session)[WHEEL]
    (folder / WHEEL).write_bytes(b"edited once more")
    bench.journal.sessions.unsettle(session.id, "edited")
    bench.write(files={})
    moves = [bench.run_until(Stage.REGISTER)]
    while moves[-1].code == "files_in_flight":
        bench.clock.pass_by(max(1.0, moves[-1].not_before - bench.clock.now()))
        moves.append(bench.step(Stage.REGISTER))
    assert (moves[-1].state, moves[-1].reason) == (JobState.DONE, "")
    assert hashes(bench, session)[WHEEL] == hashlib.md5(b"edited once more").hexdigest() != sent


def test_ruling_10_what_was_sent_is_ours_also_after_a_kill_behind_the_last_look(bench: StageBench) -> None:
    folder, session = bench.write()
    bench.sandbox.faults.add({"match": "POST /register-file", "when": "after", "action": "drop"})
    assert bench.run_until(Stage.REGISTER).code == "answer_lost"
    (folder / WHEEL).write_bytes(b"edited")
    bench.journal.sessions.unsettle(session.id, "edited")
    bench.write(files={})
    assert bench.run_until(Stage.REGISTER).code == "files_in_flight"
    bench.clock.pass_by(30)
    assert bench.step(Stage.REGISTER).code == "files_in_flight"
    for step in bench.journal.steps.unanswered(session.id, "files:"):  # as the last look leaves it
        bench.journal.steps.drop(step.job_id, step.name)
    bench.clock.pass_by(LOOK_EVERY)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert hashes(bench, session)[WHEEL] == hashlib.md5(b"edited").hexdigest()


# --- what Alyx refuses ------------------------------------------------------------------------------------

SYSTEMIC = {  # §5 of the contract: one request, one code, a person
    "LabMember matching query does not exist.": "unknown_user",
    "get() returned more than one Subject -- it returned 2!": "ambiguous_subject",
    "get() returned more than one DataRepository -- it returned 2!": "ambiguous_repository",
    "The path argument is required.": "path_missing",
    "A base session for KS005 on 2026-03-02 does not exist": "session_gone",
    "Subject matching query does not exist.": "subject_not_on_alyx",
    "The path x should be `nickname/YYYY-MM-DD/n/...": "path_refused",
    "['“2026-13-45” value has the correct format (YYYY-MM-DD) but it is an invalid date.']": "date_refused",
    "invalid literal for int() with base 10: 'x'": "malformed_request",
    "'NoneType' object is not iterable": "malformed_request",
    "unsupported operand type(s) for +: 'NoneType' and 'list'": "malformed_request",
    "'list' object has no attribute 'get'": "malformed_request",
    "list index out of range": "malformed_query",
    'null value in column "labmember_id" of relation violates not-null constraint': "anonymous_request",
    "ContentType matching query does not exist.": "note_target",
}


@pytest.mark.parametrize("text", SYSTEMIC)
def test_win_06_a_client_error_in_disguise_is_blocked_after_one_request(bench: StageBench, text: str) -> None:
    fail(bench, text, times=None)
    _, session = bench.write()
    move = bench.run_until(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.BLOCKED, SYSTEMIC[text])
    assert text in move.reason
    assert move.hint
    bench.clock.pass_by(86_400)
    assert bench.journal.jobs.claim(Stage.REGISTER) is None
    assert len(posts(bench)) == 1
    bench.sandbox.faults.remove()
    assert bench.journal.jobs.revive(bench.job(session).id), "a person put it right"
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert len(bench.datasets(session)) == DATASETS


NAMED = {  # texts that name the file
    'No dataset type found for filename "_ibl_wheel.position.npy"': "no_dataset_type",
    'Multiple matching dataset types found for filename "_ibl_wheel.position.npy": \n<a>': "ambiguous_dataset_type",
    f"Invalid dataset \"{PATH}/{WHEEL}\": {{'hash': ['…']}}": "refused_by_alyx",
    f"Invalid file record \"{PATH}/{WHEEL}\": {{'relative_path': ['Invalid path']}}": "refused_by_alyx",
}


@pytest.mark.parametrize("text", NAMED)
def test_ruling_22_a_file_that_alyx_names_is_left_out_and_the_rest_is_sent(bench: StageBench, text: str) -> None:
    fail(bench, text)
    _, session = bench.write()
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    assert rejected(bench, session) == {WHEEL: NAMED[text]}
    assert [len(post["body"]["filenames"]) for post in posts(bench)] == [DATASETS, DATASETS - 1]
    assert len(bench.datasets(session)) == DATASETS - 1
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    assert row.attention


def test_ruling_22_a_format_that_vanished_costs_its_own_files_and_no_search(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.SEAL)
    ask_alyx(bench, lambda db: db.run("UPDATE data_format SET file_extension = '.gone' WHERE file_extension = '.ssv'"))
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert rejected(bench, session) == {"raw_video_data/_iblrig_leftCamera.timestamps.ssv": "no_data_format"}
    assert [len(post["body"]["filenames"]) for post in posts(bench)] == [DATASETS, DATASETS - 1]


def test_ruling_22_a_file_that_alyx_does_not_name_is_found_by_halving(bench: StageBench) -> None:
    files = many(8)
    culprit = list(files)[5]
    _, session = bench.write(files=files)
    text = "value too long for type character varying(255)\n"
    for number in (1, 2, 2, 3):  # requests 1, 3, 4, 6: a rule does not count what an earlier one answers
        fail(bench, text, match={"text": "POST /register-file", "n": number})
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    assert rejected(bench, session) == {culprit: "name_too_long"}
    assert hashes(bench, session) == expected({name: files[name] for name in files if name != culprit})
    assert [len(post["body"]["filenames"]) for post in posts(bench)] == [8, 4, 4, 2, 1, 1, 2]


def test_a_field_error_is_blocked_with_alyx_own_words(bench: StageBench) -> None:
    body = {"labs": ["This field may not be null."], "status_code": 400}
    fail(bench, "", 400, body=body, times=None)
    bench.write()
    move = bench.run_until(Stage.REGISTER)
    assert move.state is JobState.BLOCKED
    assert "labs: This field may not be null." in move.reason
    assert len(posts(bench)) == 1


def test_a_registration_that_alyx_does_not_know_is_blocked(bench: StageBench) -> None:
    fail(bench, "No Session matches the given query.", 404, times=None)
    bench.write()
    move = bench.run_until(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.BLOCKED, "alyx_refused")
    assert "404" in move.reason
    assert len(posts(bench)) == 1


@pytest.mark.parametrize(
    ("headers", "text", "wait"),
    [
        ({"Retry-After": "60"}, "Request was throttled. Expected available in 60 seconds.", 60.0),
        ({}, "Request was throttled. Expected available in 7 seconds.", 7.0),
        ({}, "Request was throttled.", 0.0),
    ],
)
def test_a_throttled_request_waits_as_long_as_alyx_asks_and_is_sent_once(
    bench: StageBench, headers: dict[str, str], text: str, wait: float
) -> None:
    fail(bench, text, 429, headers=headers)
    _, session = bench.write()
    move = bench.run_until(Stage.REGISTER)
    assert (move.state, move.code, move.failures) == (JobState.WAITING, "alyx_throttled", 0)
    assert move.not_before - bench.clock.now() >= wait
    bench.clock.pass_by(max(wait, 1.0))
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert [post["applied"] for post in posts(bench)] == [False, True], "a throttled request was not carried out"
    assert len(bench.datasets(session)) == DATASETS


def test_one_06_an_invalid_token_asks_for_one_login_and_no_second_session(bench: StageBench) -> None:
    fail(bench, "Invalid token.", 403)
    _, session = bench.write()
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    assert len(bench.requests("POST", "/auth-token")) == 2
    assert len(posts(bench)) == 2
    assert len(bench.datasets(session)) == DATASETS


def test_one_06_a_token_that_stays_invalid_is_no_storm(bench: StageBench) -> None:
    fail(bench, "Invalid token.", 403, times=None)
    bench.write()
    move = bench.run_until(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.WAITING, "alyx_login")
    assert len(posts(bench)) == 2
    assert len(bench.requests("POST", "/auth-token")) == 2


def test_win_02_a_time_out_is_followed_by_looks_not_by_a_request(tmp_path: Path) -> None:
    for bench in opened(tmp_path, LABFERRY_ALYX__TIMEOUT="1s"):
        _, session = bench.write()
        bench.run_until(Stage.SEAL)
        bench.sandbox.faults.add({"match": "POST /register-file", "when": "before", "action": "hold"})
        assert bench.step(Stage.REGISTER).code == "answer_lost"
        bench.clock.pass_by(30)
        assert bench.step(Stage.REGISTER).code == "files_in_flight"
        bench.sandbox.faults.release()  # only now Alyx carries it out
        bench.sandbox.faults.add({"match": "GET /datasets", "action": "delay", "seconds": 0.2})
        bench.clock.pass_by(LOOK_EVERY)
        assert bench.step(Stage.REGISTER).code == "files_in_flight", "Alyx does not stand still"
        bench.clock.pass_by(LOOK_EVERY)
        assert bench.step(Stage.REGISTER).state is JobState.DONE
        assert len(posts(bench)) == 1
        assert len(bench.datasets(session)) == DATASETS


# --- protected, changed, rated ----------------------------------------------------------------------------


def test_reg_13_ruling_14_a_protected_file_is_named_nothing_is_moved_and_no_flag_is_turned(bench: StageBench) -> None:
    existing_session(bench)
    register_elsewhere(bench, WHEEL, FILES[WHEEL])
    register_elsewhere(bench, "alf/#2026-01-01#/_ibl_wheel.position.npy", b"newer")
    folder, session = bench.write()
    (original,) = [
        d for d in bench.context.alyx.list_all("/datasets", {"name": "_ibl_wheel.position.npy"}) if not d["revision"]
    ]
    protect(bench, str(original["url"])[-36:])
    (folder / WHEEL).write_bytes(b"a correction")
    ask_alyx(bench, lambda db: db.run("UPDATE dataset SET hash = '' WHERE revision IS NULL"))  # so that it is sent
    before = sorted(folder.rglob("*"))
    move = bench.run_until(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.BLOCKED, "protected")
    assert WHEEL in move.reason
    assert sorted(folder.rglob("*")) == before
    defaults = {d["revision"]: d["default_dataset"] for d in bench.datasets(session) if "wheel" in d["name"]}
    assert defaults == {"": False, "2026-01-01": True}, "the refused request changed nothing"
    assert all(post["body"]["check_protected"] is True for post in posts(bench)[2:])
    assert len(hashes(bench, session)) == DATASETS, "the rest is registered"


def test_reg_20_a_touched_file_is_read_again_and_not_posted(bench: StageBench) -> None:
    folder, session = bench.write()
    bench.run_until(Stage.REGISTER)
    (folder / WHEEL).touch()
    bench.journal.sessions.unsettle(session.id, "touched")
    bench.write(files={})
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    assert len(posts(bench)) == 1
    assert bench.requests("PATCH", "/files") == []


def test_reg_20_an_edited_file_is_registered_again_once(bench: StageBench) -> None:
    folder, session = bench.write()
    bench.run_until(Stage.REGISTER)
    (folder / WHEEL).write_bytes(b"edited")
    for _ in range(2):
        bench.journal.sessions.unsettle(session.id, "edited")
        bench.write(files={})
        assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    assert posted(bench).count(WHEEL) == 2
    assert len(posted(bench)) == DATASETS + 1
    assert hashes(bench, session)[WHEEL] == hashlib.md5(b"edited").hexdigest()


def test_a_rating_survives_when_the_same_content_is_sent_again(bench: StageBench) -> None:
    existing_session(bench)
    register_elsewhere(bench, WHEEL, FILES[WHEEL])
    (there,) = bench.context.alyx.list_all("/datasets", {"name": "_ibl_wheel.position.npy"})
    bench.alyx("PATCH", f"/datasets/{str(there['url'])[-36:]}", {"qc": "WARNING"})
    ask_alyx(bench, lambda db: db.run("DELETE FROM file_record WHERE data_repository = 'cortexlab_SR'"))
    _, session = bench.write()
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    assert posted(bench).count(WHEEL) == 2, "its file record was missing"
    assert {d["name"]: d["qc"] for d in bench.datasets(session)}["_ibl_wheel.position.npy"] == "WARNING"


# --- chunks -----------------------------------------------------------------------------------------------


class Lanes:
    """The daemon's register and seal lanes, turned by hand."""

    def __init__(self, bench: StageBench) -> None:
        self._bench = bench
        self._assembly = assemble(bench.context.config, bench.journal, Wakeup(), bench.clock)
        lanes = {lane.name: lane for lane in self._assembly.lanes}
        self._register, self._seal = lanes["register-1"], lanes["seal-1"]

    def close(self) -> None:
        self._assembly.detect.tidy()
        self._assembly.context.alyx.close()

    def seal_all(self) -> None:
        """Seal whatever can be sealed."""
        while self._seal.turn() == 0.0:
            pass

    def register_once(self) -> None:
        """Let the register lane do one piece of work."""
        assert self._register.turn() == 0.0


@pytest.fixture
def lanes(chunky: StageBench) -> Iterator[Lanes]:
    lanes = Lanes(chunky)
    yield lanes
    lanes.close()


def begin_giant(bench: StageBench, files: int = 6) -> SessionRow:
    """Seal a session of several chunks."""
    _, giant = bench.write("KS005/2026-03-02/009", files=many(files))
    bench.run_until(Stage.SEAL)
    return giant


def test_ruling_19_a_giant_session_does_not_delay_twenty_small_ones(chunky: StageBench, lanes: Lanes) -> None:
    giant = begin_giant(chunky)
    small = [chunky.write(f"KS005/2026-03-02/{n:03d}", files=many(1))[1] for n in range(101, 121)]
    for _ in range(2 * len(small) + 2):  # resolve and register; the giant once among them, and once at the end
        lanes.seal_all()
        lanes.register_once()
    sessions = [post["body"]["path"][-3:] for post in posts(chunky)]
    assert sessions == ["009", *(f"{n}" for n in range(101, 121)), "009", "009", "009", "009", "009"]
    assert {chunky.job(session).kind for session in (giant, *small)} == {JobKind.ARCHIVE}


def test_ruling_19_a_giant_session_gets_its_turn_however_many_small_ones_there_are(
    chunky: StageBench, lanes: Lanes
) -> None:
    begin_giant(chunky)
    chunky.write("KS005/2026-03-02/001", files=many(1))
    lanes.register_once()
    assert len(posts(chunky)) == 1
    chunky.clock.pass_by(GIVES_WAY)
    lanes.register_once()
    assert [post["body"]["path"][-3:] for post in posts(chunky)] == ["009", "009"]


def test_ruling_19_who_gave_way_goes_on_where_it_was_without_asking(chunky: StageBench, lanes: Lanes) -> None:
    giant = begin_giant(chunky)
    chunky.write("KS005/2026-03-02/001", files=many(1))
    for _ in range(2):
        lanes.register_once()  # a chunk, then the resolving of the other session
    asked = len(chunky.requests("GET", "/"))
    lanes.register_once()
    assert len(chunky.requests("GET", "/")) == asked
    assert posted(chunky) == list(many(6))
    job = chunky.journal.jobs.of_session(giant.id)[0]
    assert (job.state, job.failures) == (JobState.DONE, 0)


def test_a_session_that_gave_way_is_being_registered(chunky: StageBench, lanes: Lanes, tmp_path: Path) -> None:
    giant = begin_giant(chunky)
    chunky.write("KS005/2026-03-02/001", files=many(1))
    lanes.register_once()
    live = LiveState((), chunky._detect, started_at=0.0, log_file=tmp_path / "log")
    row = chunky.journal.sessions.get(giant.id)
    assert row is not None
    found = explain_session(chunky.context, live, row)
    assert (found.verdict, found.code) == ("registering", "files_left")
    assert "files left: 5" in found.message


def test_ruling_19_after_a_long_time_alyx_is_looked_at_again(chunky: StageBench, lanes: Lanes) -> None:
    begin_giant(chunky)
    chunky.write("KS005/2026-03-02/001", files=many(1))
    for _ in range(2):
        lanes.register_once()
    chunky.clock.pass_by(plan.HOLDS + 1)
    asked = len(chunky.requests("GET", "/datasets"))
    lanes.register_once()
    assert len(chunky.requests("GET", "/datasets")) == asked + 1
    assert posted(chunky) == list(many(6)), "what is there is not sent again"


def test_progress_is_told_and_stored_with_every_chunk(chunky: StageBench) -> None:
    begin_giant(chunky, 3)
    job = chunky.journal.jobs.claim(Stage.REGISTER)
    assert job is not None
    seen = []

    def watch(what: str, _seconds: float) -> None:
        if "files left" in what:
            seen.append((int(what.rpartition(": ")[2]), chunky.journal.jobs.get(job.id).bytes_left))

    chunky.runs[Stage.REGISTER](job, watch)
    assert seen == [(3, 3), (2, 2), (1, 1)]
    assert chunky.journal.jobs.get(job.id).bytes_left == 0


def test_a_failure_after_chunks_that_went_well_is_not_one_of_many_in_a_row(chunky: StageBench) -> None:
    giant = begin_giant(chunky, 4)
    for _ in range(3):
        fail(chunky, "deadlock detected", match={"text": "POST /register-file", "n": 2})
        move = chunky.step(Stage.REGISTER)
        assert (move.state, move.code, move.failures) == (JobState.WAITING, "alyx_error", 0)
        chunky.clock.pass_by(60)
    assert chunky.step(Stage.REGISTER).state is JobState.DONE
    assert len(chunky.datasets(giant)) == 4


def test_a_failure_without_progress_counts(chunky: StageBench) -> None:
    begin_giant(chunky)
    fail(chunky, "deadlock detected")
    move = chunky.step(Stage.REGISTER)
    assert (move.state, move.code, move.failures) == (JobState.QUEUED, "alyx_error", 1)


def test_the_stop_does_not_wait_for_a_giant_and_the_next_life_sends_the_rest(chunky: StageBench) -> None:
    giant = begin_giant(chunky, 3)
    job = chunky.journal.jobs.claim(Stage.REGISTER)
    assert job is not None

    def stop_after_the_first(what: str, _seconds: float) -> None:
        if "files left: 3" in what:
            chunky.context.wakeup.stop()

    with pytest.raises(StoppedEarly):
        chunky.runs[Stage.REGISTER](job, stop_after_the_first)
    chunky.journal.close()
    chunky.open()
    assert chunky.step(Stage.REGISTER).state is JobState.DONE
    assert posted(chunky) == list(many(3))
    assert len(chunky.datasets(giant)) == 3


def test_a_hold_does_not_wait_for_a_giant(chunky: StageBench) -> None:
    giant = begin_giant(chunky, 3)
    chunky.journal.sessions.hold(giant.id)
    chunky.journal.sessions.release(giant.id)
    job = chunky.journal.jobs.claim(Stage.REGISTER)
    assert job is not None
    chunky.journal.sessions.hold(giant.id)
    with pytest.raises(Exception, match="files left: 2"):
        chunky.runs[Stage.REGISTER](job, lambda _what, _seconds: None)
    assert len(posts(chunky)) == 1


# --- what it costs ----------------------------------------------------------------------------------------


def asked_for(bench: StageBench, since: int) -> list[str]:
    """Return the requests after the first so many, without their queries."""
    found = []
    for request in all_requests(bench)[since:]:
        found.append(f"{request['method']} {request['path'].partition('?')[0]}")
    return found


def all_requests(bench: StageBench) -> list[dict[str, Any]]:
    requests = [r for method in ("GET", "POST", "PATCH", "DELETE") for r in bench.requests(method, "/")]
    return sorted(requests, key=lambda request: int(request["n"]))


def test_a_new_session_costs_three_requests_and_one_for_fifty_files(bench: StageBench) -> None:
    bench.write("KS005/2026-03-02/001", files=many(1))
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    bench.step(Stage.SEAL)
    since = len(all_requests(bench))
    bench.write("KS005/2026-03-02/002", files=many(60) | {f"alf/p{n}/spikes.times.npy": b"x" for n in range(60)})
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    chunks = ["POST /register-file"] * 3
    assert asked_for(bench, since) == ["GET /sessions", "POST /sessions", "GET /sessions", *chunks]


def test_reg_11_an_unchanged_session_costs_no_post_and_no_hash(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.REGISTER)
    since = len(all_requests(bench))
    bench.journal.sessions.unsettle(session.id, "looked at again")
    bench.write(files={})
    told = Told(bench.runs[Stage.SEAL])
    bench.runs[Stage.SEAL] = told
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    assert [words for words in told.words if "hashing" in words] == []
    assert {request.partition(" ")[0] for request in asked_for(bench, since)} == {"GET"}
    assert asked_for(bench, since).count("GET /datasets") == 1


def test_what_was_refused_is_looked_at_once_more(bench: StageBench) -> None:
    fail(bench, next(iter(NAMED)))
    bench.write()
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    assert len(bench.requests("GET", "/datasets")) == 1


# --- answers that are always lost -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "last"),
    [
        ("POST /sessions", Stage.REGISTER),
        ("POST /register-file", Stage.REGISTER),
        ("PATCH /files/", Stage.ARCHIVE),
    ],
)
def test_ruling_13_a_request_whose_answer_is_always_lost_is_no_storm(
    bench: StageBench, match: str, last: Stage
) -> None:
    _, session = bench.write()
    bench.sandbox.faults.add({"match": match, "when": "before", "action": "drop", "times": None})
    began, moves = bench.clock.now(), [bench.run_until(last)]
    while bench.clock.now() - began < 3600:
        bench.clock.pass_by(max(1.0, moves[-1].not_before - bench.clock.now()))
        moves.append(bench.step(last, jitter=1.0))
    assert {move.code for move in moves} <= {"answer_lost", "files_in_flight"}
    method, path = match.split()
    assert len(bench.requests(method, path)) <= 3600 / LOST_MAX + 12
    bench.sandbox.faults.remove()
    while moves[-1].state is JobState.WAITING:
        bench.clock.pass_by(max(1.0, moves[-1].not_before - bench.clock.now()))
        moves.append(bench.step(last))
    assert bench.job(session).state is JobState.DONE or last is Stage.REGISTER
    assert len(bench.datasets(session)) == 3


# --- questions that Alyx fails on -------------------------------------------------------------------------


def test_win_06_a_session_that_alyx_fails_on_is_no_outage(bench: StageBench) -> None:
    eid = existing_session(bench)
    failing = {"status": 500, "body": {"detail": "odd row", "status_code": 500}, "action": "status", "times": None}
    bench.sandbox.faults.add({"match": {"regexp": f"^GET /datasets.*{eid}"}, "when": "before", **failing})
    _, poisoned = bench.write()
    moves = [bench.run_until(Stage.REGISTER)]
    assert (moves[0].state, moves[0].code, moves[0].failures) == (JobState.QUEUED, "alyx_error", 1)
    assert "odd row" in moves[0].reason
    assert all(one.state is not Health.DOWN for one in bench.context.dependencies.snapshot())
    while moves[-1].state is JobState.QUEUED:
        bench.clock.pass_by(900)
        moves.append(bench.step(Stage.REGISTER))
    assert (moves[-1].state, len(moves)) == (JobState.BLOCKED, 10)
    _, healthy = bench.write("KS005/2026-03-03/001")
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    assert len(bench.datasets(healthy)) == DATASETS
    assert bench.job(poisoned).state is JobState.BLOCKED


def test_a_vocabulary_that_alyx_fails_on_is_an_outage_and_burns_nothing(bench: StageBench) -> None:
    failing = {"status": 500, "body": {"detail": "no table", "status_code": 500}, "action": "status", "times": None}
    bench.sandbox.faults.add({"match": "GET /dataset-types", "when": "before", **failing})
    bench.write()
    move = bench.run_until(Stage.REGISTER)
    assert (move.state, move.code, move.failures) == (JobState.WAITING, "alyx_down", 0)
    assert "no table" in move.reason
