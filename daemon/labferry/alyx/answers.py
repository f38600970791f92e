"""The registry room's dictionary: what Alyx' refusals mean.

Alyx answers most client mistakes with 500 and an exception's text, and names at most one file of a batch. The
text is the only way to tell what a person must correct from what will pass by itself, so every known text is
listed here. Pure: nothing is touched from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from labferry.alyx.fields import DEPENDENCY, Json, not_alyx
from labferry.errors import BlockedError, LabferryError, UnavailableError, UnexplainedError

TEXT_LIMIT = 400  # characters of Alyx' own words in a message


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer.

    Attributes
    ----------
    status : int
        HTTP status.
    headers : mapping
        Case does not matter in its keys.
    body : object
        The parsed JSON, None when empty, the text when it is not JSON.
    is_json : bool
        Whether `body` was JSON.
    """

    status: int
    headers: Mapping[str, str]
    body: object
    is_json: bool


class RefusedError(BlockedError):
    """Alyx refused a request, and would refuse it again.

    Attributes
    ----------
    status : int
        The HTTP status.
    file : str
        The file that Alyx' text names, as the text has it (a name, or a path below the session); else empty.
    """

    def __init__(self, code: str, message: str, *, status: int, file: str = "") -> None:
        super().__init__(code, message)
        self.status = status
        self.file = file


class ProtectedFilesError(RefusedError):
    """Some files of a request are protected in Alyx; nothing of the request was carried out.

    Attributes
    ----------
    names : tuple of str
        The protected files, as they were sent.
    """

    def __init__(self, names: tuple[str, ...], message: str) -> None:
        super().__init__("protected", message, status=403)
        self.names = names


class FailedLookError(UnavailableError):
    """Alyx failed on a question. It may be that it fails on all, or only on what this one is about."""

    def __init__(self, message: str) -> None:
        super().__init__(DEPENDENCY, "alyx_down", message)


class UnknownNameError(RefusedError):
    """A request names something that Alyx does not have; nothing of the request was carried out.

    Attributes
    ----------
    fields : frozenset of str
        Where the names stand in the request.
    """

    def __init__(self, unknown: Mapping[str, str], request: str) -> None:
        named = ", ".join(f"{field} {name!r}" for field, name in unknown.items())
        super().__init__("unknown_name", f"Alyx does not know {named} ({request})", status=400)
        self.fields = frozenset(unknown)


@dataclass(frozen=True, slots=True)
class _Text:
    """A known text of Alyx: what it means, and the sentence that says so to an operator.

    The group `file` of the pattern, if there is one, is the file at fault; `{file}` in the sentence stands for it.
    """

    pattern: re.Pattern[str]
    code: str
    sentence: str


def _text(pattern: str, code: str, sentence: str) -> _Text:
    return _Text(re.compile(pattern, re.DOTALL), code, sentence)


