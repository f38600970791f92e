"""Whether we get into Globus right now, who we are there, and what exactly each collection still misses."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from labferry.archive.globus.paths import CollectionMap
from labferry.archive.globus.service import GlobusService
from labferry.archive.globus.values import Collection
from labferry.archive.naming import LAB
from labferry.config import Config, GlobusArchive
from labferry.engine.context import GLOBUS
from labferry.engine.globus.access import GlobusAccess
from labferry.engine.globus.logging_in import CodeRefusedError, Refused, begin, finish
from labferry.engine.planning import AUTO, filled_through_globus
from labferry.engine.reports.login import DOWN, NEEDS_LOGIN, OK
from labferry.errors import LabferryError, UnavailableError
from labferry.model import utc_text

NEEDS_CONSENT, NO_ACCESS, OTHER_IDENTITY, STARTED = "needs_consent", "no_access", "other_identity", "started"
_START = "`labferry login globus --start` prints an address to log in at, `--finish` takes the code from there."
_SAME_OR_REPLACE = "Log in as the same person, or say `--replace` to let the new one's login count."
_NOTHING_LISTED = frozenset({"target_readonly", "collection_denied"})  # perhaps only of the place we look at


@dataclass(frozen=True, slots=True)
class _Look:
    """A collection that we need, and where we look at it.

    Attributes
    ----------
    known : bool
        Whether files really go there; otherwise a refusal says little.
    """

    role: str
    endpoint: str
    path: str
    known: bool


def tested(access: GlobusAccess) -> dict[str, Any]:
    """Log in as the daemon does, and look at both sides of every transfer; nothing is changed there."""
    try:
        if access.person is not None and (missing := access.person.missing()):
            raise missing
        with closing(access.open()) as service:
            found = [_looked_at(access, service, look) for look in _looks(access.config)]
    except UnavailableError as error:
        state = NEEDS_LOGIN if error.code == "globus_login" else DOWN
        return _report(access, state, error.code, error.message, _START if _is_person(access) else error.hint)
    return _judged(access, found)


def started(access: GlobusAccess, *, replace: bool) -> dict[str, Any]:
    """Begin a person's login; the report has the address. Raises as `logging_in.begin`."""
    url = begin(access, _to_consent(access), replace=replace)
    said = "open the address, log in, and give the code that is shown to `labferry login globus --finish`"
    return {**_report(access, STARTED, "", said, ""), "url": url}


def finished(access: GlobusAccess, code: str) -> dict[str, Any]:
    """Finish a person's login with the code that was shown to them. Raises as `logging_in.finish`."""
    try:
        finish(access, code)
    except CodeRefusedError as refused:
        if refused.kind is Refused.OTHER:
            return _report(access, OTHER_IDENTITY, "globus_other_identity", refused.message, _SAME_OR_REPLACE)
        return _report(access, NEEDS_LOGIN, "globus_login", refused.message, _START)
    except UnavailableError as error:
        return _report(access, DOWN, error.code, error.message, error.hint)
    return tested(access)


# --- the collections --------------------------------------------------------------------------------------


def _looks(config: Config) -> Iterator[_Look]:
    globus, targets = config.globus, filled_through_globus(config)
    roots = [root for root in config.roots if set(root.archive) & set(targets)]
    paths = CollectionMap(globus.local_path, globus.endpoint_subdir)
    for root in roots:
        yield _Look(f"source:{root.name}", globus.endpoint, paths.to_collection(os.fsencode(root.path)), True)
    for name in targets:
        settings = config.archive[name]
        assert isinstance(settings, GlobusArchive)
        fixed = settings.path != AUTO and LAB not in os.fsencode(settings.path)
        path = settings.path if fixed else "/"
        yield _Look(f"archive:{name}", settings.endpoint, path, fixed)


