"""The sandbox's Globus, driven by the real globus-sdk over HTTP; what is assumed of the real service is marked."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import globus_sdk
import httpx
import pytest
from globus_sdk.transport import RetryConfig

from labferry.sandbox.globus.auth import CLIENT_ID, LIFE
from labferry.sandbox.globus.copying import CHUNK, Wish, move
from labferry.sandbox.run import Sandbox
from labferry.sandbox.seed import LOCAL_ENDPOINT, SERVER_ENDPOINT
from support.clock import FakeClock
from support.wait import wait_until

FOLDER = "/cortexlab/Subjects/KS005/2026-03-02/001/alf"
ALL = globus_sdk.TransferClient.scopes.all


class Customer:
    """A service account of Globus who also pulls the sandbox's strings."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.source = sandbox.places.watch_root / "KS005" / "2026-03-02" / "001" / "alf"
        self.source.mkdir(parents=True, exist_ok=True)
        self.archive = sandbox.places.archive
        self.secret = sandbox.client_secret_file.read_text("utf-8").strip()
        self.auth = globus_sdk.ConfidentialAppAuthClient(
            CLIENT_ID, self.secret, base_url=sandbox.globus_auth_url, retry_config=RetryConfig(max_retries=0)
        )
        self.transfer = self.client(globus_sdk.ClientCredentialsAuthorizer(self.auth, ALL))
        self.http = httpx.Client(base_url=sandbox.alyx_url, timeout=30)

    def client(
        self, authorizer: globus_sdk.authorizers.GlobusAuthorizer, retries: int = 0
    ) -> globus_sdk.TransferClient:
        retry = RetryConfig(max_retries=retries)
        return globus_sdk.TransferClient(
            authorizer=authorizer, base_url=self.sandbox.globus_transfer_url, retry_config=retry
        )

    # --- files and tasks ----------------------------------------------------------------------------------

    def write(self, *names: str, content: bytes | None = None) -> list[str]:
        for name in names:
            (self.source / name).write_bytes(name.encode() * 100 if content is None else content)
        return list(names)

    def there(self, name: str) -> Path:
        return self.archive / FOLDER.lstrip("/") / name

    def data(self, *names: str, checksums: dict[str, str] | None = None, **options: Any) -> globus_sdk.TransferData:
        wanted = {"sync_level": "checksum", "verify_checksum": True, "preserve_timestamp": True, **options}
        data = globus_sdk.TransferData(LOCAL_ENDPOINT, SERVER_ENDPOINT, **wanted)
        for name in names:
            more: dict[str, Any] = {"external_checksum": checksums[name]} if checksums else {}
            data.add_item(str(self.source / name), f"{FOLDER}/{name}", **more)
        return data

    def submit(self, *names: str, **options: Any) -> str:
        return str(self.transfer.submit_transfer(self.data(*names, **options))["task_id"])

    def task(self, task: str) -> dict[str, Any]:
        return dict(self.transfer.get_task(task).data)

    def wait(self, task: str, what: str, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        def look() -> dict[str, Any]:
            seen = self.task(task)
            return seen if fits(seen) else {}

        found: dict[str, Any] = wait_until(look, what=lambda: f"{what} of {self.task(task)}")
        return found

    def ended(self, task: str) -> dict[str, Any]:
        return self.wait(task, "the end", lambda seen: seen["completion_time"] is not None)

    def troubled(self, task: str, code: str) -> dict[str, Any]:
        return self.wait(task, code, lambda seen: seen["nice_status"] == code)

    def events(self, task: str, *, errors: bool = False) -> list[str]:
        query = {"filter": "is_error:1"} if errors else {}
        return [event["code"] for event in self.transfer.paginated.task_event_list(task, query_params=query).items()]

    # --- strings ------------------------------------------------------------------------------------------

    def fault(self, **rule: object) -> int:
        answer = self.http.post("/_sandbox/faults", json=rule)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def clear_faults(self) -> None:
        assert self.http.delete("/_sandbox/faults").status_code == 204

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.http.get("/_sandbox/requests").text.splitlines()]

    def state(self) -> dict[str, Any]:
        return dict(self.http.get("/_sandbox/state").json()["globus"])

    def close(self) -> None:
        self.transfer.close()
        self.auth.close()
        self.http.close()


@pytest.fixture
def customer(tmp_path: Path) -> Iterator[Customer]:
    with Sandbox(tmp_path / "sandbox") as sandbox:
        customer = Customer(sandbox)
        yield customer
        customer.close()


def refused(call: Callable[[], object]) -> tuple[int, str]:
    """Return status and code of what Transfer refuses."""
    with pytest.raises(globus_sdk.TransferAPIError) as caught:
        call()
    error = caught.value
    assert error.request_id
    assert error.message
    return error.http_status, str(error.code)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


