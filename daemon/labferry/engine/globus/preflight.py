"""The look at a target before its first file goes, and after every fault: what is proven is remembered for a life."""

from __future__ import annotations

import os
from collections.abc import Callable

import structlog

from labferry.archive.base import StoppedError
from labferry.archive.globus.paths import join
from labferry.archive.globus.service import GlobusService
from labferry.config import GlobusArchive
from labferry.engine.context import GLOBUS, Context
from labferry.engine.dependencies import Health
from labferry.engine.globus.places import carried_session, folder_of, source_of
from labferry.engine.globus.probing import READ_ONLY, KnownFile, Probing
from labferry.engine.worker import StoppedEarly
from labferry.errors import BlockedError, UnavailableError
from labferry.journal.transfer_rows import TransferRow

ASKING = 600.0  # seconds that a look may take: a handful of questions, each with its own deadline
AGAIN = 10.0  # seconds for which a refusal counts for the sessions that come right after
LOOK_EVERY = 600.0  # seconds after which a target that refused is looked at again, though no session asks
# What only a task that succeeds shows to be over, when it was a task that met it.
_NOT_SEEN = frozenset({"target_full", "collection_denied", "globus_login"})
_log = structlog.get_logger()
Beat = Callable[[str, float], None]


class Preflight:
    """What is known of one target.

    Parameters
    ----------
    context : Context
    target : str
    settings : GlobusArchive
    service : GlobusService
    """

    def __init__(self, context: Context, target: str, settings: GlobusArchive, service: GlobusService) -> None:
        self._context = context
        self._target = target
        self._probing = Probing(context, target, settings.endpoint, service)
        self._proven: set[tuple[str, str]] = set()  # root and base
        self._is_mine = False  # the target is down because it was looked at
        self._refusals: dict[str, tuple[BlockedError, float, TransferRow]] = {}  # by base; when: monotonic

    def forget(self) -> None:
        """Look again before the next file goes: something went wrong."""
        self._proven.clear()
        self._refusals.clear()

    def require(self, transfer: TransferRow, beat: Beat) -> None:
        """Require that the files of a transfer can be read and that what it writes can be written.

        Raises
        ------
        BlockedError
            `endpoint_readonly`.
        UnavailableError
            As `Probing` says: the target is down.
        """
        context = self._context
        session, base = carried_session(context, transfer), os.fsdecode(transfer.base)
        down = self._state()
        if (session.root, base) in self._proven and down is None:
            return
        now = context.clock.monotonic()
        if base in self._refusals and now - self._refusals[base][1] < AGAIN:
            refusal = self._refusals[base][0]
            raise BlockedError(refusal.code, refusal.message)
        beat(f"looking whether {self._target} can be used", ASKING)
        try:
            self._probing.require_source(self._known(transfer))
            self._probing.require_destination(base)
        except BlockedError as refused:
            self._refusals[base] = (refused, now, transfer)
            raise
        except UnavailableError as outage:
            self._is_mine = outage.dependency != GLOBUS
            raise
        except StoppedError:
            raise StoppedEarly from None
        self._proven.add((session.root, base))
        self._refusals.pop(base, None)
        self._is_fine(down)

    def is_due(self) -> bool:
        """Say whether a folder of the target that refused should be looked at though nobody asks."""
        now = self._context.clock.monotonic()
        return any(now - refused_at >= LOOK_EVERY for _, refused_at, _ in self._refusals.values())

    def look_again(self, beat: Beat) -> None:
        """Look at the folder that refused the longest ago; its sessions go on when it does not any more."""
        _, _, transfer = min(self._refusals.values(), key=lambda refused: refused[1])
        try:
            self.require(transfer, beat)
        except BlockedError as refusal:
            _log.debug("still_refused", target=self._target, why=refusal.message)

    def _state(self) -> str | None:
        """Return the code with which the target is down; None while it is not."""
        name = f"archive:{self._target}"
        found = (one for one in self._context.dependencies.snapshot() if one.name == name)
        return next((one.code for one in found if one.state in {Health.DOWN, Health.NEEDS_LOGIN}), None)

    def _is_fine(self, down: str | None) -> None:
        """Let the sessions go on that were refused, but those whose own folder still is: each lab may have another."""
        context = self._context
        context.reachable(GLOBUS)
        if down is not None and (self._is_mine or down not in _NOT_SEEN):
            self._is_mine = False
            context.reachable(f"archive:{self._target}")
        revived = context.journal.jobs.revive_blocked(self._target, READ_ONLY, map(os.fsencode, self._refusals))
        if revived:
            _log.info("endpoint_writable", target=self._target, sessions=revived)
            context.wakeup.ring()

    def _known(self, transfer: TransferRow) -> KnownFile | None:
        """Return the first file of a transfer that is on its way, where it would be read from now."""
        context = self._context
        session, folder = carried_session(context, transfer), folder_of(context, transfer)
        rows = context.journal.transfers.items(transfer.id)
        row = next((row for row in rows if row.verified_at is None), None)
        if folder is None or row is None:
            return None
        return KnownFile(os.path.join(folder, row.path), join(source_of(context, session), row.path))
