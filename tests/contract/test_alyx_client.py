"""Our client against an Alyx: the sandbox by default, a real one with `make test-alyx`."""

from __future__ import annotations

import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from labferry.alyx.answers import ProtectedFilesError, RefusedError
from labferry.alyx.client import AlyxClient
from labferry.alyx.dataset_rows import UNRATED, datasets_named, delete_dataset, registered_datasets
from labferry.alyx.file_records import ensure_file_record, mark_exists
from labferry.alyx.overview import sessions_of
from labferry.alyx.people import People
from labferry.alyx.registration import FileToRegister, compare_answer, files_body, post_files
from labferry.alyx.resolve import local_repository, server_repository
from labferry.alyx.sessions import RemoteSession, create_session, duplicate_session, get_session, owner, session_ids
from labferry.alyx.vocabulary import CachedVocabulary, fetch_vocabulary
from labferry.errors import BlockedError, UnavailableError, UnknownOutcomeError
from labferry.model import SystemClock
from labferry.sessions.session import Session
from support.tested_alyx import TestedAlyx as Alyx

TIMES = "alf/probe00/spikes.times.npy"
AMPS = "alf/probe00/spikes.amps.npy"


def some_files(how_many: int = 3, content: str = "a") -> list[FileToRegister]:
    return [FileToRegister(f"alf/probe{i:02d}/spikes.times.npy", content * 32, 100 + i) for i in range(how_many)]


def body_of(alyx: Alyx, session: Session, files: list[FileToRegister] | None = None) -> dict[str, Any]:
    return files_body(
        session.alyx_path,
        some_files() if files is None else files,
        lab=alyx.lab,
        repository=f"{alyx.lab}_SR",
        versions="9.8.7",
        created_by=alyx.user,
    )


def ensure_session(alyx: Alyx, session: Session, client: AlyxClient | None = None) -> RemoteSession:
    """Look, create, look again: what the engine does around its journal."""
    client = client or alyx.client
    if not session_ids(client, session.subject, session.date, session.number):
        create_session(client, alyx.record(session))
    (found,) = session_ids(client, session.subject, session.date, session.number)
    return get_session(client, found)


def sessions_there(alyx: Alyx, session: Session) -> int:
    day = session.date.isoformat()
    return len(alyx.client.list_all("/sessions", {"subject": session.subject, "date_range": f"{day},{day}"}))


# --- login ------------------------------------------------------------------------------------------------


def test_one_06_a_wrong_password_is_refused(alyx: Alyx) -> None:
    with pytest.raises(UnavailableError, match=f"password of user '{alyx.user}'") as unavailable:
        alyx.connect(password=lambda: "certainly-wrong").get("/labs")
    assert unavailable.value.code == "alyx_login"


def test_one_06_an_invalid_token_is_replaced_once(alyx: Alyx) -> None:
    login = httpx.post(f"{alyx.url}/auth-token", json={"username": alyx.user, "password": alyx.password})
    read = []

    def token() -> str:
        read.append(1)
        return "0" * 40 if len(read) == 1 else str(login.json()["token"])

    client = alyx.connect(password=None, token=token)
    assert client.get("/labs")
    assert client.get("/labs")
    assert len(read) == 2


def test_one_06_a_token_that_stays_invalid_waits_for_a_person(alyx: Alyx) -> None:
    with pytest.raises(UnavailableError, match="Invalid token") as unavailable:
        alyx.connect(password=None, token=lambda: "0" * 40).get("/labs")
    assert unavailable.value.code == "alyx_login"


def test_a_wrong_address_is_said_so(alyx: Alyx) -> None:
    with pytest.raises(UnavailableError, match=r"`\[alyx\] url` right"):
        alyx.client.get("/nonesuch")


# --- vocabulary and resolving -----------------------------------------------------------------------------


