"""Which files of a folder are datasets, and why the others are not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

from labferry.datasets import RegistrationRules
from labferry.engine.context import Context
from labferry.engine.reports.explain_place import Standing, look_at
from labferry.engine.reports.places import Place, places, spellings
from labferry.engine.seal import fate_of, registration_rules
from labferry.errors import LabferryError
from labferry.model import Decision, FileFate, path_fields, show_path
from labferry.sessions.layout import Inside
from labferry.sessions.registry import layout
from labferry.sessions.session import Session
from labferry.sessions.walk import WalkedFile, walk_session

LIMIT = 100_000  # files in one answer


def match(context: Context, text: str) -> dict[str, Any]:
    """Decide about every file of a folder as sealing would do it now; nothing is stored.

    Parameters
    ----------
    text : str
        A session's folder, one within a session, or any other below a root: that is then read as if it were a
        session's.

    Raises
    ------
    LabferryError
        `no_such_path`, `outside_roots`, or `unreadable`.
    UnavailableError
        Alyx was never asked for its dataset types, and cannot be asked now.
    """
    place = _place(context, text)
    parsed = layout(place.root.layout).parse(place.path)
    session = parsed.session if isinstance(parsed, Inside) else parsed if isinstance(parsed, Session) else None
    folder = os.path.join(place.top, session.path) if session else place.absolute
    below = parsed.below if isinstance(parsed, Inside) else b""
    rules = registration_rules(context) if place.root.registers else None
    files: list[dict[str, Any]] = []
    fates: Counter[FileFate] = Counter()
    for walked, decision in _decisions(folder, rules, below):
        fates[decision.fate] += 1
        if len(files) < LIMIT:
            files.append(_file_fields(walked, decision))
    files.sort(key=lambda file: str(file["path"]))
    return {
        **path_fields(place.absolute),
        "root": place.root.name,
        "session": show_path(session.path) if session else None,
        "counts": {fate.value: fates[fate] for fate in FileFate},
        "complete": sum(fates.values()) <= LIMIT,
        "files": files,
    }


def _place(context: Context, text: str) -> Place:
    """Return the place to look at: where a folder or file is, links on the way not followed."""
    readings = [place for spelling in spellings(text) for place in places(context.config, spelling)]
    shown = show_path(os.fsencode(text))
    if not readings:
        raise LabferryError(
            "outside_roots", f"{shown} is below no root.", "Only what lies below a root can be looked at."
        )
    looks = [(place, look_at(place)) for place in readings]
    for place, look in looks:
        if look.standing in {Standing.FOLDER, Standing.FILE}:
            return place
    for _, look in looks:
        if look.standing is Standing.UNREADABLE:
            raise LabferryError("unreadable", f"{show_path(look.part)} cannot be read: {look.error}.")
        if look.standing is Standing.LINK:
            raise LabferryError("not_a_session", f"{show_path(look.part)} is a symbolic link: links are not followed.")
    raise LabferryError("no_such_path", f"{shown} does not exist below any root.")


def _decisions(folder: bytes, rules: RegistrationRules | None, below: bytes) -> Iterator[tuple[WalkedFile, Decision]]:
    for walked in walk_session(folder):
        if below and walked.path != below and not walked.path.startswith(below + b"/"):
            continue
        yield walked, fate_of(walked, rules)


def _file_fields(walked: WalkedFile, decision: Decision) -> dict[str, Any]:
    return {
        **path_fields(walked.path),
        "size": walked.version.size if walked.version else None,
        "pattern": decision.pattern or None,
        "dataset_type": decision.dataset_type or None,
        "data_format": decision.data_format or None,
        "decision": decision.fate.value,
        "code": decision.code,
        "reason": decision.reason,
    }