# --- Auth -------------------------------------------------------------------------------------------------


def test_a_service_account_gets_tokens_for_each_service_it_names(customer: Customer) -> None:
    answer = customer.auth.oauth2_client_credentials_tokens(requested_scopes=[ALL, "openid"])
    assert set(answer.by_resource_server) == {"transfer.api.globus.org", "auth.globus.org"}
    token = answer.by_resource_server["transfer.api.globus.org"]
    assert (token["scope"], token["refresh_token"]) == (str(ALL), None)
    assert answer["expires_in"] == LIFE


def test_a_client_app_works_as_the_daemon_builds_it(customer: Customer) -> None:
    config = globus_sdk.GlobusAppConfig(token_storage="memory", auto_redrive_gares=True)
    app = globus_sdk.ClientApp("test", login_client=customer.auth, config=config)
    client = globus_sdk.TransferClient(app=app, base_url=customer.sandbox.globus_transfer_url)
    client.add_app_data_access_scope(SERVER_ENDPOINT)
    assert client.get_endpoint(SERVER_ENDPOINT)["id"] == SERVER_ENDPOINT
    client.close()


def test_a_wrong_secret_is_an_invalid_client(customer: Customer) -> None:
    wrong = globus_sdk.ConfidentialAppAuthClient(CLIENT_ID, "wrong", base_url=customer.sandbox.globus_auth_url)
    client = customer.client(globus_sdk.ClientCredentialsAuthorizer(wrong, ALL, access_token="x", expires_at=0))
    with pytest.raises(globus_sdk.AuthAPIError) as caught:
        client.get_submission_id()
    assert (caught.value.http_status, caught.value.raw_json["error"]) == (401, "invalid_client")  # type: ignore[index]
    wrong.close()
    client.close()


def test_a_refresh_token_is_good_until_it_is_revoked(customer: Customer) -> None:
    granted = customer.auth.oauth2_client_credentials_tokens(requested_scopes=[ALL, "offline_access"])
    refresh = granted["refresh_token"]
    again = customer.auth.oauth2_refresh_token(refresh)
    assert again["access_token"] != granted["access_token"]
    assert customer.client(globus_sdk.AccessTokenAuthorizer(again["access_token"])).get_submission_id()["value"]
    customer.auth.oauth2_revoke_token(refresh)
    with pytest.raises(globus_sdk.AuthAPIError) as caught:
        customer.auth.oauth2_refresh_token(refresh)
    assert caught.value.raw_json["error"] == "invalid_grant"  # type: ignore[index]


def test_a_revoked_token_is_replaced_without_a_word(customer: Customer) -> None:
    authorizer = globus_sdk.ClientCredentialsAuthorizer(customer.auth, ALL)
    old = authorizer.access_token
    assert old
    customer.auth.oauth2_revoke_token(old)
    assert customer.client(authorizer, retries=1).get_submission_id()["value"]
    assert authorizer.access_token != old


def test_a_token_nobody_granted_is_refused(customer: Customer) -> None:
    stranger = customer.client(globus_sdk.AccessTokenAuthorizer("nobody's"))
    assert refused(stranger.get_submission_id) == (401, "AuthenticationFailed")
    auth_only = customer.auth.oauth2_client_credentials_tokens(requested_scopes=["openid"])["access_token"]
    other = customer.client(globus_sdk.AccessTokenAuthorizer(auth_only))
    assert refused(other.get_submission_id) == (401, "AuthenticationFailed")


def test_tokens_expire_after_two_days(tmp_path: Path) -> None:
    clock = FakeClock()
    with Sandbox(tmp_path, clock=clock) as sandbox:
        customer = Customer(sandbox)
        token = customer.auth.oauth2_client_credentials_tokens(requested_scopes=ALL)["access_token"]
        client = customer.client(globus_sdk.AccessTokenAuthorizer(token))
        clock.pass_by(LIFE - 1)
        assert client.get_submission_id()["value"]
        clock.pass_by(1)
        assert refused(client.get_submission_id) == (401, "AuthenticationFailed")
        customer.close()


def test_a_missing_consent_can_be_injected_as_the_sdk_understands_it(customer: Customer) -> None:
    body = {"code": "ConsentRequired", "message": "Missing required data_access consent", "required_scopes": ["s"]}
    customer.fault(match="/ls", action="status", status=403, body=body)
    with pytest.raises(globus_sdk.TransferAPIError) as caught:
        customer.transfer.operation_ls(SERVER_ENDPOINT, "/")
    assert caught.value.info.consent_required
    assert caught.value.info.consent_required.required_scopes == ["s"]
    assert customer.transfer.operation_ls(SERVER_ENDPOINT, "/").http_status == 200