def test_reg_02_the_vocabulary_is_fetched_and_kept(alyx: Alyx, tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    fetched = CachedVocabulary(path, clock=SystemClock()).get(alyx.client)
    assert fetched.datasets.types_of("spikes.times.npy") == ("spikes.times",)
    assert fetched.datasets.format_of("spikes.times.npy") == "npy"
    assert set(fetched.labs[alyx.lab]) == {f"{alyx.lab}_SR", f"flatiron_{alyx.lab}"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["vocabulary.json"]
    again = CachedVocabulary(path, clock=SystemClock())
    kept = again.get(alyx.client)
    assert kept.fetched_at == fetched.fetched_at
    assert (kept.labs, kept.repositories) == (fetched.labs, fetched.repositories)
    assert again.get(alyx.client, max_age=0.0).fetched_at > fetched.fetched_at


def test_a_vocabulary_that_cannot_be_kept_is_used_all_the_same(alyx: Alyx, tmp_path: Path) -> None:
    vocabulary = CachedVocabulary(tmp_path / "no such folder" / "vocabulary.json", clock=SystemClock())
    assert alyx.lab in vocabulary.get(alyx.client).labs


def people(alyx: Alyx) -> People:
    return People(alyx.client, SystemClock())


def test_reg_15_one_subject_has_its_lab(alyx: Alyx) -> None:
    assert people(alyx).subject(alyx.subject).lab == alyx.lab


def test_reg_15_an_unknown_subject_is_blocked(alyx: Alyx) -> None:
    for nickname in (f"{alyx.prefix}_nobody", alyx.subject.upper()):
        with pytest.raises(BlockedError, match=nickname) as blocked:
            people(alyx).subject(nickname)
        assert blocked.value.code == "subject_not_on_alyx"


def test_reg_15_ruling_14_two_subjects_with_one_nickname_are_blocked(alyx: Alyx) -> None:
    if not alyx.duplicate:
        pytest.skip("this Alyx has no two subjects with one nickname")
    labs = sorted(str(row["lab"]) for row in alyx.client.list_all("/subjects", {"nickname": alyx.duplicate}))
    with pytest.raises(BlockedError, match=f"{alyx.duplicate} in {', '.join(labs)}") as blocked:
        people(alyx).subject(alyx.duplicate)
    assert blocked.value.code == "ambiguous_subject"


def test_reg_10_users_are_known_by_name(alyx: Alyx) -> None:
    assert people(alyx).users([alyx.user, f"{alyx.prefix}_nobody"]) == {alyx.user}


def test_reg_16_two_labs_on_one_endpoint_have_each_their_repository(alyx: Alyx) -> None:
    words = fetch_vocabulary(alyx.client, 0.0)
    for lab in (alyx.lab, alyx.other_lab):
        assert local_repository(words, lab, alyx.endpoint, b"/mnt/labferry_test/Subjects") == f"{lab}_SR"
        assert server_repository(words, lab) == f"flatiron_{lab}"


# --- sessions ---------------------------------------------------------------------------------------------


def test_reg_03_a_session_is_created_as_described_and_found_again(alyx: Alyx) -> None:
    session = alyx.new_session()
    assert session_ids(alyx.client, session.subject, session.date, session.number) == []
    created = create_session(alyx.client, alyx.record(session))
    assert session_ids(alyx.client, session.subject, session.date.isoformat(), session.number) == [created.id]
    found = get_session(alyx.client, created.id)
    assert found == created
    assert (found.subject, found.lab, found.number) == (alyx.subject, alyx.lab, 1)
    assert found.start_time == f"{session.date}T00:00:00"
    assert found.users == (alyx.user,)
    assert owner(found.json) == "contract-test"
    assert found.url.endswith(found.id)
    assert session_ids(alyx.client, session.subject, session.date, 2) == []
    assert session_ids(alyx.client, session.subject.upper(), session.date, 1) == []


def test_reg_15_one_nickname_in_two_labs_needs_two_responsible_users(alyx: Alyx) -> None:
    record = {"nickname": alyx.subject, "sex": "U"}
    for lab, fields in ((alyx.lab, ("lab", "responsible_user")), (alyx.other_lab, ("responsible_user",))):
        with pytest.raises(RefusedError) as caught:
            alyx.client.post("/subjects", {**record, "lab": lab})
        assert all(f"nickname, {field} must make a unique set" in str(caught.value) for field in fields)


def test_reg_15_a_subject_is_not_renamed_to_one_that_is_there(alyx: Alyx) -> None:
    other = f"{alyx.subject}_2"
    alyx.new_subject(other, alyx.other_lab)
    with pytest.raises(RefusedError) as caught:
        alyx.client.patch(f"/subjects/{other}", {"nickname": alyx.subject})
    assert "nickname, responsible_user must make a unique set" in str(caught.value)


def test_ruling_02_all_sessions_of_a_subject_are_listed_at_once(alyx: Alyx) -> None:
    session = alyx.new_session()
    first, second = (create_session(alyx.client, alyx.record(session)) for _ in range(2))
    found = sessions_of(alyx.client, session.subject)[session.date.isoformat(), session.number]
    assert {one.eid for one in found} == {first.id, second.id}
    assert {one.lab for one in found} == {alyx.lab}
    assert sessions_of(alyx.client, session.subject.upper()) == {}


def test_reg_03_a_session_of_another_lab_is_the_session_all_the_same(alyx: Alyx) -> None:
    session = alyx.new_session()
    created = create_session(alyx.client, {**alyx.record(session), "lab": alyx.other_lab})
    assert ensure_session(alyx, session) == created
    assert sessions_there(alyx, session) == 1


def test_reg_03_ensuring_twice_creates_once(alyx: Alyx) -> None:
    session = alyx.new_session()
    assert ensure_session(alyx, session).id == ensure_session(alyx, session).id
    assert sessions_there(alyx, session) == 1


def test_reg_03_two_sessions_are_named_and_blocked(alyx: Alyx) -> None:
    session, first = alyx.registered_session()
    second = create_session(alyx.client, alyx.record(session))  # Alyx' trap: no look, no conflict
    assert first.id != second.id
    ids = session_ids(alyx.client, session.subject, session.date, session.number)
    assert ids == sorted([first.id, second.id])
    problem = duplicate_session(session.subject, session.date, session.number, ids)
    assert problem.code == "duplicate_session"
    assert f"2 times: {', '.join(ids)}" in problem.message


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"users": ["nobody_at_all"]}, "unknown_name"),
        ({"subject": "nobody_at_all"}, "subject_not_on_alyx"),
        ({"lab": "nolab"}, "unknown_name"),
        ({"projects": ["nope"]}, "unknown_name"),
        ({"narrative": None}, "alyx_refused"),
    ],
)
def test_reg_03_a_refused_session_is_blocked_with_alyx_words(alyx: Alyx, change: dict[str, Any], code: str) -> None:
    session = alyx.new_session()
    ((field, _),) = change.items()
    with pytest.raises(RefusedError, match=field) as refused:
        create_session(alyx.client, {**alyx.record(session), **change})
    assert (refused.value.code, refused.value.status) == (code, 400)
    assert sessions_there(alyx, session) == 0


