"""`/_sandbox/*`: the request log, the faults, the state; and the data server (interface contract, ruling 28)."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from labferry.sandbox.run import Sandbox

FOLDER = "KS005/2023-03-01/001"


class Puppeteer:
    """A user of the sandbox's Alyx who also pulls its strings."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.http = httpx.Client(base_url=sandbox.alyx_url, timeout=30)
        self.password = sandbox.password_file.read_text("utf-8").strip()
        login = self.http.post("/auth-token", json={"username": sandbox.alyx_user, "password": self.password})
        self.http.headers["Authorization"] = f"Token {login.json()['token']}"

    def fault(self, **rule: object) -> int:
        answer = self.http.post("/_sandbox/faults", json=rule)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def await_hit(self, rule: int, hits: int = 1) -> None:
        url = f"/_sandbox/faults?wait={rule}&hits={hits}&timeout=20"
        assert self.http.get(url).status_code == 200

    def log(self, since: int = 0) -> list[dict[str, Any]]:
        answer = self.http.get("/_sandbox/requests", params={"since": since})
        return [json.loads(line) for line in answer.text.splitlines()]

    def sessions(self) -> list[dict[str, Any]]:
        return list(self.http.get("/_sandbox/state").json()["sessions"])

    def create(self) -> httpx.Response:
        return self.http.post("/sessions", json={"subject": "KS005", "number": 1})


@pytest.fixture
def tester(tmp_path: Path) -> Iterator[Puppeteer]:
    with Sandbox(tmp_path / "sandbox") as sandbox:
        tester = Puppeteer(sandbox)
        yield tester
        tester.http.close()


# --- the log ----------------------------------------------------------------------------------------------


def test_ruling_28_every_request_is_logged_with_its_body_and_without_its_password(tester: Puppeteer) -> None:
    tester.create()
    tester.http.get("/sessions", params={"subject": "KS005", "limit": 1})
    login, create, look = tester.log()
    assert login == {
        "n": 1,
        "at": login["at"],
        "method": "POST",
        "path": "/auth-token",
        "body": {"username": "lab_server", "password": "***"},
        "status": 200,
        "applied": True,
        "aborted": False,
        "faults": [],
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", login["at"])
    assert (create["n"], create["body"], create["status"]) == (2, {"subject": "KS005", "number": 1}, 201)
    assert (look["n"], look["path"], look["body"]) == (3, "/sessions?subject=KS005&limit=1", None)
    assert [entry["n"] for entry in tester.log(since=2)] == [3]


def test_passwords_in_forms_are_masked_too(tester: Puppeteer) -> None:
    tester.http.post("/auth-token", data={"username": "lab_server", "password": tester.password})
    assert tester.log()[-1]["body"] == {"username": "lab_server", "password": "***"}
    assert tester.password not in tester.sandbox.places.requests.read_text("utf-8")


def test_the_log_can_be_emptied_and_goes_on_counting(tester: Puppeteer) -> None:
    tester.create()
    assert tester.http.delete("/_sandbox/requests").status_code == 204
    tester.create()
    assert [entry["n"] for entry in tester.log()] == [3]


# --- faults -----------------------------------------------------------------------------------------------


def test_ruling_28_a_status_before_means_that_nothing_was_done(tester: Puppeteer) -> None:
    rule = tester.fault(match="POST /sessions", action="status", status=503, headers={"Retry-After": "7"})
    refused = tester.create()
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "7")
    assert tester.sessions() == []
    entry = tester.log()[-1]
    assert (entry["status"], entry["applied"], entry["aborted"], entry["faults"]) == (503, False, False, [rule])
    assert tester.create().status_code == 201


def test_ruling_28_a_status_after_means_that_it_was_done_all_the_same(tester: Puppeteer) -> None:
    tester.fault(match="POST /sessions", when="after", action="status", status=502, body="<html>bad gateway</html>")
    answer = tester.create()
    assert (answer.status_code, answer.text) == (502, "<html>bad gateway</html>")
    assert len(tester.sessions()) == 1
    entry = tester.log()[-1]
    assert (entry["status"], entry["applied"]) == (502, True)


@pytest.mark.parametrize(("when", "done"), [("before", 0), ("after", 1)])
def test_ruling_28_a_drop_closes_the_connection_without_an_answer(tester: Puppeteer, when: str, done: int) -> None:
    tester.fault(match="POST /sessions", when=when, action="drop")
    with pytest.raises(httpx.RemoteProtocolError):
        tester.create()
    assert len(tester.sessions()) == done
    entry = tester.log()[-1]
    assert (entry["status"], entry["applied"], entry["aborted"]) == (None, bool(done), True)


