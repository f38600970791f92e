"""The detect lane: scans tell what is there, hints when to look, and settled sessions become work.

Runs the detect room and writes what it saw into the journal. Looks only: nothing below a root is ever written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import structlog

from labferry.config import Config, Root
from labferry.detect.completion import Complete, Rules, Settling, Watched, hinted, observe
from labferry.detect.scan import NearMiss, ScanResult, scan
from labferry.detect.signature import signal_present, take_signature
from labferry.detect.watch import Hints, NoHints, WatchdogHints, network_mount
from labferry.engine.history.meeting import UNREGISTERED, past_of
from labferry.engine.lanes import IDLE_BEAT, LaneThread
from labferry.engine.wakeup import Wakeup
from labferry.journal import Journal
from labferry.model import Clock, show_path
from labferry.sessions.layout import Layout
from labferry.sessions.registry import layout
from labferry.sessions.session import Session

_log = structlog.get_logger()

SIGNALS = (b"raw_session.flag",)
MISSES_BEFORE_VANISHED = 2  # scans in a row
FEW = 5  # so many sessions may disappear at once without alarm …
SHARE = 0.2  # … or this share of a root's sessions
SOONEST_RESCAN = 1.0  # seconds between two scans that hints ask for
SUBJECT_DEPTH = 2  # a session's subject folder is two levels above it


@dataclass(frozen=True, slots=True)
class RootFacts:
    """What the operator may know of a root; `last_scan` in epoch seconds, `scan_s` in seconds."""

    name: str
    path: bytes
    layout: str
    mode: str
    watches: int = 0
    last_scan: float | None = None
    scan_s: float = 0.0
    problem: str = ""
    frozen: bool = False
    near_misses: tuple[NearMiss, ...] = ()
    near_miss_count: int = 0


@dataclass(slots=True)
class Tracked:
    """A session that is not complete yet."""

    id: int
    path: bytes
    state: Watched
    written: tuple[bytes | None, str] = (None, "")


@dataclass(slots=True)
class RootState:
    """What the lane remembers about one root."""

    root: Root
    path: bytes
    layout: Layout
    rules: Rules
    facts: RootFacts
    met_at: float  # for the first time, epoch seconds
    blind: str = ""  # why changes are found by scanning only, where no watch can be had
    next_scan: float = 0.0
    known: dict[bytes, tuple[int, bool]] = field(default_factory=dict)
    misses: dict[bytes, int] = field(default_factory=dict)
    tracked: dict[bytes, Tracked] = field(default_factory=dict)


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
        self._roots = [self._meet(root) for root in config.roots]
        self._leave_others()
        watched = any(state.facts.mode == "events" for state in self._roots)
        self._hints: Hints = WatchdogHints(signals=SIGNALS) if watched else NoHints()

    def _meet(self, root: Root) -> RootState:
        path = os.fsencode(root.path)
        met_at = self._journal.sessions.meet_root(root.name, path, root.layout)
        self._journal.jobs.align_archives(root.name, root.archive, registers=root.registers)
        if root.registers:
            self._journal.sessions.register_from_now_on(root.name)
            self._journal.backlog.ask_about_root(root.name, UNREGISTERED)
        network = network_mount(path)
        mode = "scan-only" if root.events == "off" or network else "events"
        problem = f"{network} does not report changes: found by scanning only" if network else ""
        rules = Rules(
            completion=root.completion,
            quiet=self._config.quiet(root),
            quiet_without_signal=self._config.quiet_without_signal(root),
            signal_names=SIGNALS,
            look_every=min(self._config.detection.scan_every, 30.0),
        )
        facts = RootFacts(root.name, path, root.layout, mode, problem=problem)
        state = RootState(root, path, layout(root.layout), rules, facts, met_at, blind=problem)
        state.known = self._journal.sessions.folders(root.name)
        return state

    def _leave_others(self) -> None:
        """Say of the work of roots that are not configured any more what it waits for; go on with what is back."""
        self._journal.jobs.hurry("root_unknown")
        for name in self._journal.sessions.root_paths().keys() - {root.name for root in self._config.roots}:
            self._journal.jobs.park(name, "root_unknown", f"root {name} is not in the configuration any more")

    # --- what others ask ----------------------------------------------------------------------------------

    def facts(self) -> list[RootFacts]:
        """Return what is known of every root."""
        return [state.facts for state in self._roots]

    def rescan(self, name: str | None = None) -> None:
        """Scan one root, or all, as soon as possible."""
        for state in self._roots:
            if name in {None, state.root.name}:
                state.next_scan = 0.0
                for tracked in list(state.tracked.values()):
                    tracked.state = replace(tracked.state, next_look=0.0)
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
        """Take hints, scan what is due, look into what is due, then sleep until something happens."""
        self._take_hints()
        for state in self._roots:
            if self._clock.monotonic() >= state.next_scan:
                self.beat(f"scanning {state.root.name}", 600.0)
                self._scan(state)
            for tracked in list(state.tracked.values()):
                if self._clock.monotonic() >= tracked.state.next_look and not self._wakeup.stopping:
                    self.beat(f"looking into {show_path(tracked.path)}", 600.0)
                    self._look(state, tracked)
        self.beat("idle")
        self._hints.wait(self._until_due())
        return 0.0

    def tidy(self) -> None:
        """Give the watches back."""
        self._hints.close()

    def _until_due(self) -> float:
        due = [state.next_scan for state in self._roots]
        due += [tracked.state.next_look for state in self._roots for tracked in state.tracked.values()]
        now = self._clock.monotonic()
        return 0.0 if self._wakeup.stopping else max(0.0, min([*due, now + IDLE_BEAT]) - now)

    # --- hints --------------------------------------------------------------------------------------------

    def _take_hints(self) -> None:
        now = self._clock.monotonic()
        for path in self._hints.drain():
            for state in self._roots:
                if path == state.path or path.startswith(state.path + b"/"):
                    self._hint(state, path[len(state.path) + 1 :], now)

    def _hint(self, state: RootState, below: bytes, now: float) -> None:
        """Look soon into the session that a touched path belongs to, or scan for a new one."""
        session = below
        while session and session not in state.tracked:
            session = os.path.dirname(session)
        if session:
            tracked = state.tracked[session]
            name = below[len(session) + 1 :]
            if name in SIGNALS:
                self._journal.sessions.signal(tracked.id, name.decode())
            tracked.state = hinted(tracked.state, now, state.rules, signal_seen=name in SIGNALS)
        elif below not in state.known:
            last = (state.next_scan - self._config.detection.scan_every) + SOONEST_RESCAN
            state.next_scan = min(state.next_scan, max(now, last))

    def _watch(self) -> None:
        """Watch roots, unfinished sessions and where their neighbours appear; the most useful folders first."""
        paths: list[bytes] = []
        for state in self._roots:
            if state.facts.mode == "events":
                paths.append(state.path)
                for below in sorted(state.tracked, reverse=True):
                    folder = os.path.join(state.path, below)
                    paths += [folder, os.path.dirname(folder)]
        for state in self._roots:
            if state.facts.mode == "events":
                paths += subject_folders(state)
        self._hints.watch(dict.fromkeys(paths))

    # --- scanning -----------------------------------------------------------------------------------------

    def _scan(self, state: RootState) -> None:
        if self._journal.problem:
            self._journal.probe()
        result = scan(state.path, state.layout)
        state.next_scan = self._clock.monotonic() + self._config.detection.scan_every
        found = {one.path: one for one in result.found if self._wanted(state, one)}
        frozen, problem = self._is_frozen(state, result, found)
        problem = problem or result.gaps
        if not frozen:
            self._meet_sessions(state, found)
            if result.complete:
                self._miss_sessions(state, found)
        self._track(state)
        self._watch()
        if problem and problem != state.facts.problem:
            _log.warning("root_problem", root=state.root.name, why=problem)
        state.facts = replace(
            state.facts,
            watches=self._hints.count,
            last_scan=self._clock.now(),
            scan_s=result.seconds,
            problem=problem or (self._hints.problem or "" if state.facts.mode == "events" else state.blind),
            frozen=frozen,
            near_misses=tuple(result.near_misses),
            near_miss_count=result.near_miss_count,
        )

    @staticmethod
    def _wanted(state: RootState, session: Session) -> bool:
        return session.subject not in state.root.exclude_subjects

    @staticmethod
    def _is_frozen(state: RootState, result: ScanResult, found: dict[bytes, Session]) -> tuple[bool, str]:
        """Say whether a root is left as it is: it is gone, or lost most of its sessions at once (unmounted)."""
        if result.problem:
            return True, result.problem
        present = [path for path, (_, there) in state.known.items() if there]
        missing = sum(path not in found for path in present)
        if present and missing > FEW and missing > SHARE * len(present):
            return True, f"{missing} of {len(present)} sessions disappeared at once: is the disk mounted?"
        if present and missing and not os.listdir(state.path):
            return True, f"the folder is empty and {missing} sessions were here: is the disk mounted?"
        return False, ""

    def _meet_sessions(self, state: RootState, found: dict[bytes, Session]) -> None:
        settings = self._config.detection
        new = [
            (session, past_of(session, os.path.join(state.path, path), state.root, state.met_at, settings, SIGNALS))
            for path, session in found.items()
            if path not in state.known
        ]
        met: dict[bytes, tuple[int, bool]] = {}
        with self._journal.together():
            for session, past in new:
                row = self._journal.sessions.found(
                    state.root.name,
                    session.path,
                    layout=state.root.layout,
                    subject=session.subject,
                    date=session.date.isoformat(),
                    number=session.number,
                    lab=session.lab,
                    history=past.history,
                    history_code=past.code,
                    history_why=past.why,
                )
                if past.signalled:
                    self._journal.sessions.signal(row.id, SIGNALS[0].decode())
                met[session.path] = (row.id, True)
        state.known |= met  # known is what was committed: a full disk takes all of them back
        for path in found:
            session_id, there = state.known[path]
            if not there:
                self._journal.sessions.returned(session_id)
                state.known[path] = (session_id, True)
        if new:
            old = sum(past.history is not None for _, past in new)
            _log.info("sessions_found", root=state.root.name, sessions=len(new), history=old)

    def _miss_sessions(self, state: RootState, found: dict[bytes, Session]) -> None:
        """Note what was not found; after two scans in a row a session has vanished."""
        for path, (session_id, there) in list(state.known.items()):
            if not there or path in found:
                state.misses.pop(path, None)
                continue
            state.misses[path] = state.misses.get(path, 0) + 1
            if state.misses[path] >= MISSES_BEFORE_VANISHED:
                del state.misses[path]
                self._journal.sessions.vanished(session_id)
                state.known[path] = (session_id, False)
                _log.warning("session_vanished", root=state.root.name, session=show_path(path))

    def _track(self, state: RootState) -> None:
        """Follow exactly the sessions that the journal has as not complete: new ones, and those sent back."""
        rows = {row.path: row for row in self._journal.sessions.unsettled(state.root.name)}
        for path in state.tracked.keys() - rows.keys():
            del state.tracked[path]
        for path, row in rows.items():
            if path not in state.tracked and state.known.get(path, (0, False))[1]:
                watched = Watched(signal_seen=row.signal is not None, next_look=self._clock.monotonic())
                state.tracked[path] = Tracked(row.id, path, watched)
        for tracked in state.tracked.values():
            self._look_for_signal(state, tracked)

    def _look_for_signal(self, state: RootState, tracked: Tracked) -> None:
        """Latch the completion signal as soon as it is there; a cheap look, made at every scan (rulings 4, 7)."""
        if not tracked.state.signal_seen and signal_present(os.path.join(state.path, tracked.path), SIGNALS):
            self._journal.sessions.signal(tracked.id, SIGNALS[0].decode())
            tracked.state = hinted(tracked.state, self._clock.monotonic(), state.rules, signal_seen=True)

    # --- looking ------------------------------------------------------------------------------------------

    def _look(self, state: RootState, tracked: Tracked) -> None:
        """Look into one unfinished session; make it work when it is complete."""
        folder = os.path.join(state.path, tracked.path)
        self._look_for_signal(state, tracked)
        signature = take_signature(folder) if os.path.isdir(folder) else None
        # The time after the walk: what was seen at its beginning may have changed before its end.
        now = self._clock.monotonic()
        tracked.state, verdict = observe(tracked.state, signature, tracked.state.signal_seen, now, state.rules)
        match verdict:
            case Complete():
                self._journal.sessions.complete(
                    tracked.id,
                    verdict.signature.digest,
                    register=state.root.registers,
                    targets=state.root.archive,
                )
                del state.tracked[tracked.path]
                _log.info("complete", root=state.root.name, session=show_path(tracked.path))
                self._wakeup.ring()
            case Settling():
                digest = signature.digest if signature else None
                if tracked.written != (digest, verdict.code):
                    self._journal.sessions.looked(tracked.id, digest, verdict.code, verdict.why)
                    tracked.written = (digest, verdict.code)


def subject_folders(state: RootState) -> Iterator[bytes]:
    """Yield the folders in which the next sessions of known subjects appear, newest session first."""
    for below in sorted(state.known, key=lambda path: path.split(b"/")[-SUBJECT_DEPTH:], reverse=True):
        folder = below
        for _ in range(SUBJECT_DEPTH):
            folder = os.path.dirname(folder)
        yield os.path.join(state.path, folder)
