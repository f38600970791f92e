"""Alyx: reachable, who we are there, may we write, and does it have the words for our files."""

from __future__ import annotations

import os
from collections.abc import Iterator

from labferry.config.checks import Check, Result
from labferry.datasets import RegistrationRules
from labferry.engine.context import Context
from labferry.engine.doctor.checking import skipped
from labferry.engine.reports.login import DOWN, NEEDS_LOGIN, OK, alyx_login
from labferry.engine.seal import registration_rules
from labferry.errors import UnavailableError
from labferry.model import FileFate

OLD_WORDS = 86_400.0  # seconds: dataset types are fetched hourly, so older ones mean that fetching fails
# What nearly every session of a rig has; a fresh Alyx has types for none of them.
USUAL_FILES = (
    "_ibl_experiment.description.yaml",
    "raw_behavior_data/_iblrig_taskSettings.raw.json",
    "raw_behavior_data/_iblrig_taskData.raw.jsonable",
    "raw_behavior_data/_iblrig_encoderEvents.raw.ssv",
    "raw_behavior_data/_iblrig_encoderPositions.raw.ssv",
    "raw_video_data/_iblrig_leftCamera.raw.mp4",
    "alf/_ibl_trials.table.pqt",
)
_IS_IT_THERE = (
    "If Alyx runs: correct `[alyx] url`, or let this machine through to it. If not: work resumes by itself when it is "
    "back."
)
_ADD_TYPES = "Add the dataset types in Alyx, then `labferry retry SESSION`; `labferry match PATH` tells file by file."


def checks(context: Context) -> Iterator[Check]:
    """Check Alyx; what depends on an Alyx that answers is skipped where it does not."""
    found = alyx_login(context.alyx.another(), context.config.alyx)
    if found["state"] == DOWN:
        yield Check("alyx_reachable", Result.ERROR, f"{found['code']}: {found['message']}", _IS_IT_THERE)
        yield from (skipped(name, "Alyx does not answer") for name in ("alyx_login", "alyx_permission"))
    else:
        yield Check("alyx_reachable", Result.OK, f"Alyx answers at {found['url']}")
        yield from _login_checks(found)
    yield _words(context)
    yield _usual_files(context)


def _login_checks(found: dict[str, object]) -> Iterator[Check]:
    text, hint = f"{found['code']}: {found['message']}", str(found["hint"])
    if found["state"] == NEEDS_LOGIN:
        yield Check("alyx_login", Result.ERROR, text, hint)
        yield skipped("alyx_permission", "we are not logged in")
        return
    who = str(found["user"] or "the owner of the token")
    yield Check("alyx_login", Result.OK, f"logged in as {who}")
    if found["state"] == OK:
        yield Check("alyx_permission", Result.OK, f"{who} may register")
    else:
        yield Check("alyx_permission", Result.ERROR, text, hint)


def _words(context: Context) -> Check:
    """Check the cached vocabulary: dataset types, formats, labs and repositories, and how old it is."""
    name = "alyx_vocabulary"
    try:
        words = context.words()
    except UnavailableError as error:
        return Check(name, Result.ERROR, f"none is kept here, and Alyx cannot be asked: {error.message}", error.hint)
    age = max(0.0, context.vocabulary.age or 0.0)
    text = (
        f"{len(words.datasets.types)} dataset types, {len(words.datasets.formats)} data formats, {len(words.labs)} "
        f"labs and {len(words.repositories)} data repositories are known, fetched {age / 60:.0f} min ago"
    )
    if not words.datasets.types:
        return Check(name, Result.ERROR, text, "Alyx has no dataset types: nothing can be registered until it has.")
    if age > OLD_WORDS:
        return Check(name, Result.WARNING, text, "They are used as they are until Alyx answers again.")
    return Check(name, Result.OK, text)


def _usual_files(context: Context) -> Check:
    """Check whether Alyx has types for what nearly every rig writes: its own fixtures have none."""
    name = "alyx_dataset_types"
    if not any(root.registers and root.layout == "ibl" for root in context.config.roots):
        return skipped(name, "no root of the layout ibl is registered")
    try:
        rules = registration_rules(context)
    except UnavailableError:
        return skipped(name, "no dataset types are known yet")
    unknown = [path for path in USUAL_FILES if _lacks_type(rules, path)]
    if unknown:
        named = ", ".join(os.path.basename(path) for path in unknown)
        return Check(name, Result.WARNING, f"Alyx has not one dataset type each for {named}", _ADD_TYPES)
    return Check(name, Result.OK, "Alyx has a dataset type for every file that a rig usually writes")


def _lacks_type(rules: RegistrationRules, path: str) -> bool:
    decision = rules.decide(path.encode())
    return decision.fate is FileFate.UNMATCHED and decision.code != "no_pattern"
