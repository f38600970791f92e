"""The registry room's key: the token that proves who we are, and how it is got.

Secrets are read when they are needed, live in memory only, and appear in no message. From here nothing is
touched but what the given callables touch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from labferry.alyx.fields import DEPENDENCY, Json
from labferry.errors import ConfigError, UnavailableError
from labferry.model import Clock

LOGIN_PAUSE = 60.0  # seconds before a refused password is offered again: one wrong one is not one request per job

Secret = Callable[[], str]


class WrongPasswordError(Exception):
    """Alyx refused the user name or the password."""


class Login:
    """Holds the token; shared by threads, so that they log in once and not each.

    Parameters
    ----------
    username : str
        The Alyx user.
    password, token : callable returning str, or None
        Exactly one: the password to log in with, or the token itself.
    clock : Clock
        For the pause after a refused password.

    Raises
    ------
    ConfigError
        Both or none are given.
    """

    def __init__(self, username: str, password: Secret | None, token: Secret | None, clock: Clock) -> None:
        if (password is None) == (token is None):
            raise ConfigError("[alyx] needs either `password_file` or `token_file`")
        self._username = username
        self._password = password
        self._token_file = token
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._refused_password = ""
        self._refused_until = 0.0

    def hurry(self) -> None:
        """Forget which password was refused."""
        with self._lock:
            self._refused_password = ""

    def token(self, ask: Callable[[Json], str], refused: str = "") -> str:
        """Return a token; a new one if there is none yet, or if it is the one that Alyx just refused.

        Parameters
        ----------
        ask : callable
            Sends credentials to Alyx and returns the token, or raises `WrongPasswordError`.
        refused : str
            The token that Alyx called invalid.

        Raises
        ------
        UnavailableError
            `alyx_login`: the secret cannot be read or is not accepted. What `ask` raises passes through.
        """
        with self._lock:
            if self._token in ("", refused):
                self._token = _checked(self._log_in(ask) if self._token_file is None else _read(self._token_file))
            return self._token

    def _log_in(self, ask: Callable[[Json], str]) -> str:
        assert self._password is not None
        password = _read(self._password)
        now = self._clock.monotonic()
        if password == self._refused_password and now < self._refused_until:
            raise self._refused()
        try:
            return ask({"username": self._username, "password": password})
        except WrongPasswordError:
            self._refused_password, self._refused_until = password, now + LOGIN_PAUSE
            raise self._refused() from None

    def _refused(self) -> UnavailableError:
        # No time to stay away: looking into the file again costs Alyx nothing, and a corrected one heals by itself.
        message = f"Alyx does not accept the password of user {self._username!r}"
        return UnavailableError(DEPENDENCY, "alyx_login", message)


def _read(secret: Secret) -> str:
    try:
        return secret().strip("\r\n")
    except (OSError, ConfigError) as error:  # the latter names what is wrong with a file that is there
        message = f"the password or token file of [alyx] cannot be read: {getattr(error, 'strerror', error)}"
        raise UnavailableError(DEPENDENCY, "alyx_login", message) from error


def _checked(token: str) -> str:
    """Refuse what cannot stand in a header, before it ends up in an error message of one."""
    if not token.isascii() or not token.isprintable() or not token or " " in token:
        raise UnavailableError(DEPENDENCY, "alyx_login", "what [alyx] has as a token is none: one word is expected")
    return token
