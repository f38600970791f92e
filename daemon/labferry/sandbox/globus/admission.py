"""Who may work with a collection: which of them need a consent, or a person who logged in lately.

Room: sandbox. What a collection asks for comes from a fault rule with the action `admission`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from labferry.sandbox.faults import Faults
from labferry.sandbox.globus.answers import RefusedError
from labferry.sandbox.globus.tokens import TRANSFER_ALL, Holder, Tokens
from labferry.sandbox.http import Request

_OPERATION = re.compile(r"/v0\.10/operation/endpoint/([^/]+)/(\w+)")
_DOMAIN = "lab.example"


class Admission:
    """Stands before Transfer."""

    def __init__(self, tokens: Tokens, faults: Faults) -> None:
        self._tokens = tokens
        self._faults = faults

    def require(self, request: Request, holder: Holder) -> None:
        """Let a request pass to the collections it concerns.

        Raises
        ------
        RefusedError
            One of them does not admit its sender.
        """
        for collection, operation in _concerned(request):
            rule = self._faults.admission(collection)
            if rule is None:
                continue
            if rule.becomes == "data_access" and not self._tokens.has_consent(holder, collection):
                raise _consent_required(collection)
            since = holder.authenticated
            if rule.becomes == "session" and since is not None and since < rule.since:
                raise _session_required(collection, operation)


def _concerned(request: Request) -> Iterator[tuple[str, str]]:
    """Yield the collections that a request reaches into, and what it does there; looking at their records is free."""
    if found := _OPERATION.fullmatch(request.path):
        yield found[1].lower(), found[2]
    elif (request.method, request.path) == ("POST", "/v0.10/transfer"):
        try:
            document = json.loads(request.body)
        except ValueError:
            return
        if isinstance(document, dict):
            for side in ("source_endpoint", "destination_endpoint"):
                yield str(document.get(side, "")).lower(), "transfer"


def _consent_required(collection: str) -> RefusedError:
    scope = f"{TRANSFER_ALL}[*https://auth.globus.org/scopes/{collection}/data_access]"
    return RefusedError(403, "ConsentRequired", "Missing required data_access consent", {"required_scopes": [scope]})


def _session_required(collection: str, operation: str) -> RefusedError:
    """Return a gateway's refusal: of a transfer in a document, of an operation only in the words of the server."""
    if operation == "transfer":
        wanted = {"session_message": "Session reauthentication required", "session_required_single_domain": [_DOMAIN]}
        return RefusedError(403, "AuthorizationRequired", "Log in again", {"authorization_parameters": wanted})
    failure = {"ls": "DirListingFailed", "mkdir": "MkdirFailed"}.get(operation, "StatFailed")
    message = (
        f"Command Failed: Error (login)\nEndpoint: {collection}\nServer: m-sandbox.data.globus.org:443\n"
        "Message: Login Failed\n---\nDetails: 530-Login incorrect. : GlobusError: v=1 c=LOGIN_DENIED\\r\\n"
        f'530-GridFTP-Message: {{"session_required_single_domain": ["{_DOMAIN}"]}}\\r\\n530 End.\\r\\n'
    )
    return RefusedError(502, f"ExternalError.{failure}.LoginFailed", message)