def test_reg_03_a_session_of_an_ambiguous_subject_is_refused(alyx: Alyx) -> None:
    if not alyx.duplicate:
        pytest.skip("this Alyx has no two subjects with one nickname")
    with pytest.raises(RefusedError) as refused:
        create_session(alyx.client, {**alyx.record(alyx.new_session()), "subject": alyx.duplicate})
    assert refused.value.code == "ambiguous_subject"


@pytest.mark.parametrize("when", ["before", "after"])
def test_reg_03_a_lost_answer_never_makes_a_second_session(alyx: Alyx, when: str) -> None:
    session = alyx.new_session()
    alyx.fault(match="POST /sessions", when=when, action="drop")
    with pytest.raises(UnknownOutcomeError):
        ensure_session(alyx, session)
    ensure_session(alyx, session)
    assert sessions_there(alyx, session) == 1


# --- files ------------------------------------------------------------------------------------------------


def test_reg_17_reg_18_files_are_registered_as_here_and_not_yet_on_the_server(alyx: Alyx) -> None:
    session, remote = alyx.registered_session()
    files = [
        FileToRegister("alf/probe00/spikes.times.npy", "a" * 32, 0),
        FileToRegister("alf/probe00/#2023-01-01#/spikes.amps.npy", "b" * 32, 2**33),
        FileToRegister("spikes.depths.npy", "c" * 32, 7),
    ]
    body = body_of(alyx, session, files)
    answer = post_files(alyx.client, body)
    assert compare_answer(body, answer) == []
    datasets = registered_datasets(alyx.client, remote.id)
    assert sorted(datasets) == [
        ("", "", "spikes.depths.npy"),
        ("alf/probe00", "", "spikes.times.npy"),
        ("alf/probe00", "2023-01-01", "spikes.amps.npy"),
    ]
    assert not datasets.doubled
    for file, got in zip(files, answer, strict=True):
        there = datasets[(got.collection, got.revision, got.name)]
        assert (there.id, there.hash, there.size, there.version) == (got.id, file.md5, file.size, "9.8.7")
        assert (there.default, there.protected) == (True, False)
        assert {r.repository: (r.exists, r.on_server) for r in there.file_records} == {
            f"{alyx.lab}_SR": (True, False),
            f"flatiron_{alyx.lab}": (False, True),
        }
        assert {r.relative_path for r in there.file_records} == {f"{session.alyx_path}/{file.relpath}"}
        assert {r.id for r in there.file_records} == {r.id for r in got.file_records}


