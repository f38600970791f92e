"""Whether a session is what the journal says: in Alyx with the sealed hashes, online, and in every archive."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from labferry.archive.base import StoppedError
from labferry.config import ArchiveTarget, ObserveArchive, Root
from labferry.engine.context import Context
from labferry.engine.reports.places import session_folder
from labferry.engine.verifying.copies import Copies, copies_of
from labferry.engine.verifying.findings import Finding
from labferry.engine.verifying.looks import Look, look_at
from labferry.engine.verifying.registry import Registry, look_up
from labferry.errors import LabferryError
from labferry.journal.rows import SessionRow
from labferry.model import SessionState, first_of, path_fields, utc_text

LISTED = 1000  # files listed in one answer, of each kind; all are counted
LONGEST = 900.0  # seconds that a look may take …
LONGEST_DEEP = 12 * 3600.0  # … and where every byte is read
CORRECTED_BY_HAND = (
    "Nothing was corrected. Find out what changed it and put the right content back; `labferry history SESSION` says "
    "what was sent when."
)
STILL_COMING = "`labferry explain SESSION` says what it waits for."


@dataclass(frozen=True, slots=True)
class _Archive:
    """One target: what the journal says, and what was found; `problem` where it could not be looked at."""

    name: str
    settings: ArchiveTarget
    copies: Copies
    look: Look | None = None
    problem: LabferryError | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        return (*self.copies.changed, *(self.look.findings if self.look else ()))


def verify(
    context: Context, session: SessionRow, *, deep: bool = False, gone: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Hold what the journal says of a session against Alyx and against every archive of its root.

    Parameters
    ----------
    deep : bool
        Read every copy where that is possible.
    gone : callable
        True when nobody waits for the answer any more.

    Raises
    ------
    UnavailableError
        Alyx or an archive cannot be looked at now, and nothing wrong was found elsewhere.
    LabferryError
        `busy`: it took too long, or the daemon stops.
    """
    root = context.root_of(session)
    manifest = context.journal.files.of_session(session.id)
    longest = LONGEST_DEEP if deep else LONGEST
    ends = context.clock.monotonic() + longest

    def stop() -> bool:
        return context.wakeup.stopping or gone() or context.clock.monotonic() >= ends

    try:
        registry = look_up(context, session, manifest) if root.registers else None
        archives = [
            _looked_at(
                context,
                session,
                name,
                copies_of(context.journal, session, name, context.config.archive[name], manifest),
                registry,
                deep=deep,
                stop=stop,
            )
            for name in root.archive
        ]
    except StoppedError:
        why = "The daemon stops." if context.wakeup.stopping else f"The look took longer than {longest / 60:.0f} min."
        raise LabferryError("busy", why, "Ask again later.") from None
    verdict, message = _verdict(session, root, registry, archives)
    problem = next((one.problem for one in archives if one.problem is not None), None)
    if problem is not None and verdict != "differs":
        raise problem
    return {
        "session": session.id,
        **path_fields(session_folder(context, session)),
        "verdict": verdict,
        "message": message,
        "hint": "" if verdict == "ok" else CORRECTED_BY_HAND if verdict == "differs" else STILL_COMING,
        "deep": deep,
        "journal": _journal_fields(context, session),
        "alyx": None if registry is None else _registry_fields(registry),
        "archives": [_archive_fields(context, session, one) for one in archives],
    }


def _looked_at(
    context: Context,
    session: SessionRow,
    name: str,
    copies: Copies,
    registry: Registry | None,
    *,
    deep: bool,
    stop: Callable[[], bool],
) -> _Archive:
    settings = context.config.archive[name]
    datasets = registry.datasets if registry else {}
    try:
        look = look_at(context, session, name, copies, datasets, deep=deep, stop=stop)
    except LabferryError as error:
        return _Archive(name, settings, copies, problem=error)
    return _Archive(name, settings, copies, look)


# --- the verdict ------------------------------------------------------------------------------------------


