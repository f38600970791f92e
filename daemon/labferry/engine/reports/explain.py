"""Why a folder is where it is: an answer for any path below a root, without waiting for anybody."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from labferry.detect.scan import LINK_RULE
from labferry.engine.context import Context
from labferry.engine.detection.roots import RootFacts
from labferry.engine.reports.explain_description import described
from labferry.engine.reports.explain_file import explain_inside
from labferry.engine.reports.explain_place import (
    FILE_RULE,
    Look,
    Standing,
    above,
    at_fault,
    link_within,
    look_at,
    missing,
    name_of,
    not_picked_up,
    not_seen_yet,
    nothing_so_called,
    outside,
    unreadable,
)
from labferry.engine.reports.explain_session import LEFT_OUT, explain_session, frozen
from labferry.engine.reports.find import find
from labferry.engine.reports.hints import addressed
from labferry.engine.reports.live import LiveState
from labferry.engine.reports.places import Place, places, spellings
from labferry.engine.reports.verdicts import Explanation, Fact, Verdict
from labferry.engine.settled import TAKE_IN
from labferry.errors import LabferryError
from labferry.journal.rows import SessionRow
from labferry.model import path_fields, show_path
from labferry.sessions.layout import Above, Inside, NotASession, Parsed
from labferry.sessions.registry import layout
from labferry.sessions.session import Session

WITHOUT_FOLDER = frozenset({Verdict.OK_ARCHIVED, Verdict.OK_REGISTERED, Verdict.ADOPTED, Verdict.MOVED})


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
        path = os.path.normpath(spellings(text)[0])
        return {**path_fields(path), "root": None, **outside(context, path).to_json()}
    fields = _explain_place(context, live, place).to_json()
    session = _session_of(place)
    if session is not None:
        fields["hint"] = addressed(fields["hint"], os.path.join(place.top, session.path))
    return {**path_fields(place.absolute), "root": place.root.name, **fields}


def _session_of(place: Place) -> Session | None:
    """Return the session that a place is, or is in."""
    parsed = layout(place.root.layout).parse(place.path)
    session = parsed.session if isinstance(parsed, Inside) else parsed
    return session if isinstance(session, Session) else None


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
        if len(readings) > 1:
            raise nothing_so_called(context, text) from None
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
        raise missing(context, place, look, parsed)
    if subject and (row is None or isinstance(parsed, Inside)):
        return Explanation(
            Verdict.IGNORED_SUBJECT, f"Subject {subject} is excluded from root {place.root.name}.", LEFT_OUT, TAKE_IN
        )
    if broken := _broken(place, parsed, look):
        behind = _behind_link(context, live, row) if row is not None and not isinstance(parsed, Inside) else None
        return behind or not_picked_up(place, *broken)
    if row is not None:
        if isinstance(parsed, Inside):
            known = context.journal.files.at(row.id, parsed.below) is not None
            if look.standing is Standing.MISSING and not known:
                raise missing(context, place, look, parsed)
            if look.standing is Standing.LINK and not known:
                return link_within(look)
            return explain_inside(context, row, parsed.below, is_folder=look.standing is Standing.FOLDER)
        there = look.standing in {Standing.FOLDER, Standing.UNREADABLE}
        found = explain_session(context, live, row, is_there=there)
        return described(found, place.absolute) if look.standing is Standing.FOLDER else found
    if look.standing is Standing.UNREADABLE:
        return unreadable(look)
    if look.standing is Standing.FILE and not isinstance(parsed, Inside):
        return not_picked_up(place, NotASession(name_of(place.path), FILE_RULE), place.path)
    if isinstance(parsed, Above):
        return above(context, live, place)
    return not_seen_yet(context, live, place, parsed)


def _broken(place: Place, parsed: Parsed, look: Look) -> tuple[NotASession, bytes] | None:
    """Return which rule a path breaks, and the part of it that does; None for what is, or leads to, a session."""
    wrong = at_fault(place)
    if look.standing is Standing.FILE and isinstance(parsed, NotASession | Above) and wrong in {b"", place.path}:
        return NotASession(name_of(place.path), FILE_RULE), place.path
    if isinstance(parsed, NotASession):
        return parsed, wrong
    if look.standing is Standing.LINK and not _is_inside(place, parsed, look.part):
        link = os.path.relpath(look.part, place.top)
        return NotASession(name_of(link), LINK_RULE), link
    return None


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


def _is_inside(place: Place, parsed: Parsed, part: bytes) -> bool:
    """Say whether a part of a path lies below its session's folder."""
    session = parsed.session if isinstance(parsed, Inside) else parsed
    return isinstance(session, Session) and part.startswith(os.path.join(place.top, session.path) + b"/")


def _ignored_subject(place: Place, parsed: object) -> str:
    """Return the excluded subject a path belongs to, also above its sessions; empty when there is none."""
    session = parsed.session if isinstance(parsed, Inside) else parsed
    if isinstance(session, Session):
        return session.subject if session.subject in place.root.exclude_subjects else ""
    names = (show_path(name) for name in place.path.split(b"/"))
    return next((name for name in names if isinstance(parsed, Above) and name in place.root.exclude_subjects), "")
