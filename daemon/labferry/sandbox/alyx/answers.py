"""How the sandbox's Alyx says no: refusals, failures and pages that do not exist.

Room: sandbox. The real server answers many client mistakes with 500 and the exception's text; here these
are raised as `FailedError` with the same text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from labferry.sandbox.http import Response, json_response

_PAGE_NOT_FOUND = b"""
<!doctype html>
<html lang="en">
<head>
  <title>Not Found</title>
</head>
<body>
  <h1>Not Found</h1><p>The requested resource was not found on this server.</p>
</body>
</html>
"""


class RefusedError(Exception):
    """The request is answered with this status and body.

    Parameters
    ----------
    status : int
        HTTP status.
    body : Mapping
        JSON object; complete, with its own `status_code` where the real one has it.
    headers : Mapping
        Extra response headers.
    """

    def __init__(self, status: int, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Return the answer to send."""
        return json_response(self.status, self.body, **self.headers)


class FailedError(Exception):
    """An unhandled exception of the real server: 500 with its text."""

    def response(self) -> Response:
        """Return the answer to send."""
        return json_response(500, {"status_code": 500, "detail": str(self)})


class PageNotFoundError(Exception):
    """No such URL: an HTML page, not JSON."""

    def response(self) -> Response:
        """Return the answer to send."""
        return Response(404, _PAGE_NOT_FOUND, "text/html; charset=utf-8")


def detail(status: int, text: str, **headers: str) -> RefusedError:
    """Return a refusal in the shape of Django REST framework: `detail` first."""
    return RefusedError(status, {"detail": text, "status_code": status}, headers)


def by_hand(status: int, key: str, text: object, **more: object) -> RefusedError:
    """Return a refusal as the real views write them: `status_code` first, then `error` or `detail`."""
    return RefusedError(status, {"status_code": status, key: text, **more})


def invalid(errors: Mapping[str, Sequence[str]]) -> RefusedError:
    """Return a 400 that names each field's complaints."""
    return RefusedError(400, {**errors, "status_code": 400})


def missing(model: str) -> RefusedError:
    """Return the 404 for a record that does not exist."""
    return detail(404, f"No {model} matches the given query.")


def several(model: str, count: int) -> FailedError:
    """Return the 500 for a look-up by a name that is not unique."""
    return FailedError(f"get() returned more than one {model} -- it returned {count}!")
