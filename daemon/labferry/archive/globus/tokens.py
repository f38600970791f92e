"""Archive room: a person's login on disk: `globus/` below the state directory, readable by the service user only.

Written whole or not at all. What cannot be read, or is none, is a login that is needed, never a reason to stop. From
here only that folder is touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeAlias

import structlog

from labferry.archive.globus.faults import GLOBUS
from labferry.config.credentials import globus_tokens
from labferry.errors import UnavailableError

PENDING = "pending.json"
PENDING_LIFE = 3600.0  # seconds in which a login that was begun can be finished
_FOLDER_MODE, _FILE_MODE = 0o700, 0o600
_OTHERS = 0o077
_LARGEST = 64 * 1024  # bytes; anything larger is no login
_log = structlog.get_logger()

Stamp: TypeAlias = tuple[int, int, int] | None
"""Tells two contents of the file apart without reading it; None where there is no file."""


class NoLoginError(Exception):
    """There is no login here that could be used; the message says what there is instead."""


@dataclass(frozen=True, slots=True)
class StoredLogin:
    """Somebody's login.

    Attributes
    ----------
    client_id : str
        The application that the person logged in to.
    identity, name : str
        UUID and name of the person.
    refresh_token : str
        Good until it is revoked, or unused for half a year.
    data_access : tuple of str
        The collections whose data the person let us reach.
    since : float
        Of the login, epoch seconds.
    """

    client_id: str
    identity: str
    name: str
    refresh_token: str = field(repr=False)
    data_access: tuple[str, ...]
    since: float


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A login that was begun: what must be known to finish it.

    Attributes
    ----------
    verifier : str
        Proves that we began it.
    data_access : tuple of str
        The collections whose data was asked for.
    replace : bool
        Whether it may be another person than before.
    since : float
        Of its beginning, epoch seconds.
    """

    client_id: str
    verifier: str = field(repr=False)
    data_access: tuple[str, ...]
    replace: bool
    since: float


class TokenStore:
    """The files; safe for several processes.

    Parameters
    ----------
    state_dir : str
        Everything written belongs to the owner of this.

    Attributes
    ----------
    exposed : str
        Why what was read last may be known to others; empty when it is not.
    """

    ANY: Final = (-1, -1, -1)

    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir
        self.path = globus_tokens(state_dir)
        self.folder = os.path.dirname(self.path)
        self.exposed = ""

    def stamp(self) -> Stamp:
        """Return what changes whenever somebody else writes a login."""
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def read(self) -> StoredLogin:
        """Return the login.

        Raises
        ------
        NoLoginError
            There is none, or it cannot be read.
        """
        self.exposed = ""
        fields = self._fields(self.path)
        try:
            login = StoredLogin(**{**fields, "data_access": tuple(fields["data_access"])})
        except (TypeError, KeyError):
            raise NoLoginError(f"{self.path} holds no login") from None
        if not all(isinstance(one, str) and one for one in (login.client_id, login.identity, login.refresh_token)):
            raise NoLoginError(f"{self.path} holds no login")
        return login

    def write(self, login: StoredLogin, over: Stamp = ANY) -> bool:
        """Keep a login; False, and nothing is done, if there is another content than the one stamped `over`.

        Raises
        ------
        UnavailableError
            `globus_tokens`: it cannot be written.
        """
        with self._changing():
            if over not in {self.ANY, self.stamp()}:
                return False
            self._write(self.path, asdict(login))
        self.exposed = ""
        return True

    # --- a login that was begun ---------------------------------------------------------------------------

    def begin(self, pending: PendingLogin) -> None:
        """Keep what is needed to finish a login; another one that was begun is forgotten. Raises as `write`."""
        with self._changing():
            self._write(os.path.join(self.folder, PENDING), asdict(pending))

    def begun(self, now: float) -> PendingLogin | None:
        """Return the login that was begun, if it is not too long ago."""
        try:
            fields = self._fields(os.path.join(self.folder, PENDING))
            pending = PendingLogin(**{**fields, "data_access": tuple(fields["data_access"])})
        except (NoLoginError, TypeError, KeyError):
            return None
        return pending if now - PENDING_LIFE < pending.since <= now else None

    def forget_begun(self) -> None:
        """Forget the login that was begun: its code can be used once."""
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self.folder, PENDING))

    # --- files --------------------------------------------------------------------------------------------

    def _fields(self, path: str) -> Mapping[str, Any]:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:
                self._require_private(path, file.fileno())
                content = json.loads(file.read(_LARGEST))
        except FileNotFoundError:
            raise NoLoginError("nobody is logged in") from None
        except OSError as error:
            raise NoLoginError(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError):
            raise NoLoginError(f"{path} is damaged") from None
        if not isinstance(content, dict):
            raise NoLoginError(f"{path} is damaged")
        return content

    def _require_private(self, path: str, descriptor: int) -> None:
        """Take from others what they should never have been given, and remember that they had it."""
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        if not mode & _OTHERS:
            return
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, _FILE_MODE)
        self.exposed = f"{path} could be read by others (mode {mode:04o})"
        _log.warning("globus_tokens_exposed", why=self.exposed, hint="`labferry login globus --start` replaces them.")

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Keep others from writing, in a folder that is ours alone."""
        try:
            os.makedirs(self._state_dir, _FOLDER_MODE, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.folder, _FOLDER_MODE)
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fchmod(descriptor, _FOLDER_MODE)
                self._give_away(descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            why = f"the login to Globus cannot be kept in {self.folder}: {error.strerror}"
            raise UnavailableError(GLOBUS, "globus_tokens", why) from None

    def _write(self, path: str, fields: Mapping[str, Any]) -> None:
        new = os.path.join(self.folder, f".{os.path.basename(path)}.{secrets.token_hex(4)}")
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE), "w", encoding="utf-8") as file:
                self._give_away(file.fileno())
                json.dump(fields, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new)
            raise

    def _give_away(self, descriptor: int) -> None:
        """Let the superuser's files belong to the service user."""
        if os.geteuid() == 0:
            owner = os.stat(self._state_dir)
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
