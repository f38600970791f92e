"""Archive room: what an error of the Globus services, or a fault of a task, means for an operator.

The SDK raises one class for everything a service refuses, so errors are told apart by their HTTP status and by
the `code` of their document. Codes are dotted paths that gain parts over the years
(`ExternalError.DirListingFailed.GCDisconnected`) and are therefore searched for words, not compared.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from labferry.errors import BlockedError, LabferryError, UnavailableError

if TYPE_CHECKING:
    from globus_sdk import GlobusAPIError

GLOBUS = "globus"  # the dependency that is blamed when no collection is
LONGEST_WAIT = 86400.0  # seconds; a service that asks for more is asked again after a day all the same
BUSY_WAIT = 60.0  # seconds until a place among the pending tasks of one user may be free again

_DATA_ACCESS = re.compile(r"https://auth\.globus\.org/scopes/([0-9a-fA-F-]{36})/data_access")

# What a collection says, in whatever document, when the login behind our token is not good enough for it.
_LOGIN_WORDS = (
    "LOGIN_DENIED",
    "not_from_allowed_domain",
    "session_required_single_domain",
    "does not map to a valid username",
    "invalid_user",
)


class FaultClass(StrEnum):
    """What a fault code of a task asks for."""

    WAIT = "wait"  # transient, or beyond us: Globus goes on by itself
    OUR_DATA = "our_data"  # the source is not what was planned: cancel, look again, plan again
    PERMISSION = "permission"  # somebody must grant something
    SPACE = "space"  # the destination is full
    ENDED = "ended"  # not a fault: how the task ended


_CLASSES: Mapping[FaultClass, frozenset[str]] = {
    FaultClass.OUR_DATA: frozenset(
        {
            "FILE_NOT_FOUND",
            "FILE_SIZE_CHANGED",
            "VERIFY_CHECKSUM",
            "IS_A_DIRECTORY",
            "NOT_A_FILE",
            "INVALID_SYMLINK",
            "INVALID_PATH_NAME",
            "AMBIGUOUS_PATH",
            "EXTERNAL_CHECKSUM_MISMATCH",
        }
    ),
    FaultClass.PERMISSION: frozenset(
        {
            "PERMISSION_DENIED",
            "AUTH",
            "NO_CREDENTIALS",
            "INVALID_SERVICE_CREDENTIAL",
            "GSI_DN_MISMATCH",
            "ACL_CHANGED",
        }
    ),
    FaultClass.SPACE: frozenset({"QUOTA_EXCEEDED", "NO_SPACE_LEFT"}),
    FaultClass.ENDED: frozenset({"SUCCEEDED", "CANCELED", "EXPIRED", "SKIPPED_ERRORS"}),
}


class ConflictError(LabferryError):
    """A task with identical paths has not ended yet: find it by its label before anything is sent again."""

    def __init__(self, message: str) -> None:
        super().__init__("transfer_conflict", message)


def fault_class(code: str) -> FaultClass:
    """Return what the fault `code` of a task asks for; patience for a code that nobody has seen yet."""
    return next((kind for kind, codes in _CLASSES.items() if code in codes), FaultClass.WAIT)


def refuses_checksum(code: str, text: str) -> bool:
    """Tell whether a collection says that it cannot compute the checksum that was asked for.

    How it says so is not documented, so it is known by the words. That a checksum differs is another matter.
    """
    said = f"{code} {text}".lower().replace("_", " ")
    about_kind = any(word in said for word in ("algorithm", "unsupported", "not support"))
    return "checksum" in said and about_kind and "mismatch" not in said


def translate(error: Exception, what: str, *, collection: str = "") -> LabferryError:
    """Return what an exception of the SDK means.

    Parameters
    ----------
    error : Exception
        As the SDK raised it.
    what : str
        What was being done, to begin the message with: "list /data".
    collection : str
        The dependency to blame when a collection cannot do it, `archive:<target>`; empty where the request
        concerned none, or the one on our own side.
    """
    from globus_sdk import GlobusAPIError, NetworkError

    if isinstance(error, GlobusAPIError):
        return _refused(error, what, collection)
    if isinstance(error, NetworkError):
        return _down(what, _innermost(error.underlying_exception))
    return _down(what, f"its answer cannot be read: {error}")


def login_needed(what: str, reason: str, where: str = GLOBUS) -> UnavailableError:
    """Return the error for credentials, consents or sessions that Globus, or one collection, does not accept."""
    return UnavailableError(where, "globus_login", f"Globus: {what}: {reason}")


def data_access_of(scopes: Iterable[str]) -> list[str]:
    """Return the collections whose data some scopes give access to."""
    return [found for scope in scopes for found in _DATA_ACCESS.findall(scope)]


def policy_of(error: GlobusAPIError) -> dict[str, str]:
    """Return what a collection demands of a login, as Auth's page takes it; empty where it demands nothing."""
    wanted = error.info.authorization_parameters
    if not wanted:
        return {}
    named = {
        "session_required_identities": wanted.session_required_identities,
        "session_required_single_domain": wanted.session_required_single_domain,
        "session_required_policies": wanted.session_required_policies,
    }
    policy = {name: ",".join(values) for name, values in named.items() if values}
    return {**policy, "session_required_mfa": "true"} if wanted.session_required_mfa else policy


