"""Why a folder is where it is: an answer for any path below a root, without waiting for anybody."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from labferry.detect.scan import LINK_RULE
from labferry.engine.context import Context
from labferry.engine.detection.roots import RootFacts
from labferry.engine.reports.explain_description import described
from labferry.engine.reports.explain_file import explain_inside
from labferry.engine.reports.explain_session import LEFT_OUT, explain_session, frozen
from labferry.engine.reports.find import find
from labferry.engine.reports.live import LiveState
from labferry.engine.reports.places import Place, places, spellings
from labferry.engine.reports.verdicts import Explanation, Fact, Verdict
from labferry.engine.settled import TAKE_IN
from labferry.errors import CODES, LabferryError
from labferry.journal.rows import SessionRow
from labferry.model import SessionState, path_fields, show_path
from labferry.sessions.layout import Above, Inside, NotASession
from labferry.sessions.registry import layout
from labferry.sessions.session import Session

EVENTS = "events"  # the mode of a root that is not found by scanning only
WITHOUT_FOLDER = frozenset({Verdict.OK_ARCHIVED, Verdict.OK_REGISTERED, Verdict.ADOPTED, Verdict.MOVED})
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


def explain(context: Context, live: LiveState, text: str) -> dict[str, Any]:
    """Return `explain.data` of the interface contract.

    Parameters
    ----------
    text : str
        An absolute path, a path relative to a root, or a session by subject/date/number or eid.

    Raises
    ------
    LabferryError
        `no_such_path`: nothing is there, and nothing is known that was.
    """
    place = _place(context, live, text)
    if place is None:
        outside = os.path.normpath(spellings(text)[0])
        return {**path_fields(outside), "root": None, **_outside(context, outside).to_json()}
    found = _explain_place(context, live, place)
    return {**path_fields(place.absolute), "root": place.root.name, **found.to_json()}


def _place(context: Context, live: LiveState, text: str) -> Place | None:
    """Return the place a text means: where something is on disk or in the journal, else the first reading."""
    readings = [place for spelling in spellings(text) for place in places(context.config, spelling)]
    for place in readings:
        known = context.journal.sessions.at(place.root.name, place.path) is not None
        certain = len(readings) == 1 and os.path.isabs(text)
        if known or certain or (not _frozen(live, place) and os.path.lexists(place.absolute)):
            return place
    try:
        row = find(context, text)
    except LabferryError as error:
        if error.code != "no_such_session":
            raise
        return readings[0] if readings else None
    root = next((root for root in context.config.roots if root.name == row.root), None)
    return None if root is None else Place(root, row.path)


def _explain_place(context: Context, live: LiveState, place: Place) -> Explanation:
    parsed = layout(place.root.layout).parse(place.path)
    subject = _ignored_subject(place, parsed)
    session = parsed.session if isinstance(parsed, Inside) else parsed
    row = context.journal.sessions.at(place.root.name, session.path) if isinstance(session, Session) else None
    if facts := _frozen(live, place):
        if row is not None and not isinstance(parsed, Inside):
            return explain_session(context, live, row)
        return frozen(facts)
    look = look_at(place)
    if row is None and look.standing is Standing.MISSING:
        raise _missing(place, look, parsed)
    if subject and (row is None or isinstance(parsed, Inside)):
        return Explanation(
            Verdict.IGNORED_SUBJECT, f"Subject {subject} is excluded from root {place.root.name}.", LEFT_OUT, TAKE_IN
        )
    if isinstance(parsed, NotASession):
        return _not_a_session(place, parsed, look)
    if look.standing is Standing.LINK and not _is_inside(place, session, look.part):
        found = None if row is None or isinstance(parsed, Inside) else _behind_link(context, live, row)
        broken = NotASession(show_path(os.path.basename(look.part)), LINK_RULE)
        return found or _not_a_session(place, broken, look)
    if row is not None:
        if isinstance(parsed, Inside):
            if look.standing is Standing.MISSING and context.journal.files.at(row.id, parsed.below) is None:
                raise _missing(place, look, parsed)
            return explain_inside(context, row, parsed.below, is_folder=look.standing is Standing.FOLDER)
        there = look.standing in {Standing.FOLDER, Standing.UNREADABLE}
        found = explain_session(context, live, row, is_there=there)
        return described(found, place.absolute) if look.standing is Standing.FOLDER else found
    if look.standing is Standing.UNREADABLE:
        return _unreadable(look)
    if look.standing is Standing.FILE and not isinstance(parsed, Inside):
        return _not_a_session(place, NotASession(show_path(os.path.basename(place.path)), FILE_RULE), look)
    if isinstance(parsed, Above):
        return _above(context, place)
    return _not_seen_yet(context, live, place, parsed)


def _frozen(live: LiveState, place: Place) -> RootFacts | None:
    """Return the facts of a place's root if it is frozen: a look at its disk may hang as the disk does."""
    facts = live.root(place.root.name)
    return facts if facts is not None and facts.frozen else None


