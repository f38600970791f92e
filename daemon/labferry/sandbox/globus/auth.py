"""Globus Auth, as much of it as a daemon meets: tokens for an application's id and secret, and for a person's login.

Room: sandbox. Two clients are registered: a service account with a secret, and a native application without.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import parse_qs, unquote

from labferry.model import Clock
from labferry.sandbox.globus.answers import GrantError, RefusedError, moment
from labferry.sandbox.globus.browser import CODE_PAGE, PEOPLE, Browser
from labferry.sandbox.globus.tokens import AUTH, LIFE, TRANSFER, TRANSFER_ALL, Holder, Tokens
from labferry.sandbox.http import Request, Response, json_response

__all__ = ["CLIENT_ID", "LIFE", "NATIVE_CLIENT_ID", "Auth"]

CLIENT_ID = "3f0b5d1e-8c27-4e6a-9d53-a1f2708b46ce"
NATIVE_CLIENT_ID = "5b7e2a94-1d38-4f60-8c1b-70e3d9a6f245"


class Auth:
    """Grants tokens and knows them again.

    Parameters
    ----------
    tokens : Tokens
        Everything that was given out.
    clock : Clock
        What time it is.
    secret : str
        Of the service account.
    """

    def __init__(self, tokens: Tokens, clock: Clock, secret: str) -> None:
        self._tokens = tokens
        self._clock = clock
        self._secret = secret
        self._browser = Browser(tokens, frozenset({NATIVE_CLIENT_ID}))

    def __call__(self, request: Request) -> Response:
        """Answer one request below `/v2/`."""
        answers = {
            ("POST", "/v2/oauth2/token"): self._grant,
            ("POST", "/v2/oauth2/token/revoke"): self._revoke,
            ("GET", "/v2/oauth2/userinfo"): self._userinfo,
            ("GET", "/v2/oauth2/authorize"): self._browser.authorize,
            ("GET", CODE_PAGE): self._browser.show_code,
        }
        identity = re.fullmatch(r"/v2/api/identities/([^/]+)/consents", request.path)
        try:
            if answer := answers.get((request.method, request.path)):
                return answer(request)
            if request.method == "GET" and identity:
                return self._consents(request, identity[1])
        except GrantError as error:
            return error.response()
        except RefusedError as error:
            return _refused(401, "UNAUTHORIZED", error.message)
        return _refused(404, "NOT_FOUND", f"no {request.method} {request.path} in the sandbox")

    def check(self, request: Request, resource_server: str = TRANSFER) -> Holder:
        """Return who sent a request, by its token for a resource server.

        Raises
        ------
        RefusedError
            There is none, or it is not known, expired, or for something else.
        """
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        holder = self._tokens.holder(value, resource_server) if kind == "Bearer" else None
        if holder is None:
            raise RefusedError(401, "AuthenticationFailed", "Token is not active, or not for this service")
        return holder

    # --- tokens -------------------------------------------------------------------------------------------

    def _grant(self, request: Request) -> Response:
        form = _form(request)
        client = self._client(request, form)
        grant = form.get("grant_type")
        if grant == "client_credentials" and client == CLIENT_ID:
            wanted = form.get("scope") or TRANSFER_ALL
            refreshable = "offline_access" in wanted.split()
            return json_response(200, self._tokens.issue(Holder(client, client), wanted, refreshable=refreshable))
        if grant == "refresh_token":
            return json_response(200, self._tokens.refresh(client, form.get("refresh_token", "")))
        if grant == "authorization_code":
            return json_response(200, self._exchanged(client, form))
        raise GrantError(400, "unsupported_grant_type", f"{grant!r} is not granted here")

    def _client(self, request: Request, form: Mapping[str, str]) -> str:
        """Return which application sent a request: with its secret, or by its name where it has none."""
        header = request.headers.get("authorization", "")
        if not header and form.get("client_id") == NATIVE_CLIENT_ID:
            return NATIVE_CLIENT_ID
        client, secret = _basic(header)
        known = hmac.compare_digest(secret.encode(), self._secret.encode())
        if client != CLIENT_ID or not known:
            raise GrantError(401, "invalid_client", "the client's id or secret is wrong")
        return client

    def _exchanged(self, client: str, form: Mapping[str, str]) -> dict[str, object]:
        row = self._tokens.take_code(form.get("code", ""))
        if row is None or row["client"] != client or row["redirect_uri"] != form.get("redirect_uri"):
            raise GrantError(400, "invalid_grant", "the code is not known, used or expired")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != row["challenge"]:
            raise GrantError(400, "invalid_grant", "the code was asked for by somebody else")
        holder = Holder(client, row["identity"], row["authenticated"])
        return self._tokens.issue(holder, row["scope"], refreshable=bool(row["offline"]))

    def _revoke(self, request: Request) -> Response:
        form = _form(request)
        self._client(request, form)
        self._tokens.revoke(form.get("token", ""))
        return json_response(200, {"active": False})

    # --- who, and what they allow -------------------------------------------------------------------------

    def _userinfo(self, request: Request) -> Response:
        identity = self.check(request, AUTH).identity
        name = next((name for name, known in PEOPLE.items() if known == identity), f"{identity}@clients.{AUTH}")
        return json_response(200, {"sub": identity, "preferred_username": name, "email": name})

    def _consents(self, request: Request, identity: str) -> Response:
        holder = self.check(request, AUTH)
        if identity != holder.identity:
            return _refused(403, "FORBIDDEN", "these are another identity's consents")
        now = moment(self._clock.now())
        consent = {
            "id": 1,
            "created": now,
            "updated": now,
            "last_used": now,
            "status": "approved",
            "allows_refresh": True,
            "auto_approved": False,
            "atomically_revocable": False,
            "dependency_path": [1],
            "scope_name": TRANSFER_ALL,
            "scope": "5f7b1c60-0a44-4b0f-8d2e-6c1f3e9ad8b7",
            "effective_identity": identity,
            "client": holder.client,
        }
        return json_response(200, {"consents": [consent]})


def _form(request: Request) -> Mapping[str, str]:
    pairs = parse_qs(request.body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[-1] for name, values in pairs.items()}


def _basic(header: str) -> tuple[str, str]:
    kind, _, value = header.partition(" ")
    try:
        text = base64.b64decode(value, validate=True).decode() if kind == "Basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    client, _, secret = text.partition(":")
    return unquote(client), unquote(secret)


def _refused(status: int, code: str, detail: str) -> Response:
    return json_response(status, {"errors": [{"status": str(status), "code": code, "title": code, "detail": detail}]})