def test_the_same_files_again_change_nothing(alyx: Alyx) -> None:
    session, remote = alyx.registered_session()
    body = body_of(alyx, session)
    first, second = post_files(alyx.client, body), post_files(alyx.client, body)
    assert [file.id for file in first] == [file.id for file in second]
    assert len(registered_datasets(alyx.client, remote.id)) == 3


def test_a_chunk_of_fifty_is_answered_in_order(alyx: Alyx) -> None:
    session, remote = alyx.registered_session()
    body = body_of(alyx, session, list(reversed(some_files(50))))
    assert compare_answer(body, post_files(alyx.client, body)) == []
    assert len(registered_datasets(alyx.client, remote.id)) == 50


def test_a_list_of_several_pages_is_read_to_its_end(alyx: Alyx, monkeypatch: pytest.MonkeyPatch) -> None:
    session, remote = alyx.registered_session()
    post_files(alyx.client, body_of(alyx, session, some_files(5)))
    monkeypatch.setattr("labferry.alyx.client.PAGE", 2)
    assert len(registered_datasets(alyx.client, remote.id)) == 5


def test_a_short_list_drops_files_and_is_noticed(alyx: Alyx) -> None:
    session, remote = alyx.registered_session()
    body = {**body_of(alyx, session), "hashes": ["a" * 32]}
    assert compare_answer(body, post_files(alyx.client, body)) == ["3 files were sent, 1 were registered"]
    assert len(registered_datasets(alyx.client, remote.id)) == 1


def test_a_dropped_folder_is_noticed(alyx: Alyx) -> None:
    session, _ = alyx.registered_session()
    body = body_of(alyx, session)
    body["filenames"] = [*body["filenames"][:2], "alf/bad dir/spikes.amps.npy"]  # files_body refuses this
    wrong = compare_answer(body, post_files(alyx.client, body))
    assert wrong == ["alf/bad dir/spikes.amps.npy was registered as alf/spikes.amps.npy"]


def test_an_unpadded_session_number_makes_second_file_records_and_is_noticed(alyx: Alyx) -> None:
    session, _ = alyx.registered_session()
    body = body_of(alyx, session)
    post_files(alyx.client, body)
    answer = post_files(alyx.client, {**body, "path": session.alyx_path.removesuffix("001") + "1"})
    assert {len(file.file_records) for file in answer} == {4}
    assert compare_answer({**body, "path": "elsewhere"}, answer) != []


def test_an_unknown_session_has_no_datasets_and_says_so(alyx: Alyx) -> None:
    with pytest.raises(RefusedError, match="does not know the session any more"):
        registered_datasets(alyx.client, "00000000-0000-0000-0000-000000000000")


# --- existing: the same-hash rule -------------------------------------------------------------------------


def exists_in(datasets: Any, key: tuple[str, str, str]) -> dict[str, bool]:
    return {record.repository: record.exists for record in datasets[key].file_records}


