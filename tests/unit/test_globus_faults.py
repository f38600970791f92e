from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import requests
from globus_sdk import AuthAPIError, GlobusAPIError, GlobusConnectionError, GlobusTimeoutError, TransferAPIError

from labferry.archive.globus.faults import (
    ConflictError,
    FaultClass,
    fault_class,
    retry_after,
    says_in_progress,
    says_not_found,
    translate,
)
from labferry.errors import CODES, BlockedError, LabferryError, UnavailableError

HPC = "archive:hpc"


def api_error(
    status: int,
    document: object = None,
    *,
    kind: type[GlobusAPIError] = TransferAPIError,
    headers: dict[str, str] | None = None,
) -> GlobusAPIError:
    """An error as the SDK makes it of an answer; a document that is text is a web page."""
    answer = requests.Response()
    answer.status_code = status
    page = isinstance(document, str)
    answer.headers.update({"Content-Type": "text/html" if page else "application/json", **(headers or {})})
    answer._content = str(document).encode() if page else json.dumps(document).encode()
    answer.request = requests.Request("GET", "http://127.0.0.1/x", headers={"Authorization": "Bearer s3cret"}).prepare()
    return kind(answer)


def globus_error(status: int, code: str, message: str = "it says why", **more: Any) -> GlobusAPIError:
    return api_error(status, {"code": code, "message": message, "request_id": "r4nd0m", **more})


def as_unavailable(error: Exception, collection: str = "") -> UnavailableError:
    found = translate(error, "list /lab", collection=collection)
    assert isinstance(found, UnavailableError)
    assert CODES[found.code].kind == "waiting"
    return found


# --- the classes of task faults -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("CONNECT_FAILED", FaultClass.WAIT),
        ("GC_NOT_CONNECTED", FaultClass.WAIT),
        ("ENDPOINT_TOO_BUSY", FaultClass.WAIT),
        ("PAUSED", FaultClass.WAIT),
        ("FILE_NOT_FOUND", FaultClass.OUR_DATA),
        ("FILE_SIZE_CHANGED", FaultClass.OUR_DATA),
        ("VERIFY_CHECKSUM", FaultClass.OUR_DATA),
        ("EXTERNAL_CHECKSUM_MISMATCH", FaultClass.OUR_DATA),
        ("INVALID_PATH_NAME", FaultClass.OUR_DATA),
        ("PERMISSION_DENIED", FaultClass.PERMISSION),
        ("NO_CREDENTIALS", FaultClass.PERMISSION),
        ("QUOTA_EXCEEDED", FaultClass.SPACE),
        ("NO_SPACE_LEFT", FaultClass.SPACE),
        ("CANCELED", FaultClass.ENDED),
        ("EXPIRED", FaultClass.ENDED),
        ("SOMETHING_NEW", FaultClass.WAIT),
        ("", FaultClass.WAIT),
        ("OK", FaultClass.WAIT),
        ("Queued", FaultClass.WAIT),
    ],
)
def test_map_03_a_fault_asks_for_patience_unless_it_is_known_to_ask_for_more(code: str, kind: FaultClass) -> None:
    assert fault_class(code) is kind


# --- the services are not there -----------------------------------------------------------------------------


def test_no_connection_says_what_the_system_said_and_no_more() -> None:
    refused = requests.ConnectionError(OSError(111, "Connection refused"))
    error = as_unavailable(GlobusConnectionError("ConnectionError on request", refused), HPC)
    assert (error.dependency, error.code) == ("globus", "globus_down")
    assert error.message == "Globus: list /lab: Connection refused"


@pytest.mark.parametrize(
    "error",
    [
        GlobusTimeoutError("TimeoutError on request", requests.ReadTimeout("read timed out")),
        api_error(500, {"code": "InternalError", "message": "oops"}),
        api_error(503, {"code": "ServiceUnavailable", "message": "maintenance"}),
        api_error(502, "<html>Bad Gateway</html>"),
        api_error(404, "<html>nginx</html>"),
        api_error(500, ["not", "an", "object"]),
        api_error(500, {"code": None, "message": 3}),
        ValueError("it has no rows"),
        OSError(2, "No such file or directory"),
    ],
)
def test_an_outage_is_globus_own_whoever_was_asked_about(error: Exception) -> None:
    found = as_unavailable(error, HPC)
    assert (found.dependency, found.code) == ("globus", "globus_down")
    assert found.message.startswith("Globus: list /lab: ")
    assert "<html>" not in found.message


def test_maintenance_says_how_long() -> None:
    error = api_error(503, {"code": "ServiceUnavailable", "message": "x"}, headers={"Retry-After": "600"})
    assert as_unavailable(error).retry_after == 600


def test_too_many_requests_wait_as_long_as_asked() -> None:
    error = as_unavailable(api_error(429, {"code": "Throttled", "message": "x"}, headers={"Retry-After": "30"}), HPC)
    assert (error.dependency, error.code, error.retry_after) == ("globus", "globus_throttled", 30)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), (" 7 ", 7), ("0", 0), ("9999999999", 86400), ("-5", 0), ("soon", 0), ("", 0), ("1.5", 0)],
)
def test_retry_after_in_seconds(text: str, seconds: float) -> None:
    assert retry_after({"Retry-After": text}) == seconds


@pytest.mark.parametrize(("ahead", "least", "most"), [(100, 90, 100), (-100, 0, 0), (10**6, 86400, 86400)])
def test_retry_after_as_a_date(ahead: int, least: float, most: float) -> None:
    then = datetime.now(UTC) + timedelta(seconds=ahead)
    assert least <= retry_after({"Retry-After": format_datetime(then, usegmt=True)}) <= most


