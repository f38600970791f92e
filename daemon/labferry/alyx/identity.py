"""The registry room's mirror: who we are for Alyx, and whether it would let us write.

Alyx has no question for that, so two are asked whose answers give it away. From here only Alyx is touched.
"""

from __future__ import annotations

from dataclasses import dataclass

from labferry.alyx.answers import RefusedError
from labferry.alyx.client import AlyxClient
from labferry.alyx.fields import DEPENDENCY, text, texts
from labferry.errors import UnavailableError, UnknownOutcomeError

NO_SESSION = "/sessions/00000000-0000-0000-0000-000000000000"  # an id that Alyx never gives


@dataclass(frozen=True, slots=True)
class Identity:
    """A user of Alyx.

    Attributes
    ----------
    username : str
        As configured; empty where only a token is, whose user Alyx does not tell.
    known : bool
        Alyx has a user of this name; true without a name.
    labs : tuple of str
        The user's.
    may_write : bool
        Alyx lets this user change things; the public user may only look.
    """

    username: str
    known: bool
    labs: tuple[str, ...]
    may_write: bool


def who_we_are(client: AlyxClient) -> Identity:
    """Ask Alyx about the user of this client: two requests, and a login where there was none. Nothing is changed.

    Raises
    ------
    UnavailableError
        Alyx does not accept the login (`alyx_login`), or cannot be asked now.
    """
    known, labs = _of_user(client) if client.username else (True, ())
    return Identity(client.username, known, labs, _may_write(client))


def _of_user(client: AlyxClient) -> tuple[bool, tuple[str, ...]]:
    for row in client.list_all("/users", {"username": client.username}):
        if text(row, "username") == client.username:
            return True, texts(row, "lab")
    return False, ()


def _may_write(client: AlyxClient) -> bool:
    """Try to change nothing of a session that does not exist: who may write is told that it does not."""
    try:
        client.patch(NO_SESSION, {})
    except RefusedError as refused:
        if refused.status != 404:
            raise
    except UnavailableError as error:
        if error.code != "alyx_permission":
            raise
        return False
    except UnknownOutcomeError as lost:
        raise UnavailableError(DEPENDENCY, "alyx_down", lost.message) from lost
    return True