def test_the_same_hash_never_changes_exists_and_marking_does(alyx: Alyx) -> None:
    session, remote = alyx.registered_session()
    key = ("alf/probe00", "", "spikes.times.npy")
    local, server = f"{alyx.lab}_SR", f"flatiron_{alyx.lab}"
    body = body_of(alyx, session, some_files(1))
    post_files(alyx.client, {**body, "exists": False})
    post_files(alyx.client, body)
    datasets = registered_datasets(alyx.client, remote.id)
    assert exists_in(datasets, key) == {local: False, server: False}
    for record in datasets[key].file_records:
        marked = mark_exists(alyx.client, record.id)
        assert (marked.id, marked.repository, marked.exists) == (record.id, record.repository, True)
    mark_exists(alyx.client, datasets[key].file_records[0].id)  # harmless when repeated
    post_files(alyx.client, {**body, "exists": False})
    assert exists_in(registered_datasets(alyx.client, remote.id), key) == {local: True, server: True}


def test_ruling_10_another_hash_unpublishes_what_was_archived(alyx: Alyx) -> None:
    session, remote = alyx.registered_session()
    key = ("alf/probe00", "", "spikes.times.npy")
    local, server = f"{alyx.lab}_SR", f"flatiron_{alyx.lab}"
    (first,) = post_files(alyx.client, body_of(alyx, session, some_files(1)))
    for record in first.file_records:
        mark_exists(alyx.client, record.id)
    (second,) = post_files(alyx.client, body_of(alyx, session, some_files(1, "b")))
    assert second.id == first.id
    datasets = registered_datasets(alyx.client, remote.id)
    assert datasets[key].hash == "b" * 32
    assert exists_in(datasets, key) == {local: True, server: False}


def test_a_repository_named_later_gets_its_file_record_from_the_same_post(alyx: Alyx) -> None:
    session, remote = alyx.registered_session()
    key = ("alf/probe00", "", "spikes.times.npy")
    body = body_of(alyx, session, some_files(1))
    post_files(alyx.client, {**body, "server_only": True, "name": f"flatiron_{alyx.lab}", "exists": False})
    assert list(exists_in(registered_datasets(alyx.client, remote.id), key)) == [f"flatiron_{alyx.lab}"]
    assert compare_answer(body, post_files(alyx.client, body)) == []
    found = exists_in(registered_datasets(alyx.client, remote.id), key)
    assert found == {f"{alyx.lab}_SR": True, f"flatiron_{alyx.lab}": False}


def test_ruling_16_a_missing_file_record_is_created_once(alyx: Alyx) -> None:
    session, remote = alyx.registered_session()
    (file,) = post_files(alyx.client, body_of(alyx, session, some_files(1)))
    where = (f"flatiron_{alyx.other_lab}", f"{session.alyx_path}/{TIMES}")
    created = ensure_file_record(alyx.client, file.id, *where)
    assert (created.repository, created.relative_path, created.exists) == (*where, False)
    assert ensure_file_record(alyx.client, file.id, *where).id == created.id
    there = registered_datasets(alyx.client, remote.id)[("alf/probe00", "", "spikes.times.npy")]
    assert created.id in {record.id for record in there.file_records}
    assert len(there.file_records) == 3


def test_ruling_16_a_file_record_of_another_dataset_is_not_taken(alyx: Alyx) -> None:
    session, _ = alyx.registered_session()
    first, second = post_files(alyx.client, body_of(alyx, session, some_files(2)))
    taken = first.file_records[0]
    with pytest.raises(RefusedError) as refused:
        ensure_file_record(alyx.client, second.id, taken.repository, taken.relative_path)
    assert refused.value.code == "orphan_dataset"


