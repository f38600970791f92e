"""The traps of the real Alyx that the sandbox must have from the start (ruling 28, `reference/alyx.md` §1-§6)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from labferry.sandbox.alyx.application import Limits
from labferry.sandbox.run import Sandbox
from support.clock import FakeClock

SESSION = "KS005/2023-03-01/001"
HASH = "0cc175b9c0f1b6a831c399e269772661"
OTHER_HASH = "92eb5ffee6ae2fec3ad71c777531578f"
CONFLICT = (
    'A file record for "{}" already exists on repository "{}" for a different dataset.'  # as recorded: race.register
)


class Client:
    """A logged-in user of a sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.http = httpx.Client(base_url=sandbox.alyx_url, timeout=30)
        password = sandbox.password_file.read_text("utf-8").strip()
        login = self.http.post("/auth-token", json={"username": sandbox.alyx_user, "password": password})
        self.http.headers["Authorization"] = f"Token {login.json()['token']}"

    def session(self, path: str = SESSION, **more: object) -> str:
        subject, day, number = path.split("/")
        body = {"subject": subject, "number": int(number), "start_time": f"{day}T10:00:00", **more}
        response = self.http.post("/sessions", json=body)
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    def register(self, *names: str, **more: Any) -> httpx.Response:
        body = {"path": SESSION, "filenames": list(names), "hashes": [HASH] * len(names), **more}
        return self.http.post("/register-file", json=body)

    def datasets(self, eid: str) -> list[dict[str, Any]]:
        page = self.http.get("/datasets", params={"session": eid, "limit": 1000}).json()
        return list(page["results"])

    def protect(self, url: str) -> None:
        tagged = self.http.patch(url, json={"tags": ["2023_Q1_Protected"]})
        assert tagged.status_code == 200

    def state(self) -> dict[str, Any]:
        return dict(self.http.get("/_sandbox/state").json())


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with Sandbox(tmp_path) as sandbox:
        client = Client(sandbox)
        yield client
        client.http.close()


def at_once(*calls: Any) -> list[httpx.Response]:
    """Make all calls at the same moment; return their answers."""
    start = threading.Barrier(len(calls))
    answers: list[httpx.Response | None] = [None] * len(calls)

    def make(position: int) -> None:
        start.wait()
        answers[position] = calls[position]()

    threads = [threading.Thread(target=make, args=(position,)) for position in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answer for answer in answers if answer is not None]


# --- duplicates -------------------------------------------------------------------------------------------


def test_ruling_28_the_same_session_twice_is_two_sessions(client: Client) -> None:
    first, second = client.session(), client.session()
    assert first != second
    found = client.http.get("/sessions", params={"subject": "ks005", "number": "001"}).json()
    assert {row["id"] for row in found["results"]} == {first, second}


def test_files_go_to_the_duplicate_with_the_smaller_id(client: Client) -> None:
    ids = [client.session() for _ in range(5)]
    (made,) = client.register("alf/licks.times.npy").json()
    assert made["session"] == min(ids)


@pytest.mark.parametrize(
    ("url", "body", "kind"),
    [
        ("/weighings", {"subject": "KS005", "weight": 22.0, "date_time": "2023-03-01T09:00:00"}, "weighings"),
        (
            "/water-administrations",
            {"subject": "KS005", "water_administered": 1.2, "date_time": "2023-03-01T11:00:00"},
            "water_administrations",
        ),
    ],
)
def test_ruling_28_weighings_and_water_twice_are_two(
    client: Client, url: str, body: dict[str, object], kind: str
) -> None:
    for _ in range(2):
        assert client.http.post(url, json=body).status_code == 201
    assert len(client.state()[kind]) == 2
    assert len(client.http.get("/subjects/KS005").json()[kind]) == 2


def test_ruling_28_the_same_note_twice_is_two(client: Client) -> None:
    body = {"user": "lab_server", "content_type": "session", "object_id": client.session(), "text": "a note"}
    for _ in range(2):
        assert client.http.post("/notes", json=body).status_code == 201
    assert len(client.state()["notes"]) == 2


def test_two_subjects_of_one_nickname_cannot_be_used(client: Client) -> None:
    several = {"status_code": 500, "detail": "get() returned more than one Subject -- it returned 2!"}
    body = {"subject": "DUP_001", "number": 1, "lab": "mainenlab"}
    assert client.http.get("/subjects", params={"nickname": "DUP_001"}).json()["count"] == 2
    assert client.http.get("/subjects/DUP_001").json() == several
    assert client.http.post("/sessions", json=body).json() == several
    assert client.register("alf/licks.times.npy", path="DUP_001/2023-03-01/001", labs="mainenlab").json() == several


# --- the orphan race --------------------------------------------------------------------------------------


