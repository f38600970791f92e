"""First stage of a register job: find out whose session this is, and where Alyx says our files are.

Only looks; nothing is sent. What is ambiguous blocks here, before a byte is hashed.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from labferry.alyx.resolve import local_repository
from labferry.alyx.vocabulary import VocabularySnapshot
from labferry.config import Root
from labferry.engine.context import ALYX, Context
from labferry.errors import BlockedError
from labferry.journal.jobs import Move
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import Done, Outcome, show_path


class Resolve:
    """Lab from the subject (REG-15), data repository from the Globus endpoint (REG-16)."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __call__(self, job: JobRow, beat: Callable[[str, float], None]) -> Outcome:
        """Resolve the job's session."""
        context = self._context
        session = context.session_of(job)
        root = context.root_of(session)
        require_key(context, session)
        beat("asking Alyx for subject and repositories", 6 * context.config.alyx.timeout)
        subject = context.people.subject(session.subject)  # asked for also where the lab is configured: it must be one
        lab = root.lab or subject.lab
        context.reachable(ALYX)
        try:
            repository = self._repository(root, lab, context.words())
        except BlockedError:
            # Before a person is asked: somebody may have put it right since all that was fetched.
            lab = root.lab or context.people.subject(session.subject, max_age=0).lab
            repository = self._repository(root, lab, context.vocabulary.get(context.alyx, max_age=0))
        context.journal.sessions.resolved(session.id, lab, repository)
        return Done()

    def _repository(self, root: Root, lab: str, words: VocabularySnapshot) -> str:
        return local_repository(
            words,
            lab,
            endpoint=self._context.config.globus.endpoint,
            root_path=os.fsencode(root.path),
            configured=root.repository,
        )

    def finish(self, job: JobRow, move: Move) -> bool:
        """Commit the end of the attempt."""
        return self._context.journal.jobs.finish_attempt(job, move)


def require_key(context: Context, session: SessionRow) -> None:
    """Make sure that subject, date and number are this folder's: one folder writes a session to Alyx (ruling 3).

    Raises
    ------
    BlockedError
        `same_session_elsewhere`.
    """
    owner = context.journal.sessions.reclaim_key(session.id)
    if owner is not None:
        raise _claimed_by(owner)


def require_key_kept(context: Context, session: SessionRow) -> None:
    """Make sure that subject, date and number were not given to another folder since; takes nothing back.

    Raises
    ------
    BlockedError
        `same_session_elsewhere`.
    """
    owner = context.journal.sessions.key_owner(session.id)
    if context.root_of(session).registers and owner is not None and owner.id != session.id:
        raise _claimed_by(owner)


def _claimed_by(owner: SessionRow) -> BlockedError:
    where = f"{show_path(owner.path)} below root {owner.root}"
    return BlockedError("same_session_elsewhere", f"The same subject, date and number are claimed by {where}.")
