"""Which work of a session its next generation may overtake: late files must not wait for an archive that is away.

An archive job may wait for days: for somebody's nightly transfer, a disk, a login. What comes into the session
meanwhile is dealt with all the same (ruling 1): the next generation ends the job that waits and takes over what it
brought (ruling 21).
"""

from __future__ import annotations

from enum import Enum, auto

from labferry.engine.replacing.order import REPLACING
from labferry.journal import Journal
from labferry.journal.rows import JobRow
from labferry.model import JobKind, JobState, Stage

TURN = 600.0  # seconds that a queued job is given until it counts as one that nobody takes
GOES_ON_AT_ONCE = "files_left"  # it gave way between two files


class Work(Enum):
    """What lanes have to do with a session, as far as its files are concerned."""

    NONE = auto()
    WAITS = auto()  # and may be overtaken
    GOES_ON = auto()  # a lane looks at the files by itself before long, or must be left in peace


def work_on(journal: Journal, session_id: int, now: float) -> Work:
    """Say what lanes have to do with a session.

    Parameters
    ----------
    journal : Journal
    session_id : int
    now : float
        Epoch seconds.
    """
    jobs = [job for job in journal.jobs.live_of_session(session_id) if job.state is not JobState.BLOCKED]
    if not jobs:
        return Work.NONE
    return Work.WAITS if all(_may_be_overtaken(journal, job, now) for job in jobs) else Work.GOES_ON


def _may_be_overtaken(journal: Journal, job: JobRow, now: float) -> bool:
    """Say whether an unfinished job may give way to one of the next generation.

    A registration may not: its seal, or that of the archive jobs after it, looks at the files. Nor may what an operator
    asked for, which holds for this generation only; nor what is about to take the place of something; nor files that
    Globus carries, or has brought and nobody has verified: another task would compare all of them again.
    """
    if (job.kind, job.stage) != (JobKind.ARCHIVE, Stage.ARCHIVE) or job.options:
        return False
    if job.state is JobState.QUEUED:
        if now - job.updated_at < TURN:
            return False
    elif job.state is not JobState.WAITING or job.code in {GOES_ON_AT_ONCE, REPLACING}:
        return False
    return not journal.transfers.is_under_way(job.id)
