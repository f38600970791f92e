"""What a registration would send now: the bodies of its requests, for an operator to read. Nothing is changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from labferry.alyx.registration import FileToRegister
from labferry.engine.context import Context
from labferry.engine.old_names import plan_renames
from labferry.engine.registering.chunks import as_sent, body_of
from labferry.engine.registering.explicit import require_registrable
from labferry.engine.registering.looking import Look, conflict
from labferry.engine.registering.wish import Wish
from labferry.engine.seal import fate_of, registration_rules
from labferry.errors import CODES, BlockedError, LabferryError
from labferry.journal.rows import FileRow, SessionRow
from labferry.model import Decision, FileFate, path_fields, show_path
from labferry.sessions.walk import FileKind, walk_session

LIMIT = 10_000  # files in one answer


def preview(context: Context, row: SessionRow, wish: Wish) -> dict[str, Any]:
    """Return the requests that would register the files of a session as they are now.

    Alyx is only looked at. A file that was not read yet has no checksum here.

    Returns
    -------
    dict
        `session`, `path`, `eid`, `requests` (`method`, `path`, `body`), the counts `files` (to be sent) and
        `unchanged` (in Alyx as they are), `left_out` (`path`, `code`, `reason`), and `complete`: false where only the
        first `LIMIT` files are shown.

    Raises
    ------
    LabferryError
        As `explicit.register`; `not_resolved`: lab and repository are not known yet.
    UnavailableError
        Alyx cannot be asked now.
    """
    require_registrable(context, row)
    if row.lab is None or row.repository is None:
        name = show_path(row.path)
        raise LabferryError(
            "not_resolved",
            f"The lab and the data repository of {name} are not known yet.",
            f"`labferry explain {name}` says what it waits for.",
        )
    look = Look(context, row, lambda file: wish.wants_again(file, context.clock.now()), adopt=False)
    if row.eid is not None:
        look.at(row.eid)
    files: list[FileToRegister] = []
    left_out: list[dict[str, str]] = []
    unchanged = to_send = 0
    for path, size, known, decision in _manifest(context, row, wish):
        if decision.fate is FileFate.REJECTED:
            left_out.append(_left_out(path, decision.code, decision.reason))
        elif decision.fate is not FileFate.DATASET:
            continue
        elif known is not None and known.id in look.same:
            unchanged += 1
        elif known is not None and (error := _refusal(known, look)):
            left_out.append(_left_out(path, error.code, error.message))
        else:
            to_send += 1
            if len(files) < LIMIT:
                files.append(as_sent(known, look.ratings) if known else FileToRegister(os.fsdecode(path), "", size))
    files.sort(key=lambda file: (not wish.is_about(os.fsencode(file.relpath)), file.relpath))
    return {
        "session": row.id,
        **path_fields(context.place_of(row)),
        "eid": row.eid,
        "requests": list(_requests(context, row, files)),
        "files": to_send,
        "unchanged": unchanged,
        "left_out": left_out[:LIMIT],
        "complete": to_send <= LIMIT and len(left_out) <= LIMIT,
    }


def _manifest(context: Context, row: SessionRow, wish: Wish) -> Iterator[tuple[bytes, int, FileRow | None, Decision]]:
    """Yield path, size, the journal's row where that is of this version, and what sealing would decide now."""
    rules = registration_rules(context)
    named = context.journal.files.named(row.id) | wish.files
    folder = context.folder_of(row)
    moves = plan_renames(context, row, folder).moves
    for found in walk_session(folder):
        walked = found._replace(path=moves.get(found.path, found.path))
        if walked.path in named and not walked.error:
            decision = rules.decide_named(walked.path, walked.kind is FileKind.REGULAR)
        else:
            decision = fate_of(walked, rules)
        known = context.journal.files.at(row.id, walked.path)
        is_known = known is not None and known.md5 is not None and known.version == walked.version
        yield walked.path, walked.version.size if walked.version else 0, known if is_known else None, decision


def _refusal(file: FileRow, look: Look) -> BlockedError | None:
    if file.id in look.doubled:
        return BlockedError("orphan_dataset", CODES["orphan_dataset"].title)
    if file.id in look.conflicts:
        return conflict(file, *look.conflicts[file.id])
    return None


def _left_out(path: bytes, code: str, reason: str) -> dict[str, str]:
    return {**path_fields(path), "code": code, "reason": reason}


def _requests(context: Context, row: SessionRow, files: list[FileToRegister]) -> Iterator[dict[str, Any]]:
    size = context.config.registration.chunk
    for start in range(0, len(files), size):
        some = files[start : start + size]
        body = body_of(context, row, some)
        body["hashes"] = [file.md5 or None for file in some]  # null where a file was not read yet
        yield {"method": "POST", "path": "/register-file", "body": body}