def test_ruling_28_two_registrations_at_once_leave_an_orphan_that_breaks_every_later_one(client: Client) -> None:
    eid = client.session()
    names = [f"alf/probe{number:02d}/spikes.times.npy" for number in range(50)]
    answers = at_once(lambda: client.register(*names), lambda: client.register(*names))
    assert sorted(answer.status_code for answer in answers) == [201, 400]
    lost = next(answer for answer in answers if answer.status_code == 400)
    orphans = [row for row in client.datasets(eid) if row["file_records"] == []]
    assert len(orphans) == 1
    (orphan,) = orphans
    path = f"{SESSION}/{orphan['collection']}/{orphan['name']}"
    repositories = ("flatiron_cortexlab", "cortexlab_SR")
    assert lost.json()["detail"] in [CONFLICT.format(path, repository) for repository in repositories]

    again = client.register(*names)
    several = {"status_code": 500, "detail": "get() returned more than one Dataset -- it returned 2!"}
    assert (again.status_code, again.json()) == (500, several)

    assert client.http.delete(orphan["url"]).status_code == 204
    repaired = client.register(*names)
    assert repaired.status_code == 201
    assert len(client.datasets(eid)) == len(repaired.json()) == len(names)


def test_two_registrations_at_once_of_different_or_known_files_are_fine(client: Client) -> None:
    eid = client.session()
    some = [f"alf/probe{number:02d}/spikes.times.npy" for number in range(20)]
    others = [f"alf/probe{number:02d}/spikes.amps.npy" for number in range(20)]
    different = at_once(lambda: client.register(*some), lambda: client.register(*others))
    known = at_once(lambda: client.register(*some), lambda: client.register(*some))
    assert [answer.status_code for answer in different + known] == [201] * 4
    assert len(client.datasets(eid)) == 40


# --- batches ----------------------------------------------------------------------------------------------


def test_ruling_28_a_batch_stops_at_its_first_bad_file_and_keeps_what_came_before(client: Client) -> None:
    eid = client.session()
    names = ["spikes.times.npy", "spikes.amps.npy", "_ibl_unknownthing.values.npy", "spikes.depths.npy"]
    answer = client.register(*(f"alf/probe00/{name}" for name in names))
    assert answer.status_code == 500
    assert answer.json()["detail"] == 'No dataset type found for filename "_ibl_unknownthing.values.npy"'
    assert {row["name"] for row in client.datasets(eid)} == {"spikes.times.npy", "spikes.amps.npy"}


@pytest.mark.parametrize(
    "more",
    [{"qc": ["PASS", "GOOD", "PASS"]}, {"hashes": [HASH, "x" * 65, HASH]}],
    ids=["bad quality", "hash too long"],
)
def test_ruling_28_a_bad_file_may_stay_as_an_empty_dataset_that_the_next_post_completes(
    client: Client, more: dict[str, object]
) -> None:
    eid = client.session()
    names = [f"alf/{name}" for name in ("spikes.times.npy", "spikes.amps.npy", "spikes.depths.npy")]
    assert client.register(*names, **more).status_code == 400
    (half,) = [row for row in client.datasets(eid) if row["file_records"] == []]
    assert (half["name"], half["hash"]) == ("spikes.amps.npy", "")
    assert client.register(*names).status_code == 201
    rows = client.datasets(eid)
    assert len(rows) == 3
    assert all(len(row["file_records"]) == 2 for row in rows)


def test_ruling_28_a_short_list_of_hashes_silently_drops_files(client: Client) -> None:
    eid = client.session()
    answer = client.register("alf/spikes.times.npy", "alf/spikes.amps.npy", hashes=[HASH])
    assert (answer.status_code, len(answer.json())) == (201, 1)
    assert [row["name"] for row in client.datasets(eid)] == ["spikes.times.npy"]


def test_ruling_28_a_folder_outside_the_alphabet_is_silently_dropped(client: Client) -> None:
    client.session()
    (made,) = client.register("alf/bad dir/spikes.amps.npy").json()
    assert made["collection"] == "alf"
    assert {record["relative_path"] for record in made["file_records"]} == {f"{SESSION}/alf/spikes.amps.npy"}


# --- the same hash ----------------------------------------------------------------------------------------


def exists(made: dict[str, Any]) -> dict[str, bool]:
    return {record["data_repository"]: record["exists"] for record in made["file_records"]}


def test_ruling_28_the_same_hash_again_never_changes_where_a_file_exists(client: Client) -> None:
    client.session()
    (made,) = client.register("alf/licks.times.npy", name="cortexlab_SR").json()
    assert exists(made) == {"flatiron_cortexlab": False, "cortexlab_SR": True}
    for more in ({"name": "cortexlab_SR", "exists": False}, {"name": "flatiron_cortexlab"}, {}):
        (again,) = client.register("alf/licks.times.npy", **more).json()
        assert (again["id"], exists(again)) == (made["id"], exists(made))


@pytest.mark.parametrize("hashes", [[OTHER_HASH], [None]], ids=["another hash", "no hash"])
def test_another_hash_or_none_resets_where_a_file_exists(client: Client, hashes: list[str | None]) -> None:
    client.session()
    (made,) = client.register("alf/licks.times.npy", name="cortexlab_SR").json()
    server = next(one for one in made["file_records"] if one["data_repository"] == "flatiron_cortexlab")
    assert client.http.patch(f"/files/{server['id']}", json={"exists": True}).json()["exists"]
    (again,) = client.register("alf/licks.times.npy", name="cortexlab_SR", hashes=hashes).json()
    assert exists(again) == {"flatiron_cortexlab": False, "cortexlab_SR": True}