def test_consents_of_the_client_itself_can_be_read(customer: Customer) -> None:
    token = customer.auth.oauth2_client_credentials_tokens(requested_scopes=["openid"])["access_token"]
    service = globus_sdk.AuthClient(
        authorizer=globus_sdk.AccessTokenAuthorizer(token), base_url=customer.sandbox.globus_auth_url
    )
    assert [one["scope_name"] for one in service.get_consents(CLIENT_ID)] == [str(ALL)]
    with pytest.raises(globus_sdk.AuthAPIError) as caught:
        service.get_consents(uuid.uuid4())
    assert caught.value.http_status == 403
    service.close()


# --- submitting -------------------------------------------------------------------------------------------


def test_a_task_moves_its_files_and_tells_of_them(customer: Customer) -> None:
    names = customer.write("a.npy", "b.npy")
    os.utime(customer.source / "a.npy", (1_700_000_000, 1_700_000_000))
    checksums = {name: md5((customer.source / name).read_bytes()).upper() for name in names}
    answer = customer.transfer.submit_transfer(customer.data(*names, checksums=checksums, label="labferry 1 a_b"))
    assert (answer.http_status, answer["code"]) == (202, "Accepted")
    task = customer.ended(answer["task_id"])
    size = sum((customer.source / name).stat().st_size for name in names)
    expected = {
        "status": "SUCCEEDED", "label": "labferry 1 a_b", "files": 2, "files_transferred": 2, "files_skipped": 0,
        "bytes_transferred": size, "bytes_checksummed": size, "subtasks_total": 3, "subtasks_succeeded": 3,
        "subtasks_pending": 0, "subtasks_skipped_errors": 0, "faults": 0, "fatal_error": None, "is_ok": None,
        "nice_status": None, "nice_status_short_description": None, "is_paused": False, "history_deleted": False,
        "verify_checksum": True, "preserve_timestamp": True, "sync_level": 3,
    }  # fmt: skip
    assert {name: task[name] for name in expected} == expected
    for name in names:
        assert customer.there(name).read_bytes() == (customer.source / name).read_bytes()
    assert customer.there("a.npy").stat().st_mtime == 1_700_000_000
    assert customer.events(task["task_id"]) == ["SUCCEEDED", "STARTED"]
    moved = list(customer.transfer.paginated.task_successful_transfers(task["task_id"]).items())
    assert [(one["destination_path"], one["checksum"], one["checksum_algorithm"]) for one in moved] == [
        (f"{FOLDER}/{name}", checksums[name].lower(), "MD5") for name in names
    ]


def test_the_same_submission_id_is_one_task(customer: Customer) -> None:
    data = customer.data(*customer.write("a.npy"))
    first = customer.transfer.submit_transfer(data)
    again = customer.transfer.submit_transfer(data)
    assert (again.http_status, again["code"], again["task_id"]) == (200, "Duplicate", first["task_id"])
    customer.ended(first["task_id"])
    assert customer.transfer.submit_transfer(data)["code"] == "Duplicate"
    assert len(customer.state()["tasks"]) == 1


def test_an_answer_that_is_lost_does_not_double_the_task(customer: Customer) -> None:
    data = customer.data(*customer.write("a.npy"))
    data["submission_id"] = customer.transfer.get_submission_id()["value"]
    customer.fault(match="POST /v0.10/transfer", when="after", action="drop")
    with pytest.raises(globus_sdk.NetworkError):
        customer.transfer.submit_transfer(data)
    assert customer.transfer.submit_transfer(data)["code"] == "Duplicate"
    assert len(customer.state()["tasks"]) == 1


def test_assumed_an_unknown_submission_id_is_a_bad_request(customer: Customer) -> None:
    data = customer.data(*customer.write("a.npy"), submission_id=str(uuid.uuid4()))
    assert refused(lambda: customer.transfer.submit_transfer(data))[0] == 400


def test_assumed_identical_paths_conflict_until_the_other_task_has_ended(customer: Customer) -> None:
    customer.write("b.npy")
    stuck = customer.submit("a.npy", "b.npy", label="stuck")
    customer.troubled(stuck, "FILE_NOT_FOUND")
    assert refused(lambda: customer.submit("b.npy", "a.npy")) == (409, "Conflict")
    customer.submit("b.npy")
    customer.transfer.cancel_task(stuck)
    customer.write("a.npy")
    assert customer.ended(customer.submit("b.npy", "a.npy"))["status"] == "SUCCEEDED"


