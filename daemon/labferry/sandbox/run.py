"""The sandbox put together: an Alyx, a Globus and a data server on loopback, and a configuration to use them.

Room: sandbox. For tests and the demo in process, for everybody else as `labferry sandbox`.
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
from labferry.sandbox.configfile import ArchiveKind, GlobusAccess, Places
from labferry.sandbox.control import Control, Gate
from labferry.sandbox.data import DataServer
from labferry.sandbox.faults import Faults
from labferry.sandbox.globus.application import Globus
from labferry.sandbox.globus.auth import CLIENT_ID
from labferry.sandbox.globus.collections import Collection
from labferry.sandbox.http import Application, WebServer
from labferry.sandbox.requestlog import RequestLog
from labferry.sandbox.seed import LOCAL_ENDPOINT, SERVER_ENDPOINT, Facts, plant, repositories, world

USERNAME = "lab_server"


class Sandbox:
    """One sandbox in one directory; started again on the same directory it goes on where it was.

    Parameters
    ----------
    root : Path
        Its directory; made if missing.
    port : int
        Of the Alyx; 0 takes a free one. Globus keeps the port it had in this directory, if it is free.
    subjects : iterable of (str, str)
        More subjects, as (nickname, lab).
    facts : Mapping
        What it is seeded with, beside its repositories; the world of `labferry.sandbox.seed` by default.
    limits : Limits
        Alyx's rate limit; none by default.
    race_window : float
        Seconds in which two registrations of one new file collide.
    clock : Clock
        What time Alyx and Globus believe it is.
    archive : str
        How the written configuration reaches the archive: through `globus`, or as a `directory`.

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
        archive: ArchiveKind = "globus",
    ) -> None:
        self.places = Places(root.absolute())
        self.places.create()
        self._lock = self.places.take()
        self._subjects = [{"nickname": nickname, "lab": lab} for nickname, lab in subjects]
        self._facts = world() if facts is None else facts
        self._archive: ArchiveKind = archive
        clock = clock or SystemClock()
        self._store = Store(self.places.database)
        alyx = Alyx(self._store, clock, limits or Limits(), race_window)
        log = RequestLog(self.places.requests, clock)
        self.faults = Faults()
        secret = self.places.client_secret()
        self._globus = Globus(self.places.globus_database, self._collections(), self.faults, clock, secret)
        gate = Gate(alyx, log, self.faults)
        control = Control(gate, self._store, self._globus, log, self.faults, self._plant)
        try:
            self._alyx_server = WebServer(control, port)
            self._globus_server = self._globus_at_its_port(Gate(self._globus, log, self.faults))
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
    def globus_transfer_url(self) -> str:
        """Globus Transfer's address; requests are below `/v0.10/`."""
        return self._globus_server.url

    @property
    def globus_auth_url(self) -> str:
        """Globus Auth's address: the same; requests are below `/v2/`."""
        return self._globus_server.url

    @property
    def client_id(self) -> str:
        """The Globus client that the daemon is."""
        return CLIENT_ID

    @property
    def client_secret_file(self) -> Path:
        """The file with that client's secret."""
        return self.places.client_secret_file

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

    def start(self) -> None:
        """Seed what is missing, write the configuration, answer from now on.

        Raises
        ------
        LabferryError
            A subject is of a lab that there is not.
        """
        self._plant()
        access = GlobusAccess(self.globus_transfer_url, LOCAL_ENDPOINT, SERVER_ENDPOINT, CLIENT_ID)
        self.places.write_config(self.alyx_url, USERNAME, self._archive, access)
        self._globus.start()
        self._globus_server.start()
        self._alyx_server.start()
        self._data_server.start()

    def stop(self) -> None:
        """Stop answering; what is stored stays."""
        self.faults.remove()
        self._alyx_server.stop()
        self._globus_server.stop()
        self._data_server.stop()
        self._globus.stop()
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
            "globus_transfer_url": self.globus_transfer_url,
            "globus_auth_url": self.globus_auth_url,
            "data_url": self.data_url,
            "config": str(self.config),
            "env": {
                "LABFERRY_CONFIG": str(self.config),
                "GLOBUS_SDK_SERVICE_URL_TRANSFER": self.globus_transfer_url,
                "GLOBUS_SDK_SERVICE_URL_AUTH": self.globus_auth_url,
            },
        }

    def _collections(self) -> tuple[Collection, ...]:
        """Return the lab server's collection, which shows all that this process can read, and the archive's."""
        archive = self.places.archive
        return (
            Collection(LOCAL_ENDPOINT, "sandbox lab server", Path("/"), writable=self.places.root, personal=True),
            Collection(SERVER_ENDPOINT, "sandbox archive", archive, writable=archive, personal=False),
        )

    def _globus_at_its_port(self, application: Application) -> WebServer:
        """Return the server at the port of last time, or at a free one if somebody else has that now."""
        try:
            server = WebServer(application, self.places.last_globus_port())
        except OSError:
            server = WebServer(application)
        self.places.globus_port.write_text(f"{server.port}\n", "utf-8")
        return server

    def _plant(self) -> None:
        with self._store.database() as db:
            plant(db, self._facts)
            plant(db, repositories(str(self.places.watch_root), self.data_url))
            plant(db, {"users": [{"username": USERNAME, "password": self.places.password()}]})
            try:
                plant(db, {"subjects": self._subjects})
            except ValueError as error:
                raise LabferryError("sandbox_subject", str(error), "Give --subject NAME:LAB.") from error
