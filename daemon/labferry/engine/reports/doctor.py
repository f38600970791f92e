"""Every precondition as the daemon sees it, each with its remedy."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from labferry.archive.base import StoppedError
from labferry.config.checks import Check, Result, places
from labferry.engine.context import Context
from labferry.engine.doctor import alyx, archives, globus, sample
from labferry.engine.doctor.checking import skipped
from labferry.engine.globus.probing import Probing
from labferry.engine.reports.health import STUCK
from labferry.engine.reports.live import LiveState
from labferry.engine.reports.status import current_conditions
from labferry.errors import CODES, LabferryError
from labferry.journal.rows import RecoveryRow
from labferry.model import rough_duration, show_path, utc_text


def doctor(context: Context, live: LiveState) -> dict[str, Any]:
    """Check what the daemon needs; asks Alyx and Globus, changes nothing but for a folder that is removed again.

    Raises
    ------
    LabferryError
        `busy`: the daemon stops.
    """
    try:
        return {"checks": [check.fields() for check in _checks(context, live)]}
    except StoppedError:
        raise LabferryError("busy", "The daemon stops.", "Ask again when it is back.") from None


def _checks(context: Context, live: LiveState) -> Iterator[Check]:
    yield from places(context.config, os.environ)
    yield from _watched(live)
    yield _journal(context)
    yield from _waiting(context, live)
    of_alyx = list(alyx.checks(context))
    yield from of_alyx
    answers = all(one.result is Result.OK for one in of_alyx if one.name in {"alyx_reachable", "alyx_login"})
    samples = sample.samples(context, ask=answers)
    for one in samples:
        yield from sample.checks(context, one, answers=answers)
    yield from _elsewhere(context, samples)


def _elsewhere(context: Context, samples: Sequence[sample.Sample]) -> Iterator[Check]:
    """Check archives, with Globus where one of them is reached through it."""
    if context.globus is None:
        yield from globus.unused()
        yield from archives.checks(context, samples, None)
        return
    with closing(context.globus.open()) as service:
        login = globus.login(context.globus, service)
        yield login
        if login.result is not Result.OK:
            yield skipped("globus_source", "Globus cannot be asked")
            yield from archives.checks(context, samples, None)
            return
        yield from globus.sources(context, service, samples)

        def make_in(target: str, endpoint: str, base: bytes) -> None:
            Probing(context, target, endpoint, service, "doctor").require_destination(os.fsdecode(base))

        yield from archives.checks(context, samples, make_in)


def _waiting(context: Context, live: LiveState) -> Iterator[Check]:
    """Check whether sessions stand still before they are complete: no precondition fails there, and nothing happens."""
    found = [one for one in current_conditions(context, live) if one.code in STUCK]
    for condition in found:
        hint = "`labferry sessions --state settling` lists them all, `labferry explain PATH` says what to do."
        yield Check(f"waiting:{condition.code}", Result.WARNING, condition.text, hint)
    if not found:
        longest = rough_duration(context.config.detection.stale_after)
        yield Check("waiting", Result.OK, f"no session waits for longer than {longest} to be complete")


def _watched(live: LiveState) -> Iterator[Check]:
    for facts in live.detect.facts():
        name, where = f"watch:{facts.name}", show_path(facts.path)
        if facts.problem:
            result = Result.ERROR if facts.frozen else Result.WARNING
            yield Check(name, result, f"{where}: {facts.problem}", facts.hint)
        else:
            yield Check(name, Result.OK, f"{where} is watched ({facts.mode}), {facts.watches} folders by inotify")


def _journal(context: Context) -> Check:
    problem = context.journal.problem
    if problem:
        return Check("journal", Result.ERROR, problem, CODES["journal_full"].hint)
    recoveries = context.journal.recoveries()
    if recoveries:
        return _replaced(recoveries[-1])
    return Check("journal", Result.OK, "the journal can be written")


def _replaced(recovery: RecoveryRow) -> Check:
    """Tell of a journal that took the place of a damaged one, and of what it cannot know."""
    at, until = utc_text(recovery.at), utc_text(recovery.known_until)
    if recovery.backup:
        what = f"{recovery.backup} was restored, which knows what happened until {until}"
        unknown = f"of what happened between {until} and {at}"
    else:
        what = "there was no good backup, so it began anew: sessions were found again, old ones taken over from Alyx"
        unknown = f"of what happened before {at}"
    text = (
        f"the journal was damaged ({recovery.why}); {what}. The damaged one is kept in {recovery.kept_as}. "
        f"It cannot know {unknown}: holds, cancellations and other orders of operators; completion signals that were "
        "deleted since; weighings, water and notes that were not sent yet; for which sessions `on_registered` has run "
        "(it may run again); transfers that were under way"
    )
    hint = (
        "Look at `labferry sessions --state settling` and `labferry backlog`, repeat holds and cancellations, and "
        "compare weighings and water of those days in Alyx. Have the disk checked."
    )
    return Check("journal", Result.WARNING, text, hint)
