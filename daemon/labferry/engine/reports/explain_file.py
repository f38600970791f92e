"""Why a file, or a folder, within a session is where it is."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator

from labferry.detect.signature import is_about_transfer
from labferry.engine.context import Context
from labferry.engine.detection.roots import SIGNALS
from labferry.engine.observing import OBSERVED
from labferry.engine.reports.places import session_folder
from labferry.engine.reports.verdicts import Explanation, Fact, Verdict
from labferry.engine.seal import ABOUT_SESSION
from labferry.errors import CODES
from labferry.journal.rows import FileRow, SessionRow
from labferry.model import FileFate, show_path

# As such files are listed, also by a journal from before they had a code of their own, or where nothing is registered.
TELLING = frozenset({ABOUT_SESSION, "no_pattern", "excluded_suffix", "not_registered"})


def explain_inside(context: Context, row: SessionRow, below: bytes, *, is_folder: bool) -> Explanation:
    """Explain what lies in a session's folder.

    Parameters
    ----------
    row : SessionRow
    below : bytes
        Relative to the session's folder.
    is_folder : bool
        Whether it is a folder on disk.
    """
    session = {"id": row.id, "state": row.state.value, "eid": row.eid}
    of = f"of session {show_path(session_folder(context, row))} ({row.state})"
    file = context.journal.files.at(row.id, below)
    if file is None and not is_folder and not _is_regular(os.path.join(session_folder(context, row), below)):
        message = f"In the folder {of}, and not a regular file."
        return Explanation(Verdict.INSIDE_SESSION, message, "not_regular", more={"session": session})
    if not is_folder and is_about_transfer(below) and (file is None or file.code in TELLING):
        return _about_session(row, below, of, {"session": session, **({"file": _file_fields(file)} if file else {})})
    if file is not None:
        rejected = file.fate is FileFate.REJECTED
        return Explanation(
            Verdict.INSIDE_SESSION,
            f"A file {of}: {_fate(file)}.",
            file.code,
            evidence=tuple(_of_file(context, file)),
            attention=rejected,
            more={"session": session, "file": _file_fields(file)},
        )
    if is_folder:
        inside = [one for one in context.journal.files.of_session(row.id) if one.path.startswith(below + b"/")]
        fates = Counter(one.fate for one in inside)
        counted = ", ".join(_counted(fate, fates[fate]) for fate in FileFate if fates[fate]) or "none listed yet"
        return Explanation(
            Verdict.INSIDE_SESSION,
            f"A folder {of}; its files: {counted}.",
            hint="`labferry match SESSION` lists the decision about every file.",
            attention=fates[FileFate.REJECTED] > 0,
            more={"session": session},
        )
    listed = "since it was sealed" if row.sealed_generation else "yet: that is done when the session is complete"
    return Explanation(
        Verdict.INSIDE_SESSION,
        f"A file {of}, not listed {listed}.",
        "not_listed",
        "`labferry match SESSION` says what will be decided about it; `labferry explain SESSION` what it waits for.",
        more={"session": session},
    )


def _is_regular(path: bytes) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _about_session(row: SessionRow, below: bytes, of: str, more: dict[str, object]) -> Explanation:
    """Explain a file that tells of its session: the completion signal, another flag, the status of a device."""
    if below not in SIGNALS:
        return Explanation(
            Verdict.INSIDE_SESSION, f"A file {of}: {CODES[ABOUT_SESSION].title}.", ABOUT_SESSION, more=more
        )
    seen = Fact("seen, and remembered", row.signal_seen_at)
    unseen = Fact("not seen yet: the next look at the session sees it")
    return Explanation(
        Verdict.INSIDE_SESSION,
        f"The completion signal {of}: it says that the session is finished.",
        ABOUT_SESSION,
        evidence=(unseen if row.signal_seen_at is None else seen,),
        more=more,
    )


def _counted(fate: FileFate, count: int) -> str:
    return f"{count:,} {fate}s" if fate is FileFate.DATASET and count > 1 else f"{count:,} {fate}"


def _fate(file: FileRow) -> str:
    if file.fate is not FileFate.DATASET:
        return f"{file.fate}, {file.reason or CODES[file.code].title}"
    if file.registered_hash is None:
        return "a dataset, not registered yet"
    return "a registered dataset" if file.is_registered else "a dataset whose content has changed"


def _of_file(context: Context, file: FileRow) -> Iterator[Fact]:
    if file.ctime_ns:  # a link, a pipe or a device has none that matters, and no checksum ever
        size = f"{file.size:,} byte{'' if file.size == 1 else 's'}"
        yield Fact(f"{size}, last modified", file.mtime_ns / 1e9)
        whose = ", as Alyx says: it was not read here" if file.taken_over else ""
        yield Fact(f"MD5 {file.md5}{whose}" if file.md5 else "no checksum yet")
    if file.registered_at is not None:
        known = f"with MD5 {file.registered_hash}" if file.registered_hash else "without MD5"
        yield Fact(f"registered as dataset {file.dataset_id} {known}", file.registered_at)
    for copy in context.journal.transfers.copies(file.id):
        version = "" if copy.md5 == file.md5 else ", an earlier version"
        where = show_path(os.path.join(copy.base, copy.destination))
        how = "in archive {}, as Alyx says," if copy.verified_how == OBSERVED else "verified in archive {}"
        yield Fact(f"{how.format(copy.target)} as {where}{version}", copy.verified_at)


def _file_fields(file: FileRow) -> dict[str, object]:
    return {
        "fate": file.fate.value,
        "code": file.code,
        "reason": file.reason,
        "size": file.size,
        "md5": file.md5,
        "dataset_id": file.dataset_id,
        "registered": file.is_registered,
    }