def test_a_hundred_tasks_may_be_pending(customer: Customer) -> None:
    customer.fault(match="TASK", action="task", becomes="STALLED", times=None)
    for number in range(100):
        customer.submit(f"{number}.npy")
    status, code = refused(lambda: customer.submit("one too many.npy"))
    assert (status, "TooManyPendingJobs" in code) == (409, True)
    customer.transfer.cancel_task(customer.state()["tasks"][0]["task_id"])
    customer.submit("one more.npy")


@pytest.mark.parametrize("label", ["x" * 129, "a/b", "colon: no", "trailing ", "two\nlines", "é"])
def test_labels_that_are_refused(customer: Customer, label: str) -> None:
    assert refused(lambda: customer.submit(*customer.write("a.npy"), label=label))[0] == 400


def test_documents_that_are_refused(customer: Customer) -> None:
    assert refused(customer.submit) == (400, "ClientError.BadRequest.NoTransferItems")
    data = globus_sdk.TransferData(LOCAL_ENDPOINT, str(uuid.uuid4()))
    data.add_item("/a", "/a")
    assert refused(lambda: customer.transfer.submit_transfer(data)) == (404, "EndpointNotFound")
    data = globus_sdk.TransferData(LOCAL_ENDPOINT, SERVER_ENDPOINT)
    data.add_item("relative", "/a")
    assert refused(lambda: customer.transfer.submit_transfer(data))[0] == 400
    recursive = globus_sdk.TransferData(LOCAL_ENDPOINT, SERVER_ENDPOINT)
    recursive.add_item("/a", "/a", recursive=True)
    assert refused(lambda: customer.transfer.submit_transfer(recursive))[0] == 400
    assert refused(lambda: customer.submit("a", deadline="tomorrow"))[0] == 400
    assert refused(lambda: customer.submit("a", sync_level=4))[0] == 400
    assert customer.state()["tasks"] == []


# --- how files are moved ----------------------------------------------------------------------------------


def test_archived_again_nothing_is_moved_and_nothing_listed(customer: Customer) -> None:
    names = customer.write(*(f"{n}.npy" for n in range(5)))
    customer.ended(customer.submit(*names))
    task = customer.ended(customer.submit(*names))
    assert (task["files_transferred"], task["files_skipped"], task["bytes_transferred"]) == (0, 5, 0)
    assert list(customer.transfer.paginated.task_successful_transfers(task["task_id"]).items()) == []


@pytest.mark.parametrize(
    ("level", "there", "older", "moved"),
    [
        (None, b"same size", False, True),
        ("exists", b"", False, False),
        ("size", b"same size", False, False),
        ("size", b"shorter", False, True),
        ("mtime", b"same size", False, False),
        ("mtime", b"same size", True, True),
        ("checksum", b"same size", False, True),
        ("checksum", b"new bytes", True, False),
    ],
)
def test_sync_levels(customer: Customer, level: str | None, there: bytes, older: bool, moved: bool) -> None:
    customer.write("a.npy", content=b"new bytes")
    os.utime(customer.source / "a.npy", (1_700_000_000, 1_700_000_000))
    customer.there("a.npy").parent.mkdir(parents=True)
    customer.there("a.npy").write_bytes(there)
    stamp = 1_600_000_000 if older else 1_800_000_000
    os.utime(customer.there("a.npy"), (stamp, stamp))
    options = {} if level is None else {"sync_level": level}
    data = globus_sdk.TransferData(LOCAL_ENDPOINT, SERVER_ENDPOINT, **options)  # type: ignore[arg-type]
    data.add_item(str(customer.source / "a.npy"), f"{FOLDER}/a.npy")
    task = customer.ended(customer.transfer.submit_transfer(data)["task_id"])
    assert (task["files_transferred"], task["files_skipped"]) == (int(moved), int(not moved))
    assert customer.there("a.npy").read_bytes() == (b"new bytes" if moved else there)


def test_a_wrong_external_checksum_fails_the_task_and_leaves_the_file(customer: Customer) -> None:
    names = customer.write("bad.npy", "later.npy")
    task = customer.ended(customer.submit(*names, checksums=dict.fromkeys(names, md5(b"something else"))))
    assert (task["status"], task["fatal_error"]["code"]) == ("FAILED", "EXTERNAL_CHECKSUM_MISMATCH")
    assert customer.there("bad.npy").read_bytes() == (customer.source / "bad.npy").read_bytes()
    assert not customer.there("later.npy").exists()
    assert customer.events(task["task_id"], errors=True) == ["EXTERNAL_CHECKSUM_MISMATCH"]


