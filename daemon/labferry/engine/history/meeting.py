"""What a session is at the moment a scan finds it for the first time: live, or history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from labferry.config import Detection, Root
from labferry.detect.history import folder_changed_at, is_history
from labferry.detect.signature import signal_present
from labferry.model import History
from labferry.sessions.session import Session


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of a session from before we met it.

    Attributes
    ----------
    history : History or None
        None for one that is live.
    code, why : str
        Why it is left alone, where that is known already.
    signalled : bool
        Its completion signal is there. Such a session is not left alone: unless Alyx knows all of it, and knows it to
        be archived, it becomes an ordinary one.
    """

    history: History | None = None
    code: str = ""
    why: str = ""
    signalled: bool = False


LIVE = Past()
UNREGISTERED = "history_unregistered"


def past_of(
    session: Session, folder: bytes, root: Root, met_at: float, settings: Detection, signals: Sequence[bytes]
) -> Past:
    """Say whether a session that is found for the first time is history, and what is to become of it.

    Parameters
    ----------
    session : Session
    folder : bytes
        Its folder, absolute.
    root : Root
    met_at : float
        When the root was met for the first time, epoch seconds.
    settings : Detection
    signals : sequence of bytes
        Names of the files that say "complete".
    """
    if settings.history == "process":
        return LIVE
    changed_at = folder_changed_at(folder)
    if changed_at is None or not is_history(session.date, changed_at, met_at, settings.history_age):
        return LIVE
    signalled = signal_present(folder, signals)
    if settings.history == "adopt" and root.registers:
        return Past(History.UNASKED, signalled=signalled)
    if signalled:
        return LIVE
    if settings.history == "ignore":
        return Past(History.IGNORED, "history_ignored", 'the configuration says history = "ignore"')
    return Past(History.BACKLOG, UNREGISTERED, f"root {root.name} is not registered in Alyx")
