"""What an operator may ask for beyond what happens by itself: to register a session now, some files first, or again."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Any

from labferry.engine import operations
from labferry.engine.context import Context
from labferry.engine.registering.wish import Wish
from labferry.engine.reports.places import spellings
from labferry.engine.seal import registration_rules
from labferry.engine.settled import require_settled
from labferry.errors import LabferryError
from labferry.journal.rows import SessionRow
from labferry.model import FileFate, JobKind, path_fields, show_path


def register(context: Context, row: SessionRow, wish: Wish) -> dict[str, Any]:
    """Register a session: look at its files and at Alyx anew, and send what Alyx lacks, or what is asked for again.

    The session gets a new generation: what is under way for the one before ends, and what follows a registration
    follows again.

    Returns
    -------
    dict
        `session`, `jobs` (ids), and `began`: false where the registration was under way already.

    Raises
    ------
    LabferryError
        `not_settled`, `not_registering`, or what `wished_files` raises.
    """
    require_registrable(context, row)
    live = [job for job in context.journal.jobs.live_of_session(row.id) if job.kind is JobKind.REGISTER]
    if live and wish == Wish():
        operations.retry(context, [row])
        return {**_fields(context, row), "jobs": [job.id for job in live], "began": False}
    with context.journal.together():
        context.journal.files.name(row.id, wish.files)
        job = context.journal.sessions.register_again(row.id, wish.to_json())
    context.vocabulary.expire()
    context.dependencies.hurry()
    context.wakeup.ring()
    return {**_fields(context, row), "jobs": [job], "began": True}


def require_registrable(context: Context, row: SessionRow) -> None:
    """Make sure that a session can be registered at all.

    Raises
    ------
    LabferryError
        `not_settled`: it is not complete; `not_registering`: its root is archived without registration.
    NotYetError
        Its root or folder is not there.
    """
    name = show_path(row.path)
    if not context.root_of(row).registers:
        raise LabferryError(
            "not_registering",
            f"{name} is below root {row.root}, which is archived without registration.",
            "Set `register = true` of the root.",
        )
    require_settled(context, row, "registered")


def wished_files(context: Context, row: SessionRow, names: Sequence[str]) -> frozenset[bytes]:
    """Return the files of a session that were named, relative to its folder.

    Raises
    ------
    LabferryError
        `other_session`: a file is not below the session's folder; `no_such_path`: it is not there; `not_a_dataset`:
        Alyx could not take it.
    """
    folder = context.folder_of(row)
    rules = registration_rules(context)
    found = set()
    for name in names:
        path = _below(folder, name)
        try:
            mode = os.lstat(os.path.join(folder, path)).st_mode
        except OSError as error:
            raise LabferryError("no_such_path", f"{name}: {error.strerror}: {show_path(folder)}.") from error
        decision = rules.decide_named(path, stat.S_ISREG(mode))
        if decision.fate is not FileFate.DATASET:
            raise LabferryError("not_a_dataset", f"{name} cannot be registered: {decision.reason}.")
        found.add(path)
    return frozenset(found)


def _below(folder: bytes, name: str) -> bytes:
    """Return a file's path below the session's folder; it may be given with the folder, or relative to it."""
    for spelling in spellings(name):
        path = os.path.normpath(os.path.join(folder, spelling))
        if path.startswith(folder + b"/") and (os.path.lexists(path) or spelling == spellings(name)[-1]):
            return path[len(folder) + 1 :]
    raise LabferryError(
        "other_session",
        f"{name} is not below {show_path(folder)}.",
        "Register the files of one session at a time.",
    )


def _fields(context: Context, row: SessionRow) -> dict[str, Any]:
    return {"session": row.id, **path_fields(context.place_of(row))}