@pytest.mark.parametrize(("when", "done"), [("before", 0), ("after", 1)])
def test_ruling_28_a_held_request_waits_until_it_is_released(tester: Puppeteer, when: str, done: int) -> None:
    rule = tester.fault(match="POST /sessions", when=when, action="hold")
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(tester.create().status_code))
    thread.start()
    tester.await_hit(rule)
    assert len(tester.sessions()) == done
    assert answers == []
    assert tester.http.post("/_sandbox/faults/release").status_code == 204
    thread.join(20)
    assert answers == [201]
    assert len(tester.sessions()) == 1


def test_removing_a_rule_lets_the_requests_it_holds_go_on(tester: Puppeteer) -> None:
    rule = tester.fault(match="POST /sessions", action="hold", times=None)
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(tester.create().status_code)) for _ in range(3)]
    for thread in threads:
        thread.start()
    tester.await_hit(rule, hits=3)
    assert tester.http.delete("/_sandbox/faults", params={"id": rule}).status_code == 204
    for thread in threads:
        thread.join(20)
    assert answers == [201] * 3


def test_ruling_28_a_delayed_answer_comes_late_but_comes(tester: Puppeteer) -> None:
    rule = tester.fault(match="POST /sessions", when="after", action="delay", seconds=60)
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(tester.create().status_code))
    thread.start()
    tester.await_hit(rule)
    assert (len(tester.sessions()), answers) == (1, [])
    tester.http.post("/_sandbox/faults/release")
    thread.join(20)
    assert answers == [201]


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        ("GET /labs", [False, True, False, True]),
        ({"regexp": r"^GET /lab.*limit=2$"}, [False, False, False, True]),
        ({"n": 3}, [False, False, True, False]),
        ({"text": "/labs", "n": 2}, [False, False, False, True]),
        ("", [True, True, True, True]),
    ],
)
def test_ruling_28_a_rule_matches_by_text_by_expression_or_by_number(
    tester: Puppeteer, match: object, hit: list[bool]
) -> None:
    tester.fault(match=match, action="status", status=500, times=None)
    urls = ("/users", "/labs", "/subjects", "/labs?limit=2")
    assert [tester.http.get(url).status_code == 500 for url in urls] == hit


def test_a_rule_acts_so_many_times(tester: Puppeteer) -> None:
    tester.fault(match="/labs", action="status", status=500, times=2)
    assert [tester.http.get("/labs").status_code for _ in range(3)] == [500, 500, 200]
    (shown,) = tester.http.get("/_sandbox/faults").json()
    assert (shown["hits"], shown["seen"]) == (2, 3)


def test_two_rules_can_act_on_one_request_before_and_after(tester: Puppeteer) -> None:
    late = tester.fault(match="/labs", when="before", action="delay", seconds=0)
    lost = tester.fault(match="/labs", when="after", action="status", status=504)
    assert tester.http.get("/labs").status_code == 504
    assert tester.log()[-1]["faults"] == [late, lost]


def test_waiting_for_a_rule_that_is_not_hit_ends(tester: Puppeteer) -> None:
    rule = tester.fault(match="/labs", action="drop")
    assert tester.http.get(f"/_sandbox/faults?wait={rule}&timeout=0.05").status_code == 408


@pytest.mark.parametrize(
    "rule",
    [{}, {"action": "explode"}, {"action": "drop", "when": "never"}, {"action": "drop", "colour": 1}, 1, {"match": 3}],
)
def test_what_is_no_rule_is_refused_with_the_reason(tester: Puppeteer, rule: object) -> None:
    answer = tester.http.post("/_sandbox/faults", json=rule)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_faults_do_not_touch_the_sandbox_itself(tester: Puppeteer) -> None:
    tester.fault(match="", action="status", status=500, times=None)
    assert tester.http.get("/_sandbox/state").status_code == 200
    assert tester.http.delete("/_sandbox/faults").status_code == 204
    assert tester.http.get("/labs").status_code == 200


# --- state ------------------------------------------------------------------------------------------------


def test_ruling_28_the_state_shows_everything_and_no_secret(tester: Puppeteer) -> None:
    eid = tester.create().json()["id"]
    tester.http.patch(f"/sessions/{eid}", json={"start_time": "2023-03-01T10:00:00", "json": {"a": [1]}})
    body = {"path": FOLDER, "filenames": ["alf/licks.times.npy"], "hashes": ["a" * 32], "name": "cortexlab_SR"}
    tester.http.post("/register-file", json=body)
    state = tester.http.get("/_sandbox/state").json()
    assert set(state) == {
        "labs", "repositories", "users", "subjects", "sessions", "datasets", "insertions", "weighings",
        "water_administrations", "notes", "tasks", "tags", "revisions", "globus",
    }  # fmt: skip
    assert state["sessions"][0]["json"] == {"a": [1]}
    (dataset,) = state["datasets"]
    assert (dataset["session"], dataset["collection"], dataset["hash"]) == (eid, "alf", "a" * 32)
    assert {one["data_repository"]: one["exists"] for one in dataset["file_records"]} == {
        "cortexlab_SR": True,
        "flatiron_cortexlab": False,
    }
    text = json.dumps(state)
    assert tester.password not in text
    assert str(tester.http.headers["Authorization"]).split()[1] not in text


