"""Transfer's requests below `/v0.10/`.

Room: sandbox. Assumed where the documentation says nothing: an unknown submission id is a bad request, a
duplicate is answered with 200, paths are identical when the sets of endpoints and paths are, pages of successful
transfers have 1000 rows, and a rename never replaces what is there.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Mapping

from labferry.model import Clock
from labferry.sandbox.alyx.store import Row
from labferry.sandbox.globus import documents
from labferry.sandbox.globus.answers import RefusedError, bad_request, result
from labferry.sandbox.globus.collections import Collections
from labferry.sandbox.globus.mover import Mover
from labferry.sandbox.globus.submission import read
from labferry.sandbox.globus.tasks import LIVE, Tasks
from labferry.sandbox.http import Request, Response, json_response

PREFIX = "/v0.10/"
PAGE = 1000
_LS_MOST = 100_000
_ROWS_MOST = 1000
_LIST_FILTERS = {"task_id": "id", "status": "status", "label": "label", "type": None}
_NEWEST_FIRST = ("", "request_time DESC")


class Transfer:
    """Answers requests whose token was checked.

    Parameters
    ----------
    tasks : Tasks
        What was asked for.
    collections : Collections
        Where files are.
    mover : Mover
        Told of new tasks.
    clock : Clock
        What time it is.
    """

    def __init__(self, tasks: Tasks, collections: Collections, mover: Mover, clock: Clock) -> None:
        self._tasks = tasks
        self._collections = collections
        self._mover = mover
        self._clock = clock
        self._routes: tuple[tuple[str, Callable[..., Response]], ...] = (
            (r"GET submission_id", self._submission_id),
            (r"POST transfer", self._submit),
            (r"POST delete", self._delete),
            (r"GET task_list", self._task_list),
            (r"GET task/([^/]+)", self._task),
            (r"POST task/([^/]+)/cancel", self._cancel),
            (r"GET task/([^/]+)/event_list", self._event_list),
            (r"GET task/([^/]+)/successful_transfers", self._successful_transfers),
            (r"GET task/([^/]+)/skipped_errors", self._skipped_errors),
            (r"GET task/([^/]+)/pause_info", self._pause_info),
            (r"GET endpoint/([^/]+)", self._endpoint),
            (r"GET operation/endpoint/([^/]+)/ls", self._ls),
            (r"GET operation/endpoint/([^/]+)/stat", self._stat),
            (r"POST operation/endpoint/([^/]+)/mkdir", self._mkdir),
            (r"POST operation/endpoint/([^/]+)/rename", self._rename),
        )

    def __call__(self, request: Request) -> Response:
        """Answer one request.

        Raises
        ------
        RefusedError
            It cannot be carried out.
        """
        line = f"{request.method} {request.path.removeprefix(PREFIX)}"
        for pattern, answer in self._routes:
            if found := re.fullmatch(pattern, line):
                return answer(request, *found.groups())
        raise RefusedError(404, "ClientError.NotFound", f"no {request.line} in the sandbox")

    # --- submitting ---------------------------------------------------------------------------------------

    def _submission_id(self, _: Request) -> Response:
        return json_response(200, {"DATA_TYPE": "submission_id", "value": self._tasks.new_submission()})

    def _submit(self, request: Request) -> Response:
        document = _document(request)
        submission = document.get("submission_id")
        task, is_new = self._tasks.submitted(submission), False
        if task is None:
            task, is_new = self._tasks.submit(str(submission), read(document, self._collections))
        if is_new:
            self._mover.wake()
        code = "Accepted" if is_new else "Duplicate"
        message = "The transfer has been accepted" if is_new else "This submission id was used before"
        said = result("transfer_result", code, message, request.path)
        return json_response(202 if is_new else 200, {**said, "submission_id": submission, "task_id": task})

    def _delete(self, request: Request) -> Response:
        """Remove one directory at once; the real service makes a task of it."""
        document = _document(request)
        submission, deletion = document.get("submission_id"), self._tasks.deleted(document.get("submission_id"))
        is_new = deletion is None
        if deletion is None:
            items = document.get("DATA")
            if not isinstance(items, list) or len(items) != 1 or document.get("recursive") is not True:
                raise bad_request("NotSupported", "the sandbox removes one directory at a time")
            collection, path = self._collections.get(document.get("endpoint")), str(items[0].get("path", ""))
            self._collections.remove_directory(collection, path)
            deletion = self._tasks.delete(str(submission), collection.id, path)
        code = "Accepted" if is_new else "Duplicate"
        said = result("delete_result", code, "The delete has been accepted", request.path)
        return json_response(202 if is_new else 200, {**said, "submission_id": submission, "task_id": deletion})

    # --- tasks --------------------------------------------------------------------------------------------

    def _shown(self, row: Row) -> dict[str, object]:
        source = self._collections.get(row["source_endpoint"])
        destination = self._collections.get(row["destination_endpoint"])
        working = self._mover.works_at(row["number"])
        return documents.task(row, source, destination, working=working, now=self._clock.now())

    def _task_list(self, request: Request) -> Response:
        wanted = _filter(request)
        if unknown := set(wanted) - set(_LIST_FILTERS):
            raise bad_request("NotSupported", f"the sandbox does not filter tasks by {', '.join(sorted(unknown))}")
        if request.query.get("orderby", "") not in _NEWEST_FIRST:
            raise bad_request("NotSupported", f"the sandbox orders tasks only by {_NEWEST_FIRST[1]}")
        rows = [row for row in self._tasks.newest_first() if _fits(row, wanted)]
        limit, offset = _window(request, 10, _ROWS_MOST)
        page = [self._shown(row) for row in rows[offset : offset + limit]]
        return json_response(200, _paged("task_list", page, limit, offset, len(rows)))

    def _task(self, _: Request, task_id: str) -> Response:
        return json_response(200, self._shown(self._tasks.get(task_id)))

    def _cancel(self, request: Request, task_id: str) -> Response:
        canceled = self._mover.cancel(int(self._tasks.get(task_id)["number"]))
        code = "Canceled" if canceled else "TaskComplete"
        message = "The task has been cancelled successfully." if canceled else "The task completed before."
        return json_response(200, result("result", code, message, request.path))

    def _event_list(self, request: Request, task_id: str) -> Response:
        wanted = _filter(request)
        if set(wanted) - {"is_error"}:
            raise bad_request("NotSupported", "the sandbox filters events only by is_error")
        limit, offset = _window(request, 10, _ROWS_MOST)
        number = int(self._tasks.get(task_id)["number"])
        rows, total = self._tasks.events(number, limit, offset, errors_only=wanted.get("is_error") == ["1"])
        page = [documents.event(row) for row in rows]
        return json_response(200, _paged("event_list", page, limit, offset, total))

    def _successful_transfers(self, request: Request, task_id: str) -> Response:
        return self._files(request, task_id, "transferred", "successful transfers", documents.successful_transfer)

    def _skipped_errors(self, request: Request, task_id: str) -> Response:
        return self._files(request, task_id, "error", "skipped errors", documents.skipped_error)

    def _files(
        self, request: Request, task_id: str, state: str, what: str, show: Callable[[Row], dict[str, object]]
    ) -> Response:
        row = self._tasks.get(task_id)
        if row["status"] in LIVE:
            raise bad_request("TaskInProgress", f"Task {task_id} is still in progress, {what} are not yet available")
        marker = _number(request, "marker", -1)
        rows = self._tasks.items(int(row["number"]), state, marker, PAGE + 1)
        next_marker = str(rows[PAGE - 1]["number"]) if len(rows) > PAGE else None
        document = {
            "DATA_TYPE": what.replace(" ", "_"),
            "marker": request.query.get("marker"),
            "next_marker": next_marker,
            "DATA": [show(one) for one in rows[:PAGE]],
        }
        return json_response(200, document)

    def _pause_info(self, _: Request, task_id: str) -> Response:
        row = self._tasks.get(task_id)
        message = row["fault_description"] if row["is_paused"] else None
        rule = {"DATA_TYPE": "pause_rule_limited", "message": message, "endpoint_id": row["destination_endpoint"]}
        document = {
            "DATA_TYPE": "pause_info_limited",
            "pause_rules": [rule] if row["is_paused"] else [],
            "source_pause_message": None,
            "destination_pause_message": message,
        }
        return json_response(200, document)

    # --- collections --------------------------------------------------------------------------------------

    def _endpoint(self, _: Request, endpoint: str) -> Response:
        return json_response(200, self._collections.document(self._collections.get(endpoint)))

    def _ls(self, request: Request, endpoint: str) -> Response:
        for name in ("filter", "orderby"):
            if request.query.get(name):
                raise bad_request("NotSupported", f"the sandbox knows no {name} of listings")
        limit, offset = _window(request, _LS_MOST, _LS_MOST)
        collection = self._collections.get(endpoint)
        path = request.query.get("path") or "/"
        return json_response(200, self._collections.listing(collection, path, limit, offset))

    def _stat(self, request: Request, endpoint: str) -> Response:
        collection = self._collections.get(endpoint)
        return json_response(200, self._collections.stat(collection, request.query.get("path") or "/"))

    def _mkdir(self, request: Request, endpoint: str) -> Response:
        collection = self._collections.get(endpoint)
        self._collections.make_directory(collection, str(_document(request).get("path", "")))
        said = result("mkdir_result", "DirectoryCreated", "The directory was created successfully", request.path)
        return json_response(202, said)

    def _rename(self, request: Request, endpoint: str) -> Response:
        collection, document = self._collections.get(endpoint), _document(request)
        self._collections.rename(collection, str(document.get("old_path", "")), str(document.get("new_path", "")))
        said = result("result", "FileRenamed", "File or directory renamed successfully", request.path)
        return json_response(200, said)


def _document(request: Request) -> Mapping[str, object]:
    try:
        document = json.loads(request.body)
    except ValueError as error:
        raise bad_request("InvalidDocument", f"the body is not JSON: {error}") from error
    if not isinstance(document, Mapping):
        raise bad_request("InvalidDocument", "the body must be an object")
    return document


def _filter(request: Request) -> dict[str, list[str]]:
    """Read `key:value,value/key:value`."""
    wanted: dict[str, list[str]] = {}
    for part in filter(None, request.query.get("filter", "").split("/")):
        name, separator, values = part.partition(":")
        if not separator:
            raise bad_request("InvalidFilter", f"{part!r} is not key:value")
        wanted[name] = values.split(",")
    return wanted


def _fits(row: Row, wanted: Mapping[str, list[str]]) -> bool:
    for name, values in wanted.items():
        column = _LIST_FILTERS[name]
        value = "TRANSFER" if column is None else row[column] or ""
        if not any(fnmatch.fnmatchcase(value, one[1:]) if one.startswith("~") else value == one for one in values):
            return False
    return True


def _window(request: Request, limit: int, most: int) -> tuple[int, int]:
    asked, offset = _number(request, "limit", limit), _number(request, "offset", 0)
    if not 0 <= asked <= most or offset < 0:
        raise bad_request("InvalidPage", f"limit is at most {most}, offset not negative")
    return asked, offset


def _number(request: Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    try:
        return int(text) if text else default
    except ValueError as error:
        raise bad_request("InvalidPage", f"{name} {text!r} is no number") from error


def _paged(data_type: str, page: list[dict[str, object]], limit: int, offset: int, total: int) -> dict[str, object]:
    return {
        "DATA_TYPE": data_type,
        "length": len(page),
        "limit": limit,
        "offset": offset,
        "total": total,
        "DATA": page,
    }
