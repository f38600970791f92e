"""The sandbox put together: an Alyx and a data server on loopback, and a configuration to use them.

Room: sandbox. For tests and the demo in process, for everybody else as `labferry sandbox`; so far there is
no Globus in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from labferry.errors import LabferryError
from labferry.model import Clock, SystemClock
from labferry.sandbox.alyx.application import RACE_WINDOW, Alyx, Limits
from labferry.sandbox.alyx.store import Store
from labferry.sandbox.configfile import Places
from labferry.sandbox.control import Control
from labferry.sandbox.data import DataServer
from labferry.sandbox.faults import Faults
from labferry.sandbox.http import WebServer
from labferry.sandbox.requestlog import RequestLog
from labferry.sandbox.seed import LOCAL_ENDPOINT, Facts, plant, repositories, world

USERNAME = "lab_server"


class Sandbox:
    """One sandbox in one directory; started again on the same directory it goes on where it was.

    Parameters
    ----------
    root : Path
        Its directory; made if missing.
    port : int
        Of the Alyx; 0 takes a free one.
    subjects : iterable of (str, str)
        More subjects, as (nickname, lab).
    facts : Mapping
        What it is seeded with, beside its repositories; the world of `labferry.sandbox.seed` by default.
    limits : Limits
        Alyx's rate limit; none by default.
    race_window : float
        Seconds in which two registrations of one new file collide.
    clock : Clock
        What time Alyx believes it is.

    Raises
    ------
    LabferryError
        The directory cannot be used, or the port is taken.
    """

    def __init__(
        self,
        root: Path,
        port: int = 0,
        subjects: Iterable[tuple[str, str]] = (),
        facts: Facts | None = None,
        limits: Limits | None = None,
        race_window: float = RACE_WINDOW,
        clock: Clock | None = None,
    ) -> None:
        self.places = Places(root.absolute())
        self.places.create()
        self._lock = self.places.take()
        self._subjects = [{"nickname": nickname, "lab": lab} for nickname, lab in subjects]
        self._facts = world() if facts is None else facts
        clock = clock or SystemClock()
        self._store = Store(self.places.database)
        alyx = Alyx(self._store, clock, limits or Limits(), race_window)
        log = RequestLog(self.places.requests, clock)
        self._control = Control(alyx, self._store, log, self._plant)
        try:
            self._alyx_server = WebServer(self._control, port)
            self._data_server = WebServer(DataServer(self.places.archive))
        except OSError as error:
            os.close(self._lock)
            message = f"port {port} of 127.0.0.1 cannot be used: {error.strerror}"
            raise LabferryError("sandbox_port", message, "Give another --port, or none.") from error

    @property
    def alyx_url(self) -> str:
        """Alyx's address; `/_sandbox/…` is below it."""
        return self._alyx_server.url

    @property
    def data_url(self) -> str:
        """The data server's address."""
        return self._data_server.url

    @property
    def alyx_user(self) -> str:
        """The user that the daemon works as."""
        return USERNAME

    @property
    def password_file(self) -> Path:
        """The file with that user's password."""
        return self.places.password_file

    @property
    def config(self) -> Path:
        """The daemon's ready configuration."""
        return self.places.config

    @property
    def faults(self) -> Faults:
        """The fault rules, for tests in the same process."""
        return self._control.faults

    def start(self) -> None:
        """Seed what is missing, write the configuration, answer from now on.

        Raises
        ------
        LabferryError
            A subject is of a lab that there is not.
        """
        self._plant()
        self.places.write_config(self.alyx_url, USERNAME, LOCAL_ENDPOINT)
        self._alyx_server.start()
        self._data_server.start()

    def stop(self) -> None:
        """Stop answering; what is stored stays."""
        self.faults.remove()
        self._alyx_server.stop()
        self._data_server.stop()
        self._store.close()
        os.close(self._lock)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def description(self) -> dict[str, object]:
        """Return what `labferry sandbox` prints when it is up."""
        return {
            "alyx_url": self.alyx_url,
            "alyx_user": self.alyx_user,
            "password_file": str(self.password_file),
            "globus_transfer_url": None,
            "globus_auth_url": None,
            "data_url": self.data_url,
            "config": str(self.config),
            "env": {"LABFERRY_CONFIG": str(self.config)},
        }

    def _plant(self) -> None:
        with self._store.database() as db:
            plant(db, self._facts)
            plant(db, repositories(str(self.places.watch_root), self.data_url))
            plant(db, {"users": [{"username": USERNAME, "password": self.places.password()}]})
            try:
                plant(db, {"subjects": self._subjects})
            except ValueError as error:
                raise LabferryError("sandbox_subject", str(error), "Give --subject NAME:LAB.") from error
