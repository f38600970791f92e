"""Looking into sessions that are not complete, until they are."""

from __future__ import annotations

import os
from dataclasses import replace

import structlog

from labferry.detect.completion import Complete, Settling, Watched, hinted, observe
from labferry.detect.evidence import NO_EVIDENCE
from labferry.detect.signature import NOTHING_THERE, Signature, signal_present
from labferry.detect.witness import Witness
from labferry.engine.detection.attendance import begins_anew
from labferry.engine.detection.moves import former, renamed, was_told
from labferry.engine.detection.roots import SIGNALS, RootState, Tracked
from labferry.engine.wakeup import Wakeup
from labferry.errors import UnavailableError
from labferry.journal import Journal, JournalError
from labferry.journal.rows import SessionRow
from labferry.model import Clock, JobState, show_path

PUT_OFF = 3600.0  # seconds until a session is tried again at which we failed
_log = structlog.get_logger()


class Looking:
    """Follows unfinished sessions and makes them work when they are complete.

    Parameters
    ----------
    journal : Journal
    wakeup : Wakeup
        Rung when a session became work.
    clock : Clock
    """

    def __init__(self, journal: Journal, wakeup: Wakeup, clock: Clock) -> None:
        self._journal = journal
        self._wakeup = wakeup
        self._clock = clock

    def follow(self, state: RootState) -> None:
        """Follow exactly the sessions that the journal has as not complete: new ones, and those sent back."""
        rows = {row.path: row for row in self._journal.sessions.unsettled(state.root.name)}
        for path in state.tracked.keys() - rows.keys():
            del state.tracked[path]
        for path, row in rows.items():
            if path not in state.tracked and state.known.get(path, (0, False))[1]:
                state.tracked[path] = self._begin(state, row)
        for tracked in state.tracked.values():
            self._look_for_signal(state, tracked)

    def _begin(self, state: RootState, row: SessionRow) -> Tracked:
        """Return what is known of a session that is followed from now on.

        One of old that an operator released came as a whole long ago, and parts of it may have been moved away since:
        it is looked into for changes only.
        """
        released = row.generation == 0 and row.history_at is not None
        changed = row.generation > 0 and not self._journal.sessions.begins_anew(row.id)
        watched = Watched(
            # Where a session that was complete before changed since, the signal counts as seen.
            signal_seen=row.signal is not None or (changed and state.rules.needs_signal),
            next_look=self._clock.monotonic(),
            again=changed or released,
        )
        return Tracked(row.id, row.path, watched, Witness("quiet" if released else state.rules.completion))

    def hint(self, state: RootState, tracked: Tracked, name: bytes) -> None:
        """Look soon into a session in which something was touched: the folder, or a file that is worth a name."""
        now = self._clock.monotonic()
        tracked.state = hinted(tracked.state, now, state.rules, signal_seen=name in SIGNALS)
        if name in SIGNALS:
            self._latch(tracked, name)

    def look(self, state: RootState, tracked: Tracked) -> bool:
        """Look into one unfinished session; make it work, and return True, when it is complete.

        Where our own looking fails, that is said of this session, which must not keep the others from being looked at.
        """
        try:
            return self._look(state, tracked)
        except (UnavailableError, JournalError):
            raise
        except Exception as error:
            log = _log.bind(root=state.root.name, session=show_path(tracked.path))
            log.exception("unexpected")
            self._put_off(tracked, f"it could not be looked into: {type(error).__name__}: {error}")
            return False

    def _put_off(self, tracked: Tracked, why: str) -> None:
        """Leave a session alone for some time."""
        tracked.state = replace(tracked.state, next_look=self._clock.monotonic() + PUT_OFF)
        news = (None, "crash", why)
        if tracked.written != news:
            self._journal.sessions.looked(tracked.id, *news)
            tracked.written = news

    def _look(self, state: RootState, tracked: Tracked) -> bool:
        folder = os.path.join(state.path, tracked.path)
        if tracked.unwritten:
            self._latch(tracked, tracked.unwritten)
        self._look_for_signal(state, tracked)
        signature, evidence = tracked.witness.look(folder) if os.path.isdir(folder) else (None, NO_EVIDENCE)
        if signature is not None and (tracked.state.signal_seen or tracked.state.again):
            self._begin_anew_if_emptied(state, tracked, signature, folder)
        # The time after the walk: what was seen at its beginning may have changed before its end.
        now = self._clock.monotonic()
        tracked.state, verdict = observe(
            tracked.state, signature, tracked.state.signal_seen, now, state.rules, evidence
        )
        match verdict:
            case Complete():
                self._journal.sessions.complete(
                    tracked.id,
                    verdict.signature.digest,
                    register=state.root.registers,
                    targets=state.root.archive,
                    moved_from=self._former(state, tracked, verdict.signature.digest),
                )
                del state.tracked[tracked.path]
                _log.info("complete", root=state.root.name, session=show_path(tracked.path))
                self._tell_if_blocked(state, tracked)
                self._wakeup.ring()
            case Settling():
                # Of what cannot be looked into, one session is like the other.
                digest = signature.digest if signature and not signature.unreadable else None
                # How long it has been quiet is in the sentence too, and not worth a commit at every look.
                news = (digest, verdict.code, "" if verdict.code == "settling" else verdict.why)
                if tracked.written != news:
                    self._journal.sessions.looked(tracked.id, digest, verdict.code, verdict.why)
                    if digest is not None and (tracked.written[0] is None or verdict.code == "waiting_signal"):
                        self._look_for_former(state, tracked, digest)
                    tracked.written = news
        return isinstance(verdict, Complete)

    def _tell_if_blocked(self, state: RootState, tracked: Tracked) -> None:
        """Log that work waits for a person from the start, as it is logged of work that was begun."""
        for job in self._journal.jobs.live_of_session(tracked.id):
            if job.state is JobState.BLOCKED:
                log = _log.bind(root=state.root.name, session=show_path(tracked.path), job=job.id, kind=job.kind.value)
                log.warning("blocked", stage=job.stage.value, code=job.code, why=job.reason, hint=job.hint)

    def _former(self, state: RootState, tracked: Tracked, signature: bytes) -> SessionRow | None:
        """Return the session that a folder was before it got this name, if it was one that Alyx was told of."""
        row = self._journal.sessions.get(tracked.id)
        return None if row is None else former(self._journal, row, signature, state.absent)

    def _look_for_signal(self, state: RootState, tracked: Tracked) -> None:
        """Latch the completion signal as soon as it is there; a cheap look, made at every scan (rulings 4, 7)."""
        if not tracked.state.signal_seen and signal_present(os.path.join(state.path, tracked.path), SIGNALS):
            tracked.state = hinted(tracked.state, self._clock.monotonic(), state.rules, signal_seen=True)
            self._latch(tracked, SIGNALS[0])

    def _look_for_former(self, state: RootState, tracked: Tracked, signature: bytes) -> None:
        """Take over what is known of a folder from before it was renamed, and write down which session it was.

        What is in its old place by then may be looked into any moment, and nobody would know any more. The flag of the
        signal may be gone since.
        """
        row = self._journal.sessions.get(tracked.id)
        if row is None:
            return
        was = list(renamed(self._journal, row, signature))
        told = next((old for old in was if was_told(self._journal, old)), None)
        if told is not None and row.eid is None and row.moved_from is None:
            self._journal.sessions.was(row.id, told.id)
        signal = next((old.signal for old in was if old.signal is not None), None)
        if signal is not None and not tracked.state.signal_seen:
            tracked.state = hinted(tracked.state, self._clock.monotonic(), state.rules, signal_seen=True)
            self._latch(tracked, os.fsencode(signal))

    def _begin_anew_if_emptied(self, state: RootState, tracked: Tracked, signature: Signature, folder: bytes) -> None:
        """Forget the signal of a session all of whose files are gone."""
        row = self._journal.sessions.get(tracked.id) if signature.digest == NOTHING_THERE else None
        if row is not None and begins_anew(row, signature, folder, self._journal):
            now = self._journal.sessions.get(tracked.id) or row
            afresh = self._begin(state, now)
            tracked.state, tracked.witness, tracked.written = afresh.state, afresh.witness, afresh.written

    def _latch(self, tracked: Tracked, signal: bytes) -> None:
        """Write that a signal was seen; where the journal takes nothing, the next look tries again."""
        tracked.unwritten = signal
        self._journal.sessions.signal(tracked.id, signal.decode())
        tracked.unwritten = b""