# --- protected datasets -----------------------------------------------------------------------------------


def test_a_refused_post_of_a_protected_file_still_moves_the_default(client: Client) -> None:
    eid = client.session()
    client.register("alf/spikes.times.npy")
    (original,) = client.datasets(eid)
    client.protect(original["url"])
    assert client.register("alf/#2023-06-01#/spikes.times.npy").status_code == 201
    refused = client.register("alf/spikes.times.npy", hashes=[OTHER_HASH])
    assert refused.status_code == 403
    defaults = {row["revision"]: row["default_dataset"] for row in client.datasets(eid)}
    assert defaults == {"": True, "2023-06-01": False}


def test_checking_first_writes_nothing_and_names_every_revision(client: Client) -> None:
    eid = client.session()
    client.register("alf/spikes.times.npy")
    client.protect(client.datasets(eid)[0]["url"])
    client.register("alf/#2023-06-01#/spikes.times.npy")
    refused = client.register("alf/spikes.times.npy", "alf/spikes.amps.npy", check_protected=True)
    assert refused.status_code == 403
    assert refused.json()["details"] == [
        {"alf/spikes.times.npy": [{"2023-06-01": False}, {"": True}]},
        {"alf/spikes.amps.npy": []},
    ]
    assert len(client.datasets(eid)) == 2


def test_deleting_a_session_takes_protected_datasets_along(client: Client) -> None:
    eid = client.session()
    client.register("alf/spikes.times.npy")
    url = client.datasets(eid)[0]["url"]
    client.protect(url)
    assert client.http.delete(url).status_code == 403
    assert client.http.delete(f"/sessions/{eid}").status_code == 204
    assert client.state()["datasets"] == []


# --- side effects on sessions -----------------------------------------------------------------------------


def test_registering_joins_the_user_and_ties_sessions_of_one_day_together(client: Client) -> None:
    ids = [client.session(f"KS005/2023-03-01/{number:03d}") for number in (1, 2, 3)]
    for number in (1, 2, 3):
        path = f"KS005/2023-03-01/{number:03d}"
        assert client.register("alf/licks.times.npy", path=path, created_by="rig_user").status_code == 201
    sessions = {row["id"]: row for row in client.state()["sessions"]}
    parents = {key: sessions[key]["parent_session"] for key in ids}
    assert [key for key in ids if parents[key] is None] != []
    assert any(parents.values())
    assert all(row["users"] == ["lab_server", "rig_user"] for row in sessions.values())


# --- who may do what, how often ---------------------------------------------------------------------------


def test_registering_needs_no_token_but_a_bad_one_is_refused(client: Client) -> None:
    client.session()
    body = {"path": SESSION, "filenames": ["alf/licks.times.npy"], "created_by": "rig_user"}
    anonymous = httpx.post(client.http.base_url.join("/register-file"), json=body)
    assert anonymous.status_code == 201
    bad = client.http.post("/register-file", json=body, headers={"Authorization": "Token nonsense"})
    assert (bad.status_code, bad.json()) == (403, {"detail": "Invalid token.", "status_code": 403})


def test_ruling_28_too_many_requests_are_refused_with_retry_after_until_the_minute_is_over(tmp_path: Path) -> None:
    clock = FakeClock()
    with Sandbox(tmp_path, limits=Limits(3), clock=clock) as sandbox:
        client = Client(sandbox)
        assert [client.http.get("/labs").status_code for _ in range(3)] == [200] * 3
        clock.pass_by(20)
        refused = client.http.post("/weighings", json={"subject": "KS005", "weight": 20})
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "40"
        detail = "Request was throttled. Expected available in 40 seconds."
        assert refused.json() == {"detail": detail, "status_code": 429}
        assert client.state()["weighings"] == []
        clock.pass_by(40)
        assert client.http.get("/labs").status_code == 200
        client.http.close()


def test_logging_in_is_never_throttled(tmp_path: Path) -> None:
    with Sandbox(tmp_path, limits=Limits(1)) as sandbox:
        tokens = {Client(sandbox).http.headers["Authorization"] for _ in range(5)}
    assert len(tokens) == 1


# --- pages ------------------------------------------------------------------------------------------------


def test_a_page_holds_at_most_a_thousand_whatever_is_asked_for(client: Client) -> None:
    eid = client.session()
    names = [f"alf/probe{number:04d}/spikes.times.npy" for number in range(1001)]
    assert client.register(*names).status_code == 201
    first = client.http.get("/datasets", params={"session": eid, "limit": 5000}).json()
    assert (first["count"], len(first["results"])) == (1001, 1000)
    rest = client.http.get(first["next"]).json()
    assert (len(rest["results"]), rest["next"]) == (1, None)
    listed = {row["url"] for row in first["results"] + rest["results"]}
    assert len(listed) == 1001