def test_other_checksums_can_be_named(customer: Customer) -> None:
    customer.write("a.npy", content=b"a")
    data = customer.data()
    checksum = hashlib.sha256(b"a").hexdigest()
    data.add_item(
        str(customer.source / "a.npy"), f"{FOLDER}/a.npy", external_checksum=checksum, checksum_algorithm="SHA256"
    )
    task = customer.ended(customer.transfer.submit_transfer(data)["task_id"])
    assert task["status"] == "SUCCEEDED"
    (moved,) = customer.transfer.task_successful_transfers(task["task_id"])
    assert (moved["checksum"], moved["checksum_algorithm"]) == (checksum, "SHA256")


def test_a_missing_source_leaves_the_task_active_until_it_is_there(customer: Customer) -> None:
    customer.write("there.npy")
    task = customer.submit("missing.npy", "there.npy")
    seen = customer.troubled(task, "FILE_NOT_FOUND")
    assert (seen["status"], seen["is_ok"], seen["fatal_error"]) == ("ACTIVE", False, None)
    assert seen["nice_status_short_description"] == "file not found"
    customer.wait(task, "more faults", lambda now: now["faults"] > seen["faults"] and now["files_transferred"] == 1)
    assert set(customer.events(task, errors=True)) == {"FILE_NOT_FOUND"}
    assert refused(lambda: customer.transfer.task_successful_transfers(task))[0] == 400
    customer.write("missing.npy")
    done = customer.ended(task)
    assert (done["status"], done["files_transferred"], done["is_ok"]) == ("SUCCEEDED", 2, None)


def test_source_errors_are_skipped_if_asked_for(customer: Customer) -> None:
    customer.write("there.npy")
    task = customer.ended(customer.submit("missing.npy", "there.npy", skip_source_errors=True))
    assert (task["status"], task["files_transferred"], task["subtasks_skipped_errors"]) == ("SUCCEEDED", 1, 1)
    (skipped,) = customer.transfer.task_skipped_errors(task["task_id"])
    assert (skipped["source_path"], skipped["error_code"]) == (f"{customer.source}/missing.npy", "FILE_NOT_FOUND")


def test_a_directory_is_no_file(customer: Customer) -> None:
    (customer.source / "folder.npy").mkdir()
    customer.troubled(customer.submit("folder.npy"), "IS_A_DIRECTORY")


def test_nothing_is_written_outside_a_collection(customer: Customer, tmp_path: Path) -> None:
    customer.write("a.npy")
    (customer.archive / "out").symlink_to(tmp_path)
    data = customer.data()
    data.add_item(str(customer.source / "a.npy"), "/out/escaped.npy")
    customer.troubled(str(customer.transfer.submit_transfer(data)["task_id"]), "PERMISSION_DENIED")
    back = globus_sdk.TransferData(SERVER_ENDPOINT, LOCAL_ENDPOINT)
    back.add_item("/a.npy", str(tmp_path / "escaped.npy"))
    customer.troubled(str(customer.transfer.submit_transfer(back)["task_id"]), "PERMISSION_DENIED")
    assert not (tmp_path / "escaped.npy").exists()
    assert refused(lambda: customer.transfer.operation_ls(SERVER_ENDPOINT, "/out")) == (403, "EndpointPermissionDenied")
    assert not [e for e in customer.transfer.operation_ls(SERVER_ENDPOINT, "/../..") if e["name"] == "etc"]


def test_files_are_written_under_their_final_names_from_the_first_byte_on(tmp_path: Path) -> None:
    source, destination = os.fsencode(tmp_path / "source"), os.fsencode(tmp_path / "new" / "destination")
    Path(os.fsdecode(source)).write_bytes(bytes(3 * CHUNK))
    sizes: list[int] = []

    class Meter:
        def transferred(self, size: int) -> None:
            sizes.append(os.stat(destination).st_size)

        def checksummed(self, size: int) -> None:
            assert os.listdir(tmp_path / "new") == ["destination"]

    move(source, destination, Wish(), Meter())
    assert sizes == [CHUNK, 2 * CHUNK, 3 * CHUNK]


# --- tasks ------------------------------------------------------------------------------------------------


def test_a_cancelled_task_has_failed_and_cannot_be_cancelled_again(customer: Customer) -> None:
    task = customer.submit("missing.npy")
    assert customer.transfer.cancel_task(task)["code"] == "Canceled"
    seen = customer.task(task)
    assert (seen["status"], seen["fatal_error"]["code"], seen["is_ok"]) == ("FAILED", "CANCELED", None)
    assert seen["subtasks_canceled"] == seen["subtasks_total"]
    assert customer.transfer.cancel_task(task)["code"] == "TaskComplete"
    assert refused(lambda: customer.transfer.cancel_task(uuid.uuid4()))[0] == 404


