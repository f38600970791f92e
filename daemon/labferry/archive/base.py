"""Archive room: what every kind of archive can do. A directory, Globus and Alyx' own transfers differ only behind this.

Nothing here opens a file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from labferry.archive.plan import Difference, Evidence, Plan, Progress


@dataclass(frozen=True, slots=True)
class Carried:
    """Everything that was still to be done is in the archive and verified.

    `evidence` has one entry for each item that the caller had not named as verified before.
    """

    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class InFlight:
    """Somebody else moves the bytes now.

    Attributes
    ----------
    ticket : str
        Commit this, then give it to the next `advance`.
    progress : Progress
        As far as the mover says.
    look_after : float
        Seconds until another look makes sense; 0 when only the commit of the ticket was missing.
    """

    ticket: str
    progress: Progress
    look_after: float


class StoppedError(Exception):
    """The daemon stops; the work was left at a place from which it goes on. Operators never see this."""


def ignore(_: object) -> None:
    """Take a report and do nothing with it."""


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
        ticket: str | None,
        report: Callable[[Progress], None],
        stop: Callable[[], bool],
        *,
        keep: Callable[[Evidence], None] = ignore,
        verified: Collection[bytes] = frozenset(),
    ) -> Carried | InFlight:
        """Bring the plan as far as it goes now. May be called again after any interruption.

        Nothing that exists at the destination is deleted or overwritten.

        Parameters
        ----------
        plan : Plan
            The same at every call for this batch.
        ticket : str or None
            What the last `InFlight` said; None at the first call. An archive that must never submit twice hands
            out its ticket before it submits anything, so that the caller commits it first.
        report : callable
            Told how far it is, at least once for each block: also a sign of life. Must not raise.
        stop : callable
            Asked between blocks; True ends the work with `StoppedError`.
        keep : callable
            Given the evidence of each item as soon as it is durable, so that it need not be found out again.
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
