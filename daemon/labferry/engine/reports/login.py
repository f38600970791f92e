"""Whether a login works right now, and who we are by it."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

from labferry.alyx.client import AlyxClient
from labferry.alyx.identity import Identity, who_we_are
from labferry.config import Alyx
from labferry.errors import CODES, UnavailableError, UnexplainedError

OK, NEEDS_LOGIN, READ_ONLY, UNKNOWN_USER, DOWN = "ok", "needs_login", "read_only", "unknown_user", "down"


def alyx_login(client: AlyxClient, settings: Alyx) -> dict[str, Any]:
    """Log in to Alyx and ask it who we are; nothing is changed there.

    Parameters
    ----------
    client : AlyxClient
        Not logged in yet, so that it is the secret of now that is tested; closed afterwards.
    settings : Alyx
        Where the secret is.
    """
    with closing(client):
        try:
            identity = who_we_are(client)
        except (UnavailableError, UnexplainedError) as error:
            state = NEEDS_LOGIN if error.code == "alyx_login" else DOWN
            hint = _what_to_write(settings) if state == NEEDS_LOGIN else error.hint
            return {**_fields(client, settings), "state": state, **_problem(error.code, error.message, hint)}
    return {
        **_fields(client, settings),
        "labs": list(identity.labs),
        "may_write": identity.may_write,
        **_judged(client, settings, identity),
    }


def _judged(client: AlyxClient, settings: Alyx, identity: Identity) -> dict[str, Any]:
    who = identity.username or f"the owner of the token in {settings.token_file}"
    if not identity.known:
        text = f"the token in {settings.token_file} is valid, but Alyx at {client.url} has no user {who}"
        return {"state": UNKNOWN_USER, **_problem("unknown_user", text, CODES["unknown_user"].hint)}
    if not identity.may_write:
        text = f"{who} may only look at {client.url}: Alyx does not let this user register anything"
        return {"state": READ_ONLY, **_problem("alyx_permission", text, CODES["alyx_permission"].hint)}
    labs = f" (labs: {', '.join(identity.labs)})" if identity.labs else ""
    return {"state": OK, **_problem("", f"{who}{labs} is logged in at {client.url} and may register", "")}


def _fields(client: AlyxClient, settings: Alyx) -> dict[str, Any]:
    key = "token_file" if settings.token_file else "password_file"
    secret = {"key": key, "path": getattr(settings, key), "given_by_systemd": _is_given(getattr(settings, key))}
    return {"service": "alyx", "url": client.url, "user": client.username or None, "secret": secret, "may_write": None}


def _problem(code: str, message: str, hint: str) -> dict[str, str]:
    return {"code": code, "message": message, "hint": hint}


def _what_to_write(settings: Alyx) -> str:
    path = settings.token_file or settings.password_file
    what = "the token" if settings.token_file else f"the password of {settings.username}"
    if _is_given(path):
        return (
            f"{path} is a systemd credential: write {what} into the file that LoadCredential= of the unit names, then "
            "`systemctl restart labferry`."
        )
    return f"Write {what} and nothing else into {path}, readable by the service user only (mode 0600); then ask again."


def _is_given(path: str) -> bool:
    """Tell whether systemd laid the file there: it is a copy that nobody can write."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return bool(folder) and path.startswith(os.path.join(folder, ""))
