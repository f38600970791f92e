"""Our Globus service, with the real SDK, against the sandbox's Globus over HTTP."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from labferry.archive.base import StoppedError, never
from labferry.archive.globus.document import label
from labferry.archive.globus.faults import ConflictError
from labferry.archive.globus.grants import Grants
from labferry.archive.globus.login import ApplicationLogin
from labferry.archive.globus.overwriting import directories
from labferry.archive.globus.paths import CollectionMap, join
from labferry.archive.globus.service import GlobusService
from labferry.archive.globus.values import Entry, Submission, Task, TaskStatus, TransferItem
from labferry.archive.globus.verification import arrivals_differ, counters_differ, missing_or_different
from labferry.errors import BlockedError, ConfigError, LabferryError, NotYetError, UnavailableError
from labferry.sandbox.run import Sandbox
from labferry.sandbox.seed import LOCAL_ENDPOINT, SERVER_ENDPOINT
from support.wait import wait_until

HPC = "archive:hpc"
NOBODY = "11111111-2222-4333-8444-555555555555"
GRANTS = "POST /v2/oauth2/token"
NUMBERS = count()  # no two tests write the same files


@dataclass
class World:
    """A Globus with a lab server's collection and an archive's, and services that speak to it."""

    sandbox: Sandbox
    _services: list[GlobusService] = field(default_factory=list)

    # --- services -------------------------------------------------------------------------------------------

    @property
    def secret(self) -> str:
        return self.sandbox.client_secret_file.read_text().strip()

    def service(
        self, secret: Callable[[], str] | None = None, auth_url: str | None = None, **changes: Any
    ) -> GlobusService:
        """A new service that does what the daemon's does, with `changes`."""
        auth_url = self.sandbox.globus_auth_url if auth_url is None else auth_url
        grants = Grants(self.sandbox.client_id, auth_url=auth_url, user_agent="labferry-contract-tests")
        settings: dict[str, Any] = {
            "transfer_url": self.sandbox.globus_transfer_url,
            "user_agent": "labferry-contract-tests",
            "stop": never,
            "deadline": 30.0,
        }
        login = partial(ApplicationLogin, grants, secret or (lambda: self.secret))
        service = GlobusService(login, **{**settings, **changes})
        self._services.append(service)
        return service

    def leave(self) -> None:
        self.clear_faults()
        for service in self._services:
            service.close()

    # --- files ----------------------------------------------------------------------------------------------

    def cargo(self, *contents: bytes) -> tuple[TransferItem, ...]:
        """New files on the lab server, and where they shall go."""
        name = f"session{next(NUMBERS)}"
        folder = self.sandbox.places.watch_root / name
        folder.mkdir(parents=True)
        items = []
        for number, content in enumerate(contents):
            file = folder / f"{number}.npy"
            file.write_bytes(content)
            source = CollectionMap("/", "/").to_collection(bytes(file))
            destination = join("/lab/Subjects", name, f"alf/{number}.npy")
            items.append(TransferItem(source, destination, len(content), hashlib.md5(content).hexdigest()))
        return tuple(items)

    def place(self, item: TransferItem) -> Path:
        """Where an item ends up on this machine."""
        return self.sandbox.places.archive / item.destination.lstrip("/")

    def submission(self, service: GlobusService, items: tuple[TransferItem, ...]) -> Submission:
        batch = f"b{next(NUMBERS)}"
        return Submission(service.new_submission_id(), label("contract", batch), LOCAL_ENDPOINT, SERVER_ENDPOINT, items)

    def ended(self, service: GlobusService, task_id: str) -> Task:
        """Wait until a task has ended."""

        def look() -> Task | None:
            task = service.tasks([task_id])[task_id]
            return task if task.status in {TaskStatus.SUCCEEDED, TaskStatus.FAILED} else None

        found = wait_until(look, timeout=30, what=f"the end of task {task_id}")
        assert found is not None
        return found

    # --- the sandbox's own ----------------------------------------------------------------------------------

    def fault(self, **rule: Any) -> int:
        answer = httpx.post(f"{self.sandbox.alyx_url}/_sandbox/faults", json=rule)
        answer.raise_for_status()
        return int(answer.json()["id"])

    def clear_faults(self) -> None:
        httpx.delete(f"{self.sandbox.alyx_url}/_sandbox/faults").raise_for_status()

    def requests(self) -> list[str]:
        """All requests so far, without their queries."""
        text = httpx.get(f"{self.sandbox.alyx_url}/_sandbox/requests").text
        rows = [json.loads(row) for row in text.splitlines()]
        return [f"{row['method']} {row['path'].partition('?')[0]}" for row in rows]

    def bodies(self, line: str) -> list[str]:
        """What was sent with all requests so far of this line."""
        text = httpx.get(f"{self.sandbox.alyx_url}/_sandbox/requests").text
        rows = [json.loads(row) for row in text.splitlines()]
        return [json.dumps(row["body"]) for row in rows if f"{row['method']} {row['path']}" == line]