# Read from top to bottom; searched in the `detail` of a 500 and in the `detail` or `error` of a 400.
_TEXTS: tuple[_Text, ...] = (
    _text(
        r'No dataset type found for filename "(?P<file>[^"]*)"',
        "dataset_type",
        "Alyx has no dataset type for {file}",
    ),
    _text(
        r'Multiple matching dataset types found for filename "(?P<file>[^"]*)"',
        "several_dataset_types",
        "several dataset types of Alyx fit {file}",
    ),
    _text(r"DataFormat matching query does not exist", "data_format", "Alyx has no data format for one of the files"),
    _text(
        r"LabMember matching query does not exist",
        "unknown_user",
        "Alyx does not know the user given as `created_by`",
    ),
    _text(
        r"get\(\) returned more than one Subject\b",
        "ambiguous_subject",
        "two subjects in Alyx share this nickname",
    ),
    _text(
        r"get\(\) returned more than one Dataset\b",
        "orphan_dataset",
        "Alyx holds two dataset rows for one of the files",
    ),
    _text(
        r'A file record for "(?P<file>[^"]*)" already exists on repository .* for a different dataset',
        "orphan_dataset",
        "another dataset row or another session in Alyx owns the file record of {file}",
    ),
    _text(
        r"get\(\) returned more than one DataRepository\b",
        "ambiguous_repository",
        "two data repositories in Alyx share one hostname",
    ),
    _text(r"The specified repository does not exist", "unknown_repository", "Alyx does not know the data repository"),
    _text(r"specified labs do not exist", "unknown_lab", "Alyx does not know the lab"),
    _text(
        r'A subject with nickname "[^"]*" does not exist|Subject matching query does not exist',
        "subject_not_on_alyx",
        "Alyx does not know the subject",
    ),
    _text(
        r"A (base )?session for .* does not exist|Session matching query does not exist",
        "session_gone",
        "Alyx does not find the session under this subject, date and number",
    ),
    _text(
        r"data_repository, relative_path must make a unique set",
        "orphan_dataset",
        "another dataset in Alyx owns the file record of this path",
    ),
    _text(r"session: Select a valid choice", "session_gone", "Alyx does not know the session any more"),
    _text(
        r'Invalid (dataset|file record) "(?P<file>[^"]*)"|Invalid QC value "[^"]*" for dataset "(?P<qc_file>[^"]*)"',
        "file_refused",
        "Alyx does not accept {file}",
    ),
    _text(r"The path argument is required", "path_missing", "Alyx was not told the session's path"),
    _text(r"Invalid ALF path|The path .*should be", "path_refused", "Alyx does not accept the path"),
    _text(r"is an invalid date|has an invalid date format", "date_refused", "Alyx does not take the date for one"),
    _text(r"value too long for type", "too_long_for_alyx", "a file or folder name is too long for Alyx"),
    _text(r'null value in column "labmember_id"', "anonymous_request", "Alyx does not know who sent the request"),
    _text(
        r"Water administration date after death date",
        "after_death",
        "Alyx has a date of death before this water administration",
    ),
    _text(
        r"'content_type'|ContentType matching query does not exist",
        "note_target",
        "Alyx does not know what the note is about",
    ),
    _text(
        r"list index out of range|Cannot resolve keyword", "malformed_query", "Alyx does not understand the question"
    ),
    _text(
        r"invalid literal for int\(\)|'NoneType' object is not iterable|unsupported operand"
        r"|'list' object has no attribute|null value in column",
        "malformed_request",
        "Alyx does not understand the request",
    ),
)


_NO_OBJECT = re.compile(r"Object with \w+=(.*) does not exist\.", re.DOTALL)


def classify(method: str, path: str, status: int, body: object) -> LabferryError:
    """Say what an unsuccessful answer means.

    Parameters
    ----------
    method, path : str
        The request, for the message.
    status : int
        HTTP status, 400 or above.
    body : object
        The parsed JSON, or the text of an answer that is none.

    Returns
    -------
    LabferryError
        `RefusedError` (or `ProtectedFilesError`) where a person must act, `UnexplainedError` where Alyx failed on
        a change without a text we know, else `UnavailableError`.
    """
    request = f"{method} {path}"
    if not isinstance(body, Mapping):
        return _not_json(request, status, body)
    whole = explanation(body)
    said = _shorten(whole)
    if status == 401 or (status == 403 and _is_login(said)):
        return UnavailableError(DEPENDENCY, "alyx_login", f"Alyx does not accept our login: {said}")
    if status == 403:
        return _forbidden(request, body, said)
    if status == 429:
        return UnavailableError(DEPENDENCY, "alyx_throttled", f"Alyx asked us to slow down: {said}")
    if "subject" in body and status == 400 and "does not exist" in said:
        return RefusedError("subject_not_on_alyx", f"Alyx does not know the subject: {said}", status=status)
    if status == 400 and (unknown := _unknown_names(body)):
        return UnknownNameError(unknown, request)
    for text in _TEXTS:
        if match := text.pattern.search(whole):
            file = _named_file(match)
            sentence = text.sentence.format(file=file)
            return RefusedError(text.code, f"{sentence}: {said}", status=status, file=file)
    if status == 500 and method != "GET":
        # This one request fails, and nobody knows why: no reason to keep all others from Alyx.
        return UnexplainedError("alyx_error", f"Alyx failed on {request}: {said}")
    if status >= 500:
        return FailedLookError(f"Alyx failed on {request} with {status}: {said}")
    return RefusedError("alyx_refused", f"Alyx refused {request} with {status}: {said}", status=status)


