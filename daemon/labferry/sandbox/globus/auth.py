"""Globus Auth, as much of it as a service account meets: tokens for a client's id and secret.

Room: sandbox. One client is registered. Tokens outlive a restart, as those of the real service do.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qs, unquote

from labferry.model import Clock
from labferry.sandbox.globus.answers import GrantError, RefusedError, moment
from labferry.sandbox.globus.store import Store
from labferry.sandbox.http import Request, Response, json_response

CLIENT_ID = "3f0b5d1e-8c27-4e6a-9d53-a1f2708b46ce"
TRANSFER = "transfer.api.globus.org"
AUTH = "auth.globus.org"
LIFE = 48 * 3600.0  # seconds
_TRANSFER_ALL = f"urn:globus:auth:scope:{TRANSFER}:all"
_REFRESH_LIFE = 180 * 86400.0  # seconds; unused for longer, a refresh token dies
_OPENID = {"openid", "email", "profile"}
_REFRESHABLE = "offline_access"


class Auth:
    """Grants tokens and knows them again.

    Parameters
    ----------
    store : Store
        Keeps the tokens.
    clock : Clock
        Decides when they expire.
    secret : str
        Of the one client.
    """

    def __init__(self, store: Store, clock: Clock, secret: str) -> None:
        self._store = store
        self._clock = clock
        self._secret = secret

    def __call__(self, request: Request) -> Response:
        """Answer one request below `/v2/`."""
        try:
            if (request.method, request.path) == ("POST", "/v2/oauth2/token"):
                return self._grant(request)
            if (request.method, request.path) == ("POST", "/v2/oauth2/token/revoke"):
                return self._revoke(request)
        except GrantError as error:
            return error.response()
        identity = re.fullmatch(r"/v2/api/identities/([^/]+)/consents", request.path)
        if request.method == "GET" and identity:
            return self._consents(request, identity[1])
        return _refused(404, "NOT_FOUND", f"no {request.method} {request.path} in the sandbox")

    def check(self, request: Request, resource_server: str = TRANSFER) -> None:
        """Require a token for a resource server.

        Raises
        ------
        RefusedError
            There is none, or it is not known, expired, or for something else.
        """
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        known = "SELECT 1 FROM token WHERE value = ? AND kind = 'access' AND resource_server = ? AND expires > ?"
        with self._store.transaction() as db:
            if kind == "Bearer" and db.one(known, value, resource_server, self._clock.now()):
                return
        raise RefusedError(401, "AuthenticationFailed", "Token is not active, or not for this service")

    # --- tokens -------------------------------------------------------------------------------------------

    def _grant(self, request: Request) -> Response:
        form = _form(request)
        self._authenticate(request)
        grant = form.get("grant_type")
        if grant == "client_credentials":
            return json_response(200, self._tokens(form.get("scope") or _TRANSFER_ALL))
        if grant == "refresh_token":
            return json_response(200, self._refreshed(form.get("refresh_token", "")))
        raise GrantError(400, "unsupported_grant_type", f"{grant!r} is not granted here")

    def _authenticate(self, request: Request) -> None:
        client, secret = _basic(request.headers.get("authorization", ""))
        known = hmac.compare_digest(secret.encode(), self._secret.encode())
        if client != CLIENT_ID or not known:
            raise GrantError(401, "invalid_client", "the client's id or secret is wrong")

    def _tokens(self, wanted: str) -> dict[str, object]:
        scopes = re.sub(r"\[.*?\]", "", wanted).split()
        servers: dict[str, list[str]] = {}
        for scope in scopes:
            if scope != _REFRESHABLE:
                servers.setdefault(_resource_server(scope), []).append(scope)
        if not servers:
            raise GrantError(400, "invalid_scope", f"{wanted!r} names nothing that can be granted")
        tokens = [
            self._token(server, " ".join(names), refreshable=_REFRESHABLE in scopes)
            for server, names in servers.items()
        ]
        return {**tokens[0], "other_tokens": tokens[1:]}

    def _token(self, resource_server: str, scope: str, *, refreshable: bool) -> dict[str, object]:
        token: dict[str, object] = {
            "access_token": self._issue("access", resource_server, scope, LIFE),
            "scope": scope,
            "expires_in": int(LIFE),
            "token_type": "Bearer",
            "resource_server": resource_server,
        }
        if refreshable:
            token["refresh_token"] = self._issue("refresh", resource_server, scope, _REFRESH_LIFE)
        return token

    def _issue(self, kind: str, resource_server: str, scope: str, life: float) -> str:
        value = secrets.token_urlsafe(32)
        row = {"value": value, "kind": kind, "resource_server": resource_server, "scope": scope}
        with self._store.transaction() as db:
            db.insert("token", {**row, "expires": self._clock.now() + life})
        return value

    def _refreshed(self, value: str) -> dict[str, object]:
        known = "SELECT * FROM token WHERE value = ? AND kind = 'refresh' AND expires > ?"
        with self._store.transaction() as db:
            row = db.one(known, value, self._clock.now())
        if row is None:
            raise GrantError(400, "invalid_grant", "the refresh token is not known, revoked or expired")
        token = self._token(row["resource_server"], row["scope"], refreshable=False)
        return {**token, "refresh_token": value, "other_tokens": []}

    def _revoke(self, request: Request) -> Response:
        self._authenticate(request)
        with self._store.transaction() as db:
            db.run("DELETE FROM token WHERE value = ?", _form(request).get("token", ""))
        return json_response(200, {"active": False})

    # --- consents -----------------------------------------------------------------------------------------

    def _consents(self, request: Request, identity: str) -> Response:
        try:
            self.check(request, AUTH)
        except RefusedError as error:
            return _refused(401, "UNAUTHORIZED", error.message)
        if identity != CLIENT_ID:
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
            "scope_name": _TRANSFER_ALL,
            "scope": "5f7b1c60-0a44-4b0f-8d2e-6c1f3e9ad8b7",
            "effective_identity": identity,
            "client": CLIENT_ID,
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


def _resource_server(scope: str) -> str:
    if scope in _OPENID:
        return AUTH
    if known := re.fullmatch(r"urn:globus:auth:scope:([^:]+):\w+|https://auth\.globus\.org/scopes/([^/]+)/\w+", scope):
        return str(known[1] or known[2])
    raise GrantError(400, "invalid_scope", f"there is no scope {scope!r}")


def _refused(status: int, code: str, detail: str) -> Response:
    return json_response(status, {"errors": [{"status": str(status), "code": code, "title": code, "detail": detail}]})
