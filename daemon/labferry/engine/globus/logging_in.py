"""A person's login, begun and finished: an address to open, and the code that is shown there.

What must be known to finish is kept on disk, so that who begins and who finishes may be different commands, before and
after a restart of the daemon. Runs in the thread of whoever asks; whatever is said to Auth has an end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import StrEnum
from typing import TypeVar

from labferry.archive.globus.caller import Caller
from labferry.archive.globus.grants import Consented, new_verifier
from labferry.archive.globus.login import PersonLogin
from labferry.archive.globus.tokens import NoLoginError, PendingLogin, StoredLogin
from labferry.engine.globus.access import GlobusAccess
from labferry.errors import LabferryError, UnavailableError

DEADLINE = 120.0  # seconds that Auth gets
_AGAIN = "`labferry login globus --start` prints an address to begin with; a code can be used once, within ten minutes."

T = TypeVar("T")


class Refused(StrEnum):
    """Why a code brought no login."""

    CODE = "code"  # Auth does not accept it
    OTHER = "other"  # it is another person's


class CodeRefusedError(Exception):
    """A code brought no login; the message says why."""

    def __init__(self, kind: Refused, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def begin(access: GlobusAccess, collections: Iterable[str], *, replace: bool) -> str:
    """Return the address where a person logs in; another login that was begun before is forgotten.

    Parameters
    ----------
    collections : iterable of str
        Mapped collections whose data we want to reach.
    replace : bool
        Whether it may be another person than the one who is logged in.

    Raises
    ------
    LabferryError
        `no_person_needed`: we are an application. `globus_tokens`: nothing can be kept.
    """
    person = _person(access)
    wanted = tuple(sorted({*collections, *person.wanted}))
    verifier = new_verifier()
    pending = PendingLogin(person.grants.client_id, verifier, wanted, replace, access.clock.now())
    person.store.begin(pending)
    return person.grants.address(verifier, wanted, person.policy)


def finish(access: GlobusAccess, code: str) -> None:
    """Exchange a code for a login and keep it; who waits for one goes on with it.

    Raises
    ------
    CodeRefusedError
        The code is not accepted, or is another person's; theirs is revoked.
    LabferryError
        `no_login_begun`, `globus_tokens`, or that Auth does not answer.
    """
    person = _person(access)
    pending = person.store.begun(access.clock.now())
    if pending is None or pending.client_id != person.grants.client_id:
        raise LabferryError("no_login_begun", "No login to Globus was begun within the last hour.", _AGAIN)
    consented = _exchanged(access, person, code, pending.verifier)
    person.store.forget_begun()
    before = _stored(person)
    if before is not None and before.identity != consented.identity.id and not pending.replace:
        _revoke(access, person, consented.token.access, consented.token.refresh, *consented.spare)
        raise CodeRefusedError(
            Refused.OTHER, f"{consented.identity.name} logged in, and so far it was {before.name}: nothing was changed"
        )
    identity = consented.identity
    try:
        person.store.write(
            StoredLogin(
                client_id=pending.client_id,
                identity=identity.id,
                name=identity.name,
                refresh_token=consented.token.refresh,
                data_access=pending.data_access,
                since=access.clock.now(),
            )
        )
    except UnavailableError:
        _revoke(access, person, consented.token.access, consented.token.refresh, *consented.spare)
        raise
    outdated = [before.refresh_token] if before and before.refresh_token != consented.token.refresh else []
    _revoke(access, person, *consented.spare, *outdated)


def _person(access: GlobusAccess) -> PersonLogin:
    if access.person is None:
        raise LabferryError(
            "no_person_needed",
            "With client credentials nobody logs in.",
            "`labferry login globus` says what the application may do. For a person's login remove client_secret_file.",
        )
    return access.person


def _stored(person: PersonLogin) -> StoredLogin | None:
    """Return who is, or was, logged in, to whatever application."""
    with suppress(NoLoginError):
        return person.store.read()
    return None


def _exchanged(access: GlobusAccess, person: PersonLogin, code: str, verifier: str) -> Consented:
    try:
        return _within_deadline(access, lambda: person.consented(code, verifier), "exchange the code")
    except UnavailableError as error:
        if error.code != "globus_login":
            raise
        raise CodeRefusedError(Refused.CODE, error.message) from error


def _revoke(access: GlobusAccess, person: PersonLogin, *tokens: str) -> None:
    with suppress(UnavailableError):
        _within_deadline(access, lambda: person.grants.revoke(*tokens), "revoke tokens")


class _Nothing:
    """What a call to Auth works with: it has all it needs."""

    def close(self) -> None:
        """Have nothing to give back."""


def _within_deadline(access: GlobusAccess, work: Callable[[], T], what: str) -> T:
    caller: Caller[_Nothing] = Caller(_Nothing)
    try:
        return caller.call(lambda _: work(), what, seconds=DEADLINE, stop=access.stop)
    finally:
        caller.close()
