"""The detect lane: scans tell what is there, hints when to look, and settled sessions become work.

Runs the detect room and writes what it saw into the journal. Looks only: nothing below a root is ever written.
"""

from __future__ import annotations

import os
from dataclasses import replace

import structlog

from labferry.config import Config
from labferry.detect.scan import ScanResult
from labferry.detect.signature import was_signal
from labferry.detect.watch import Hints, NoHints, WatchdogHints
from labferry.engine.detection.attendance import (
    absent,
    device_of,
    judge,
    meet_sessions,
    miss_sessions,
    notice_signals,
    remember_device,
    take_up,
    wanted,
)
from labferry.engine.detection.keeping import Keeping
from labferry.engine.detection.looking import Looking
from labferry.engine.detection.roots import (
    SIGNALS,
    RootFacts,
    RootState,
    Tracked,
    leave_others,
    look_for_network,
    meet_root,
)
from labferry.engine.detection.trouble import SCANNED, Kind, Trouble, tell
from labferry.engine.detection.watching import folders_to_watch, subject_folders
from labferry.engine.lanes import IDLE_BEAT, LaneThread
from labferry.engine.wakeup import Wakeup
from labferry.errors import UnavailableError
from labferry.journal import Journal
from labferry.model import Clock, show_path

_log = structlog.get_logger()

LISTING_EVERY = 3600.0  # seconds between two scans that list every folder, whatever its times say
SOONEST_RESCAN = 1.0  # seconds between two scans that hints ask for


