"""Why a path is no session that is known: what is there on disk, which rule it breaks, what is known around it."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from labferry.detect.scan import LINK_RULE
from labferry.engine.context import Context
from labferry.engine.detection.roots import RootFacts
from labferry.engine.reports.hints import typed
from labferry.engine.reports.live import LiveState
from labferry.engine.reports.places import Place
from labferry.engine.reports.verdicts import Explanation, Fact, Verdict
from labferry.errors import CODES, LabferryError
from labferry.model import SessionState, show_path
from labferry.sessions.layout import Inside, NotASession
from labferry.sessions.registry import layout

EVENTS = "events"  # the mode of a root that is not found by scanning only
NAMED = 50  # folders that are not picked up
FILE_RULE = "sessions are folders, and only folders lead to them"


class Standing(StrEnum):
    """What is found on disk in the place of a path."""

    FOLDER = "folder"
    FILE = "file"
    LINK = "link"
    MISSING = "missing"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Look:
    """A look at a path: what is there, and the part of the path (with what the system said) that decided it."""

    standing: Standing
    part: bytes
    error: str = ""


def look_at(place: Place) -> Look:
    """Look at a place from its root downwards, so that a link on the way is not followed."""
    closed = part = place.top
    try:
        mode = os.stat(part).st_mode  # the root itself may be a link: the operator wrote it down
        for name in place.path.split(b"/") if place.path else []:
            if stat.S_ISLNK(mode):
                return Look(Standing.LINK, part)
            closed = part  # if what is in it may not even be asked for
            part = os.path.join(part, name)
            mode = os.lstat(part).st_mode
        if stat.S_ISLNK(mode):
            return Look(Standing.LINK, part)
        if not stat.S_ISDIR(mode):
            return Look(Standing.FILE, part)
        closed = part
        with os.scandir(part):
            return Look(Standing.FOLDER, part)
    except (FileNotFoundError, NotADirectoryError) as error:
        return Look(Standing.MISSING, part, error.strerror or str(error))
    except PermissionError as error:
        return Look(Standing.UNREADABLE, closed, error.strerror or str(error))
    except OSError as error:
        # What no file system can hold is not there.
        standing = Standing.MISSING if error.errno == errno.ENAMETOOLONG else Standing.UNREADABLE
        return Look(standing, part, error.strerror or str(error))


def outside(context: Context, path: bytes) -> Explanation:
    """Explain a path below no root."""
    roots = [Fact(f"root {root.name} is {root.path}") for root in context.config.roots]
    return Explanation(
        Verdict.OUTSIDE_ROOTS,
        f"{show_path(path)} is below no root.",
        hint="Only what lies below a root is picked up; roots are the [[roots]] tables of the configuration.",
        evidence=tuple(roots),
    )


def nothing_so_called(context: Context, text: str) -> LabferryError:
    """Return the error for a text that is neither below a root nor the name of a session."""
    roots = ", ".join(root.name for root in context.config.roots)
    shown = show_path(os.fsencode(text))
    return LabferryError(
        "no_such_path",
        f"There is no {shown} below any root ({roots}), and no session is known by this name or eid.",
        "`labferry sessions` lists those that are known. Write a folder as an absolute path, or with `./` in front if"
        " it is meant from where you are.",
    )


def missing(context: Context, place: Place, look: Look, parsed: object) -> LabferryError:
    """Return the error for a place where nothing is, and nothing is known that was."""
    grammar = (
        f" It would not be a session either: {parsed.part}: {parsed.rule}." if isinstance(parsed, NotASession) else ""
    )
    known = context.journal.sessions.at(place.root.name, parsed.session.path) if isinstance(parsed, Inside) else None
    never = "nothing of this name was ever listed" if known is not None else "no session was ever found there"
    return LabferryError(
        "no_such_path",
        f"{show_path(place.absolute)} does not exist, and {never}.{grammar}",
        f"{show_path(os.path.dirname(look.part))} is the last part of the path that exists.",
    )


def at_fault(place: Place) -> bytes:
    """Return the shortest part of a place's path that breaks the layout, from the root on; empty where none does."""
    parse, parts = layout(place.root.layout).parse, place.path.split(b"/")
    paths = (b"/".join(parts[:count]) for count in range(1, len(parts) + 1))
    return next((path for path in paths if isinstance(parse(path), NotASession)), b"")


def name_of(path: bytes) -> str:
    """Return the last part of a path for people."""
    return show_path(os.path.basename(path))