def _looked_at(access: GlobusAccess, service: GlobusService, look: _Look) -> dict[str, Any]:
    """Look at one collection; what is wrong with it alone is what was found.

    Raises
    ------
    UnavailableError
        Globus does not answer, or does not accept our login for anything.
    """
    name, state, code, message, hint = look.endpoint, OK, "", "", ""
    consent = False
    try:
        facts = service.collection(look.endpoint, blame=look.role)
        name, consent = facts.name, _may_need_consent(access, look, facts)
        try:
            if service.listing(look.endpoint, look.path, blame=look.role) is None:
                state, code, message = NO_ACCESS, "no_such_path", f"there is no {look.path} in it"
                hint = "Correct the path in the configuration, or make the folder."
            else:
                consent = False
        except LabferryError as error:
            state, code, message, hint = _refused(access, look, facts, error, consent)
    except LabferryError as error:
        if isinstance(error, UnavailableError) and error.dependency == GLOBUS:
            raise
        state, code, message, hint = NO_ACCESS, error.code, error.message, error.hint
    entry = {"role": look.role, "endpoint": look.endpoint, "name": name, "path": look.path}
    return {**entry, "state": state, "code": code, "message": message, "hint": hint, "needs_consent": consent}


def _may_need_consent(access: GlobusAccess, look: _Look, facts: Collection) -> bool:
    """Tell whether a person has not been asked yet for the data of a collection whose kind wants that."""
    stored = access.person.stored() if access.person else None
    return stored is not None and facts.needs_consent and look.endpoint not in stored.data_access


def _refused(
    access: GlobusAccess, look: _Look, facts: Collection, error: LabferryError, consent: bool
) -> tuple[str, str, str, str]:
    """Return state, code, message and hint for a collection that may not be listed."""
    if isinstance(error, UnavailableError) and error.dependency == GLOBUS:
        raise error
    if consent or (error.code == "globus_login" and look.endpoint in _wanted(access)):
        why = f"{access.who} has not consented to its data being reached"
        return NEEDS_CONSENT, "globus_login", why, f"A second login gives the consent. {_START}"
    if error.code == "globus_login":
        return (NEEDS_LOGIN if _is_person(access) else NO_ACCESS), error.code, error.message, _START
    if access.person is None and facts.is_personal:
        why = f"{error.message}. It is a collection of Globus Connect Personal, which only its owner can use"
        return NO_ACCESS, error.code, why, access.ways_out()
    if error.code in _NOTHING_LISTED:
        if not look.known:  # files may still be welcome further down
            return OK, error.code, f"{look.path} may not be listed", "`labferry doctor` looks where sessions really go."
        right = "read" if look.role.startswith("source:") else "read and write"
        return NO_ACCESS, error.code, error.message, f"Give {access.who} permission to {right} {look.path} there."
    return NO_ACCESS, error.code, error.message, error.hint


def _wanted(access: GlobusAccess) -> Sequence[str]:
    return access.person.wanted if access.person else ()


def _to_consent(access: GlobusAccess) -> list[str]:
    """Return the collections whose data the next login must ask for.

    Which these are Globus only tells who is logged in; it is asked where the login works.
    """
    if access.person is None or access.person.missing():
        return []
    report = tested(access)
    stored = access.person.stored()
    granted = stored.data_access if stored else ()
    return [one["endpoint"] for one in report["collections"] if one["needs_consent"] or one["endpoint"] in granted]


# --- the report -------------------------------------------------------------------------------------------


def _judged(access: GlobusAccess, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    for state in (NEEDS_LOGIN, NEEDS_CONSENT, NO_ACCESS):
        for one in found:
            if one["state"] == state:
                message = f"{access.who} is logged in, but {one['role']} ({one['name']}): {one['message']}"
                return _report(access, state, one["code"], message, one["hint"], found)
    return _report(access, OK, "", f"{access.who} is logged in and reaches both sides of every transfer", "", found)


def _report(
    access: GlobusAccess, state: str, code: str, message: str, hint: str, found: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    stored = access.person.stored() if access.person else None
    return {
        "service": GLOBUS,
        "mode": "person" if _is_person(access) else "application",
        "client_id": access.config.globus.client_id,
        "user": access.who if stored or not _is_person(access) else None,
        "since": utc_text(stored.since) if stored else None,
        "state": state,
        "code": code,
        "message": message,
        "hint": hint,
        "collections": list(found),
        "url": None,
    }


def _is_person(access: GlobusAccess) -> bool:
    return access.person is not None
