"""What the detect lane knows of a root: what it remembers for itself, and what an operator may know."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from labferry.config import Config, Root
from labferry.detect.completion import Rules, Watched
from labferry.detect.scan import NearMiss
from labferry.detect.scanner import Scanner
from labferry.detect.watch import network_mount
from labferry.detect.witness import Witness
from labferry.engine.detection.agenda import Agenda, Kept
from labferry.engine.detection.trouble import SCANNED, Kind, Trouble
from labferry.engine.history.meeting import UNREGISTERED
from labferry.journal import Journal
from labferry.sessions.layout import Layout
from labferry.sessions.registry import layout

RECENT = 20  # complete sessions of a root that hints are wanted of
SIGNALS = (b"raw_session.flag",)


@dataclass(frozen=True, slots=True)
class RootFacts:
    """What the operator may know of a root.

    `last_scan` in epoch seconds, `scan_s` in seconds; `overflows`: how often the kernel lost events, of any root, since
    the start; `hint`: what to do about the problem. `doubted`: nothing is concluded from what is missing; `frozen`: nor
    from what is there.
    """

    name: str
    path: bytes
    layout: str
    mode: str
    watches: int = 0
    overflows: int = 0
    last_scan: float | None = None
    scan_s: float = 0.0
    problem: str = ""
    hint: str = ""
    doubted: bool = False
    frozen: bool = False
    near_misses: tuple[NearMiss, ...] = ()
    near_miss_count: int = 0


@dataclass(slots=True)
class Tracked:
    """A session that is not complete yet.

    Attributes
    ----------
    unwritten : bytes
        The signal that was seen while the journal took nothing; it may be gone by now.
    written : tuple
        What the journal has of the last look: signature, code, reason.
    """

    id: int
    path: bytes
    state: Watched
    witness: Witness
    unwritten: bytes = b""
    written: tuple[bytes | None, str, str] = (None, "", "")


@dataclass(slots=True)
class RootState:
    """What the lane remembers about one root.

    Attributes
    ----------
    met_at : float
        When the root was met for the first time, epoch seconds.
    blind : str
        Why changes are found by scanning only, where no watch can be had.
    scanner : Scanner
    next_scan : float
        Monotonic seconds; the past means now.
    next_listing : float
        When a scan lists every folder, monotonic seconds.
    unsure : bool
        The next scan must be compared with the journal even if it shows nothing new.
    renamed : str
        Why nothing is looked for: the sessions here are known under another name of the root. Empty where it is not so.
    device : int or None
        Number of the file system that it was on when it had all that it should have; None when that is not known.
    accepted : bool
        An operator said that what the next scan does not find is gone for good.
    trouble : Trouble or None
        What the last scan that showed anything had against the root.
    told : Kind or None
        What of that was told.
    nurseries : list of bytes
        Where the next sessions appear.
    known : dict
        Id of every session that the journal has by its path, and whether it was there at the last scan; without those
        of subjects that are left out, which are neither found nor missed.
    absent : frozenset of int
        Ids of the sessions that should have been there at the last scan, and were not found.
    misses : dict
        How many scans in a row did not find a session.
    tracked : dict
        The sessions that are not complete, by path.
    kept : dict
        The sessions that were complete, by path (ruling 1).
    agenda : Agenda
        When it is the turn of each of these.
    recent : deque
        The paths of some of these that were complete last, the latest at the end.
    next_old : int
        The id after which the next scan looks for signals in old sessions.
    next_visit : float
        When to look at the first of these, monotonic seconds.
    next_roll_call : float
        When to ask the journal whether these are all, monotonic seconds.
    """

    root: Root
    path: bytes
    layout: Layout
    rules: Rules
    facts: RootFacts
    met_at: float
    scanner: Scanner
    blind: str = ""
    next_scan: float = 0.0
    next_listing: float = 0.0
    unsure: bool = True
    renamed: str = ""
    device: int | None = None
    accepted: bool = False
    trouble: Trouble | None = None
    told: Kind | None = None
    nurseries: list[bytes] = field(default_factory=list)
    known: dict[bytes, tuple[int, bool]] = field(default_factory=dict)
    absent: frozenset[int] = frozenset()
    misses: dict[bytes, int] = field(default_factory=dict)
    tracked: dict[bytes, Tracked] = field(default_factory=dict)
    kept: dict[bytes, Kept] = field(default_factory=dict)
    agenda: Agenda = field(init=False)
    recent: deque[bytes] = field(default_factory=lambda: deque(maxlen=RECENT))
    next_old: int = 0
    next_visit: float = 0.0
    next_roll_call: float = 0.0

    def __post_init__(self) -> None:
        self.agenda = Agenda(self.kept)

    def below(self, path: bytes) -> bytes | None:
        """Return a path relative to the root; None for one that is not in it."""
        if path == self.path:
            return b""
        return path[len(self.path) + 1 :] if path.startswith(self.path + b"/") else None


def meet_root(root: Root, config: Config, journal: Journal) -> RootState:
    """Tell the journal of a configured root, and return what the lane starts with."""
    path = os.fsencode(root.path)
    formerly = _former_name(root, path, config, journal)
    met_at = journal.sessions.meet_root(root.name, path, root.layout)
    journal.sessions.leave_out(root.name, root.exclude_subjects)
    journal.jobs.align_archives(root.name, root.archive, registers=root.registers)
    if root.registers:
        journal.sessions.register_from_now_on(root.name)
        journal.backlog.ask_about_root(root.name, UNREGISTERED)
    problem = _blindness(path)
    mode = "scan-only" if root.events == "off" or problem else "events"
    rules = Rules(
        completion=root.completion,
        quiet=config.quiet(root),
        quiet_without_signal=config.quiet_without_signal(root),
        signal_names=SIGNALS,
        look_every=min(config.detection.scan_every, 30.0),
    )
    facts = RootFacts(root.name, path, root.layout, mode, problem=problem, hint=SCANNED if problem else "")
    grammar = layout(root.layout)
    scanner = Scanner(path, grammar, remembers=not problem)
    state = RootState(root, path, grammar, rules, facts, met_at, scanner, blind=problem)
    state.device = journal.sessions.device_of_root(root.name)
    known = journal.sessions.folders(root.name)
    state.known = journal.sessions.folders(root.name, root.exclude_subjects) if root.exclude_subjects else known
    if formerly and not known:
        state.renamed = (
            f"the sessions here are known as those of root {formerly}, which is not configured any more. Give "
            f'the root name = "{formerly}" again: its path may change, its name may not'
        )
    return state


def look_for_network(state: RootState) -> bool:
    """Find a root by scanning only if by now it, or a folder in it, is another machine's; return whether that is new.

    So it stays until the next start: that is never wrong.
    """
    if state.blind or not (blind := _blindness(state.path)):
        return False
    state.blind = blind
    state.facts = replace(state.facts, mode="scan-only")
    state.scanner = Scanner(state.path, state.layout, remembers=False)
    return True


def _blindness(path: bytes) -> str:
    """Return why the changes below a root are not told of; empty where they are."""
    network = network_mount(path, within=True)
    return f"{network} does not report changes: found by scanning only" if network else ""


def _former_name(root: Root, path: bytes, config: Config, journal: Journal) -> str:
    """Return the name of a root that has sessions, was at the same path, and is not in the configuration any more."""
    configured = {one.name for one in config.roots}
    for name, place in journal.sessions.root_paths().items():
        if place == path and name != root.name and name not in configured and journal.sessions.folders(name):
            return name
    return ""


def leave_others(roots: Iterable[Root], journal: Journal) -> None:
    """Say of the work of roots that are not configured any more what it waits for; go on with what is back."""
    journal.jobs.hurry("root_unknown")
    for name in journal.sessions.root_paths().keys() - {root.name for root in roots}:
        journal.jobs.park(name, "root_unknown", f"root {name} is not in the configuration any more")