def test_one_request_tells_of_many_tasks(customer: Customer) -> None:
    stuck = [customer.submit(f"missing{n}.npy", label=f"stuck {n}") for n in range(3)]
    done = customer.submit(*customer.write("a.npy"), label="done")
    customer.ended(done)
    client = customer.transfer

    def found(limit: int = 1000, **query: Any) -> list[str]:
        return [task["task_id"] for task in client.task_list(limit=limit, **query)]

    assert found() == [done, *reversed(stuck)]
    assert found(filter={"task_id": [stuck[0], done]}) == [done, stuck[0]]
    assert found(filter={"status": ["ACTIVE", "INACTIVE"], "label": ["stuck 1", "stuck 2"]}) == [stuck[2], stuck[1]]
    assert found(filter={"label": "~stuck*", "type": "TRANSFER"}) == [*reversed(stuck)]
    page = client.task_list(limit=2, offset=1)
    assert ([task["task_id"] for task in page], page["total"]) == ([stuck[2], stuck[1]], 4)
    assert len(list(client.paginated.task_list(filter={"label": "done"}).items())) == 1
    assert refused(lambda: client.task_list(filter={"colour": "red"}))[0] == 400


def test_successful_transfers_come_in_pages(customer: Customer) -> None:
    names = customer.write(*(f"{n:04}.npy" for n in range(1005)), content=b"")
    task = customer.submit(*names)
    wait_until(lambda: customer.task(task)["completion_time"], timeout=40, what="1005 files to be moved")
    pages = [len(page["DATA"]) for page in customer.transfer.paginated.task_successful_transfers(task)]
    assert pages == [1000, 5]
    moved = customer.transfer.paginated.task_successful_transfers(task).items()
    assert [one["destination_path"] for one in moved] == [f"{FOLDER}/{name}" for name in names]


def test_a_task_that_is_unknown_is_not_found(customer: Customer) -> None:
    assert refused(lambda: customer.transfer.get_task(uuid.uuid4())) == (404, "TaskNotFound")


def test_a_task_expires_at_its_deadline_even_when_it_is_stalled(tmp_path: Path) -> None:
    clock = FakeClock()
    with Sandbox(tmp_path, clock=clock) as sandbox:
        customer = Customer(sandbox)
        customer.fault(match="TASK", action="task", becomes="STALLED")
        task = customer.submit("a.npy")
        customer.troubled(task, "ENDPOINT_ERROR")
        clock.pass_by(24 * 3600)
        assert customer.ended(task)["fatal_error"]["code"] == "EXPIRED"
        customer.close()


# --- faults of tasks --------------------------------------------------------------------------------------


def test_a_task_can_be_made_to_fail(customer: Customer) -> None:
    rule = customer.fault(match="TASK", action="task", becomes="FAILED", code="PERMISSION_DENIED", description="no!")
    task = customer.ended(customer.submit(*customer.write("a.npy")))
    assert (task["status"], task["fatal_error"]) == ("FAILED", {"code": "PERMISSION_DENIED", "description": "no!"})
    assert not customer.there("a.npy").exists()
    assert customer.http.get(f"/_sandbox/faults?wait={rule}").json()["hits"] == 1
    assert customer.ended(customer.submit("a.npy"))["status"] == "SUCCEEDED"


def test_a_task_can_be_made_to_fail_after_everything_was_moved(customer: Customer) -> None:
    customer.fault(match="TASK", action="task", when="after", becomes="FAILED", code="EXPIRED")
    task = customer.ended(customer.submit(*customer.write("a.npy")))
    assert (task["fatal_error"]["code"], task["files_transferred"]) == ("EXPIRED", 1)
    assert customer.ended(customer.submit("a.npy"))["files_skipped"] == 1


@pytest.mark.parametrize(
    ("becomes", "status", "code", "paused"),
    [
        ("STALLED", "ACTIVE", "ENDPOINT_ERROR", False),
        ("INACTIVE", "INACTIVE", "NO_CREDENTIALS", False),
        ("PAUSED", "ACTIVE", "PAUSED", True),
    ],
)
def test_a_task_rests_until_the_rule_is_removed(
    customer: Customer, becomes: str, status: str, code: str, paused: bool
) -> None:
    match = f"TASK {LOCAL_ENDPOINT} {SERVER_ENDPOINT} labferry 7"
    customer.fault(match=match, action="task", becomes=becomes, description="for a reason")
    task = customer.submit(*customer.write("a.npy"), label="labferry 7 a")
    seen = customer.troubled(task, code)
    assert (seen["status"], seen["is_ok"], seen["is_paused"], seen["faults"]) == (status, False, paused, 1)
    rules = customer.transfer.task_pause_info(task)["pause_rules"]
    assert [rule["message"] for rule in rules] == ["for a reason"] * paused
    assert customer.events(task, errors=True) == [code]
    other = customer.submit(*customer.write("b.npy"), label="labferry 8")
    assert customer.ended(other)["status"] == "SUCCEEDED"
    assert customer.task(task)["status"] == status
    customer.clear_faults()
    assert customer.ended(task)["status"] == "SUCCEEDED"
    assert not customer.task(task)["is_paused"]