def explanation(body: Json) -> str:
    """Put into one line what Alyx says: `error` or `detail`, or the errors of single fields."""
    for key in ("error", "detail"):
        if body.get(key):
            return str(body[key]).strip()
    told = {key: value for key, value in body.items() if key not in ("status_code", "details") and value != ""}
    fields = (f"{key}: {_joined(value)}" for key, value in told.items())
    return "; ".join(fields) or "no explanation"


def is_invalid_token(status: int, body: object) -> bool:
    """Tell whether an answer means that the token is no longer valid, so that a new login may help."""
    return status in (401, 403) and isinstance(body, Mapping) and explanation(body).startswith("Invalid token")


def retry_after(header: str | None, body: object, now: float) -> float:
    """Read how many seconds Alyx wants us to stay away.

    Parameters
    ----------
    header : str or None
        `Retry-After`: seconds, or an HTTP date.
    body : object
        The answer's JSON; its text says the seconds where the header is missing.
    now : float
        The wall time, to measure a date against.

    Returns
    -------
    float
        Seconds, 0 when nothing is said.
    """
    if header is not None and re.fullmatch(r"\s*[0-9]{1,9}\s*", header):
        return float(header)
    if header is not None and (until := _http_date(header)) is not None:
        return max((until - datetime.fromtimestamp(now, UTC)).total_seconds(), 0.0)
    if isinstance(body, Mapping) and (match := re.search(r"available in (\d+) second", explanation(body))):
        return float(match[1])
    return 0.0


def _not_json(request: str, status: int, body: object) -> LabferryError:
    if status == 401:
        return UnavailableError(DEPENDENCY, "alyx_login", f"the web server before Alyx wants a login for {request}")
    if status == 429:
        return UnavailableError(DEPENDENCY, "alyx_throttled", f"the web server before Alyx throttled {request}")
    if status >= 500:
        return UnavailableError(DEPENDENCY, "alyx_down", f"{request} failed with {status}")
    page = "a web page" if isinstance(body, str) and "<" in body else "something that is not JSON"
    return not_alyx(request, f"{status} and {page}")


def _unknown_names(body: Json) -> dict[str, str]:
    """Read `{"location": ["Object with name=rig_7 does not exist."]}`; empty if anything else is wrong as well."""
    found = {}
    for field, said in body.items():
        if field == "status_code":
            continue
        match = _NO_OBJECT.fullmatch(_joined(said))
        if match is None:
            return {}
        found[field] = match[1]
    return found


def _forbidden(request: str, body: Json, said: str) -> LabferryError:
    names = tuple(_protected_names(body.get("details")))
    if names:
        return ProtectedFilesError(names, f"protected in Alyx: {', '.join(names)}")
    if "protected" in said:
        return RefusedError("protected", f"protected in Alyx: {said}", status=403)
    return UnavailableError(DEPENDENCY, "alyx_permission", f"our Alyx user may not do {request}: {said}")


def _protected_names(details: object) -> Iterator[str]:
    """Read `[{"alf/x.npy": [{"2023-06-01": false}, {"": true}]}, …]`: protected is who has one true revision."""
    for entry in details if isinstance(details, list) else ():
        for name, revisions in entry.items() if isinstance(entry, Mapping) else ():
            if any(True in revision.values() for revision in revisions if isinstance(revision, Mapping)):
                yield str(name)


def _is_login(said: str) -> bool:
    return said.startswith(("Invalid token", "Authentication credentials", "User inactive"))


def _named_file(match: re.Match[str]) -> str:
    groups = match.groupdict()
    file = groups.get("file") or groups.get("qc_file") or ""
    parts = file.split("/", 3)
    # `SUBJECT/DATE/NUMBER/alf/x.npy` in some texts, only the name in others
    return parts[3] if len(parts) == 4 and re.fullmatch(r"\d{4}-\d\d-\d\d", parts[1]) else file


def _http_date(header: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _joined(value: object) -> str:
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)


def _shorten(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"
