"""Files of old rigs get the name they have today, before anything is read or sent (`compat_renames`, REG-14).

The only place that changes what a rig wrote, and only where an operator allowed it. No file is ever replaced, and none
is renamed that Alyx or an archive knows by its old name. What will be renamed is committed before, so that a kill in
between neither loses a file nor the word about it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from errno import EACCES, EPERM, EROFS
from typing import NamedTuple

import structlog

from labferry.archive.folders import FOLDER, give_name, open_folder, owning, sync_folder
from labferry.detect.signature import take_signature
from labferry.engine.context import Context
from labferry.errors import BlockedError
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import show_path
from labferry.sessions.record import OLD_NAMES, Remark, new_name, release, rig_version
from labferry.sessions.walk import FileKind, walk_session

RENAMES_STEP = "renames"
NOT_PERMITTED = frozenset({EACCES, EPERM, EROFS})
_log = structlog.get_logger()


class Renames(NamedTuple):
    """What becomes of the files with old names.

    Attributes
    ----------
    moves : dict of bytes to bytes
        From old to new path, below the session's folder.
    left : dict of bytes to str
        Why a file keeps its name.
    """

    moves: dict[bytes, bytes]
    left: dict[bytes, str]


def plan_renames(context: Context, session: SessionRow, folder: bytes) -> Renames:
    """Say which files of a session would be renamed; changes nothing.

    Raises
    ------
    BlockedError
        The session's own files do not say by which version of the rig it was made.
    """
    plan = Renames({}, {})
    if not context.config.registration.compat_renames:
        return plan
    old = sorted(
        walked.path
        for walked in walk_session(folder, versions=False)
        if walked.kind is FileKind.REGULAR and os.path.basename(walked.path) in OLD_NAMES
    )
    if not old:
        return plan
    version = rig_version(folder)
    numbers = release(version)
    for path in old:
        above, name = os.path.split(path)
        if numbers is None:
            plan.left[path] = f"the task settings name no version of the rig that can be compared: {version!r}"
        elif (new := new_name(name, numbers)) is None:
            continue
        elif why := _kept(context, session, folder, path, os.path.join(above, new)):
            plan.left[path] = why
        else:
            plan.moves[path] = os.path.join(above, new)
    return plan


def rename_old_files(context: Context, job: JobRow, session: SessionRow, folder: bytes) -> None:
    """Rename the files of a session that have old names; what a killed attempt began is finished.

    Raises
    ------
    BlockedError
        `rename_refused`: it is not permitted; or what `plan_renames` raises.
    """
    steps = context.journal.steps
    begun = steps.unanswered(session.id, RENAMES_STEP)
    plan = plan_renames(context, session, folder)
    if not (begun or plan.moves or plan.left):
        return
    before = [one for step in begun for one in _pairs(json.loads(step.request)["moves"])]
    moved = {old: new for old, new in before if _has_moved(folder, old, new)}
    with context.journal.together():
        for step in begun:
            steps.drop(step.job_id, step.name)
        steps.send(job.id, RENAMES_STEP, {"moves": _texts(moved | plan.moves)})
    for old, new in plan.moves.items():
        if _move(folder, old, new):
            moved[old] = new
        elif os.path.lexists(os.path.join(folder, old)):
            plan.left[old] = f"{show_path(new)} is there already"
    if moved:  # a folder that is moved later is known again by its signature, and that has changed with the names
        digest = take_signature(folder).digest
        context.journal.sessions.looked(session.id, digest, session.wait_code, session.wait_why)
    left = {os.fsdecode(path): why for path, why in plan.left.items()}
    steps.answer(job.id, RENAMES_STEP, {"moves": _texts(moved), "left": left})
    for path, why in plan.left.items():
        _log.warning("old_name", session=show_path(session.path), file=show_path(path), why=why)


def renaming_remarks(context: Context, session: SessionRow) -> Iterator[Remark]:
    """Yield what was renamed in any generation of a session, and what the newest one left as it is."""
    left: list[Remark] = []
    for step in context.journal.steps.begins_with(session.id, RENAMES_STEP):
        answer = json.loads(step.answer) if step.answer else {"moves": {}, "left": {}}
        for old, new in _pairs(answer["moves"]):
            yield Remark("renamed", f"{show_path(old)} is called {show_path(os.path.basename(new))} now")
        left = [
            Remark("old_name", f"{show_path(os.fsencode(old))} keeps its name: {why}")
            for old, why in answer["left"].items()
        ]
    yield from left


def _kept(context: Context, session: SessionRow, folder: bytes, old: bytes, new: bytes) -> str:
    """Return why a file must keep its name; empty when it may be renamed."""
    if os.path.lexists(os.path.join(folder, new)) and not _is_one_file(folder, old, new):
        return f"{show_path(new)} is there already"
    journal = context.journal
    known = journal.files.at(session.id, old)
    if known is not None and known.dataset_id is not None:
        return "it is registered by this name"
    if known is not None and journal.transfers.copies(known.id):
        return "it is archived by this name"
    return "it may be on its way to Alyx by this name" if journal.steps.unanswered(session.id, "files:") else ""


def _is_one_file(folder: bytes, old: bytes, new: bytes) -> bool:
    """Say whether two names are one file: it was being renamed by a link when the daemon was killed."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.lstat(os.path.join(folder, old)), os.lstat(os.path.join(folder, new)))
    return False


def _has_moved(folder: bytes, old: bytes, new: bytes) -> bool:
    return os.path.lexists(os.path.join(folder, new)) and not os.path.lexists(os.path.join(folder, old))


def _move(folder: bytes, old: bytes, new: bytes) -> bool:
    """Rename one file, and say whether it has only its new name now. No link is followed, and no file replaced."""
    above, name = os.path.split(old)
    target = os.path.basename(new)
    try:
        with owning(os.open(folder, FOLDER | os.O_NOFOLLOW)) as session, owning(open_folder(session, above)) as place:
            with suppress(FileExistsError):
                give_name(place, name, target)
            if _is_one_file(folder, old, new):
                os.unlink(name, dir_fd=place)
            sync_folder(place)
    except FileNotFoundError:
        pass  # another program was faster, or took the file away
    except OSError as error:
        if error.errno not in NOT_PERMITTED:
            raise
        raise BlockedError("rename_refused", f"{show_path(old)} cannot be renamed: {error.strerror}") from error
    return _has_moved(folder, old, new)


def _texts(paths: Mapping[bytes, bytes]) -> dict[str, str]:
    return {os.fsdecode(old): os.fsdecode(new) for old, new in paths.items()}


def _pairs(moves: Mapping[str, str]) -> Iterator[tuple[bytes, bytes]]:
    return ((os.fsencode(old), os.fsencode(new)) for old, new in moves.items())
