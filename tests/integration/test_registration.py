"""The register job against the sandbox's Alyx: exactly once, never over what is not ours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry import __version__
from labferry.engine.reports.whois import whois
from labferry.model import FileFate, JobState, Stage
from labferry.sandbox.seed import plant
from support.rights import folder_for_everyone, without_rights
from support.stages import FILES, StageBench

PATH = "KS005/2026-03-02/001"
DATASETS = 3  # of FILES


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StageBench]:
    bench = StageBench(  # as patient as with a real Alyx, other than the sandbox's configuration
        tmp_path, LABFERRY_REGISTRATION__RESEND_AFTER="30s", LABFERRY_REGISTRATION__RESEND_LOOK_EVERY="15s"
    )
    yield bench
    bench.close()


def existing_session(bench: StageBench, **changes: object) -> str:
    record = {"subject": "KS005", "number": 1, "start_time": "2026-03-02T09:30:00", "users": ["lab_server"]}
    created = bench.alyx("POST", "/sessions", {**record, **changes})
    return str(created["url"])[-36:]


def register_elsewhere(bench: StageBench, name: str, md5: str) -> None:
    body = {
        "path": PATH,
        "filenames": [name],
        "hashes": [md5],
        "filesizes": [6],
        "name": "cortexlab_SR",
        "labs": "cortexlab",
        "exists": True,
    }
    bench.alyx("POST", "/register-file", body)


def test_reg_03_a_session_is_created_once_and_its_files_are_registered(bench: StageBench) -> None:
    _, session = bench.write()
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    names = {f"{d['collection']}/{d['name']}": d["hash"] for d in bench.datasets(session)}
    assert names == {name: hashlib.md5(content).hexdigest() for name, content in FILES.items() if name.count("/") == 1}
    assert len(bench.requests("POST", "/sessions")) == 1
    assert bench.job(session).kind == "archive", "the archive job follows in the same transaction"


def test_done_09_a_folder_that_vanished_is_looked_for_more_and_more_rarely(bench: StageBench) -> None:
    folder, session = bench.write()
    bench.step(Stage.RESOLVE)
    away = folder.rename(folder.with_name("away"))

    def look() -> float:
        """Look when it is due; return for how long it is not looked for from now on."""
        due = bench.journal.jobs.next_due(Stage.SEAL)
        assert due is not None
        bench.clock.pass_by(max(0.0, due - bench.clock.now()))
        move = bench.step(Stage.SEAL)
        assert move.code == "source_missing"
        return move.not_before - bench.clock.now()

    assert [look(), look()] == [60.0, 60.0], "the root may be away for a moment"
    bench.journal.sessions.vanished(session.id)
    waits = [look() for _ in range(30)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (60.0, 3600.0)
    away.rename(folder)
    bench.journal.sessions.returned(session.id)
    assert bench.job(session).not_before <= bench.clock.now()


def test_reg_03_a_session_that_exists_is_used_and_left_as_it_is(bench: StageBench) -> None:
    eid = existing_session(bench, narrative="typed by a person")
    _, session = bench.write()
    bench.run_until(Stage.REGISTER)
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    assert row.eid == eid
    assert len(bench.requests("POST", "/sessions")) == 1, "the one of the other program"
    assert bench.alyx("GET", f"/sessions/{eid}")["narrative"] == "typed by a person"
    assert bench.alyx("GET", f"/sessions/{eid}")["start_time"] == "2026-03-02T09:30:00"


def test_reg_17_labs_and_repository_are_explicit(bench: StageBench) -> None:
    bench.write("ZM_1150/2026-03-02/001")
    bench.run_until(Stage.REGISTER)
    (post,) = bench.requests("POST", "/register-file")
    assert (post["body"]["labs"], post["body"]["name"]) == ("mainenlab", "mainenlab_SR")
    assert post["body"]["path"] == "ZM_1150/2026-03-02/001"


@pytest.mark.parametrize("configured", ["", "rig-7"])
def test_reg_18_every_dataset_has_the_version_that_registered_it(tmp_path: Path, configured: str) -> None:
    bench = StageBench(tmp_path, LABFERRY_REGISTRATION__VERSIONS=configured)
    try:
        _, session = bench.write()
        bench.run_until(Stage.REGISTER)
        assert [d["version"] for d in bench.datasets(session)] == [configured or __version__] * DATASETS
    finally:
        bench.close()


def test_reg_15_an_ambiguous_subject_is_blocked_naming_both_labs(bench: StageBench) -> None:
    bench.write("DUP_001/2026-03-02/001")
    move = bench.run_until(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.BLOCKED, "ambiguous_subject")
    assert "cortexlab, mainenlab" in move.reason
    assert bench.requests("POST", "/sessions") == []


def test_reg_15_an_unknown_subject_is_blocked_and_registered_after_it_was_created(bench: StageBench) -> None:
    _, session = bench.write("NEW_001/2026-03-02/001")
    move = bench.run_until(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.BLOCKED, "subject_not_on_alyx")
    assert "NEW_001" in move.reason
    assert "labferry retry" in move.hint
    with bench.sandbox._store.database() as db:
        plant(db, {"subjects": [{"nickname": "NEW_001", "lab": "cortexlab"}]})
    assert bench.journal.jobs.revive(bench.job(session).id)
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE


def test_reg_15_whois_says_what_a_job_would_find(bench: StageBench) -> None:
    found = whois(bench.context, "KS005")
    below = {"root": "rig", "lab": "cortexlab", "configured": False, "repository": "cortexlab_SR", "problem": None}
    assert (found["lab"], found["problem"], found["roots"]) == ("cortexlab", None, [below])
    with bench.sandbox._store.database() as db:
        plant(db, {"labs": [{"name": "thirdlab"}], "subjects": [{"nickname": "NEW_001", "lab": "thirdlab"}]})
    found = whois(bench.context, "NEW_001")
    assert (found["lab"], found["problem"]) == ("thirdlab", None), "asked for now, and not remembered"
    assert found["roots"][0]["problem"]["code"] == "lab_without_repository"
    ambiguous = whois(bench.context, "DUP_001")
    assert (ambiguous["lab"], ambiguous["roots"]) == (None, [])
    assert ambiguous["problem"]["code"] == "ambiguous_subject"
    assert "cortexlab, mainenlab" in ambiguous["problem"]["message"]
    assert whois(bench.context, "nobody")["problem"]["code"] == "subject_not_on_alyx"
    assert [r for r in bench.requests("POST", "/") if "auth" not in r["path"]] == []


def test_the_chunk_is_the_configured_number_of_files(tmp_path: Path) -> None:
    bench = StageBench(tmp_path, LABFERRY_REGISTRATION__CHUNK="2")
    try:
        bench.write()
        bench.run_until(Stage.REGISTER)
        sizes = [len(post["body"]["filenames"]) for post in bench.requests("POST", "/register-file")]
        assert sizes == [2, 1]
        for post in bench.requests("POST", "/register-file"):
            assert all(len(post["body"][key]) == len(post["body"]["filenames"]) for key in ("hashes", "filesizes"))
    finally:
        bench.close()


def test_what_is_registered_is_not_posted_again(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.REGISTER)
    bench.journal.sessions.unsettle(session.id, "looked at again")
    bench.write()
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    assert len(bench.requests("POST", "/register-file")) == 1


def test_ruling_10_content_that_was_not_written_from_here_is_never_posted_over(bench: StageBench) -> None:
    existing_session(bench)
    register_elsewhere(bench, "alf/_ibl_wheel.position.npy", "f" * 32)
    _, session = bench.write()
    move = bench.run_until(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.BLOCKED, "hash_conflict")
    assert "alf/_ibl_wheel.position.npy" in move.reason
    hashes = {d["name"]: d["hash"] for d in bench.datasets(session)}
    assert hashes["_ibl_wheel.position.npy"] == "f" * 32
    assert len(hashes) == DATASETS, "all other files are registered"


def test_ruling_10_a_changed_file_that_is_archived_is_not_unpublished(bench: StageBench) -> None:
    folder, session = bench.write()
    assert bench.run_until(Stage.ARCHIVE).state is JobState.DONE
    (folder / "alf/_ibl_wheel.position.npy").write_bytes(b"other content")
    bench.journal.sessions.unsettle(session.id, "changed")
    bench.write(files={})
    move = bench.run_until(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.BLOCKED, "changed_after_archive")
    server = [
        record["exists"]
        for dataset in bench.datasets(session)
        for record in dataset["file_records"]
        if record["data_repository"] == "flatiron_cortexlab"
    ]
    assert server == [True] * DATASETS


def test_ruling_10_before_archiving_a_changed_file_is_registered_again(bench: StageBench) -> None:
    folder, session = bench.write()
    bench.run_until(Stage.REGISTER)
    (folder / "alf/_ibl_wheel.position.npy").write_bytes(b"other content")
    bench.journal.sessions.unsettle(session.id, "changed")
    bench.write(files={})
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    hashes = {d["name"]: d["hash"] for d in bench.datasets(session)}
    assert hashes["_ibl_wheel.position.npy"] == hashlib.md5(b"other content").hexdigest()
    assert [len(p["body"]["filenames"]) for p in bench.requests("POST", "/register-file")] == [DATASETS, 1]


def test_ruling_08_a_session_of_another_server_is_left_alone(bench: StageBench) -> None:
    existing_session(bench, json={"labferry": {"server_name": "other-server"}})
    bench.write()
    move = bench.run_until(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.BLOCKED, "owned_by_other_server")
    assert "other-server" in move.reason
    assert bench.requests("POST", "/register-file") == []


def test_ruling_09_two_sessions_in_alyx_are_reported_not_chosen_from(bench: StageBench) -> None:
    ids = {existing_session(bench), existing_session(bench)}
    bench.write()
    move = bench.run_until(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.BLOCKED, "duplicate_session")
    assert all(eid in move.reason for eid in ids)


def test_ruling_09_another_program_creates_the_session(tmp_path: Path) -> None:
    bench = StageBench(tmp_path, LABFERRY_REGISTRATION__CREATE_SESSIONS="false")
    try:
        bench.write()
        move = bench.run_until(Stage.REGISTER)
        assert (move.state, move.code) == (JobState.WAITING, "session_not_on_alyx")
        existing_session(bench)
        bench.clock.pass_by(3600)
        assert bench.step(Stage.REGISTER).state is JobState.DONE
        assert len(bench.requests("POST", "/sessions")) == 1
    finally:
        bench.close()


def test_win_02_ruling_13_an_unanswered_request_is_sent_again_only_when_alyx_stands_still(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.SEAL)
    bench.sandbox.faults.add({"match": "POST /register-file", "when": "before", "action": "drop"})
    sent = bench.step(Stage.REGISTER)
    assert (sent.state, sent.code) == (JobState.WAITING, "answer_lost")
    looks = []
    while bench.job(session).kind != "archive":
        bench.clock.pass_by(5)
        if (
            bench.journal.jobs.next_due(Stage.REGISTER) is not None
            and (bench.journal.jobs.next_due(Stage.REGISTER) or 0) <= bench.clock.now()
        ):
            looks.append((bench.clock.now(), bench.step(Stage.REGISTER).code))
    started = bench.clock.now()
    assert len(bench.requests("POST", "/register-file")) == 2
    assert [code for _, code in looks if code] == ["files_in_flight"] * (len(looks) - 1)
    assert started - (sent.not_before - 1.0) >= 30.0 + 15.0


def test_win_02_ruling_13_a_session_that_may_be_on_its_way_is_not_created_a_second_time(bench: StageBench) -> None:
    bench.write()
    bench.run_until(Stage.SEAL)
    bench.sandbox.faults.add({"match": "POST /sessions", "when": "before", "action": "drop"})
    assert bench.step(Stage.REGISTER).code == "answer_lost"
    bench.clock.pass_by(5)
    assert bench.step(Stage.REGISTER).code == "files_in_flight"
    existing_session(bench)  # it was on its way after all
    bench.clock.pass_by(40)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    assert len([r for r in bench.requests("POST", "/sessions") if r["applied"]]) == 1


def test_ruling_13_a_file_is_looked_at_again_before_its_chunk_is_sent(bench: StageBench) -> None:
    folder, _ = bench.write()
    bench.run_until(Stage.SEAL)
    (folder / "alf/_ibl_wheel.position.npy").write_bytes(b"grown since")
    move = bench.step(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.WAITING, "changed")
    assert "_ibl_wheel.position.npy" in move.reason
    assert bench.requests("POST", "/register-file") == []


def test_reg_13_ruling_14_protected_files_stay_and_the_rest_is_registered(bench: StageBench) -> None:
    existing_session(bench)
    register_elsewhere(bench, "alf/_ibl_wheel.position.npy", hashlib.md5(b"older").hexdigest())
    _, session = bench.write()
    bench.run_until(Stage.SEAL)
    (file,) = [f for f in bench.journal.files.each_dataset(session.id) if f.path.endswith(b"position.npy")]
    eid = bench.requests("POST", "/sessions") and bench.context.alyx.list_all("/sessions", {"subject": "KS005"})
    dataset = bench.context.alyx.list_all("/datasets", {"session": str(eid[0]["id"])})[0]
    dataset_id = str(dataset["url"])[-36:]
    bench.journal.files.registered(file.id, dataset_id, hashlib.md5(b"older").hexdigest(), [])
    with bench.sandbox._store.database() as db:
        plant(db, {"tags": [{"name": "published", "protected": True}]})
    bench.alyx("PATCH", f"/datasets/{dataset_id}", {"tags": ["published"]})
    move = bench.step(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.BLOCKED, "protected")
    assert "_ibl_wheel.position.npy" in move.reason
    assert len(bench.datasets(session)) == DATASETS


def test_a_session_without_datasets_is_blocked_with_the_command_that_explains(bench: StageBench) -> None:
    bench.write(files={"notes.txt": b"x", "raw_session.flag": b""})
    move = bench.run_until(Stage.SEAL)
    assert (move.state, move.code) == (JobState.BLOCKED, "no_datasets")
    assert "labferry match" in move.hint
    assert bench.requests("POST", "/sessions") == []


def test_ruling_22_a_name_alyx_would_mangle_is_rejected_and_the_rest_proceeds(bench: StageBench) -> None:
    _, session = bench.write(files={**FILES, "alf/bad dir/spikes.amps.npy": b"x"})
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    (rejected,) = [f for f in bench.journal.files.of_session(session.id) if f.fate is FileFate.REJECTED]
    assert (rejected.path, rejected.code) == (b"alf/bad dir/spikes.amps.npy", "unsafe_name")
    assert len(bench.datasets(session)) == DATASETS
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    assert row.attention


def test_win_03_alyx_down_is_waiting_and_burns_no_attempts(bench: StageBench) -> None:
    bench.write()
    bench.run_until(Stage.SEAL)
    bench.sandbox.faults.add({"match": "", "when": "before", "action": "status", "status": 503, "times": None})
    for _ in range(15):
        move = bench.step(Stage.REGISTER)
        assert (move.state, move.failures) == (JobState.WAITING, 0)
        bench.clock.pass_by(1000)
    bench.sandbox.faults.remove()
    assert bench.step(Stage.REGISTER).state is JobState.DONE


def test_a_wrong_password_waits_for_a_person_without_a_storm(bench: StageBench) -> None:
    bench.sandbox.password_file.write_text("wrong\n")
    bench.write()
    move = bench.run_until(Stage.RESOLVE)
    assert (move.state, move.code) == (JobState.WAITING, "alyx_login")
    assert len(bench.requests("POST", "/auth-token")) == 1


def test_map_14_ruling_16_a_copy_is_marked_in_the_labs_server_repository(bench: StageBench) -> None:
    _, session = bench.write("ZM_1150/2026-03-02/001")
    assert bench.run_until(Stage.ARCHIVE).state is JobState.DONE
    marked = {
        record["data_repository"]
        for dataset in bench.datasets(session)
        for record in dataset["file_records"]
        if record["exists"]
    }
    assert marked == {"mainenlab_SR", "flatiron_mainenlab"}


def test_ruling_10_nothing_is_marked_when_alyx_holds_another_hash_than_was_verified(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.REGISTER)
    dataset = next(d for d in bench.datasets(session) if d["name"] == "_ibl_wheel.position.npy")
    bench.alyx("PATCH", f"/datasets/{str(dataset['url'])[-36:]}", {"hash": "f" * 32})
    bench.step(Stage.SEAL)
    move = bench.step(Stage.ARCHIVE)
    assert (move.state, move.code) == (JobState.BLOCKED, "hash_conflict")
    assert not any(
        record["exists"]
        for d in bench.datasets(session)
        if d["name"] == "_ibl_wheel.position.npy"
        for record in d["file_records"]
        if record["data_repository"] == "flatiron_cortexlab"
    )


def test_ruling_15_plain_naming_takes_every_regular_file(tmp_path: Path) -> None:
    bench = StageBench(tmp_path)
    try:
        config = bench.sandbox.config
        text = config.read_text().replace('naming = "alyx"\nrepository = "auto"', 'naming = "plain"\nrepository = ""')
        config.write_text(text + "")
        bench.journal.close()
        bench.open()
        bench.write()
        assert bench.run_until(Stage.ARCHIVE).state is JobState.DONE
        kept = bench.sandbox.places.archive / "cortexlab" / "Subjects" / PATH
        found = {p.relative_to(kept).as_posix(): p.read_bytes() for p in kept.rglob("*") if p.is_file()}
        assert found == dict(FILES)
    finally:
        bench.close()


def test_a_file_that_appears_between_sealing_and_archiving_is_not_left_behind(bench: StageBench) -> None:
    folder, session = bench.write()
    bench.run_until(Stage.REGISTER)
    (folder / "alf/_ibl_wheel.timestamps.npy").write_bytes(b"late")
    move = bench.step(Stage.SEAL)
    assert (move.state, move.code) == (JobState.WAITING, "changed")
    assert "_ibl_wheel.timestamps.npy appeared" in move.reason.replace("alf/", "").replace(":", "")
    bench.write(files={})
    assert bench.run_until(Stage.ARCHIVE).state is JobState.DONE
    assert {d["name"] for d in bench.datasets(session)} >= {"_ibl_wheel.timestamps.npy"}
    assert [len(p["body"]["filenames"]) for p in bench.requests("POST", "/register-file")] == [DATASETS, 1]


def test_done_10_a_link_that_appears_between_sealing_and_archiving_is_listed_first(bench: StageBench) -> None:
    folder, session = bench.write()
    bench.run_until(Stage.REGISTER)
    (folder / "alf/_ibl_wheel.timestamps.npy").symlink_to(folder / "notes.txt")
    move = bench.step(Stage.SEAL)
    assert (move.state, move.code) == (JobState.WAITING, "changed")
    assert "_ibl_wheel.timestamps.npy appeared" in move.reason.replace("alf/", "").replace(":", "")
    bench.write(files={})
    assert bench.run_until(Stage.ARCHIVE).state is JobState.DONE, "once: it is listed now"
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    assert (row.state, row.rejected) == ("archived", 1)


def test_ruling_01_a_file_that_was_removed_and_comes_back_before_it_is_archived_is_not_left_behind(
    bench: StageBench,
) -> None:
    _, session = bench.write()
    bench.run_until(Stage.REGISTER)
    name = b"alf/_ibl_wheel.position.npy"
    file = bench.journal.files.at(session.id, name)
    assert file is not None
    bench.journal.revisits.note(session.id, (), [file.id], lambda _: {"server"})
    assert bench.step(Stage.SEAL).code == "changed"
    bench.write(files={})
    bench.run_until(Stage.ARCHIVE)
    archived = {path.name for path in bench.sandbox.places.archive.rglob("_ibl_wheel.position*")}
    assert len(archived) == 1


def test_ruling_22_a_closed_folder_holds_up_nothing_that_was_sealed_and_is_told_of() -> None:
    with folder_for_everyone() as everyone:
        bench = StageBench(everyone)
        try:
            folder, session = bench.write()
            bench.run_until(Stage.REGISTER)
            (folder / "later").mkdir(mode=0)
            with without_rights():
                move = bench.step(Stage.SEAL)
            assert move.state is JobState.QUEUED
            assert bench.step(Stage.ARCHIVE).state is JobState.DONE
            row = bench.journal.sessions.get(session.id)
            assert row is not None
            assert (row.state, row.attention) == ("archived", True)
            assert (row.closed_folder, row.closed_why) == (b"later", "Permission denied")
        finally:
            bench.close()


def test_a_root_without_registration_is_archived_at_once(tmp_path: Path) -> None:
    bench = StageBench(tmp_path)
    try:
        text = bench.sandbox.config.read_text()
        text = text.replace('naming = "alyx"\nrepository = "auto"', 'naming = "plain"\nrepository = ""')
        bench.sandbox.config.write_text(
            text.replace('layout = "ibl"', 'layout = "ibl"\nregister = false\nlab = "zlab"')
        )
        bench.journal.close()
        bench.open()
        folder, session = bench.write(register=False)
        assert bench.step(Stage.SEAL).state is JobState.QUEUED
        assert bench.step(Stage.ARCHIVE).state is JobState.DONE
        kept = bench.sandbox.places.archive / "zlab" / "Subjects" / PATH
        assert {p.name for p in kept.rglob("*") if p.is_file()} == {p.name for p in folder.rglob("*") if p.is_file()}
        assert not bench.sandbox.places.requests.exists(), "Alyx hears nothing of it"
        row = bench.journal.sessions.get(session.id)
        assert row is not None
        assert row.state == "archived"
    finally:
        bench.close()


def test_an_archive_that_a_root_gains_later_gets_what_is_registered_already(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.ARCHIVE)
    jobs = bench.journal.jobs
    jobs.align_archives("rig", ["server", "second"], registers=True)
    jobs.align_archives("rig", ["server", "second"], registers=True)
    assert [(j.target, j.state) for j in jobs.of_session(session.id)] == [
        ("", JobState.DONE),
        ("server", JobState.DONE),
        ("second", JobState.QUEUED),
    ]
    jobs.align_archives("rig", ["server"], registers=True)
    assert jobs.of_session(session.id)[-1].state is JobState.SUPERSEDED