def says_not_found(error: GlobusAPIError) -> bool:
    """Tell whether the path or task is not there, as opposed to its endpoint or the whole service."""
    return error.http_status == 404 and "NotFound" in _code(error) and not _no_endpoint(error)


def says_exists(error: GlobusAPIError) -> bool:
    """Tell whether something has the name already that was to be given, perhaps because an answer was lost."""
    return error.http_status in {409, 502} and "Exists" in _code(error)


def says_in_progress(error: GlobusAPIError) -> bool:
    """Tell whether the successful transfers were asked for before the task had quite ended."""
    return error.http_status == 400 and "still in progress" in _text(error)


# --- the kinds of refusal, told apart from the most to the least specific ------------------------------------


def _refused(error: GlobusAPIError, what: str, collection: str) -> LabferryError:
    status, code = error.http_status, _code(error)
    where = collection or GLOBUS
    said = f"Globus: {what}: {_said(error)}"
    if "TooManyPendingJobs" in code or "TooManyPendingJobs" in _text(error):
        return UnavailableError(GLOBUS, "globus_busy", said, BUSY_WAIT)
    if status == 429:
        return UnavailableError(GLOBUS, "globus_throttled", said, retry_after(error.headers))
    if reason := _login_reason(error):
        return login_needed(what, reason, GLOBUS if status == 401 or _oauth(error) else where)
    if "PermissionDenied" in code:
        return UnavailableError(where, "collection_denied", said)
    if condition := _condition(error):
        return UnavailableError(where, condition, said)
    if "ExternalError" in code or "EndpointError" in code or "Activat" in code:
        return UnavailableError(where, "target_missing", said)
    if status == 409:
        return ConflictError(said)
    if status == 403:
        return UnavailableError(where, "collection_denied", said) if collection else login_needed(what, _said(error))
    if status >= 500 or status == 408 or (status == 404 and not code):
        return UnavailableError(GLOBUS, "globus_down", said, retry_after(error.headers))
    return BlockedError("transfer_refused", said)


def _login_reason(error: GlobusAPIError) -> str:
    """Return why our login is not good enough; empty if that is not the matter."""
    if oauth := _oauth(error):
        return f"{oauth} (HTTP {error.http_status})"
    if error.http_status == 401:
        return f"the token is not accepted: {_said(error)}"
    if error.info.consent_required:
        return f"a consent is missing: {', '.join(error.info.consent_required.required_scopes or ())}"
    if error.info.authorization_parameters:
        return (
            f"the collection wants another login: {error.info.authorization_parameters.session_message or _said(error)}"
        )
    words = [word for word in _LOGIN_WORDS if word in _text(error)]
    return f"the collection does not accept our login ({', '.join(words)}): {_said(error)}" if words else ""


def _oauth(error: GlobusAPIError) -> str:
    """Return Auth's own word for what is wrong; the SDK leaves code and message of such an error empty."""
    word = _document(error).get("error")
    return word if isinstance(word, str) else ""


def _condition(error: GlobusAPIError) -> str:
    """Return the code for the condition of a collection that its error names; empty if it names none."""
    if _no_endpoint(error):
        return "collection_unknown"
    code = _code(error)
    if "GCDisconnected" in code or "NotConnected" in code:
        return "collection_offline"
    return "collection_paused" if "Paused" in code else ""


def _no_endpoint(error: GlobusAPIError) -> bool:
    return "EndpointNotFound" in _code(error) or "EndpointDeleted" in _code(error)


def _down(what: str, reason: str) -> UnavailableError:
    return UnavailableError(GLOBUS, "globus_down", f"Globus: {what}: {reason}")


# --- what an error says -------------------------------------------------------------------------------------


def _document(error: GlobusAPIError) -> Mapping[str, Any]:
    document: object = error.raw_json
    return document if isinstance(document, Mapping) else {}


def _code(error: GlobusAPIError) -> str:
    return error.code or ""


def _text(error: GlobusAPIError) -> str:
    return " ".join(error.messages)


def _said(error: GlobusAPIError) -> str:
    """Return status, code, message and request id on one line; never a whole body, which may be a web page."""
    said = " ".join(part for part in (f"HTTP {error.http_status}", _code(error)) if part)
    if text := " ".join(_text(error).split()):
        said = f"{said}: {text}"
    return f"{said} (request {error.request_id})" if error.request_id else said


def _innermost(error: BaseException) -> str:
    """Return what the system said: the libraries between wrap it several times, with the whole address in it."""
    while inner := next(_within(error), None):
        error = inner
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _within(error: BaseException) -> Iterator[BaseException]:
    for inner in (getattr(error, "reason", None), *error.args, error.__cause__):
        if isinstance(inner, BaseException):
            yield inner


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that a Retry-After header asks for, at most a day; 0 without a readable one."""
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return min(float(text), LONGEST_WAIT)
    try:
        then = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    # A date without a zone is not allowed in HTTP; the standard's own zone is the best guess.
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return min(max(then.timestamp() - time.time(), 0.0), LONGEST_WAIT)