@pytest.mark.parametrize("when", ["before", "after"])
def test_ruling_16_a_lost_answer_never_makes_a_second_file_record(alyx: Alyx, when: str) -> None:
    session, remote = alyx.registered_session()
    (file,) = post_files(alyx.client, body_of(alyx, session, some_files(1)))
    where = (f"flatiron_{alyx.other_lab}", f"{session.alyx_path}/{TIMES}")
    alyx.fault(match="POST /files", when=when, action="drop")
    with pytest.raises(UnknownOutcomeError):
        ensure_file_record(alyx.client, file.id, *where)
    ensure_file_record(alyx.client, file.id, *where)
    there = registered_datasets(alyx.client, remote.id)[("alf/probe00", "", "spikes.times.npy")]
    assert [record.repository for record in there.file_records].count(where[0]) == 1


# --- protected files --------------------------------------------------------------------------------------


def test_reg_13_protected_files_are_named_and_nothing_is_written(alyx: Alyx) -> None:
    session, remote = alyx.registered_session()
    files = some_files(2)
    kept, _ = post_files(alyx.client, body_of(alyx, session, files))
    tag = f"{alyx.prefix}_{session.date:%j}"
    alyx.create("/tags", "name", {"name": tag, "protected": True})
    alyx.client.patch(f"/datasets/{kept.id}", {"tags": [tag]})
    with pytest.raises(ProtectedFilesError) as protected:
        post_files(alyx.client, body_of(alyx, session, some_files(3, "b")))
    assert protected.value.names == (files[0].relpath,)
    assert protected.value.code == "protected"
    datasets = registered_datasets(alyx.client, remote.id)
    assert {dataset.hash for dataset in datasets.values()} == {"a" * 32}
    assert [dataset.name for dataset in datasets.values() if dataset.protected] == ["spikes.times.npy"]
    with pytest.raises(RefusedError) as refused:
        delete_dataset(alyx.client, kept.id)
    assert refused.value.code == "protected"
    with pytest.raises(RefusedError) as refused:
        post_files(alyx.client, {**body_of(alyx, session, files), "check_protected": False})
    assert (type(refused.value), refused.value.code) == (RefusedError, "protected")


def test_a_rating_that_is_not_sent_along_is_forgotten(alyx: Alyx) -> None:
    session, remote = alyx.registered_session()
    (file,) = some_files(1)
    (registered,) = post_files(alyx.client, body_of(alyx, session, [file]))
    for rated in (replace(file, qc="WARNING"), file):
        alyx.client.patch(f"/datasets/{registered.id}", {"qc": "WARNING"})
        body = body_of(alyx, session, [rated])
        assert compare_answer(body, post_files(alyx.client, body)) == []
        (there,) = registered_datasets(alyx.client, remote.id).values()
        assert there.qc == (rated.qc or UNRATED)


# --- the orphan race --------------------------------------------------------------------------------------


def collide(alyx: Alyx, body: dict[str, Any]) -> set[str]:
    """What must never be done: several POSTs of the same new files at once; return the codes of those that lost."""

    def post(_: int) -> str:
        try:
            post_files(alyx.client, body)
        except RefusedError as lost:
            return lost.code
        return ""

    with ThreadPoolExecutor(4) as pool:
        return set(pool.map(post, range(4)))


def test_an_orphan_is_found_named_and_repaired(alyx: Alyx) -> None:
    session, remote = alyx.registered_session()
    body = body_of(alyx, session, some_files(50))
    assert "orphan_dataset" in collide(alyx, body)
    datasets = registered_datasets(alyx.client, remote.id)
    assert datasets.orphans
    for orphan in datasets.orphans:
        assert orphan in datasets_named(alyx.client, remote.id, orphan.key)
        assert len(datasets_named(alyx.client, remote.id, orphan.key)) == len(datasets.doubled[orphan.key])
    assert all(not orphan.file_records for orphan in datasets.orphans)
    assert all(datasets[orphan.key].file_records for orphan in datasets.orphans)
    with pytest.raises(RefusedError) as refused:
        post_files(alyx.client, body)
    assert refused.value.code == "orphan_dataset"
    for orphan in datasets.orphans:
        delete_dataset(alyx.client, orphan.id)
    assert compare_answer(body, post_files(alyx.client, body)) == []
    repaired = registered_datasets(alyx.client, remote.id)
    assert (len(repaired), repaired.doubled) == (50, {})


# --- batches are not atomic -------------------------------------------------------------------------------


