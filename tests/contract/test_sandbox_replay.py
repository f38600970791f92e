"""The recorded calls of a real Alyx, made again to the sandbox: same statuses, headers, bodies.

The recording is `../shared/data/alyx/exchanges.jsonl`; without it these tests skip. It holds one exchange per
case, so some states that a case needs were never recorded: `PREPARE` makes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from labferry.sandbox.run import Sandbox
from labferry.sandbox.seed import world

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "alyx"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared (the recording of a real Alyx)")

PASSWORDS = {"test_user": "secret-1", "rig_user": "secret-2", "public_user": "secret-3"}
SUBJECTS = (
    [("cortexlab", f"SWC_{number:03d}", "test_user") for number in range(1, 12)]
    + [("mainenlab", "ZM_001", "test_user"), ("cortexlab", "DUP_001", "test_user")]
    + [("mainenlab", "DUP_001", "rig_user")]
)
FACTS = {
    **world(),
    "labs": [
        {
            "name": "cortexlab",
            "institution": "University College London",
            "address": "Cruciform Building, Gower Street, London, WC1E 6BT, United Kingdom",
            "zscore_weight_pct": 0.8,
        },
        {"name": "mainenlab", "institution": "Champalimaud Centre for the Unknown", "timezone": "Europe/Lisbon"},
    ],
    "users": [
        {
            "username": "test_user",
            "email": "test@localhost",
            "password": PASSWORDS["test_user"],
            "superuser": True,
            "labs": ["cortexlab"],
        },
        {
            "username": "rig_user",
            "email": "rig@localhost",
            "password": PASSWORDS["rig_user"],
            "labs": ["cortexlab"],
        },
        {"username": "public_user", "password": PASSWORDS["public_user"], "public": True},
    ],
    "repository_types": [{"name": "Cardboard box"}],
    "projects": [
        {
            "name": "ibl_neuropixel_brainwide_01",
            "description": "seeded project",
            "users": ["rig_user", "test_user"],
        },
        {"name": "practice"},
    ],
    "subjects": [
        {"nickname": name, "lab": lab, "responsible_user": user, "projects": ["ibl_neuropixel_brainwide_01"]}
        for lab, name, user in SUBJECTS
    ],
}
REPOSITORIES = {
    "repositories": [
        {
            "name": f"{name}_{lab}" if name == "flatiron" else f"{lab}_{name}",
            "hostname": "ibl.flatironinstitute.org" if name == "flatiron" else f"{lab}-sr",
            "globus_endpoint_id": endpoint,
        }
        for lab in ("cortexlab", "mainenlab")
        for name, endpoint in (
            ("flatiron", "ab2d064c-413d-11eb-b188-0ee0d5d9299f"),
            ("SR", "2dc8ccc6-2f8e-11e9-9351-0e3d676669f4"),
        )
    ]
}

# --- what is left out, each with its reason ---------------------------------------------------------------

LEFT_OUT = {
    "session.list.limit5000": "no brain regions in the sandbox (the cap is tested on /datasets elsewhere)",
    "one.rest.limits": "no brain regions in the sandbox",
    "sync-file-status.get": "the nightly transfer of Alyx is not simulated",
    "sync-file-status.post": "the nightly transfer of Alyx is not simulated",
    "auth.schema.no-token": "the schema is our own: compared with the recorded one below",
    "one.client.init": "the schema is our own: compared with the recorded one below",
    "race.register": "needs two requests at once: test_sandbox_alyx.py makes the race and compares the texts",
    "race.register.retry": "follows from race.register",
    "race.timeout.retry": "needs two requests at once, see race.register",
    "race.timeout.retry2": "follows from race.timeout.retry",
}

# Alyx computes these from the weighings and the restrictions of an animal; the sandbox says 0.
NOT_SIMULATED = re.compile(r"\.(expected_water|remaining_water|reference_weight)$")
# A start time that was not given is now.
BY_THE_CLOCK = {("session.create.minimal", ".start_time"), ("session.create.start-missing", ".start_time")}
# Values that two servers cannot share: made up at random, by the clock, or by the order of other tests.
VOLATILE = re.compile(
    r"(^|\.)(id|url|object_id|session|sessions|token|datasets|dataset|next|previous|count|data_url|"
    r"auto_datetime|created_datetime|date_time|datetime|age_weeks|globus_path|data_repository_path|parent_session)$"
)


@dataclass
class Replay:
    """Makes the recorded calls, translating recorded ids into the sandbox's."""

    client: httpx.Client
    tokens: dict[str, str]
    by_case: dict[str, dict[str, Any]]
    ids: dict[str, str] = field(default_factory=dict)
    made: int = 0
    differences: list[str] = field(default_factory=list)

    def run(self, exchanges: list[dict[str, Any]]) -> None:
        for exchange in exchanges:
            case = exchange["case"]
            if case in LEFT_OUT:
                continue
            if case in PREPARE:
                PREPARE[case](self, exchange)
            response = self.send(exchange)
            self.made += 1
            for text in self.compare(exchange, response):
                where = text.partition(":")[0]
                if (case, where) not in BY_THE_CLOCK:
                    self.differences.append(f"{case}: {text}")

    def send(self, exchange: dict[str, Any]) -> httpx.Response:
        url = self.translate(exchange["path"])
        if exchange["query"]:
            url += "?" + self.translate(exchange["query"])
        headers, content = self.headers(exchange), None
        body = exchange["request_body"]
        if isinstance(body, str):
            form = "=" in body and not body.startswith("{")
            kind = "application/x-www-form-urlencoded" if form else "application/json"
            headers["Content-Type"] = "text/plain" if exchange["case"].endswith("text-plain") else kind
            content = self.translate(self.with_password(body, exchange["case"]))
        elif body is not None:
            headers["Content-Type"] = "application/json"
            text = json.dumps(without_markers(body))
            content = self.translate(self.with_password(text, exchange["case"]))
        return self.client.request(exchange["method"], url, headers=headers, content=content)

    def headers(self, exchange: dict[str, Any]) -> dict[str, str]:
        case = exchange["case"]
        if exchange["auth"] is None:
            return {}
        if case.startswith("auth.bad-token"):
            return {"Authorization": "Token 0123456789"}
        if case == "auth.malformed-header":
            return {"Authorization": "Token one two"}
        user = "test_user"
        if "public-user" in case:
            user = "public_user"
        elif "rig_user" in case or case.startswith("rig.") or case == "register.created_by-missing":
            user = "rig_user"
        return {"Authorization": f"Token {self.tokens[user]}"}

    @staticmethod
    def with_password(text: str, case: str) -> str:
        wrong = "wrong-password" in case or "unknown-user" in case
        return text.replace("***", "wrong" if wrong else PASSWORDS["test_user"])

    def translate(self, text: str) -> str:
        found = re.sub(UUID, lambda match: self.ids.get(match[0], match[0]), text)
        return found.replace("http://127.0.0.1:8000", str(self.client.base_url).rstrip("/"))

    # --- comparing ---

    def compare(self, exchange: dict[str, Any], response: httpx.Response) -> Iterator[str]:
        recorded = exchange["response_body"]
        if response.status_code != exchange["status"]:
            yield f"status {response.status_code} instead of {exchange['status']}: {response.text[:200]}"
            return
        for name, value in exchange["response_headers"].items():
            got = response.headers.get(name, "")
            if got != value:
                yield f"header {name}: {got!r} instead of {value!r}"
        if not response.content:
            if recorded is not None:
                yield "no body"
            return
        html = response.headers["content-type"].startswith("text/html")
        yield from self.compare_values(recorded, response.text if html else response.json(), "")

    def compare_values(self, recorded: object, got: object, where: str) -> Iterator[str]:
        self.learn(recorded, got)
        if isinstance(recorded, dict) and isinstance(got, dict):
            if recorded.keys() != got.keys():
                missing, extra = recorded.keys() - got.keys(), got.keys() - recorded.keys()
                yield f"{where or 'body'}: missing {sorted(missing)}, extra {sorted(extra)}"
            for name in recorded.keys() & got.keys():
                yield from self.compare_values(recorded[name], got[name], f"{where}.{name}")
        elif isinstance(recorded, list) and isinstance(got, list):
            yield from self.compare_lists(without_markers(recorded), got, where)
        elif VOLATILE.search(where) or NOT_SIMULATED.search(where):
            if type(recorded) is not type(got):
                yield f"{where}: {got!r} instead of {recorded!r}"
        elif normal(recorded) != normal(got):
            yield f"{where}: {got!r} instead of {recorded!r}"

    def compare_lists(self, recorded: list[Any], got: list[Any], where: str) -> Iterator[str]:
        if where == ".results" or where.endswith(("datasets", "session_related")):
            # which rows a list holds depends on what ran before; what a row looks like does not
            self.learn_rows(recorded, got)
            for ours in got[:1]:
                for theirs in recorded[:1]:
                    yield from shape_differences(theirs, ours, where)
            return
        if where.endswith("file_records"):
            recorded, got = by_repository(recorded), by_repository(got)
        if len(recorded) > len(got) or (len(recorded) < len(got) and len(recorded) < MARKED):
            yield f"{where}: {len(got)} items instead of {len(recorded)}"
        for theirs, ours in zip(recorded, got, strict=False):
            yield from self.compare_values(theirs, ours, f"{where}[]")

    def learn_rows(self, recorded: list[Any], got: list[Any]) -> None:
        """Learn the ids of listed datasets, which are the same if they are of the same name and place."""
        ours = {dataset_key(row): row for row in got if isinstance(row, dict) and "collection" in row}
        for row in recorded:
            if isinstance(row, dict) and dataset_key(row) in ours:
                self.learn(row.get("url"), ours[dataset_key(row)].get("url"))

    def learn(self, recorded: object, got: object) -> None:
        if isinstance(recorded, str) and isinstance(got, str):
            theirs, ours = re.findall(UUID, recorded), re.findall(UUID, got)
            if len(theirs) == len(ours):
                self.ids.update(zip(theirs, ours, strict=True))


UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
MARKED = 30  # the recording cuts lists after so many items


def without_markers(value: Any) -> Any:
    """Drop the `... 1970 more of 2000` that stand for what the recording cut off."""
    if isinstance(value, list):
        kept = [item for item in value if not (isinstance(item, str) and re.match(r"\.\.\. \d+ more of", item))]
        return [without_markers(item) for item in kept]
    if isinstance(value, dict):
        return {name: without_markers(item) for name, item in value.items()}
    return value


def normal(value: object) -> object:
    """Take out of a text what two servers cannot share: ids, and the list of all of Django's fields."""
    if isinstance(value, str):
        return re.sub(r"Choices are: .*", "Choices are:", re.sub(UUID, "<id>", value))
    return value


def dataset_key(row: dict[str, Any]) -> tuple[object, ...]:
    return row.get("collection"), row.get("revision"), row.get("name")


def by_repository(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(records, key=lambda record: (record["relative_path"], record["data_repository"]))


def shape_differences(recorded: object, got: object, where: str) -> Iterator[str]:
    """Compare key sets and types of two records; null fits any type."""
    if isinstance(recorded, dict) and isinstance(got, dict):
        if recorded.keys() != got.keys():
            yield f"{where}: keys {sorted(got)} instead of {sorted(recorded)}"
        for name in recorded.keys() & got.keys():
            yield from shape_differences(recorded[name], got[name], f"{where}.{name}")
    elif isinstance(recorded, list) and isinstance(got, list):
        for theirs, ours in zip(recorded[:1], got[:1], strict=False):
            yield from shape_differences(theirs, ours, f"{where}[]")
    elif None not in (recorded, got) and type(recorded) is not type(got) and not where.endswith(".json"):
        yield f"{where}: {type(got).__name__} instead of {type(recorded).__name__}"


# --- states that were never recorded ----------------------------------------------------------------------


def as_test_user(replay: Replay, method: str, url: str, **body: object) -> Any:
    headers = {"Authorization": f"Token {replay.tokens['test_user']}"}
    response = replay.client.request(method, url, json=body or None, headers=headers)
    assert response.is_success, response.text
    return response.json() if response.content else None


def new_session(replay: Replay, subject: str, day: str, number: int = 1, **more: object) -> str:
    body = {"subject": subject, "number": number, "start_time": f"{day}T10:00:00", **more}
    return str(as_test_user(replay, "POST", "/sessions", **body)["id"])


def session_of_the_path(replay: Replay, exchange: dict[str, Any]) -> None:
    """Create the session that the request's path names."""
    subject, day, number = exchange["request_body"]["path"].split("/")[:3]
    new_session(replay, subject, day, int(number))


def orphaned_session(replay: Replay, exchange: dict[str, Any]) -> None:
    """Create the session of the path; the next case names it by its id."""
    session_of_the_path(replay, exchange)
    url = "/sessions?subject=SWC_004&date_range=2023-06-01,2023-06-01"
    theirs = replay.by_case["orphan"]["request_body"]["session"]
    replay.learn(theirs, as_test_user(replay, "GET", url)["results"][0]["url"])


def three_sessions_a_day(replay: Replay, exchange: dict[str, Any]) -> None:
    """Register something in three sessions of one day: two of them get a parent."""
    for number in (2, 3):
        new_session(replay, "SWC_004", "2023-03-01", number, start_time="2023-03-01T11:00:00")
    for number in (1, 2, 3):
        path = {**exchange["request_body"], "path": f"SWC_004/2023-03-01/{number:03d}", "created_by": "test_user"}
        as_test_user(replay, "POST", "/register-file", **path)


def a_session_with_a_parent(replay: Replay, exchange: dict[str, Any]) -> None:
    sessions = replay.client.get("/_sandbox/state").json()["sessions"]
    child = next(one for one in sessions if one["parent_session"] and one["subject"] == "SWC_004")
    path = f"SWC_004/2023-03-01/{child['number']:03d}"
    body = {"path": path, "filenames": ["alf/licks.times.npy"], "created_by": "rig_user"}
    as_test_user(replay, "POST", "/register-file", **body)
    replay.learn(exchange["path"], f"/sessions/{child['id']}")
    as_test_user(replay, "PATCH", f"/sessions/{child['id']}", number=1)


def dataset_of_the_cut_off_page(replay: Replay, exchange: dict[str, Any]) -> None:
    """Register the dataset that is changed: the recording of its registration was cut off before it."""
    wanted = exchange["response_body"]
    name = f"{wanted['collection']}/{wanted['name']}"
    path, hashes = "SWC_005/2023-06-01/001", [wanted["hash"]]
    (made,) = as_test_user(replay, "POST", "/register-file", path=path, filenames=[name], hashes=hashes)
    replay.learn(exchange["path"], f"/datasets/{made['id']}")


def empty_alyx(replay: Replay, exchange: dict[str, Any]) -> None:
    """The clients were recorded against a fresh database."""
    assert replay.client.delete("/_sandbox/state").status_code == 204
    assert replay.client.post("/_sandbox/state", json=REPOSITORIES).status_code == 201


def session_as_one_left_it(replay: Replay, exchange: dict[str, Any]) -> None:
    """Create the session that ONE had registered, from what a later case reads."""
    wanted = replay.by_case["one.json_field_update"]["response_body"]
    names = ("users", "procedures", "lab", "projects", "type", "start_time", "end_time", "json")
    eid = new_session(replay, "SWC_001", "2023-03-01", **{name: wanted[name] for name in names})
    replay.learn(wanted["id"], eid)


def weight_and_water(replay: Replay, exchange: dict[str, Any]) -> None:
    """Add what ibllib had sent with the session."""
    wanted = exchange["response_body"]
    for weighing in wanted["weighings"]:
        names = ("subject", "date_time", "weight", "user")
        as_test_user(replay, "POST", "/weighings", **{name: weighing[name] for name in names})
    for water in wanted["water_administrations"]:
        names = ("subject", "date_time", "water_administered", "water_type", "user", "adlib")
        eid = as_test_user(replay, "GET", "/sessions?subject=SWC_001")["results"][0]["id"]
        body = {name: water[name] for name in names}
        as_test_user(replay, "POST", "/water-administrations", **body, session=eid)


def some_session(replay: Replay, exchange: dict[str, Any]) -> None:
    eid = as_test_user(replay, "GET", "/sessions?subject=SWC_001")["results"][0]["id"]
    replay.learn(exchange["request_body"]["object_id"], eid)


def no_session_of_that_day(replay: Replay, exchange: dict[str, Any]) -> None:
    for session in as_test_user(replay, "GET", "/sessions?subject=SWC_002")["results"]:
        as_test_user(replay, "DELETE", f"/sessions/{session['id']}")


PREPARE: dict[str, Callable[[Replay, dict[str, Any]], None]] = {
    "register.twoaday": three_sessions_a_day,
    "twoaday.read": a_session_with_a_parent,
    "register.ok": orphaned_session,
    "register.page": session_of_the_path,
    "churn": dataset_of_the_cut_off_page,
    "race.different": session_of_the_path,
    "one.import+connect": empty_alyx,
    "one.register_session.again": session_as_one_left_it,
    "ibllib.register_session.again": weight_and_water,
    "ibllib.sessionnotes": some_session,
    "killed.retry": session_of_the_path,
    "register.two-types-match-really": session_of_the_path,
    "v": no_session_of_that_day,
}


@pytest.fixture(scope="module")
def exchanges() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SHARED / "exchanges.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory, exchanges: list[dict[str, Any]]) -> Iterator[Replay]:
    root = tmp_path_factory.mktemp("replay")
    with Sandbox(root, facts=FACTS) as sandbox, httpx.Client(base_url=sandbox.alyx_url) as client:
        assert client.post("/_sandbox/state", json=REPOSITORIES).status_code == 201
        tokens = {}
        for username, password in PASSWORDS.items():
            login = client.post("/auth-token", json={"username": username, "password": password})
            tokens[username] = login.json()["token"]
        replay = Replay(client, tokens, {exchange["case"]: exchange for exchange in exchanges})
        replay.run(exchanges)
        yield replay


def test_ruling_28_every_recorded_call_gets_the_recorded_answer(
    replay: Replay, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nreplayed {replay.made} recorded calls; left out:")
        for case, reason in LEFT_OUT.items():
            print(f"  {case}: {reason}")
    assert not replay.differences, "\n".join(replay.differences)


def test_only_the_named_cases_are_left_out(replay: Replay, exchanges: list[dict[str, Any]]) -> None:
    assert set(LEFT_OUT) <= {exchange["case"] for exchange in exchanges}
    assert replay.made == len([exchange for exchange in exchanges if exchange["case"] not in LEFT_OUT])
    assert len(LEFT_OUT) <= 12


def test_the_schema_describes_a_part_of_the_real_one(replay: Replay) -> None:
    """No path, method, parameter or field of ours is unknown to the recorded schema."""
    real = json.loads((SHARED / "openapi.json").read_text("utf-8"))
    ours = replay.client.get("/api/schema").json()
    strange = []
    for path, operations in ours["paths"].items():
        theirs = real["paths"].get(path) or real["paths"].get(path.replace("{name}", other_key(path)), {})
        for method, operation in operations.items():
            if method not in theirs:
                strange.append(f"{method} {path}")
                continue
            known = {parameter["name"] for parameter in theirs[method].get("parameters", [])}
            named = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"}
            strange += [f"{method} {path}?{name}" for name in sorted(named - known)]
            strange += [f"{method} {path} {name}" for name in fields(ours, operation) - fields(real, theirs[method])]
    assert strange == []


def other_key(path: str) -> str:
    return "{username}" if path.startswith("/users") else "{nickname}"


def fields(schema: dict[str, Any], operation: dict[str, Any]) -> set[str]:
    if "requestBody" not in operation or operation["operationId"].startswith(("register", "auth")):
        return set()
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    return set(schema["components"]["schemas"][reference.rpartition("/")[2]]["properties"])