# --- conditions of collections ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "becomes", "code", "listed"),
    [
        (LOCAL_ENDPOINT, "offline", "GC_NOT_CONNECTED", (502, "ExternalError.DirListingFailed.GCDisconnected")),
        (SERVER_ENDPOINT, "offline", "GC_NOT_CONNECTED", (502, "ExternalError.DirListingFailed.GCDisconnected")),
        (LOCAL_ENDPOINT, "denied", "PERMISSION_DENIED", (403, "EndpointPermissionDenied")),
        (SERVER_ENDPOINT, "denied", "PERMISSION_DENIED", (403, "EndpointPermissionDenied")),
        (SERVER_ENDPOINT, "read_only", "PERMISSION_DENIED", None),
        (SERVER_ENDPOINT, "full", "QUOTA_EXCEEDED", None),
    ],
)
def test_a_collection_in_no_condition(
    customer: Customer, endpoint: str, becomes: str, code: str, listed: tuple[int, str] | None
) -> None:
    customer.fault(match=endpoint, action="collection", becomes=becomes)
    if listed:
        assert refused(lambda: customer.transfer.operation_ls(endpoint, "/")) == listed
    else:
        assert customer.transfer.operation_ls(endpoint, "/").http_status == 200
        if becomes == "read_only":
            assert refused(lambda: customer.transfer.operation_mkdir(endpoint, "/new"))[0] == 403
    connected = {LOCAL_ENDPOINT: becomes != "offline", SERVER_ENDPOINT: None}[endpoint]
    assert customer.transfer.get_endpoint(endpoint)["gcp_connected"] is connected
    task = customer.submit(*customer.write("a.npy"))
    assert customer.troubled(task, code)["status"] == "ACTIVE"
    assert not customer.there("a.npy").exists()
    customer.clear_faults()
    assert customer.ended(task)["status"] == "SUCCEEDED"


def test_a_full_collection_fails_a_task_that_asked_for_it(customer: Customer) -> None:
    customer.fault(match=SERVER_ENDPOINT, action="collection", becomes="full")
    task = customer.ended(customer.submit(*customer.write("a.npy"), fail_on_quota_errors=True))
    assert (task["status"], task["fatal_error"]["code"]) == ("FAILED", "QUOTA_EXCEEDED")


@pytest.mark.parametrize(
    "rule",
    [
        {"action": "task"},
        {"action": "task", "becomes": "offline"},
        {"action": "collection", "becomes": "STALLED"},
        {"action": "drop", "becomes": "FAILED"},
    ],
)
def test_what_a_task_or_collection_cannot_become_is_refused(customer: Customer, rule: dict[str, str]) -> None:
    assert customer.http.post("/_sandbox/faults", json=rule).status_code == 400


# --- collections ------------------------------------------------------------------------------------------


def test_what_is_told_of_collections(customer: Customer) -> None:
    local = customer.transfer.get_endpoint(LOCAL_ENDPOINT)
    server = customer.transfer.get_endpoint(SERVER_ENDPOINT)
    assert (local["entity_type"], local["gcp_connected"]) == ("GCP_mapped_collection", True)
    assert (server["entity_type"], server["gcp_connected"]) == ("GCSv5_guest_collection", None)
    assert refused(lambda: customer.transfer.get_endpoint(uuid.uuid4())) == (404, "EndpointNotFound")


def test_listings_and_single_files(customer: Customer) -> None:
    customer.write("a.npy", content=b"12345")
    (customer.source / "#2026-01-01#").mkdir()
    listed = customer.transfer.operation_ls(LOCAL_ENDPOINT, str(customer.source))
    assert [(one["name"], one["type"]) for one in listed] == [("#2026-01-01#", "dir"), ("a.npy", "file")]
    assert listed["path"] == f"{customer.source}/"
    assert [one["name"] for one in customer.transfer.operation_ls(LOCAL_ENDPOINT, str(customer.source), limit=1)] == [
        "#2026-01-01#"
    ]
    assert customer.transfer.operation_stat(LOCAL_ENDPOINT, str(customer.source / "a.npy"))["size"] == 5
    missing = f"{customer.source}/missing"
    assert refused(lambda: customer.transfer.operation_stat(LOCAL_ENDPOINT, missing)) == (404, "NotFound")
    assert refused(lambda: customer.transfer.operation_ls(LOCAL_ENDPOINT, missing)) == (404, "ClientError.NotFound")
    status, code = refused(lambda: customer.transfer.operation_ls(LOCAL_ENDPOINT, str(customer.source / "a.npy")))
    assert (status, code) == (502, "ExternalError.DirListingFailed.NotDirectory")