def test_a_bad_file_is_named_and_those_before_it_stay(alyx: Alyx) -> None:
    session, remote = alyx.registered_session()
    body = body_of(alyx, session, some_files(4))
    body["filenames"][2] = f"alf/{alyx.prefix}Unknown.thing.npy"
    with pytest.raises(RefusedError) as refused:
        post_files(alyx.client, body)
    assert (refused.value.code, refused.value.file) == ("dataset_type", f"{alyx.prefix}Unknown.thing.npy")
    assert len(registered_datasets(alyx.client, remote.id)) == 2


def test_a_half_made_dataset_is_seen_and_completed(alyx: Alyx) -> None:
    session, remote = alyx.registered_session()
    body = body_of(alyx, session)
    with pytest.raises(RefusedError) as refused:
        post_files(alyx.client, {**body, "qc": ["PASS", "GOOD", "PASS"]})
    assert refused.value.file == "alf/probe01/spikes.times.npy"
    datasets = registered_datasets(alyx.client, remote.id)
    half = datasets[("alf/probe01", "", "spikes.times.npy")]
    assert (len(datasets), half.hash, half.file_records) == (2, "", ())
    assert datasets.orphans == ()
    assert compare_answer(body, post_files(alyx.client, body)) == []
    assert registered_datasets(alyx.client, remote.id)[half.key].id == half.id


# --- the texts of §5 --------------------------------------------------------------------------------------

Mangle = Callable[[Alyx, dict[str, Any]], dict[str, Any]]


def first_file(name: str) -> Mangle:
    return lambda _, body: {"filenames": [name, *body["filenames"][1:]]}


MANGLED: dict[str, tuple[Mangle, str]] = {
    "unknown type": (first_file("alf/labferryUnknown.thing.npy"), "dataset_type"),
    "unknown extension": (first_file("alf/_mcc_DAQdata.raw.nosuch"), "data_format"),
    "extension in capitals": (first_file("alf/spikes.times.NPY"), "data_format"),
    "name too long": (first_file(f"alf/spikes.times.{'x' * 250}.npy"), "too_long_for_alyx"),
    "collection too long": (first_file(f"alf/{'x' * 256}/spikes.times.npy"), "too_long_for_alyx"),
    "revision not last": (first_file("alf/#2023-01-01#/probe00/spikes.times.npy"), "path_refused"),
    "backslash": (first_file("alf\\spikes.times.npy"), "file_refused"),
    "no filenames": (lambda _, __: {"filenames": None}, "malformed_request"),
    "no hashes": (lambda _, __: {"hashes": None}, "malformed_request"),
    "hash too long": (lambda _, __: {"hashes": ["a" * 65, "a", "a"]}, "file_refused"),
    "size is text": (lambda _, __: {"filesizes": ["x", 1, 1]}, "malformed_request"),
    "no versions": (lambda _, __: {"versions": None}, "malformed_request"),
    "unknown user": (lambda _, __: {"created_by": "nobody_at_all"}, "unknown_user"),
    "unknown repository": (lambda _, __: {"name": "nope"}, "unknown_repository"),
    "shared hostname": (lambda alyx, _: {"name": None, "hostname": f"{alyx.prefix}-host"}, "ambiguous_repository"),
    "unknown lab": (lambda _, __: {"labs": "nolab"}, "unknown_lab"),
    "no lab": (lambda _, __: {"labs": None}, "malformed_request"),
    "no path": (lambda _, __: {"path": ""}, "path_missing"),
    "short path": (lambda alyx, _: {"path": f"{alyx.subject}/2021-01-01"}, "path_refused"),
    "path with lab": (lambda alyx, body: {"path": f"{alyx.lab}/Subjects/{body['path']}"}, "path_refused"),
    "no such day": (lambda alyx, _: {"path": f"{alyx.subject}/2023-13-45/001"}, "date_refused"),
    "no session that day": (lambda alyx, _: {"path": f"{alyx.subject}/1999-01-01/001"}, "session_gone"),
    "no session of that number": (lambda _, body: {"path": body["path"][:-3] + "009"}, "session_gone"),
    "unknown subject": (
        lambda _, body: {"path": "nobody_at_all/" + body["path"].partition("/")[2]},
        "subject_not_on_alyx",
    ),
}


