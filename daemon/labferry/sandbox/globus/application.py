"""The sandbox's Globus as one application: Auth below `/v2/`, Transfer below `/v0.10/`, and the mover behind them.

Room: sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from labferry.model import Clock
from labferry.sandbox.faults import Faults
from labferry.sandbox.globus.admission import Admission
from labferry.sandbox.globus.answers import RefusedError
from labferry.sandbox.globus.auth import Auth
from labferry.sandbox.globus.collections import Collection, Collections
from labferry.sandbox.globus.mover import Mover
from labferry.sandbox.globus.store import Store
from labferry.sandbox.globus.tasks import Tasks
from labferry.sandbox.globus.tokens import Tokens
from labferry.sandbox.globus.transfer import PREFIX, Transfer
from labferry.sandbox.http import Request, Response


class Globus:
    """Answers requests as Globus would, and moves files from `start` to `stop`.

    Parameters
    ----------
    database : Path
        Its state; continued if there is one.
    collections : tuple of Collection
        Between which files are moved.
    faults : Faults
        What is to go wrong.
    clock : Clock
        What time it believes it is.
    secret : str
        Of the registered client.
    """

    def __init__(
        self, database: Path, collections: tuple[Collection, ...], faults: Faults, clock: Clock, secret: str
    ) -> None:
        self._store = Store(database)
        self._tasks = Tasks(self._store, clock)
        known = Collections(collections, faults)
        self._mover = Mover(self._tasks, known, faults, clock)
        self._tokens = Tokens(self._store, clock)
        self._auth = Auth(self._tokens, clock, secret)
        self._admission = Admission(self._tokens, faults)
        self._transfer = Transfer(self._tasks, known, self._mover, clock)

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        if not request.path.startswith(PREFIX):
            return self._auth(request)
        try:
            self._admission.require(request, self._auth.check(request))
            return self._transfer(request)
        except RefusedError as error:
            return error.response(request.path)

    def start(self) -> None:
        """Go on with the tasks that have not ended."""
        self._mover.start()

    def stop(self) -> None:
        """Leave everything as it is."""
        self._mover.stop()
        self._store.close()

    def state(self) -> dict[str, object]:
        """Return what a test compares."""
        return self._tasks.summary()

    def change(self, described: Mapping[str, object]) -> None:
        """Do what happens to a Globus by itself: `{"revoke": "all"}` ends every token and every consent.

        Raises
        ------
        ValueError
            Nothing else does.
        """
        if described != {"revoke": "all"}:
            raise ValueError('globus takes {"revoke": "all"} and nothing else')
        self._tokens.revoke_all()

    def forget(self) -> None:
        """Remove all tasks and submission ids; tokens live on, and so do the files in the collections."""
        self._mover.forget()