class DetectLane(LaneThread):
    """One thread for all roots.

    Parameters
    ----------
    config : Config
    journal : Journal
    wakeup : Wakeup
        Rung when a session became work.
    clock : Clock
    """

    def __init__(self, config: Config, journal: Journal, wakeup: Wakeup, clock: Clock) -> None:
        super().__init__("detect", wakeup, clock)
        self._config = config
        self._journal = journal
        self._roots = [meet_root(root, config, journal) for root in config.roots]
        leave_others(config.roots, journal)
        self._looking = Looking(journal, wakeup, clock)
        self._keeping = Keeping(journal, clock, config.archive, lambda: wakeup.stopping)
        watched = any(state.facts.mode == "events" for state in self._roots)
        self._hints: Hints = WatchdogHints(signals=SIGNALS) if watched else NoHints()
        self._touched: set[bytes] = set()  # hints that were not dealt with yet
        self._overflows = 0  # that were told
        self._limited = False  # by the kernel, which was told
        for state in self._roots:
            if state.blind:
                _log.warning("root_problem", root=state.root.name, why=state.blind)

    # --- what others ask ----------------------------------------------------------------------------------

    def facts(self) -> list[RootFacts]:
        """Return what is known of every root."""
        return [state.facts for state in self._roots]

    def rescan(self, name: str | None = None, *, accept_missing: bool = False) -> None:
        """Scan one root, or all, as soon as possible, and look at every file again, complete or not.

        With `accept_missing` what this scan does not find has vanished, however much it is.
        """
        for state in self._roots:
            if name in {None, state.root.name}:
                state.accepted |= accept_missing
                state.next_scan = state.next_listing = 0.0
                for tracked in list(state.tracked.values()):
                    tracked.state = replace(tracked.state, next_look=0.0)
                self._keeping.hurry(state)
        self._hints.wake()

    def wake(self) -> None:
        """End the lane's sleep, so that it sees the stop."""
        self._hints.wake()

    # --- the lane -----------------------------------------------------------------------------------------

    def first_scan(self) -> None:
        """Scan every root once; the daemon is ready after that."""
        for state in self._roots:
            self._scan(state)

    def turn(self) -> float:
        """Take hints, scan what is due, look into what is due, also of what is complete; then sleep until it is due."""
        self._take_hints()
        for state in self._roots:
            if self._clock.monotonic() >= state.next_scan:
                self.beat(f"scanning {state.root.name}", 600.0)
                self._scan(state)
            for tracked in _looked_into(state):
                if self._clock.monotonic() >= tracked.state.next_look and not self._wakeup.stopping:
                    self.beat(f"looking into {show_path(tracked.path)}", 600.0)
                    if self._looking.look(state, tracked):
                        self._keeping.take(state, tracked.path, tracked.id)
            self._keeping.visit(state, self.beat)
        self.beat("idle")
        self._hints.wait(self._until_due())
        return 0.0

    def tidy(self) -> None:
        """Give the watches back."""
        self._hints.close()

    def _until_due(self) -> float:
        due = [min(state.next_scan, state.next_visit) for state in self._roots]
        due += [tracked.state.next_look for state in self._roots for tracked in _looked_into(state)]
        now = self._clock.monotonic()
        return 0.0 if self._wakeup.stopping else max(0.0, min([*due, now + IDLE_BEAT]) - now)

    def _take_hints(self) -> None:
        self._touched |= self._hints.drain()
        if self._hints.overflows != self._overflows:
            self._overflows = self._hints.overflows
            _log.warning("events_lost", times=self._overflows, why="the kernel's queue was full: all roots are scanned")
        while self._touched:  # what is left when the journal takes nothing, the next turn deals with
            path = self._touched.pop()
            try:
                for state in self._roots:
                    below = state.below(path)
                    if below is not None:
                        self._hint(state, below)
            except UnavailableError:
                self._touched.add(path)  # it may tell of a signal that is gone by now
                raise

    def _hint(self, state: RootState, below: bytes) -> None:
        """Look soon into the session that a touched path belongs to, or scan for a new one."""
        if os.path.basename(below) in SIGNALS and not was_signal(os.path.join(state.path, below)):
            below = os.path.dirname(below)
        session = below
        while session and session not in state.tracked and session not in state.kept:
            session = os.path.dirname(session)
        if session in state.tracked:
            self._looking.hint(state, state.tracked[session], below[len(session) + 1 :])
        elif session:
            self._keeping.hint(state, session)
        elif os.path.basename(below) in SIGNALS and os.path.dirname(below) in state.known:
            self._signal_in_history(state, os.path.dirname(below))
        elif below not in state.known:
            state.scanner.hint(below)
            state.scanner.hint(os.path.dirname(below))
            last = (state.next_scan - self._config.detection.scan_every) + SOONEST_RESCAN
            state.next_scan = min(state.next_scan, max(self._clock.monotonic(), last))

    def _signal_in_history(self, state: RootState, path: bytes) -> None:
        """Take up an old session that still waits for somebody, and in which a signal appeared a moment ago."""
        session_id, there = state.known[path]
        if state.facts.frozen or not there:
            return
        if session_id in self._journal.backlog.unsignalled(state.root.name, session_id - 1, 1).values():
            take_up(state, path, session_id, self._journal, self._config.detection)
            self._looking.follow(state)
            self._wakeup.ring()

    def _scan(self, state: RootState) -> None:
        """Compare what is there with what the journal knows, and follow what is not complete."""
        if self._journal.problem:
            self._journal.probe()
        now = self._clock.monotonic()
        afresh = now >= state.next_listing
        if afresh:
            state.next_listing = now + LISTING_EVERY
        if (afresh or device_of(state.path) != state.device) and look_for_network(state):
            _log.warning("root_problem", root=state.root.name, why=state.blind)
        result, seconds = state.scanner.scan(afresh=afresh, again=state.unsure)
        state.next_scan = self._clock.monotonic() + self._config.detection.scan_every
        if result is not None:
            self._compare(state, result)
        if not state.facts.frozen:
            notice_signals(state, self._journal, self._config.detection, all_of_them=afresh)
            self._looking.follow(state)
        self._watch()
        state.told = tell(state.root.name, state.trouble, state.told)
        blind = self._hints.problem or "" if state.facts.mode == "events" else state.blind
        state.facts = replace(
            state.facts,
            watches=self._hints.count_below(state.path),
            overflows=self._hints.overflows,
            last_scan=self._clock.now(),
            scan_s=seconds,
            problem=state.trouble.why if state.trouble else blind,
            hint=state.trouble.way_out(state.root.name) if state.trouble else SCANNED if blind else "",
        )

    def _watch(self) -> None:
        """Watch what is worth it now; say it once when the kernel does not let us."""
        self._hints.watch(folders_to_watch(self._roots))
        problem = self._hints.problem
        if problem and not self._limited:
            _log.warning("watches_limited", why=problem)
        self._limited = problem is not None

    def _compare(self, state: RootState, result: ScanResult) -> None:
        """Tell the journal of what a scan saw; unless all of it is settled, the next scan tells it again."""
        state.unsure = True
        found = wanted(state, result)
        accepted = state.accepted
        state.absent = absent(state, result, found)
        judgement = judge(state, result, accepted=accepted)
        state.trouble = judgement.trouble or (Trouble(Kind.CLOSED, result.gaps) if result.gaps else None)
        state.facts = replace(
            state.facts,
            doubted=judgement.trouble is not None,
            frozen=judgement.frozen,
            near_misses=tuple(result.near_misses),
            near_miss_count=result.near_miss_count,
        )
        if judgement.frozen:
            state.accepted = False
            return
        meet_sessions(state, found, self._journal, self._config.detection)
        if judgement.trouble is None:
            miss_sessions(state, self._journal, accepted=accepted)
            remember_device(state, self._journal)
        state.nurseries = subject_folders(state)
        state.unsure = bool(state.misses or judgement.trouble)
        if accepted:  # only now: where the journal takes nothing, the word stands until it does
            state.accepted = False


def _looked_into(state: RootState) -> list[Tracked]:
    """Return the sessions of a root that may be looked into: below a frozen one there may be another disk's."""
    return [] if state.facts.frozen else list(state.tracked.values())