@pytest.mark.parametrize("case", MANGLED)
def test_every_refusal_that_can_be_provoked_is_understood(alyx: Alyx, case: str) -> None:
    session, _ = alyx.registered_session()
    body = body_of(alyx, session)
    mangle, code = MANGLED[case]
    with pytest.raises(RefusedError) as refused:
        post_files(alyx.client, {**body, **mangle(alyx, body)})
    assert refused.value.code == code, refused.value.message


def test_two_fitting_dataset_types_are_understood(alyx: Alyx) -> None:
    session, _ = alyx.registered_session()
    for name, pattern in (("one", "*.thing*"), ("two", ".thing.npy")):
        record = {"name": f"{alyx.prefix}.{name}", "filename_pattern": f"{alyx.prefix}twofold{pattern}"}
        alyx.create("/dataset-types", "name", record)
    body = body_of(alyx, session)
    body["filenames"][0] = f"alf/{alyx.prefix}twofold.thing.npy"
    with pytest.raises(RefusedError, match="several dataset types") as refused:
        post_files(alyx.client, body)
    assert refused.value.code == "several_dataset_types"
    assert refused.value.file == f"{alyx.prefix}twofold.thing.npy"


def test_files_of_an_ambiguous_subject_are_refused(alyx: Alyx) -> None:
    if not alyx.duplicate:
        pytest.skip("this Alyx has no two subjects with one nickname")
    session, _ = alyx.registered_session()
    body = {**body_of(alyx, session), "path": f"{alyx.duplicate}/2021-01-01/001"}
    with pytest.raises(RefusedError) as refused:
        post_files(alyx.client, body)
    assert refused.value.code == "ambiguous_subject"


# --- outages and lost answers -----------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_answer_to_files_leaves_it_open_and_a_look_tells(alyx: Alyx, when: str) -> None:
    session, remote = alyx.registered_session()
    body = body_of(alyx, session)
    alyx.fault(match="POST /register-file", when=when, action="drop")
    with pytest.raises(UnknownOutcomeError):
        post_files(alyx.client, body)
    assert len(registered_datasets(alyx.client, remote.id)) == (0 if when == "before" else 3)
    assert compare_answer(body, post_files(alyx.client, body)) == []


def test_a_look_survives_two_lost_answers(alyx: Alyx) -> None:
    alyx.fault(match="GET /labs", when="after", action="drop", times=2)
    assert alyx.client.list_all("/labs")


def test_a_throttled_post_was_not_executed_and_says_when(alyx: Alyx) -> None:
    session, remote = alyx.registered_session()
    said = {"detail": "Request was throttled. Expected available in 60 seconds.", "status_code": 429}
    rule = {"match": "POST /register-file", "action": "status", "status": 429, "body": said}
    for headers, seconds in (({"Retry-After": "7"}, 7.0), ({}, 60.0)):
        alyx.fault(**rule, headers=headers)
        with pytest.raises(UnavailableError) as unavailable:
            post_files(alyx.client, body_of(alyx, session))
        assert (unavailable.value.code, unavailable.value.retry_after) == ("alyx_throttled", seconds)
    assert len(registered_datasets(alyx.client, remote.id)) == 0


def test_a_slow_answer_is_cut_off(alyx: Alyx) -> None:
    session, _ = alyx.registered_session()
    hasty = alyx.connect(timeout=1.0)
    hasty.log_in()
    alyx.fault(match="POST /register-file", when="after", action="hold")
    with pytest.raises(UnknownOutcomeError, match="timed out"):
        post_files(hasty, body_of(alyx, session))


@pytest.mark.parametrize(("status", "error"), [(500, UnavailableError), (502, UnknownOutcomeError)])
def test_a_failing_server_is_no_fault_of_the_session(alyx: Alyx, status: int, error: type[Exception]) -> None:
    alyx.fault(match="POST /sessions", action="status", status=status, body="<html>broken</html>")
    with pytest.raises(error):
        create_session(alyx.client, alyx.record(alyx.new_session()))