@pytest.fixture(scope="module")
def _sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(Path(tmp_path_factory.mktemp("sandbox"))) as sandbox:
        yield sandbox


@pytest.fixture
def world(_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    world = World(_sandbox)
    yield world
    world.leave()


@pytest.fixture
def service(world: World) -> GlobusService:
    return world.service()


# --- what a collection holds --------------------------------------------------------------------------------


def test_ruling_18_a_listing_shows_files_and_folders_and_none_for_what_is_not_there(
    world: World, service: GlobusService
) -> None:
    folder = world.sandbox.places.archive / "listed"
    (folder / "alf").mkdir(parents=True)
    (folder / "a.npy").write_bytes(b"12345")
    (folder / ".hidden").write_bytes(b"")
    found = service.listing(SERVER_ENDPOINT, "/listed", blame=HPC)
    assert found is not None
    assert found["a.npy"] == Entry("a.npy", 5, is_file=True)
    assert not found["alf"].is_file
    assert set(found) == {"a.npy", "alf", ".hidden"}
    assert service.listing(SERVER_ENDPOINT, "/listed/alf", blame=HPC) == {}
    assert service.listing(SERVER_ENDPOINT, "/listed/raw", blame=HPC) is None


def test_ruling_18_a_folder_of_more_than_one_page_is_read_to_its_end(
    world: World, service: GlobusService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labferry.archive.globus.calls.LISTING_LIMIT", 4)
    folder = world.sandbox.places.archive / "paged"
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}").touch()
    found = service.listing(SERVER_ENDPOINT, "/paged", blame=HPC)
    assert found is not None
    assert sorted(found) == [f"{number}" for number in range(10)]


@pytest.mark.parametrize(("becomes", "code"), [("offline", "collection_offline"), ("denied", "collection_denied")])
def test_a_collection_that_cannot_be_listed_is_its_own_outage(
    world: World, service: GlobusService, becomes: str, code: str
) -> None:
    world.fault(action="collection", match=SERVER_ENDPOINT, becomes=becomes, times=None)
    with pytest.raises(UnavailableError) as caught:
        service.listing(SERVER_ENDPOINT, "/", blame=HPC)
    assert (caught.value.dependency, caught.value.code) == (HPC, code)
    world.clear_faults()
    assert service.listing(SERVER_ENDPOINT, "/", blame=HPC) is not None


@pytest.mark.parametrize("endpoint", [NOBODY, "not-a-uuid"])
def test_bad_input_an_endpoint_that_does_not_exist_is_not_an_empty_folder(
    service: GlobusService, endpoint: str
) -> None:
    with pytest.raises(UnavailableError, match=endpoint) as caught:
        service.listing(endpoint, "/", blame=HPC)
    assert (caught.value.dependency, caught.value.code) == (HPC, "collection_unknown")


# --- from submission to verification ------------------------------------------------------------------------


def test_map_08_files_arrive_and_are_verified_three_times(world: World, service: GlobusService) -> None:
    items = world.cargo(b"spikes", b"", b"x" * 100_000)
    submission = world.submission(service, items)
    task = world.ended(service, service.submit(submission))
    assert task.status is TaskStatus.SUCCEEDED
    assert task.label == submission.label
    assert counters_differ(task, len(items)) == ""
    arrived = service.arrived(task.task_id)
    assert {one.destination for one in arrived} == {item.destination for item in items}
    assert {one.algorithm for one in arrived} == {"MD5"}
    assert arrivals_differ(arrived, items) == {}
    listings = {folder: service.listing(SERVER_ENDPOINT, folder, blame=HPC) for folder in directories(items)}
    assert len(listings) == 1
    assert missing_or_different(listings, items) == []
    assert [world.place(item).read_bytes() for item in items] == [b"spikes", b"", b"x" * 100_000]


def test_map_08_files_that_were_there_are_counted_as_equal_and_not_listed_as_arrived(
    world: World, service: GlobusService
) -> None:
    items = world.cargo(b"one", b"two")
    world.ended(service, service.submit(world.submission(service, items)))
    again = world.ended(service, service.submit(world.submission(service, items)))
    assert (again.files_transferred, again.files_skipped) == (0, 2)
    assert counters_differ(again, 2) == ""
    assert service.arrived(again.task_id) == []


def test_map_08_what_arrived_is_read_to_the_last_page(world: World, service: GlobusService) -> None:
    items = world.cargo(*(b"%d" % number for number in range(1005)))
    task = world.ended(service, service.submit(world.submission(service, items)))
    arrived = service.arrived(task.task_id)
    assert len(arrived) == 1005
    assert arrivals_differ(arrived, items) == {}


def test_map_08_a_wrong_checksum_fails_the_whole_task(world: World, service: GlobusService) -> None:
    (item,) = world.cargo(b"content")
    wrong = TransferItem(item.source, item.destination, item.size, "0" * 32)
    task = world.ended(service, service.submit(world.submission(service, (wrong,))))
    assert (task.status, task.fatal_code) == (TaskStatus.FAILED, "EXTERNAL_CHECKSUM_MISMATCH")
    assert counters_differ(task, 1) != ""


# --- submitting exactly once --------------------------------------------------------------------------------


def test_map_03_an_answer_that_is_lost_does_not_double_a_task(world: World, service: GlobusService) -> None:
    submission = world.submission(service, world.cargo(b"only once"))
    world.fault(match="POST /v0.10/transfer", when="after", action="drop")
    with pytest.raises(UnavailableError) as caught:
        service.submit(submission)
    assert caught.value.code == "globus_down"
    first = service.submit(submission)
    assert world.service().submit(submission) == first  # as after a restart
    assert world.ended(service, first).status is TaskStatus.SUCCEEDED
    assert service.submit(submission) == first  # even when it has ended long ago


def test_map_03_identical_paths_are_a_conflict_until_the_first_task_is_found(
    world: World, service: GlobusService
) -> None:
    items = world.cargo(b"twice")
    world.fault(action="task", match=SERVER_ENDPOINT, becomes="STALLED")
    first, second = world.submission(service, items), world.submission(service, items)
    task_id = service.submit(first)
    with pytest.raises(ConflictError, match="identical paths"):
        service.submit(second)
    assert [task.task_id for task in service.find(first.label)] == [task_id]
    assert service.find(second.label) == []
    assert service.find(first.label[:-1]) == []
    world.clear_faults()
    assert world.ended(service, task_id).status is TaskStatus.SUCCEEDED
    assert service.find(first.label) == []


def test_bad_input_a_document_that_is_refused_needs_a_person(world: World, service: GlobusService) -> None:
    submission = Submission(
        service.new_submission_id(), "not: a label", LOCAL_ENDPOINT, SERVER_ENDPOINT, world.cargo(b"")
    )
    with pytest.raises(BlockedError, match=r"InvalidLabel.*\(request \w+\)") as caught:
        service.submit(submission)
    assert caught.value.code == "transfer_refused"


def test_map_03_a_full_queue_is_waited_for(world: World, service: GlobusService) -> None:
    body = {"code": "TooManyPendingJobs", "message": "You already have 100 pending jobs", "request_id": "x"}
    world.fault(match="POST /v0.10/transfer", action="status", status=409, body=body)
    with pytest.raises(UnavailableError) as caught:
        service.submit(world.submission(service, world.cargo(b"")))
    assert (caught.value.code, caught.value.retry_after) == ("globus_busy", 60)


# --- watching -----------------------------------------------------------------------------------------------


def test_map_03_all_tasks_are_looked_at_with_one_request(world: World, service: GlobusService) -> None:
    ids = [service.submit(world.submission(service, world.cargo(b"%d" % number))) for number in range(12)]
    for task_id in ids:
        world.ended(service, task_id)
    before = len(world.requests())
    tasks = service.tasks([*ids, NOBODY, ids[0]])
    assert len(world.requests()) == before + 1
    assert set(tasks) == set(ids)
    assert {task.status for task in tasks.values()} == {TaskStatus.SUCCEEDED}
    assert service.tasks([]) == {}
    assert len(world.requests()) == before + 1


def test_each_method_is_one_request(world: World, service: GlobusService) -> None:
    task_id = service.submit(world.submission(service, world.cargo(b"count me")))
    world.ended(service, task_id)
    before = len(world.requests())
    service.new_submission_id()
    service.listing(SERVER_ENDPOINT, "/", blame=HPC)
    service.find("nothing")
    service.arrived(task_id)
    service.faults(task_id)
    service.cancel(task_id)
    assert world.requests()[before:] == [
        "GET /v0.10/submission_id",
        f"GET /v0.10/operation/endpoint/{SERVER_ENDPOINT}/ls",
        "GET /v0.10/task_list",
        f"GET /v0.10/task/{task_id}/successful_transfers",
        f"GET /v0.10/task/{task_id}/event_list",
        f"POST /v0.10/task/{task_id}/cancel",
    ]


def test_bad_input_a_missing_source_is_a_fault_and_not_an_end(world: World, service: GlobusService) -> None:
    (item,) = world.cargo(b"gone")
    Path(item.source).unlink()
    task_id = service.submit(world.submission(service, (item,)))
    faults = wait_until(lambda: service.faults(task_id), what="a fault of the task")
    assert faults[0].code == "FILE_NOT_FOUND"
    assert item.source in faults[0].text
    task = service.tasks([task_id])[task_id]
    assert (task.status, task.is_ok, task.nice_status) == (TaskStatus.ACTIVE, False, "FILE_NOT_FOUND")
    assert task.faults >= 1
    with pytest.raises(NotYetError) as caught:
        service.arrived(task_id)
    assert (caught.value.code, caught.value.after) == ("transfer_ending", 5)
    service.cancel(task_id)
    cancelled = world.ended(service, task_id)
    assert (cancelled.status, cancelled.fatal_code) == (TaskStatus.FAILED, "CANCELED")
    service.cancel(task_id)


@pytest.mark.parametrize(
    ("becomes", "status", "paused"), [("INACTIVE", TaskStatus.INACTIVE, False), ("PAUSED", TaskStatus.ACTIVE, True)]
)
def test_bad_input_a_task_that_is_suspended_says_so(
    world: World, service: GlobusService, becomes: str, status: TaskStatus, paused: bool
) -> None:
    world.fault(action="task", match=SERVER_ENDPOINT, becomes=becomes)
    task_id = service.submit(world.submission(service, world.cargo(b"rest")))

    def says_so() -> bool:
        task = service.tasks([task_id])[task_id]
        return (task.status, task.paused) == (status, paused)

    wait_until(says_so, what=f"the task being {becomes}")
    service.cancel(task_id)


def test_a_task_nobody_knows_has_nothing_to_tell(service: GlobusService) -> None:
    assert service.tasks([NOBODY]) == {}
    assert service.faults(NOBODY) == []
    assert service.arrived(NOBODY) == []
    service.cancel(NOBODY)
    assert service.find("nothing") == []


# --- logging in ---------------------------------------------------------------------------------------------


def test_one_token_serves_many_requests(world: World, service: GlobusService) -> None:
    before = world.requests().count(GRANTS)
    for _ in range(3):
        service.new_submission_id()
    assert world.requests().count(GRANTS) == before + 1


def test_bad_input_a_wrong_client_secret_heals_without_a_restart(world: World, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("wr0ng\n")
    service = world.service(secret=file.read_text)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="invalid_client") as caught:
            service.new_submission_id()
        assert (caught.value.dependency, caught.value.code) == ("globus", "globus_login")
        assert "wr0ng" not in caught.value.message
    file.write_text(f"{world.secret}\n")
    assert service.new_submission_id()


def test_bad_input_a_secret_that_cannot_be_read_is_a_login_that_is_needed(world: World, tmp_path: Path) -> None:
    def refuse() -> str:
        raise ConfigError("the secret file is empty")

    for secret, words in (((tmp_path / "none").read_text, "No such file"), (refuse, "is empty")):
        with pytest.raises(UnavailableError, match=words) as caught:
            world.service(secret=secret).new_submission_id()
        assert caught.value.code == "globus_login"


def test_a_token_that_is_not_accepted_any_more_is_replaced(world: World, service: GlobusService) -> None:
    assert service.new_submission_id()
    body = {"code": "AuthenticationFailed", "message": "Token is not active", "request_id": "x"}
    world.fault(match="GET /v0.10/submission_id", action="status", status=401, body=body)
    before = len(world.requests())
    assert service.new_submission_id()
    assert world.requests()[before:] == ["GET /v0.10/submission_id", GRANTS, "GET /v0.10/submission_id"]


def test_a_token_that_is_never_accepted_is_a_login_that_is_needed(world: World, service: GlobusService) -> None:
    body = {"code": "AuthenticationFailed", "message": "Token is not active", "request_id": "x"}
    world.fault(match="GET /v0.10/submission_id", action="status", status=401, body=body, times=None)
    before = len(world.requests())
    with pytest.raises(UnavailableError, match="Token is not active") as caught:
        service.new_submission_id()
    assert caught.value.code == "globus_login"
    assert world.requests()[before:].count("GET /v0.10/submission_id") == 2


def test_a_token_is_renewed_before_it_ends(world: World, service: GlobusService) -> None:
    """Also where the Transfer token is not the first of those that were granted."""
    form = {"grant_type": "client_credentials"}
    client = (world.sandbox.client_id, world.secret)
    granted = httpx.post(f"{world.sandbox.globus_auth_url}/v2/oauth2/token", data=form, auth=client).json()
    other = {"resource_server": "auth.globus.org", "access_token": "other", "expires_in": 172800}
    body = {**other, "other_tokens": [{**granted, "expires_in": 59}]}
    world.fault(match=GRANTS, action="status", status=200, body=body)
    before = len(world.requests())
    for _ in range(3):
        service.new_submission_id()
    id_request = "GET /v0.10/submission_id"
    assert world.requests()[before:] == [GRANTS, id_request, GRANTS, id_request, id_request]


def consent(times: int | None) -> dict[str, Any]:
    scope = f"urn:globus:auth:scope:transfer.api.globus.org:all[*https://auth.globus.org/scopes/{NOBODY}/data_access]"
    body = {"code": "ConsentRequired", "message": "Missing required data_access consent", "required_scopes": [scope]}
    return {"match": "/ls?", "action": "status", "status": 403, "body": body, "times": times}


def test_a_consent_that_is_missing_is_granted_by_asking_for_it(world: World, service: GlobusService) -> None:
    world.fault(**consent(times=1))
    assert service.listing(SERVER_ENDPOINT, "/", blame=HPC) is not None
    assert f"{NOBODY}/data_access" in world.bodies(GRANTS)[-1]
    before = world.requests().count(GRANTS)
    assert service.listing(SERVER_ENDPOINT, "/", blame=HPC) is not None
    assert world.requests().count(GRANTS) == before


def test_a_consent_that_is_still_missing_is_named(world: World, service: GlobusService) -> None:
    world.fault(**consent(times=None))
    with pytest.raises(UnavailableError, match=f"{NOBODY}/data_access") as caught:
        service.listing(SERVER_ENDPOINT, "/", blame=HPC)
    assert (caught.value.dependency, caught.value.code) == (HPC, "globus_login"), "other collections admit us"


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 200, "body": "<html>portal</html>"},
        {"status": 200, "body": ["no", "token"]},
        {"status": 200, "body": {"access_token": "s3cret"}},
        {"status": 200, "body": {"resource_server": "transfer.api.globus.org", "access_token": "two w0rds"}},
        {"status": 503, "body": "<html>maintenance</html>"},
        {"status": 404, "body": "<html>nginx</html>"},
    ],
)
def test_what_is_no_token_is_an_outage_and_never_shown(
    world: World, service: GlobusService, answer: dict[str, Any]
) -> None:
    world.fault(match=GRANTS, action="status", **answer)
    with pytest.raises(UnavailableError) as caught:
        service.listing(SERVER_ENDPOINT, "/", blame=HPC)
    assert (caught.value.dependency, caught.value.code) == ("globus", "globus_down")
    for secret in ("s3cret", "w0rds", "<html>"):
        assert secret not in caught.value.message
    assert service.listing(SERVER_ENDPOINT, "/", blame=HPC) is not None


