"""Archive room: a target that is a directory: a mounted server, an external disk.

Nothing is made above the configured path, so that a mount that is not there is never filled in its place.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from errno import EACCES, ENOENT

from labferry.archive.base import Archive, Carried, StoppedError, ignore, never, nothing
from labferry.archive.carrier import Carrier
from labferry.archive.content import checksum
from labferry.archive.exchange import Exchange, exchange
from labferry.archive.faults import OTHER_KIND, in_one, target_empty, target_full, target_missing, working_at
from labferry.archive.folders import FILE, FOLDER, open_folder, owning
from labferry.archive.meter import Meter
from labferry.archive.naming import before_lab
from labferry.archive.plan import Difference, Evidence, Fault, Item, Plan, Progress
from labferry.archive.side_by_side import SideBySide
from labferry.archive.source import session_folder
from labferry.errors import BlockedError, UnavailableError
from labferry.model import show_path

COPIERS = 2  # files under way at once
_CLOSED_TO_US = OTHER_KIND | {ENOENT, EACCES}


class DirectoryArchive(Archive):
    """A directory as an archive.

    Parameters
    ----------
    target : str
        The target's name in the configuration.
    path : bytes
        As configured, absolute; may contain `{lab}`. What stands before the part with the placeholder must exist, from
        there on folders are made; without a placeholder the whole path must exist.
    copiers : int
        Files that are copied at once.
    held : callable
        Says whether copies below a folder were verified once: if that is empty now, something else is in its place.
    """

    def __init__(
        self, target: str, path: bytes, copiers: int = COPIERS, held: Callable[[bytes], bool] = lambda _: False
    ) -> None:
        self.target = target
        self._held = held
        self._copiers = copiers
        self._above_lab = before_lab(path)

    def preflight(self, base: bytes) -> None:
        """Look whether the directory is there, writable and not full; see `Archive.preflight`."""
        fixed, _ = self._split(base)
        place = base if os.path.lexists(base) else fixed
        try:
            with owning(os.open(place, FOLDER)) as folder:
                room = os.fstatvfs(folder)
        except OSError as error:
            raise target_missing(self.target, place, error) from error
        if _is_empty(fixed) and self._held(fixed):
            raise target_empty(self.target, fixed)
        if not os.access(place, os.W_OK | os.X_OK, effective_ids=True):
            raise UnavailableError(
                f"archive:{self.target}",
                "target_readonly",
                f"archive {self.target}: {show_path(place)}: the service user may not write here",
            )
        if room.f_blocks and not room.f_bavail:
            raise target_full(self.target, place, room.f_frsize, 0)

    def advance(
        self,
        plan: Plan,
        report: Callable[[Progress], None],
        stop: Callable[[], bool],
        *,
        keep: Callable[[Evidence], None] = ignore,
        between: Callable[[], None] = nothing,
        verified: Collection[bytes] = frozenset(),
    ) -> Carried:
        """Copy everything that is not verified yet; see `Archive.advance`."""
        pending = [(number, item) for number, item in enumerate(plan.items) if item.destination not in verified]
        if not (pending or plan.older):
            return Carried(())
        evidence: dict[int, Evidence] = {}

        def carry(number: int, item: Item) -> None:
            found = carrier.carry(number, item)
            with meter.calling:
                evidence[number] = found
                keep(found)

        def pass_on() -> None:
            with meter.calling:
                between()

        files = SideBySide(pending, carry, pass_on)
        meter = Meter(plan, verified, report, lambda: files.failed or stop())
        with (
            owning(self._open(plan.base, make=True)) as base,
            session_folder(plan.session_dir) as source,
        ):
            carrier = Carrier(self.target, plan, base, source, meter)
            carrier.make_ready(pending)
            problems = files.work(self._copiers)
            self._require_still_there(plan.base, base)
        if problems:
            raise in_one(problems)
        meter.tell()
        return Carried(tuple(evidence[number] for number in sorted(evidence)))

    def verify(
        self,
        plan: Plan,
        report: Callable[[Progress], None] = ignore,
        stop: Callable[[], bool] = never,
        *,
        deep: bool = True,
    ) -> tuple[Difference, ...]:
        """Compare the directory with the plan; see `Archive.verify`."""
        meter = Meter(plan, frozenset(), report, stop)
        differences = []
        with owning(self._open(plan.base, make=False)) as base:
            for item in plan.items:
                with meter.file(item) as count:
                    count.start()
                    found = self._compare(plan, base, item, count.moved, deep=deep)
                if found is not None:
                    fault, detail = found
                    where = show_path(plan.destination_of(item))
                    differences.append(Difference(item.destination, fault, f"{where}: {detail}"))
        meter.tell()
        return tuple(differences)

    def exchange(
        self,
        base: bytes,
        exchanges: Iterable[Exchange],
        done: Callable[[Exchange], None],
        report: Callable[[], None],
        stop: Callable[[], bool],
    ) -> tuple[Exchange, ...]:
        """Exchange names file by file; see `Archive.exchange`."""
        gone: list[Exchange] = []
        problems: list[BlockedError] = []

        def alive(_: int) -> None:
            report()
            if stop():
                raise StoppedError

        with owning(self._open(base, make=False)) as top:
            for one in exchanges:
                alive(0)
                try:
                    if exchange(self.target, base, top, one, alive):
                        done(one)
                    else:
                        gone.append(one)
                except BlockedError as problem:
                    problems.append(problem)
        if problems:
            raise in_one(problems)
        return tuple(gone)

    def others(self, base: bytes, expected: Mapping[bytes, Container[bytes]]) -> list[bytes]:
        """Return what else is in some folders, as paths relative to `base`; those of folders end with `/`.

        Parameters
        ----------
        base : bytes
            As of a plan.
        expected : mapping
            Folders relative to `base`, and the names that belong there. A folder that is not there, or cannot be
            read, holds nothing else: `verify` names the copies that are missing in it.

        Raises
        ------
        UnavailableError
            The target cannot be looked at now.
        """
        found: list[bytes] = []
        with owning(self._open(base, make=False)) as top:
            for path, names in expected.items():
                with working_at(self.target, os.path.join(base, path)):
                    found += (os.path.join(path, name) for name in _others_in(top, path, names))
        return found

    def _compare(
        self, plan: Plan, base: int, item: Item, after_block: Callable[[int], None], *, deep: bool
    ) -> tuple[Fault, str] | None:
        path, name = os.path.split(item.destination)
        with working_at(self.target, plan.destination_of(item)):
            try:
                with owning(open_folder(base, path)) as folder:
                    fd = os.open(name, FILE, dir_fd=folder)
            except FileNotFoundError:
                return Fault.MISSING, "it is not there any more"
            except PermissionError:
                return Fault.UNREADABLE, "the service user may not read it"
            except OSError as error:
                if error.errno not in OTHER_KIND:
                    raise
                return Fault.NOT_A_FILE, "something else stands in its place"
            with owning(fd):
                now = os.fstat(fd)
                if not stat.S_ISREG(now.st_mode):
                    return Fault.NOT_A_FILE, "it is no regular file"
                if now.st_size != item.size:
                    return Fault.SIZE, f"it has {now.st_size} bytes, {item.size} were verified"
                md5 = checksum(fd, after_block) if deep else item.md5
        return None if md5 == item.md5 else (Fault.CONTENT, f"its MD5 is {md5}, {item.md5} was verified")

    def _open(self, base: bytes, *, make: bool) -> int:
        fixed, rest = self._split(base)
        try:
            with owning(os.open(fixed, FOLDER)) as folder:
                # A lab's folder may be a link to another disk: that is the operator's own doing.
                return open_folder(folder, rest, make=make, follow=True)
        except OSError as error:
            raise target_missing(self.target, base, error) from error

    def _require_still_there(self, base: bytes, folder: int) -> None:
        """See whether the path still leads to the folder that was filled: a mount may have gone away underneath.

        What was opened goes on to work then, and nobody finds what was put there.
        """
        with owning(self._open(base, make=False)) as now, working_at(self.target, base):
            if not os.path.sameopenfile(now, folder):
                raise UnavailableError(
                    f"archive:{self.target}",
                    "target_missing",
                    f"archive {self.target}: {show_path(base)} is another folder now than the one that was filled: "
                    "something was mounted or unmounted meanwhile",
                )

    def _split(self, base: bytes) -> tuple[bytes, bytes]:
        """Return the part of `base` that must exist, and the part that may be made."""
        fixed = self._above_lab
        if fixed is None or not base.startswith(fixed.rstrip(b"/") + b"/"):
            return base, b""
        return fixed, base[len(fixed) :]


def _is_empty(folder: bytes) -> bool:
    """Say whether a folder can be seen to hold nothing."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return False


def _others_in(top: int, path: bytes, expected: Container[bytes]) -> list[bytes]:
    """Return the names in a folder below the open folder `top` that do not belong there."""
    try:
        folder = open_folder(top, path)
    except OSError as error:
        if error.errno in _CLOSED_TO_US:
            return []
        raise
    with owning(folder), os.scandir(folder) as entries:
        named = ((os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries)
        return sorted(name + b"/" * is_folder for name, is_folder in named if name not in expected)