def test_directories_are_made_once(customer: Customer) -> None:
    made = customer.transfer.operation_mkdir(SERVER_ENDPOINT, "/cortexlab")
    assert made["code"] == "DirectoryCreated"
    assert (customer.archive / "cortexlab").is_dir()
    status, code = refused(lambda: customer.transfer.operation_mkdir(SERVER_ENDPOINT, "/cortexlab"))
    assert (status, code) == (502, "ExternalError.MkdirFailed.Exists")
    assert refused(lambda: customer.transfer.operation_mkdir(SERVER_ENDPOINT, "/no/parent"))[0] == 404
    assert refused(lambda: customer.transfer.operation_mkdir(LOCAL_ENDPOINT, "/labferry-test"))[0] == 403


# --- log, state, restart ----------------------------------------------------------------------------------


def test_requests_are_in_the_same_log_without_secrets(customer: Customer) -> None:
    customer.http.get("/labs")
    task = customer.submit(*customer.write("a.npy"))
    customer.auth.oauth2_revoke_token("some token")
    entries = customer.log()
    assert [entry["n"] for entry in entries] == list(range(1, len(entries) + 1))
    assert [f"{entry['method']} {entry['path']}" for entry in entries] == [
        "POST /v2/oauth2/token",
        "GET /labs",
        "GET /v0.10/submission_id",
        "POST /v0.10/transfer",
        "POST /v2/oauth2/token/revoke",
    ]
    assert entries[3]["body"]["DATA"][0]["destination_path"] == f"{FOLDER}/a.npy"
    assert entries[4]["body"]["token"] == "***"
    text = customer.sandbox.places.requests.read_text("utf-8")
    authorizer = customer.transfer.authorizer
    assert isinstance(authorizer, globus_sdk.ClientCredentialsAuthorizer)
    assert customer.secret not in text
    assert str(authorizer.access_token) not in text
    customer.ended(task)


def test_the_state_shows_the_tasks(customer: Customer) -> None:
    (name,) = customer.write("a.npy")
    task = customer.submit(name, label="labferry 1")
    customer.ended(task)
    assert customer.state() == {
        "tasks": [
            {
                "task_id": task,
                "label": "labferry 1",
                "status": "SUCCEEDED",
                "source_endpoint": LOCAL_ENDPOINT,
                "destination_endpoint": SERVER_ENDPOINT,
                "files": 1,
                "files_transferred": 1,
                "files_skipped": 0,
                "bytes_transferred": 500,
                "faults": 0,
                "fatal_error": None,
                "items": [
                    {
                        "source_path": str(customer.source / name),
                        "destination_path": f"{FOLDER}/{name}",
                        "external_checksum": None,
                    }
                ],
            }
        ],
        "submissions": 1,
    }


def test_the_state_can_be_reset_while_tasks_are_active_and_tokens_live_on(customer: Customer) -> None:
    tasks = [customer.submit(f"missing{n}.npy") for n in range(5)]
    customer.troubled(tasks[0], "FILE_NOT_FOUND")
    assert customer.http.delete("/_sandbox/state").status_code == 204
    assert customer.state() == {"tasks": [], "submissions": 0}
    assert refused(lambda: customer.transfer.get_task(tasks[0]))[0] == 404
    assert customer.ended(customer.submit(*customer.write("a.npy")))["status"] == "SUCCEEDED"
    assert len([entry for entry in customer.log() if entry["path"] == "/v2/oauth2/token"]) == 1


def test_after_a_restart_tasks_go_on_at_the_same_address(tmp_path: Path) -> None:
    with Sandbox(tmp_path) as first:
        customer = Customer(first)
        customer.fault(match="TASK", action="task", becomes="INACTIVE")
        customer.write("b.npy")
        suspended = customer.submit("b.npy")
        missing = customer.submit("a.npy")
        data = customer.data("a.npy")
        data["submission_id"] = customer.log()[-1]["body"]["submission_id"]
        customer.wait(suspended, "suspension", lambda seen: seen["status"] == "INACTIVE")
        customer.troubled(missing, "FILE_NOT_FOUND")
    with Sandbox(tmp_path) as second:
        assert second.globus_transfer_url == first.globus_transfer_url
        assert customer.ended(suspended)["status"] == "SUCCEEDED"
        again = customer.transfer.submit_transfer(data)
        assert (again["code"], again["task_id"]) == ("Duplicate", missing)
        customer.write("a.npy")
        assert customer.ended(missing)["status"] == "SUCCEEDED"
        customer.close()