@pytest.mark.parametrize("scope_error", [{"error": "invalid_scope"}, {"errors": [{"code": "BAD", "detail": "no"}]}])
def test_any_grant_that_is_refused_is_a_login_that_is_needed(
    world: World, service: GlobusService, scope_error: dict[str, Any]
) -> None:
    world.fault(match=GRANTS, action="status", status=400, body=scope_error)
    with pytest.raises(UnavailableError) as caught:
        service.new_submission_id()
    assert caught.value.code == "globus_login"
    assert world.secret not in caught.value.message


# --- services that do not answer, or not as they should -----------------------------------------------------


def test_bad_input_too_many_requests_are_not_repeated_but_reported(world: World, service: GlobusService) -> None:
    body = {"code": "ClientError.RateLimited", "message": "slow down", "request_id": "x"}
    rule = {"action": "status", "status": 429, "body": body, "headers": {"Retry-After": "30"}}
    world.fault(match="GET /v0.10/task_list", **rule)
    before, started = len(world.requests()), time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        service.tasks([NOBODY])
    assert (caught.value.code, caught.value.retry_after) == ("globus_throttled", 30)
    assert time.monotonic() - started < 10
    assert world.requests()[before:].count("GET /v0.10/task_list") == 1


@pytest.mark.parametrize(
    "rule",
    [
        {"action": "drop"},
        {"action": "status", "status": 500},
        {"action": "status", "status": 500, "body": ["no", "object"]},
        {"action": "status", "status": 500, "body": {"code": None}},
        {"action": "status", "status": 502, "body": "<html>Bad Gateway</html>"},
        {"action": "status", "status": 200, "body": "<html>captive portal</html>"},
        {"action": "status", "status": 200, "body": ["no", "object"]},
        {"action": "status", "status": 200, "body": {"DATA": "no rows"}},
        {"action": "status", "status": 200, "body": {}},
    ],
)
def test_bad_input_whatever_is_no_answer_of_globus_is_an_outage(
    world: World, service: GlobusService, rule: dict[str, Any]
) -> None:
    requests = {
        "/ls?": lambda: service.listing(SERVER_ENDPOINT, "/", blame=HPC),
        "/submission_id": service.new_submission_id,
        "/task_list": lambda: service.tasks([NOBODY]),
        "/successful_transfers": lambda: service.arrived(NOBODY),
        "/event_list": lambda: service.faults(NOBODY),
    }
    for match, request in requests.items():
        world.fault(match=match, **rule)
        with pytest.raises(UnavailableError) as caught:
            request()
        assert (caught.value.dependency, caught.value.code) == ("globus", "globus_down"), match
        assert "<html>" not in caught.value.message
    assert service.new_submission_id()


