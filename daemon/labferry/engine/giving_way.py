"""Where long work may be interrupted: between two pieces, for a stop, an operator's word, or whoever has less to do."""

from __future__ import annotations

from collections.abc import Sequence

from labferry.engine.context import Context
from labferry.engine.worker import StoppedEarly
from labferry.errors import NotYetError
from labferry.journal.rows import JobRow
from labferry.model import JobState, Stage


def give_way(context: Context, job: JobRow, lane: Sequence[Stage], left: str) -> None:
    """End the attempt here if somebody waits for it; what is left is taken up again later.

    Parameters
    ----------
    context : Context
    job : JobRow
        As it was claimed.
    lane : sequence of Stage
        The stages of the lane that works on it.
    left : str
        What is still to be done, in words.

    Raises
    ------
    NotYetError
        `files_left`: other work of this lane is due, the session is held, or the job is not ours any more.
    StoppedEarly
        The daemon drains.
    """
    if context.wakeup.stopping:
        raise StoppedEarly
    journal, now = context.journal, context.clock.now()
    waiting = any((due := journal.jobs.next_due(stage)) is not None and due <= now for stage in lane)
    ended = journal.jobs.get(job.id).state is not JobState.RUNNING
    if waiting or ended or context.session_of(job).held_at is not None:
        raise NotYetError("files_left", left, 0.0)