def not_picked_up(place: Place, broken: NotASession, at: bytes) -> Explanation:
    """Explain what breaks the layout: `at` is the path of what does, below the root."""
    wrong = os.path.join(place.top, at)
    why = f'breaks the rule "{broken.rule}"'
    hint = ""
    if broken.rule == LINK_RULE:
        why = f"is {broken.rule}"
        hint = f"Move the real folder here in its place, or leave it. It leads to {show_path(_target(wrong))}."
    elif broken.rule == FILE_RULE:
        why = f"is a file; {broken.rule}"
        hint = "Nothing to do, unless it belongs into a session: then move it there."
    elif broken.nearest:
        why += f"; {broken.nearest} would be right"
        hint = _renaming(wrong, os.path.join(os.path.dirname(wrong), os.fsencode(broken.nearest)))
    grammar = layout(place.root.layout)
    return Explanation(
        Verdict.NOT_A_SESSION,
        f'Not picked up: "{broken.part}" {why}.',
        "not_a_session",
        hint,
        evidence=(
            Fact(f"at {show_path(wrong)}"),
            Fact(f"sessions of layout {grammar.name} are folders {grammar.shape} below {place.root.path}"),
        ),
        harmless=broken.rule == FILE_RULE,
        more={"part": broken.part, "rule": broken.rule, "nearest": broken.nearest},
    )


def _renaming(wrong: bytes, right: bytes) -> str:
    if os.path.lexists(right):
        return f"{show_path(right)} is there, too: move what belongs to it by hand, or leave it: it is not picked up."
    return f"Rename it, `mv -n {typed(wrong)} {typed(right)}`, or leave it: it is not picked up."


def _target(link: bytes) -> bytes:
    try:
        return os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(link)))
    except OSError:
        return b"nowhere"


def link_within(look: Look) -> Explanation:
    """Explain what lies behind a link within a session."""
    return Explanation(
        Verdict.INSIDE_SESSION,
        f"{show_path(look.part)} is a symbolic link: links are not followed, nothing behind it is part of the session.",
        "not_regular",
    )


def unreadable(look: Look) -> Explanation:
    """Explain what cannot be looked into."""
    return Explanation(
        Verdict.UNREADABLE,
        f"{show_path(look.part)} cannot be read: {look.error}.",
        "unreadable",
        "Give the service user read permission; the next scan finds what is in it.",
    )


def above(context: Context, live: LiveState, place: Place) -> Explanation:
    """Explain a folder that sessions lie below: how many are known, and what is not picked up."""
    counts = context.journal.sessions.counts_below(place.root.name, place.path)
    listed = ", ".join(f"{counts[state]} {state}" for state in SessionState if counts.get(state)) or "none"
    what = "The root itself" if not place.path else "A folder above sessions"
    facts = live.root(place.root.name)
    which = "" if place.path else f" --root {shlex.quote(place.root.name)}"
    return Explanation(
        Verdict.ABOVE_SESSION,
        f"{what}; sessions known below it: {listed}.",
        hint=f"`labferry sessions{which}` lists them." if counts else "",
        evidence=(*_last_scan(place, facts.last_scan if facts else None), *_how_watched(facts), *_near(facts, place)),
        more={"sessions": counts},
    )


def _near(facts: RootFacts | None, place: Place) -> Iterator[Fact]:
    """Yield what is below a place and not picked up, by name."""
    below = place.path + b"/" if place.path else b""
    found = [miss for miss in facts.near_misses if miss.path.startswith(below)] if facts is not None else []
    for miss in found[:NAMED]:
        nearest = f"; {miss.nearest} would be right" if miss.nearest else ""
        yield Fact(f"not picked up: {typed(miss.path)} ({miss.rule}{nearest})")
    if len(found) > NAMED:
        yield Fact(
            f"not picked up: {len(found) - NAMED} more; `labferry explain` of a folder further down lists its own"
        )


def not_seen_yet(context: Context, live: LiveState, place: Place, parsed: object) -> Explanation:
    """Explain a session, or a part of one, that no scan has found."""
    facts = live.root(place.root.name)
    last = facts.last_scan if facts is not None else None
    upcoming = max(context.clock.now(), (last or 0.0) + context.config.detection.scan_every)
    inside = isinstance(parsed, Inside)
    return Explanation(
        Verdict.INSIDE_SESSION if inside else Verdict.SETTLING,
        f"{'Part of a' if inside else 'A'} session that the next scan will find.",
        "not_seen_yet",
        CODES["journal_full"].hint if context.journal.problem else "",
        evidence=(*_trouble(context), *_last_scan(place, last), *_how_watched(facts)),
        next=Fact("the next scan", upcoming),
    )


def _trouble(context: Context) -> Iterator[Fact]:
    """Yield why no scan can take it up."""
    if context.journal.problem:
        yield Fact(context.journal.problem)


def _how_watched(facts: RootFacts | None) -> Iterator[Fact]:
    """Yield why no event told of it sooner."""
    if facts is not None and (facts.problem or facts.mode != EVENTS):
        why = f": {facts.problem}" if facts.problem else ""
        yield Fact(f"root {facts.name} is watched as {facts.mode}{why}")
    if facts is not None and facts.overflows:
        often = "once" if facts.overflows == 1 else f"{facts.overflows} times"
        yield Fact(f"the kernel lost events {often} since the start; every root was scanned then")


def _last_scan(place: Place, last: float | None) -> Iterator[Fact]:
    yield (
        Fact(f"last scan of root {place.root.name}", last)
        if last
        else Fact(f"root {place.root.name} was not scanned yet")
    )
