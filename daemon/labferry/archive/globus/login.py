"""Archive room: the two ways to be somebody at Globus, as an application with a secret or as a person who logged in.

Both give out tokens for Transfer and replace them when they end. From here the network is touched, through `grants`,
and for a person the files of `tokens`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn, Protocol

from labferry.archive.globus.faults import data_access_of, login_needed, policy_of, translate
from labferry.archive.globus.grants import Consented, Grants, Token
from labferry.archive.globus.tokens import NoLoginError, Stamp, StoredLogin, TokenStore
from labferry.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from globus_sdk import GlobusAPIError

_RENEW_BEFORE = 60.0  # seconds before its end in which a token is not used any more
_ASK_AGAIN = 3600.0  # seconds until a refresh token is offered again that was refused: Auth may have been wrong
_LOG_IN = "log in"
_COMMAND = "`labferry login globus` logs in"


class Login(Protocol):
    """Gives out tokens for Transfer."""

    def token(self, refused: str = "") -> str:
        """Return a token that should work; not the one that was just refused.

        Raises
        ------
        UnavailableError
            `globus_login`, or that Auth or the store cannot be used now.
        """

    def learn(self, error: GlobusAPIError) -> bool:
        """Remember what a collection misses in the login; say whether another token has it."""

    def missing(self) -> UnavailableError | None:
        """Return why there can be no token until somebody logs in, without asking anybody; None if there can."""


class ApplicationLogin:
    """Client credentials: no person is needed.

    The secret is read anew for every token, so that a corrected file heals by itself. Belongs to one thread.
    """

    def __init__(self, grants: Grants, secret: Callable[[], str]) -> None:
        self._grants = grants
        self._secret = secret
        self._token = ""
        self._ends = 0.0
        self._consents: tuple[str, ...] = ()

    def token(self, refused: str = "") -> str:
        """Return a token."""
        if not self._token or self._token == refused or time.monotonic() >= self._ends:
            self._token = ""
            granted = self._granted()
            self._token, self._ends = granted.access, _end(granted)
        return self._token

    def learn(self, error: GlobusAPIError) -> bool:
        """Ask for what a collection missed from now on: for an application, asking is all that a consent takes."""
        wanted = error.info.consent_required.required_scopes or ()
        self._consents = tuple(dict.fromkeys((*self._consents, *wanted)))
        return bool(error.info.consent_required)

    def missing(self) -> UnavailableError | None:
        """Return None: whether the secret is right only Auth can say."""
        return None

    def _granted(self) -> Token:
        from globus_sdk import GlobusError

        try:
            return self._grants.for_application(self._read_secret(), self._scopes())
        except (GlobusError, ValueError) as error:
            self._consents = ()  # a wrong one must not keep us out for ever; the others are learned again
            _fail(error)

    def _scopes(self) -> str:
        from globus_sdk.scopes import ScopeParser, TransferScopes

        return ScopeParser.serialize(ScopeParser.parse(" ".join((str(TransferScopes.all), *self._consents))))

    def _read_secret(self) -> str:
        try:
            return self._secret().strip("\r\n")
        except (OSError, ConfigError) as error:
            reason = f"the client secret cannot be read: {getattr(error, 'strerror', None) or error}"
            raise login_needed(_LOG_IN, reason) from error


class PersonLogin:
    """Somebody's refresh token, kept in a store; used by all threads, so that they refresh once and not each.

    A login that another process puts into the store is used at once. A refresh token that Auth refused is not offered
    again as long as it is the one in the store, or for an hour.

    Parameters
    ----------
    grants : Grants
    store : TokenStore
    """

    def __init__(self, grants: Grants, store: TokenStore) -> None:
        self.grants = grants
        self.store = store
        self._turn = threading.Lock()  # held while Auth is asked
        self._lock = threading.Lock()  # never held for long: whoever only wants to know does not wait for Auth
        self._stamp: Stamp = TokenStore.ANY
        self._stored: StoredLogin | None = None
        self._problem = ""
        self._is_saved = True
        self._token = ""
        self._ends = 0.0
        self._refused_until = 0.0
        self._wanted: tuple[str, ...] = ()
        self._policy: Mapping[str, str] = {}

    # --- tokens -------------------------------------------------------------------------------------------

    def token(self, refused: str = "") -> str:
        """Return a token; `globus_tokens` if the refresh token that came with it cannot be kept."""
        with self._turn:
            while True:
                with self._lock:
                    stored = self._required()
                    if self._token and self._token != refused and time.monotonic() < self._ends:
                        return self._token
                    self._token = ""
                granted = self._granted(stored)
                with self._lock:
                    self._take(stored, granted)

    def consented(self, code: str, verifier: str) -> Consented:
        """Exchange a code for what a person consented to; nothing is kept yet.

        Raises
        ------
        UnavailableError
            `globus_login`: the code is not accepted. Or Auth does not answer.
        """
        from globus_sdk import GlobusError

        try:
            return self.grants.for_code(code, verifier)
        except (GlobusError, ValueError) as error:
            _fail(error, "exchange the code")

    def missing(self) -> UnavailableError | None:
        """Return why nobody is logged in."""
        with self._lock:
            self._look()
            return None if self._is_good() else self._needed()

    def stored(self) -> StoredLogin | None:
        """Return who is logged in, whether that is still good or not."""
        with self._lock:
            self._look()
            return self._stored

    def _required(self) -> StoredLogin:
        self._look()
        if not self._is_saved:
            self._save()
        if self._stored is None or not self._is_good():
            raise self._needed()
        return self._stored

    def _is_good(self) -> bool:
        return self._stored is not None and time.monotonic() >= self._refused_until

    def _look(self) -> None:
        """Take over what is in the store now, if it is not what we know."""
        stamp = self.store.stamp()
        if stamp == self._stamp:
            return
        self._stamp, self._token, self._is_saved, self._refused_until = stamp, "", True, 0.0
        self._wanted, self._policy = (), {}
        try:
            self._stored, self._problem = self.store.read(), ""
        except NoLoginError as error:
            self._stored, self._problem = None, str(error)
            return
        if self._stored.client_id != self.grants.client_id:
            self._problem = f"{self._stored.name} is logged in to another application than {self.grants.client_id}"
            self._stored = None

    def _granted(self, stored: StoredLogin) -> Token:
        from globus_sdk import GlobusError

        try:
            return self.grants.refreshed(stored.refresh_token)
        except (GlobusError, ValueError) as error:
            failure = translate(error, _LOG_IN)
            if isinstance(failure, UnavailableError) and failure.code != "globus_login":
                raise failure from error
            why = failure.message.removeprefix(f"Globus: {_LOG_IN}: ")
            with self._lock:
                self._problem = f"the login of {stored.name} is not accepted any more: {why}"
                self._refused_until = time.monotonic() + _ASK_AGAIN
                raise self._needed() from error

    def _take(self, stored: StoredLogin, granted: Token) -> None:
        """Use what was granted, unless somebody logged in meanwhile."""
        if granted.refresh and granted.refresh != stored.refresh_token:
            # The old one may end with the first use of what we were just given: it must be on disk before that.
            self._stored, self._is_saved = replace(stored, refresh_token=granted.refresh), False
            self._save()
        if self._stamp == self.store.stamp():
            self._token, self._ends = granted.access, _end(granted)

    def _save(self) -> None:
        assert self._stored is not None
        if self.store.write(self._stored, over=self._stamp):
            self._stamp = self.store.stamp()
        self._is_saved = True  # or there is a newer login, which is taken over with the next look

    def _needed(self) -> UnavailableError:
        return login_needed(_LOG_IN, f"{self._problem}; {_COMMAND}")

    # --- what the next login must bring -------------------------------------------------------------------

    def learn(self, error: GlobusAPIError) -> bool:
        """Remember what a collection misses in the login; only a person can give it."""
        scopes = error.info.consent_required.required_scopes or ()
        with self._lock:
            self._wanted = tuple(dict.fromkeys((*self._wanted, *data_access_of(scopes))))
            self._policy = {**self._policy, **policy_of(error)}
        return False

    @property
    def wanted(self) -> tuple[str, ...]:
        """The collections whose data this login may not reach, as far as they have said so."""
        with self._lock:
            return self._wanted

    @property
    def policy(self) -> Mapping[str, str]:
        """What collections demand of a login that this one does not have."""
        with self._lock:
            return self._policy


def _end(granted: Token) -> float:
    return time.monotonic() + granted.seconds - _RENEW_BEFORE


def _fail(error: Exception, what: str = _LOG_IN) -> NoReturn:
    """Raise what a refused grant means: a login that is needed, unless it is an outage."""
    failure = translate(error, what)
    if isinstance(failure, UnavailableError):
        raise failure from error
    raise login_needed(what, failure.message) from error