def test_without_retry_after_there_is_nothing_to_wait_for() -> None:
    assert retry_after({}) == 0


def test_a_full_queue_waits_a_minute() -> None:
    for error in (globus_error(409, "TooManyPendingJobs"), globus_error(400, "BadRequest", "TooManyPendingJobs: 100")):
        found = as_unavailable(error)
        assert (found.dependency, found.code, found.retry_after) == ("globus", "globus_busy", 60)


# --- a login that is not good enough ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (api_error(401, {"error": "invalid_client"}, kind=AuthAPIError), "invalid_client (HTTP 401)"),
        (api_error(400, {"error": "invalid_grant"}, kind=AuthAPIError), "invalid_grant (HTTP 400)"),
        (api_error(400, {"error": "invalid_grant"}, kind=GlobusAPIError), "invalid_grant"),
        (globus_error(401, "AuthenticationFailed", "token expired"), "token expired"),
        (
            globus_error(403, "ConsentRequired", required_scopes=["transfer:all[*https://auth/x/data_access]"]),
            "transfer:all[*https://auth/x/data_access]",
        ),
        (
            globus_error(
                403, "AuthorizationParametersRequired", authorization_parameters={"session_message": "use MFA"}
            ),
            "use MFA",
        ),
        (
            globus_error(502, "ExternalError.DirListingFailed.LoginFailed", "530 LOGIN_DENIED not_from_allowed_domain"),
            "LOGIN_DENIED, not_from_allowed_domain",
        ),
        (
            globus_error(502, "ExternalError.DirListingFailed.LoginFailed", "does not map to a valid username"),
            "username",
        ),
        (globus_error(403, "PermissionRequired", "who are you"), "who are you"),
    ],
)
def test_bad_input_a_login_that_is_refused_waits_for_a_person_and_names_what_is_missing(
    error: GlobusAPIError, words: str
) -> None:
    found = as_unavailable(error)
    assert (found.dependency, found.code) == ("globus", "globus_login")
    assert words in found.message
    assert "s3cret" not in found.message


def test_a_consent_that_is_missing_is_our_login_even_where_a_collection_is_asked() -> None:
    error = globus_error(403, "ConsentRequired", required_scopes=["x"])
    assert as_unavailable(error, HPC).code == "globus_login"


# --- collections --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (globus_error(403, "PermissionDenied"), "collection_denied"),
        (globus_error(403, "EndpointPermissionDenied"), "collection_denied"),
        (globus_error(502, "ExternalError.DirListingFailed.PermissionDenied"), "collection_denied"),
        (globus_error(403, "SomethingElse"), "collection_denied"),
        (globus_error(502, "ExternalError.DirListingFailed.GCDisconnected"), "collection_offline"),
        (globus_error(502, "ExternalError.DirListingFailed"), "target_missing"),
        (globus_error(504, "EndpointError"), "target_missing"),
        (globus_error(404, "EndpointNotFound", "No such endpoint"), "collection_unknown"),
        (globus_error(410, "EndpointDeleted"), "collection_unknown"),
        (globus_error(409, "EndpointNotActivated"), "target_missing"),
    ],
)
def test_map_01_what_a_collection_cannot_do_is_the_archives_outage(error: GlobusAPIError, code: str) -> None:
    found = as_unavailable(error, HPC)
    assert (found.dependency, found.code) == (HPC, code)
    assert "it says why" in found.message or "No such endpoint" in found.message
    assert "(request r4nd0m)" in found.message


def test_our_own_collection_is_globus() -> None:
    error = globus_error(502, "ExternalError.DirListingFailed.GCDisconnected")
    assert as_unavailable(error).dependency == "globus"


# --- requests that are wrong --------------------------------------------------------------------------------


def test_map_03_identical_paths_are_a_conflict() -> None:
    error = globus_error(409, "Conflict", "A transfer with identical paths has not yet completed")
    found = translate(error, "submit")
    assert isinstance(found, ConflictError)
    assert "identical paths" in found.message
    assert CODES[found.code].kind == "waiting"


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_is_never_accepted_needs_a_person(status: int) -> None:
    found: LabferryError = translate(globus_error(status, "ClientError.BadRequest", "no\n such\tlabel"), "submit")
    assert isinstance(found, BlockedError)
    assert found.code == "transfer_refused"
    assert found.message == f"Globus: submit: HTTP {status} ClientError.BadRequest: no such label (request r4nd0m)"


# --- errors that are answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (globus_error(404, "ClientError.NotFound"), True),
        (globus_error(404, "NotFound"), True),
        (globus_error(404, "TaskNotFound"), True),
        (globus_error(404, "ExternalError.DirListingFailed.NotFound"), True),
        (globus_error(404, "EndpointNotFound"), False),
        (globus_error(403, "PermissionDenied"), False),
        (globus_error(502, "ExternalError.DirListingFailed"), False),
        (api_error(404, "<html>nginx</html>"), False),
    ],
)
def test_ruling_18_only_a_clear_answer_counts_as_absent(error: GlobusAPIError, answer: bool) -> None:
    assert says_not_found(error) is answer


def test_a_task_may_end_a_little_later_than_it_says() -> None:
    text = "still in progress, successful transfers are not yet available"
    assert says_in_progress(globus_error(400, "BadRequest", text))
    assert not says_in_progress(globus_error(400, "BadRequest", "no"))
