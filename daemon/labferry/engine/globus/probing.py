"""Whether the two collections of a target can be used: asked of Globus before the first file goes, and by `doctor`.

Nearly everything that a person can get wrong about Globus looks alike later: a task that stands still. Here each
mistake has a name of its own. The destination is asked to make a directory; that is written down before, and removed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import structlog

from labferry.archive.globus.document import label
from labferry.archive.globus.paths import join, split
from labferry.archive.globus.service import GlobusService
from labferry.config import Globus
from labferry.engine.context import GLOBUS, Context
from labferry.errors import BlockedError, LabferryError, UnavailableError
from labferry.journal.transfer_rows import ProbeRow
from labferry.model import show_path

READ_ONLY = "endpoint_readonly"
_DENIED = "collection_denied"
_BUSY = "globus_busy"
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file that both sides should know.

    Attributes
    ----------
    local : bytes
        Where it is on this machine.
    path : str
        Where the source collection should show it.
    """

    local: bytes
    path: str


class Probing:
    """Looks at the collections of one target.

    Parameters
    ----------
    context : Context
    target : str
    endpoint : str
        UUID of the destination collection.
    service : GlobusService
    who : str
        Part of the name of what is made at the destination: two that look at once do not get into each other's way.
    """

    def __init__(self, context: Context, target: str, endpoint: str, service: GlobusService, who: str = "") -> None:
        self._journal = context.journal
        self._globus: Globus = context.config.globus
        self._target = target
        self._endpoint = endpoint
        self._service = service
        self._server = context.config.server_name
        self._name = f".labferry-{self._server}{who and '-'}{who}"
        self._archive = f"archive:{target}"

    # --- the source ---------------------------------------------------------------------------------------

    def require_source(self, known: KnownFile | None) -> None:
        """Require that the source collection is there and shows the files of this machine.

        Raises
        ------
        UnavailableError
            `collection_unknown`, `collection_offline`, `collection_paused`, `collection_denied`, `source_not_shared`,
            `source_wrong_subdir`, `source_wrong_root`; `globus_login` for a consent or another identity.
        """
        self._require_usable(self._globus.endpoint)
        size = None if known is None else _size(known.local)
        if known is None or size is None:
            return
        try:
            there = self._service.stat(self._globus.endpoint, known.path, blame=self._archive)
        except UnavailableError as error:
            if error.code == _DENIED and self._can_list("/"):
                raise self._not_shared(known) from error
            raise
        if there is None:
            raise self._not_shown(known)
        if there.size != size:
            what = f"{known.path} has {there.size} bytes there, and {show_path(known.local)} has {size}"
            raise self._mistake("source_wrong_root", f"is not this machine's, or shows another folder: {what}")

    def _not_shared(self, known: KnownFile) -> UnavailableError:
        return self._mistake("source_not_shared", f"does not permit {known.path}, though it can be listed itself")

    def _not_shown(self, known: KnownFile) -> UnavailableError:
        subdir = self._globus.endpoint_subdir
        if subdir != "/" and not self._can_list(subdir):
            return self._mistake("source_wrong_subdir", f"has no directory {subdir} (`endpoint_subdir`)")
        what = f"has no {known.path}, which is {show_path(known.local)} here (`local_path` = {self._globus.local_path})"
        return self._mistake("source_wrong_root", what)

    def _can_list(self, path: str) -> bool:
        try:
            return self._service.listing(self._globus.endpoint, path, blame=self._archive) is not None
        except UnavailableError as error:
            if error.code == _DENIED:
                return False
            raise

    def _mistake(self, code: str, what: str) -> UnavailableError:
        return UnavailableError(self._archive, code, f"source collection {self._globus.endpoint} {what}")

    # --- the destination ----------------------------------------------------------------------------------

    def require_destination(self, base: str) -> None:
        """Require that the destination collection is there, and that something can be made below `base` in it.

        Raises
        ------
        BlockedError
            `endpoint_readonly`.
        UnavailableError
            As for `require_source`; `target_missing` where not even `/` is there.
        """
        self._clear_away()
        self._require_usable(self._endpoint)
        self._remove(self._make(base))

    def _make(self, base: str) -> ProbeRow:
        """Make a directory below the first part of a path that is there: Globus makes the others when it is time."""
        while True:
            probe = self._journal.probes.begin(self._target, self._endpoint, join(base, self._name))
            try:
                if self._service.make_directory(self._endpoint, probe.path, blame=self._archive):
                    return probe
            except UnavailableError as error:
                if error.code != _DENIED:
                    raise  # it may have been made all the same
                self._journal.probes.end(probe)
                raise self._denied(base, error) from error
            self._journal.probes.end(probe)
            if base == "/":
                what = f"archive {self._target}: collection {self._endpoint} does not even have /"
                raise UnavailableError(self._archive, "target_missing", what)
            base, _ = split(base)

    def _denied(self, base: str, error: UnavailableError) -> LabferryError:
        """Tell a collection that shows us nothing from one that lets us only read."""
        try:
            self._service.listing(self._endpoint, base, blame=self._archive)
        except UnavailableError as other:
            return other
        what = f"nothing can be made in {base} of collection {self._endpoint}: {error.message}"
        return BlockedError(READ_ONLY, f"archive {self._target}: the endpoint is read-only: {what}")

    def _clear_away(self) -> None:
        """Remove what an earlier life may have left."""
        for probe in self._journal.probes.left(self._target):
            self._remove(probe)

    def _remove(self, probe: ProbeRow) -> None:
        """Have a probe removed; one that cannot be is told of, and tried again with the next one."""
        try:
            submission = probe.submission_id or self._service.new_submission_id()
            self._journal.probes.removing(probe, submission)
            self._service.delete_directory(
                probe.endpoint, probe.path, submission, label=label(self._server, "probe"), blame=self._archive
            )
        except BlockedError as refused:
            self._journal.probes.removing(probe, None)
            _log.warning("probe_left", target=self._target, path=probe.path, why=refused.message)
        except UnavailableError as error:
            is_elsewhere = probe.endpoint != self._endpoint and error.dependency != GLOBUS
            if error.code not in {_BUSY, _DENIED} and not is_elsewhere:
                raise  # it is wrong with the collection in use
            _log.warning("probe_left", target=self._target, path=probe.path, why=error.message)
        else:
            self._journal.probes.end(probe)

    # --- both ---------------------------------------------------------------------------------------------

    def _require_usable(self, endpoint: str) -> None:
        """Require a collection that Globus knows and, where it can tell, that is connected and not paused."""
        found = self._service.collection(endpoint, blame=self._archive)
        where = f"collection {found.name} ({endpoint})"
        if found.connected is False:
            raise UnavailableError(self._archive, "collection_offline", f"{where} is not connected to Globus")
        if found.paused is True:
            raise UnavailableError(self._archive, "collection_paused", f"{where} is paused on its machine")


def _size(local: bytes) -> int | None:
    """Return the size of a file on this machine; None while there is none to compare."""
    try:
        return os.stat(local).st_size
    except OSError:
        return None