def _verdict(
    session: SessionRow, root: Root, registry: Registry | None, archives: Sequence[_Archive]
) -> tuple[str, str]:
    """Return the verdict and a sentence. What is wrong comes before what is not there yet."""
    adopted = session.state is SessionState.ADOPTED  # Alyx' word is taken for it, and nothing is archived by us
    registered = adopted or session.registered_at is not None
    found = [finding for one in archives for finding in one.findings]
    if registry is not None and registered:
        found += registry.findings
    if found:
        return "differs", first_of([found[0].detail], len(found))
    if registry is not None and (not registered or registry.gone):
        return "not_registered", _why_not_registered(session, registry)
    if registry is not None and _is_published(root, archives) and registry.online < registry.expected:
        waiting = registry.expected - registry.online
        return "registered_not_online", f"registered, not yet online: users cannot load {waiting} of its datasets"
    if not adopted and (session.complete_at is None or any(one.copies.pending for one in archives)):
        late = [f"{one.copies.pending} files not in {one.name}" for one in archives if one.copies.pending]
        return "not_archived", f"not archived yet: {', '.join(late) or 'its files still change'}"
    return "ok", _all_is_well(registry, () if adopted else archives)


def _is_published(root: Root, archives: Sequence[_Archive]) -> bool:
    """Say whether users shall be able to load a root's datasets: not where no archive stands for a repository."""
    return not root.archive or any(one.settings.repository for one in archives)


def _why_not_registered(session: SessionRow, registry: Registry) -> str:
    if registry.gone:
        return f"not registered: Alyx does not know session {registry.eid} any more"
    if session.state in {SessionState.BACKLOG, SessionState.IGNORED}:
        return f"not registered: it is left alone ({session.state})"
    if session.complete_at is None:
        return "not registered yet: its files still change, or its completion signal is missing"
    if registry.eid is None:
        return "not registered yet: Alyx does not know the session"
    return f"not registered yet: {registry.registered} of {registry.expected} datasets are in Alyx as they are here"


def _all_is_well(registry: Registry | None, archives: Sequence[_Archive]) -> str:
    parts = [f"all {registry.expected} datasets are in Alyx as they were sealed"] if registry else []
    parts += [f"all {one.copies.files} files are in {one.name}" for one in archives]
    return ", ".join(parts) or "its root asks for nothing"


# --- as JSON ----------------------------------------------------------------------------------------------


def _journal_fields(context: Context, session: SessionRow) -> dict[str, Any]:
    return {
        "state": session.state.value,
        "generation": session.generation,
        "complete_at": utc_text(session.complete_at),
        "registered_at": utc_text(session.registered_at),
        "archived_at": utc_text(session.archived_at),
        "files": dict(context.journal.files.summary(session.id)),
    }


def _registry_fields(registry: Registry) -> dict[str, Any]:
    return {
        "eid": registry.eid,
        "gone": registry.gone,
        "datasets": registry.expected,
        "registered": registry.registered,
        "online": registry.online,
        "repositories": dict(registry.exist),
        **_findings_fields(registry.findings),
        **_others_fields(registry.others),
    }


def _archive_fields(context: Context, session: SessionRow, one: _Archive) -> dict[str, Any]:
    look, problem = one.look, one.problem
    wrong = {finding.path for finding in one.findings}
    known = [row for rows in one.copies.verified.values() for row in rows]
    return {
        "target": one.name,
        "kind": one.settings.kind,
        "destinations": [] if isinstance(one.settings, ObserveArchive) else _destinations(context, session, one),
        "files": one.copies.files,
        "verified": sum(row.path not in wrong for row in known) if look else 0,
        "pending": one.copies.pending,
        "evidence": Counter(row.verified_how or "" for row in known),
        "compared": look.compared if look else None,
        "how": look.how if look else "",
        "problem": problem and {"code": problem.code, "message": problem.message, "hint": problem.hint},
        **_findings_fields(one.findings),
        **_others_fields(look.others if look else ()),
    }


def _destinations(context: Context, session: SessionRow, one: _Archive) -> list[dict[str, str]]:
    top = os.fsencode(context.parsed(session).alyx_path)
    return [path_fields(os.path.join(base, top)) for base in one.copies.planned]


def _findings_fields(findings: Sequence[Finding]) -> dict[str, Any]:
    listed = [{**path_fields(one.path), "fault": one.fault, "detail": one.detail} for one in findings[:LISTED]]
    return {"differences": listed, "differing": len(findings)}


def _others_fields(others: Sequence[str]) -> dict[str, Any]:
    return {"extra": list(others[:LISTED]), "extras": len(others)}