def _behind_link(context: Context, live: LiveState, row: SessionRow) -> Explanation | None:
    """Explain a session that was here before a link was; None where nothing more is known of it than that."""
    found = explain_session(context, live, row, is_there=False)
    if found.verdict not in WITHOUT_FOLDER:
        return None
    return replace(found, evidence=(*found.evidence, Fact(f"in its place is {LINK_RULE}")))


def _is_inside(place: Place, session: object, part: bytes) -> bool:
    """Say whether a part of a path lies below its session's folder."""
    return isinstance(session, Session) and part.startswith(os.path.join(place.top, session.path) + b"/")


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
        return Look(Standing.UNREADABLE, part, error.strerror or str(error))


def _ignored_subject(place: Place, parsed: object) -> str:
    """Return the excluded subject a path belongs to, also above its sessions; empty when there is none."""
    session = parsed.session if isinstance(parsed, Inside) else parsed
    if isinstance(session, Session):
        return session.subject if session.subject in place.root.exclude_subjects else ""
    names = (show_path(name) for name in place.path.split(b"/"))
    return next((name for name in names if isinstance(parsed, Above) and name in place.root.exclude_subjects), "")


def _outside(context: Context, path: bytes) -> Explanation:
    roots = [Fact(f"root {root.name} is {root.path}") for root in context.config.roots]
    return Explanation(
        Verdict.OUTSIDE_ROOTS,
        f"{show_path(path)} is below no root.",
        hint="Only what lies below a root is picked up; roots are the [[roots]] tables of the configuration.",
        evidence=tuple(roots),
    )


def _missing(place: Place, look: Look, parsed: object) -> LabferryError:
    grammar = (
        f" It would not be a session either: {parsed.part}: {parsed.rule}." if isinstance(parsed, NotASession) else ""
    )
    return LabferryError(
        "no_such_path",
        f"{show_path(place.absolute)} does not exist, and no session was ever found there.{grammar}",
        f"{show_path(os.path.dirname(look.part))} is the last part of the path that exists.",
    )


def _not_a_session(place: Place, broken: NotASession, look: Look) -> Explanation:
    thing = "file" if look.standing is Standing.FILE else "folder"
    nearest = f" It would be right as {broken.nearest}." if broken.nearest else ""
    return Explanation(
        Verdict.NOT_A_SESSION,
        f"The {thing} is not picked up, because {broken.part} breaks the layout {place.root.layout}: "
        f"{broken.rule}.{nearest}",
        "not_a_session",
        evidence=(Fact(f"{broken.part}: {broken.rule}"),),
        more={"part": broken.part, "rule": broken.rule, "nearest": broken.nearest},
    )


def _unreadable(look: Look) -> Explanation:
    return Explanation(
        Verdict.UNREADABLE,
        f"{show_path(look.part)} cannot be read: {look.error}.",
        "unreadable",
        "Give the service user read permission; the next scan finds what is in it.",
    )


def _above(context: Context, place: Place) -> Explanation:
    counts = context.journal.sessions.counts_below(place.root.name, place.path)
    listed = ", ".join(f"{counts[state]} {state}" for state in SessionState if counts.get(state)) or "none"
    what = "The root itself" if not place.path else "A folder above sessions"
    return Explanation(
        Verdict.ABOVE_SESSION,
        f"{what}; sessions known below it: {listed}.",
        hint="`labferry sessions` lists them." if counts else "",
        more={"sessions": counts},
    )


def _not_seen_yet(context: Context, live: LiveState, place: Place, parsed: object) -> Explanation:
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
        yield Fact(f"the kernel lost events {facts.overflows} times since the start; every root was scanned then")


def _last_scan(place: Place, last: float | None) -> Iterator[Fact]:
    yield (
        Fact(f"last scan of root {place.root.name}", last)
        if last
        else Fact(f"root {place.root.name} was not scanned yet")
    )
