"""How Globus refuses, and how it writes times.

Room: sandbox. Transfer and Auth have different error documents; the SDK reads both only as JSON.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from labferry.sandbox.http import Response, json_response


class RefusedError(Exception):
    """A request that Transfer does not carry out.

    Parameters
    ----------
    status : int
        Of HTTP.
    code : str
        Globus' own, dotted: `ClientError.NotFound`.
    message : str
        For people.
    more : Mapping
        Further fields of the document.
    """

    def __init__(self, status: int, code: str, message: str, more: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.more = dict(more or {})

    def response(self, resource: str) -> Response:
        """Return the answer to a request for `resource`."""
        document = {"code": self.code, "message": self.message, "request_id": request_id(), "resource": resource}
        return json_response(self.status, {**document, **self.more})


class GrantError(Exception):
    """A request that Auth does not grant, with the error word of OAuth."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.error = error

    def response(self) -> Response:
        """Return the answer."""
        return json_response(self.status, {"error": self.error, "error_description": str(self)})


def bad_request(code: str, message: str) -> RefusedError:
    """Return the refusal of a request that cannot be right."""
    return RefusedError(400, f"ClientError.BadRequest.{code}", message)


def result(data_type: str, code: str, message: str, resource: str) -> dict[str, object]:
    """Return the document that says that something was done."""
    return {
        "DATA_TYPE": data_type,
        "code": code,
        "message": message,
        "request_id": request_id(),
        "resource": resource,
    }


def request_id() -> str:
    """Return what a client quotes when it complains."""
    return secrets.token_hex(5)


def moment(seconds: float | None) -> str | None:
    """Render epoch seconds as Globus does: whole seconds, `+00:00`."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
