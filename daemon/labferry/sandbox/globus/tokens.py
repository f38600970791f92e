"""Tokens, codes and consents: what Auth has given out, and to whom.

Room: sandbox. All of it outlives a restart, as that of the real service does. A refresh token is replaced whenever it
is used; the old one ends when something that came with the new one is used, so an answer that was lost costs nothing.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from labferry.model import Clock
from labferry.sandbox.alyx.store import Database, Row
from labferry.sandbox.globus.answers import GrantError
from labferry.sandbox.globus.store import Store

TRANSFER = "transfer.api.globus.org"
TRANSFER_ALL = f"urn:globus:auth:scope:{TRANSFER}:all"
AUTH = "auth.globus.org"
LIFE = 48 * 3600.0  # seconds of an access token
CODE_LIFE = 600.0  # seconds
_REFRESH_LIFE = 180 * 86400.0  # seconds; unused for longer, a refresh token dies
_OPENID = {"openid", "email", "profile"}
_DATA_ACCESS = re.compile(r"https://auth\.globus\.org/scopes/([0-9a-f-]{36})/data_access")


@dataclass(frozen=True)
class Holder:
    """Who holds a token.

    Attributes
    ----------
    authenticated : float or None
        When the person logged in last, epoch seconds; None for a service account, which never does.
    """

    client: str
    identity: str
    authenticated: float | None = None


class Tokens:
    """Everything that was given out and is still good."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    # --- tokens -------------------------------------------------------------------------------------------

    def issue(self, holder: Holder, wanted: str, *, refreshable: bool) -> dict[str, object]:
        """Give out one token for every resource server that a scope names, and note the consents in it.

        Raises
        ------
        GrantError
            It names nothing that there is.
        """
        servers: dict[str, list[str]] = {}
        for scope in _plain(wanted):
            servers.setdefault(_resource_server(scope), []).append(scope)
        if not servers:
            raise GrantError(400, "invalid_scope", f"{wanted!r} names nothing that can be granted")
        with self._store.transaction() as db:
            for collection in _DATA_ACCESS.findall(wanted):
                row = (holder.identity, holder.client, collection)
                db.run("INSERT OR IGNORE INTO consent VALUES (?, ?, ?)", *row)
            tokens = [
                self._token(db, holder, server, " ".join(names), refreshable=refreshable)
                for server, names in servers.items()
            ]
        return {**tokens[0], "other_tokens": tokens[1:]}

    def refresh(self, client: str, value: str) -> dict[str, object]:
        """Give out another access token, and another refresh token in place of the used one.

        Raises
        ------
        GrantError
            The refresh token is not good.
        """
        with self._store.transaction() as db:
            row = self._use(db, value, "refresh")
            if row is None or row["client"] != client:
                raise GrantError(400, "invalid_grant", "the refresh token is not known, revoked or expired")
            holder = Holder(client, row["identity"], row["authenticated"])
            token = self._token(db, holder, row["resource_server"], row["scope"], refreshable=True, replaces=value)
        return {**token, "other_tokens": []}

    def holder(self, value: str, resource_server: str) -> Holder | None:
        """Return who holds an access token for a resource server; None if it is not good for that."""
        with self._store.transaction() as db:
            row = self._use(db, value, "access")
        if row is None or row["resource_server"] != resource_server:
            return None
        return Holder(row["client"], row["identity"], row["authenticated"])

    def revoke(self, value: str) -> None:
        """End a token; with a refresh token everything that was got with it."""
        with self._store.transaction() as db:
            db.run("DELETE FROM issued WHERE ? IN (value, replaces)", value)

    def revoke_all(self) -> None:
        """End all tokens, as somebody does who rescinds the consents of an application."""
        with self._store.transaction() as db:
            db.run("DELETE FROM issued")
            db.run("DELETE FROM consent")

    # --- people -------------------------------------------------------------------------------------------

    def authenticated(self, identity: str, *, anew: bool) -> float:
        """Return when a person logged in with the browser; now, if never before or if asked to do it anew."""
        with self._store.transaction() as db:
            row = db.one("SELECT authenticated FROM browser WHERE identity = ?", identity)
            if row is not None and not anew:
                return float(row["authenticated"])
            db.run("INSERT OR REPLACE INTO browser VALUES (?, ?)", identity, self._now())
        return self._now()

    def has_consent(self, holder: Holder, collection: str) -> bool:
        """Tell whether somebody lets an application reach the data in a collection."""
        query = "SELECT 1 FROM consent WHERE identity = ? AND client = ? AND collection = ?"
        with self._store.transaction() as db:
            return db.one(query, holder.identity, holder.client, collection) is not None

    def new_code(self, holder: Holder, scope: str, challenge: str, redirect_uri: str, *, offline: bool) -> str:
        """Give out a code that can be exchanged once, within ten minutes."""
        value = secrets.token_urlsafe(16)
        row = {"value": value, "client": holder.client, "identity": holder.identity, "scope": scope}
        row |= {"challenge": challenge, "redirect_uri": redirect_uri}
        times = {"authenticated": holder.authenticated or self._now(), "expires": self._now() + CODE_LIFE}
        with self._store.transaction() as db:
            db.insert("code", {**row, **times, "offline": int(offline)})
        return value

    def take_code(self, value: str) -> Row | None:
        """Return what a code stands for, once; None if it is not good."""
        with self._store.transaction() as db:
            row = db.one("SELECT * FROM code WHERE value = ? AND expires > ?", value, self._now())
            db.run("DELETE FROM code WHERE value = ?", value)
        return row

    # --- rows ---------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._clock.now()

    def _use(self, db: Database, value: str, kind: str) -> Row | None:
        """Return a good token's row; what it replaces ends."""
        row = db.one("SELECT * FROM issued WHERE value = ? AND kind = ? AND expires > ?", value, kind, self._now())
        if row is not None and row["replaces"]:
            db.run("DELETE FROM issued WHERE value = ?", row["replaces"])
            db.run("UPDATE issued SET replaces = NULL WHERE replaces = ?", row["replaces"])
        return row

    def _token(
        self, db: Database, holder: Holder, server: str, scope: str, *, refreshable: bool, replaces: str | None = None
    ) -> dict[str, object]:
        row = {"client": holder.client, "identity": holder.identity, "authenticated": holder.authenticated}
        row |= {"resource_server": server, "scope": scope, "replaces": replaces}

        def add(kind: str, life: float) -> str:
            value = secrets.token_urlsafe(32)
            db.insert("issued", {**row, "value": value, "kind": kind, "expires": self._now() + life})
            return value

        token: dict[str, object] = {
            "access_token": add("access", LIFE),
            "scope": scope,
            "expires_in": int(LIFE),
            "token_type": "Bearer",
            "resource_server": server,
        }
        return {**token, "refresh_token": add("refresh", _REFRESH_LIFE)} if refreshable else token


def _plain(wanted: str) -> list[str]:
    """Return the scopes that tokens are for: without what hangs on them, and without `offline_access`."""
    return [scope for scope in re.sub(r"\[.*?\]", "", wanted).split() if scope != "offline_access"]


def _resource_server(scope: str) -> str:
    if scope in _OPENID:
        return AUTH
    if known := re.fullmatch(r"urn:globus:auth:scope:([^:]+):\w+|https://auth\.globus\.org/scopes/([^/]+)/\w+", scope):
        return str(known[1] or known[2])
    raise GrantError(400, "invalid_scope", f"there is no scope {scope!r}")
