"""Archive room: what an archive can do that we fill ourselves, file by file; Globus has its own room beside this.

Nothing here opens a file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from labferry.archive.exchange import Exchange
from labferry.archive.plan import Difference, Evidence, Plan, Progress


@dataclass(frozen=True, slots=True)
class Carried:
    """Everything that was still to be done is in the archive and verified.

    `evidence` has one entry for each item that the caller had not named as verified before.
    """

    evidence: tuple[Evidence, ...]


class StoppedError(Exception):
    """The daemon stops; the work was left at a place from which it goes on. Operators never see this."""


def ignore(_: object) -> None:
    """Take a report and do nothing with it."""


def nothing() -> None:
    """Do nothing between two files."""


def never() -> bool:
    """Say that nobody asked to stop."""
    return False


class Archive(Protocol):
    """One target of the configuration.

    Attributes
    ----------
    target : str
        Its name; errors carry the dependency `archive:<target>`.
    """

    target: str

    def preflight(self, base: bytes) -> None:
        """Look whether the target can take files now. Cheap, changes nothing.

        Raises
        ------
        UnavailableError
            `target_missing`, `target_readonly`, `target_full` or `target_error`.
        """

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
        """Bring over what is not there yet. May be called again after any interruption.

        Nothing that exists at the destination is deleted or overwritten.

        Parameters
        ----------
        plan : Plan
            The same at every call for this batch.
        report : callable
            Told how far it is, at least once for each block: also a sign of life. All these are called from the
            threads that copy, never from two at once; what they raise ends the work.
        stop : callable
            Asked between blocks; True ends the work with `StoppedError`.
        keep : callable
            Given the evidence of each item as soon as it is durable, so that it need not be found out again.
        between : callable
            Called before every file but the first. What it raises ends the work once the files under way are through.
        verified : collection of bytes
            Destinations with evidence from an earlier call: neither sent nor read again.

        Raises
        ------
        UnavailableError
            The target cannot work now.
        ChangedError
            A source is not the version the plan names.
        NotYetError
            The session folder is not there.
        BlockedError
            A person must act about some files; all others were carried.
        StoppedError
            `stop` said so.
        """

    def verify(
        self,
        plan: Plan,
        report: Callable[[Progress], None] = ignore,
        stop: Callable[[], bool] = never,
        *,
        deep: bool = True,
    ) -> tuple[Difference, ...]:
        """Compare what is in the archive with the plan and return every file that differs.

        Parameters
        ----------
        plan : Plan
            All its items are expected.
        report, stop : callable
            As for `advance`.
        deep : bool
            Read every byte; otherwise only sizes are compared.

        Raises
        ------
        UnavailableError
            The target cannot be looked at now.
        StoppedError
            `stop` said so.
        """

    def exchange(
        self,
        base: bytes,
        exchanges: Iterable[Exchange],
        done: Callable[[Exchange], None],
        report: Callable[[], None],
        stop: Callable[[], bool],
    ) -> tuple[Exchange, ...]:
        """Let verified files have their destinations, and keep what stood there. May be repeated.

        Parameters
        ----------
        base : bytes
            Of the plan.
        exchanges : iterable of Exchange
        done : callable
            Given each as soon as it is durable.
        report, stop : callable
            As for `advance`.

        Returns
        -------
        tuple of Exchange
            Those whose staged file is gone: they must be brought again.

        Raises
        ------
        BlockedError
            `destination_differs`: something else has appeared; all others were exchanged.
        UnavailableError
            The target cannot work now.
        StoppedError
            `stop` said so.
        """