def test_nobody_there_says_so(world: World) -> None:
    nowhere = "http://127.0.0.1:1/"
    for service in (world.service(transfer_url=nowhere), world.service(auth_url=nowhere)):
        with pytest.raises(UnavailableError, match="Connection refused") as caught:
            service.new_submission_id()
        assert caught.value.code == "globus_down"


def test_bad_input_a_blocked_service_is_given_up_and_the_next_request_is_served(world: World) -> None:
    service = world.service(deadline=1.0)
    assert service.new_submission_id()
    rule = world.fault(match="GET /v0.10/submission_id", action="hold")
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="no answer within 1 s"):
        service.new_submission_id()
    assert time.monotonic() - started < 5
    assert service.tasks([NOBODY]) == {}  # the first one is still held
    httpx.delete(f"{world.sandbox.alyx_url}/_sandbox/faults", params={"id": rule}).raise_for_status()
    assert service.new_submission_id()


def test_bad_input_a_blocked_service_does_not_delay_the_end_of_the_daemon(world: World) -> None:
    stopping = threading.Event()
    service = world.service(stop=stopping.is_set)
    rule = world.fault(match="GET /v0.10/submission_id", action="hold")
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            service.new_submission_id()
        except StoppedError as error:
            errors.append(error)

    lane = threading.Thread(target=ask)
    lane.start()
    faults = f"{world.sandbox.alyx_url}/_sandbox/faults"
    httpx.get(faults, params={"wait": rule}, timeout=20).raise_for_status()
    stopping.set()
    lane.join(5)
    assert not lane.is_alive()
    assert len(errors) == 1
    with pytest.raises(StoppedError):
        service.tasks([NOBODY])


def test_no_message_holds_a_secret(world: World, service: GlobusService) -> None:
    """Whatever is answered, neither the secret nor a token is repeated to an operator."""
    messages = []
    for status in (400, 401, 403, 404, 409, 429, 500, 502):
        world.fault(match="GET /v0.10/submission_id", action="status", status=status, times=None)
        with pytest.raises(LabferryError) as caught:
            service.new_submission_id()
        messages.append(caught.value.message)
        world.clear_faults()
    assert not [message for message in messages if world.secret in message or "Bearer" in message]
