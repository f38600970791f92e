"""Archive room: the single requests to the Transfer service, from the SDK's client to our values.

Runs in the thread the client belongs to. Errors of the SDK pass through, except where an error is the answer;
an answer that lacks what makes it one is a `ValueError`. From here only the network is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from labferry.archive.globus.document import transfer_document
from labferry.archive.globus.faults import says_exists, says_in_progress, says_not_found
from labferry.archive.globus.values import Submission
from labferry.errors import NotYetError

if TYPE_CHECKING:
    from globus_sdk import GlobusHTTPResponse, TransferClient

LISTING_LIMIT = 100_000  # entries that Globus lists at once, at most
TASK_LIMIT = 1000  # rows of a task list, at most

EVENT_LIMIT = 1000  # events of a task, at most; older ones cannot be reached
_ENDING = 5.0  # seconds after which a task that has just succeeded is asked again what arrived

Row: TypeAlias = Mapping[str, Any]


def listing_page(client: TransferClient, endpoint: str, path: str, offset: int) -> list[Row] | None:
    """Return up to `LISTING_LIMIT` rows of a directory; None if there is no such directory."""
    from globus_sdk import MISSING, GlobusAPIError

    try:
        answer = client.operation_ls(endpoint, path, show_hidden=True, limit=LISTING_LIMIT, offset=offset or MISSING)
    except GlobusAPIError as error:
        if says_not_found(error):
            return None
        raise
    return _rows(answer)


def submission_id(client: TransferClient) -> str:
    """Return a new submission id."""
    return _word(client.get_submission_id(), "value")


def submit(client: TransferClient, submission: Submission) -> str:
    """Submit and return the task's id, whether it is a new one or was there already."""
    return _word(client.submit_transfer(transfer_document(submission)), "task_id")


def tasks(client: TransferClient, only: dict[str, str | list[str]]) -> list[Row]:
    """Return the tasks that fit the filter `only`."""
    return _rows(client.task_list(filter=only, limit=TASK_LIMIT))


def arrived_page(client: TransferClient, task_id: str, marker: str) -> tuple[list[Row], str]:
    """Return one page of the successful transfers and the marker of the next page, empty after the last.

    Raises
    ------
    NotYetError
        `transfer_ending`.
    """
    from globus_sdk import MISSING, GlobusAPIError

    try:
        answer = client.task_successful_transfers(task_id, marker=marker or MISSING)
    except GlobusAPIError as error:
        if says_in_progress(error):
            raise NotYetError("transfer_ending", f"task {task_id} has not quite ended", _ENDING) from error
        if says_not_found(error):
            return [], ""
        raise
    return _rows(answer), str(answer.get("next_marker") or "")


def errors(client: TransferClient, task_id: str) -> list[Row]:
    """Return the error events of a task, the newest first; none for one that is not known."""
    from globus_sdk import GlobusAPIError

    try:
        answer = client.task_event_list(task_id, limit=EVENT_LIMIT, query_params={"filter": "is_error:1"})
    except GlobusAPIError as error:
        if says_not_found(error):
            return []
        raise
    return [event for event in _rows(answer) if event.get("is_error")]


def pause_info(client: TransferClient, task_id: str) -> Row:
    """Return the document about why a task is paused."""
    return _document(client.task_pause_info(task_id))


def endpoint(client: TransferClient, collection: str) -> Row:
    """Return what is told of a collection."""
    return _document(client.get_endpoint(collection))


def stat(client: TransferClient, collection: str, path: str) -> Row | None:
    """Return what is at a path; None if there is nothing."""
    from globus_sdk import GlobusAPIError

    try:
        return _document(client.operation_stat(collection, path))
    except GlobusAPIError as error:
        if says_not_found(error):
            return None
        raise


def make_directory(client: TransferClient, collection: str, path: str) -> bool:
    """Make a directory, or find it there; False if there is nothing to make it in."""
    from globus_sdk import GlobusAPIError

    try:
        client.operation_mkdir(collection, path)
    except GlobusAPIError as error:
        if says_not_found(error):
            return False
        if not says_exists(error):
            raise
    return True


def delete_directory(client: TransferClient, collection: str, path: str, submission: str, label: str) -> None:
    """Have a directory removed; one that is gone is fine."""
    from globus_sdk import DeleteData

    document = DeleteData(
        collection,
        label=label,
        submission_id=submission,
        recursive=True,
        ignore_missing=True,
        notify_on_succeeded=False,
        notify_on_failed=False,
        notify_on_inactive=False,
    )
    document.add_item(path)
    client.submit_delete(document)


def cancel(client: TransferClient, task_id: str) -> None:
    """Cancel a task if there is one."""
    from globus_sdk import GlobusAPIError

    try:
        client.cancel_task(task_id)
    except GlobusAPIError as error:
        if not says_not_found(error):
            raise


def rename(client: TransferClient, endpoint: str, old: str, new: str) -> bool:
    """Give a file another name; False if it is not there, or something has that name."""
    from globus_sdk import GlobusAPIError

    try:
        client.operation_rename(endpoint, old, new)
    except GlobusAPIError as error:
        if says_not_found(error) or says_exists(error):
            return False
        raise
    return True


def _document(answer: GlobusHTTPResponse) -> Row:
    document: object = answer.data
    if isinstance(document, Mapping):
        return document
    raise ValueError("it is no JSON object")


def _rows(answer: GlobusHTTPResponse) -> list[Row]:
    rows = _document(answer).get("DATA")
    if isinstance(rows, list):
        return [row for row in rows if isinstance(row, Mapping)]
    raise ValueError("it has no rows")


def _word(answer: GlobusHTTPResponse, name: str) -> str:
    word = _document(answer).get(name)
    if isinstance(word, str) and word:
        return word
    raise ValueError(f"it has no {name}")
