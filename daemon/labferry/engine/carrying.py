"""What goes on around a copy: its progress and evidence are written down, and whoever has less to do may pass.

A copy of 100,000 small files must not be 100,000 transactions. What a kill leaves unwritten is in the archive all the
same, and is found and compared there by the next attempt.
"""

from __future__ import annotations

from collections.abc import Callable

from labferry.archive.plan import Evidence, Progress
from labferry.engine.context import Context
from labferry.engine.planning import needs_of
from labferry.engine.worker import StoppedEarly
from labferry.errors import NotYetError
from labferry.journal.rows import JobRow
from labferry.journal.transfer_rows import TransferRow

WRITE_EVERY = 0.5  # seconds between two commits of one transfer


class Ledger:
    """The book of one attempt to carry a transfer; called by one thread at a time.

    Parameters
    ----------
    context : Context
    job : JobRow
        Its remaining work decides whose turn it is.
    transfer : TransferRow
    beat : callable
        Shows life, with what is done in words.
    what : str
        The same without numbers.
    """

    def __init__(
        self, context: Context, job: JobRow, transfer: TransferRow, beat: Callable[[str, float], None], what: str
    ) -> None:
        self._context = context
        self._job = job
        self._transfer = transfer
        self._beat = beat
        self._what = what
        self._evidence: list[Evidence] = []
        self._progress: Progress | None = None
        self._written_at = context.clock.monotonic()

    def report(self, progress: Progress) -> None:
        """Show life, and write down how far it is when the time has come."""
        self._progress = progress
        self._context.speeds.note(self._transfer.id, progress.bytes_done)
        self._beat(f"{self._what}: {progress.bytes_done} of {progress.bytes_total} bytes", 120.0)
        if self._context.clock.monotonic() - self._written_at >= WRITE_EVERY:
            self.write()

    def keep(self, evidence: Evidence) -> None:
        """Take evidence, to be written down with the rest."""
        self._evidence.append(evidence)

    def write(self) -> None:
        """Write down everything that is not written down yet."""
        evidence, progress = self._evidence, self._progress
        self._written_at = self._context.clock.monotonic()
        journal = self._context.journal
        with journal.together():
            if evidence:
                journal.transfers.verified(self._transfer.id, [(one.destination, str(one.means)) for one in evidence])
            if progress is not None:
                journal.transfers.progress(self._transfer.id, progress.bytes_done, progress.files_done)
                journal.jobs.set_bytes_left(self._job.id, progress.bytes_total - progress.bytes_done)
        self._evidence = []
        if evidence:
            self._context.reachable(f"archive:{self._transfer.target}")

    def close(self) -> None:
        """Write down the rest: nobody moves anything any more."""
        self._context.speeds.forget(self._transfer.id)
        self.write()


def let_less_work_pass(context: Context, job: JobRow) -> None:
    """End the copy to an archive here if its turn is over (ruling 19); called between two files.

    Only who really has less left to do may pass: two large sessions do not take turns with every file. While the
    archive itself is not to be tried nobody passes, for nobody would be served.

    Raises
    ------
    NotYetError
        `files_left`: a session with less to do is due, this one is held, or the job is not ours any more.
    StoppedEarly
        The daemon drains.
    """
    if context.wakeup.stopping:
        raise StoppedEarly
    if context.journal.jobs.is_over(job.id):
        raise NotYetError("files_left", "an operator ended or held it", 0.0)
    needs, now = needs_of(job.target, context.config.archive[job.target]), context.clock.monotonic()
    if any(one.name in needs and now < one.closed_until for one in context.dependencies.snapshot()):
        return
    if context.journal.jobs.is_overtaken(job.id):
        raise NotYetError("files_left", "a session with less left to archive goes first", 0.0)