def test_more_labs_users_and_subjects_can_be_added(tester: Puppeteer) -> None:
    more = {
        "labs": [{"name": "angelakilab"}],
        "repositories": [{"name": "angelakilab_SR", "labs": ["angelakilab"], "globus_is_personal": True}],
        "users": [{"username": "someone", "password": "their own"}],
        "subjects": [{"nickname": "NYU-11", "lab": "angelakilab", "responsible_user": "someone"}],
    }
    for _ in range(2):  # the same again changes nothing
        assert tester.http.post("/_sandbox/state", json=more).status_code == 201
    login = tester.http.post("/auth-token", json={"username": "someone", "password": "their own"})
    assert login.status_code == 200
    found = tester.http.get("/subjects", params={"nickname": "NYU-11"}).json()
    assert [(row["lab"], row["responsible_user"]) for row in found["results"]] == [("angelakilab", "someone")]
    assert tester.http.get("/labs/angelakilab").json()["repositories"] == ["angelakilab_SR"]


@pytest.mark.parametrize(
    "facts",
    [
        {"planets": []},
        {"subjects": [{"nickname": "X"}]},
        {"subjects": [{"nickname": "X", "lab": "nolab"}]},
        {"repositories": [{"name": "R", "labs": ["nolab"]}]},
        [1],
    ],
)
def test_facts_that_make_no_sense_are_refused_and_change_nothing(tester: Puppeteer, facts: object) -> None:
    before = tester.http.get("/_sandbox/state").json()
    assert tester.http.post("/_sandbox/state", json=facts).status_code == 400
    assert tester.http.get("/_sandbox/state").json() == before


def test_the_state_can_be_reset_to_the_seeds_and_tokens_live_on(tester: Puppeteer) -> None:
    tester.create()
    assert tester.http.delete("/_sandbox/state").status_code == 204
    state = tester.http.get("/_sandbox/state").json()
    assert (state["sessions"], state["datasets"]) == ([], [])
    assert tester.create().status_code == 201


def test_an_unknown_address_names_the_known_ones(tester: Puppeteer) -> None:
    answer = tester.http.get("/_sandbox/nonsense")
    assert answer.status_code == 404
    assert "GET /_sandbox/requests" in answer.json()["known"]


# --- the data server --------------------------------------------------------------------------------------


def test_the_data_server_serves_the_archive_where_alyx_says_it_is(tester: Puppeteer) -> None:
    eid = tester.create().json()["id"]
    tester.http.patch(f"/sessions/{eid}", json={"start_time": "2023-03-01T10:00:00"})
    body = {"path": FOLDER, "filenames": ["alf/#2023-01-01#/licks.times.npy"], "server_only": True}
    (made,) = tester.http.post("/register-file", json=body).json()
    (record,) = tester.http.get(f"/datasets/{made['id']}").json()["file_records"]
    relative = f"cortexlab/Subjects/{FOLDER}/alf/#2023-01-01#/licks.times.{made['id']}.npy"
    assert record["data_url"] == f"{tester.sandbox.data_url}/{relative}"
    path = tester.sandbox.places.archive / relative
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(range(256)) * 5000)
    answer = httpx.get(record["data_url"].replace("#", "%23"))
    assert answer.content == path.read_bytes()
    assert answer.headers["content-length"] == str(path.stat().st_size)
    assert httpx.head(record["data_url"].replace("#", "%23")).content == b""


@pytest.mark.parametrize("path", ["/missing.npy", "/../labferry.toml", "/%2e%2e/alyx-password", "/", "/cortexlab"])
def test_the_data_server_gives_away_nothing_else(tester: Puppeteer, path: str) -> None:
    (tester.sandbox.places.archive / "cortexlab").mkdir()
    url = httpx.URL(tester.sandbox.data_url).copy_with(raw_path=path.encode())
    assert httpx.get(url).status_code == 404


def test_the_data_server_cannot_be_written_to(tester: Puppeteer) -> None:
    assert httpx.put(f"{tester.sandbox.data_url}/x", content=b"x").status_code == 405
