"""Why a session is not complete yet: what detection waits for, since when, and what to do."""

from __future__ import annotations

from labferry.engine.context import Context
from labferry.engine.reports.verdicts import Explanation, Fact, Verdict
from labferry.errors import CODES
from labferry.journal.rows import SessionRow
from labferry.model import rough_duration

WAITING_VERDICTS = {
    "crash": Verdict.UNREADABLE,
    "waiting_signal": Verdict.WAITING_SIGNAL,
    "no_files": Verdict.WAITING_SIGNAL,
    "waiting_device": Verdict.WAITING_DEVICE,
    "waiting_collection": Verdict.WAITING_COLLECTION,
    "no_behaviour": Verdict.WAITING_COLLECTION,
    "no_video": Verdict.WAITING_COLLECTION,
    "waiting_size": Verdict.WAITING_SIZE,
    "signal_before_data": Verdict.SIGNAL_BEFORE_DATA,
    "unreadable": Verdict.UNREADABLE,
    "never_settles": Verdict.NEVER_SETTLES,
}
UPCOMING = {
    Verdict.WAITING_SIGNAL: "the completion signal appears",
    Verdict.WAITING_COLLECTION: "the folder and its files appear",
    Verdict.WAITING_DEVICE: "the status files in `_devices` say that everything is copied",
    Verdict.WAITING_SIZE: "the recording gets its full size",
    Verdict.SIGNAL_BEFORE_DATA: "the first file appears",
}
TEMPORARY = "temporary_files"
QUIET_SO_FAR = "nothing changed"  # and nothing else is in the way
WORTH_TELLING = 60.0  # seconds of waiting


def explain_settling(context: Context, row: SessionRow) -> Explanation:
    """Explain a session whose folder is there and which is not complete."""
    code = row.wait_code or ""
    verdict = WAITING_VERDICTS.get(code, Verdict.SETTLING)
    if verdict is Verdict.SIGNAL_BEFORE_DATA:
        code = "no_files"
    waited = context.clock.now() - (row.first_seen_at if row.wait_since is None else row.wait_since)
    if verdict is Verdict.SETTLING and waited > context.config.detection.stale_after:
        verdict, code = Verdict.NEVER_SETTLES, "never_settles"
    since = Fact("waits since then", row.wait_since) if row.wait_why else Fact("not looked into yet")
    why = waits_for(context, row) or "it was found and is looked into next"
    how_long = f" (for {rough_duration(waited)})" if verdict is not Verdict.SETTLING and waited >= WORTH_TELLING else ""
    upcoming = _next(context, row) if verdict is Verdict.SETTLING else None
    if verdict in UPCOMING:
        upcoming = Fact(UPCOMING[verdict])
    hint = CODES[verdict].hint if verdict in UPCOMING else ""
    if row.wait_code == TEMPORARY:
        hint = CODES[TEMPORARY].hint
    elif verdict is Verdict.NEVER_SETTLES and row.signature_at is not None:
        why = f"files keep changing, the last change was seen {_ago(context, row.signature_at)}"
    message = f"Not complete: {why}{how_long}."
    return Explanation(verdict, message, code, hint, evidence=(since,), next=upcoming)


def waits_for(context: Context, row: SessionRow) -> str:
    """Return what an unfinished session waits for, as it is now; empty before the first look at it.

    How long nothing changed is known from the time of its signature: not every look is worth a line in the journal.
    """
    why = row.wait_why or ""
    if (
        row.signature_at is None
        or not why.startswith(QUIET_SO_FAR)
        or row.root not in {one.name for one in context.config.roots}
    ):
        return why
    quiet = _quiet(context, row)
    return f"{QUIET_SO_FAR} for {min(quiet, context.clock.now() - row.signature_at):.0f} of {quiet:g} s"


def _ago(context: Context, moment: float) -> str:
    return f"{rough_duration(round(max(0.0, context.clock.now() - moment)))} ago"


def _next(context: Context, row: SessionRow) -> Fact:
    """Return when the session may be complete at the earliest."""
    if row.wait_code == TEMPORARY:
        return Fact("the copy ends, and the files get their names")
    quiet = _quiet(context, row)
    soonest = None if row.signature_at is None else max(context.clock.now(), row.signature_at + quiet)
    return Fact(f"complete, if nothing changes for {quiet:g} s", soonest)


def _quiet(context: Context, row: SessionRow) -> float:
    root = context.root_of(row)
    return context.config.quiet(root) if row.signal else context.config.quiet_without_signal(root)
