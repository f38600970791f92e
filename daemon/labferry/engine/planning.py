"""What an archive job sends where: decided once, from the manifest and the configuration, before a byte moves."""

from __future__ import annotations

import os
from uuid import uuid4

from labferry.alyx.resolve import server_repository
from labferry.archive.naming import LAB, destination, with_lab
from labferry.config import ArchiveTarget, Config, DirectoryArchive, GlobusArchive, ObserveArchive
from labferry.engine.context import ALYX, GLOBUS, Context
from labferry.engine.seal import is_carried
from labferry.errors import BlockedError, ChangedError
from labferry.journal.rows import JobRow, SessionRow
from labferry.journal.transfers import NewItem

AUTO = "auto"
FILLED_BY_ALYX = "flatiron"  # in the names of the repositories that Alyx' own nightly transfer fills (ruling 17)


def new_batch() -> str:
    """Return a name that no batch had before: letters, digits and `-`."""
    return f"lf-{uuid4().hex[:12]}"


def items_of(context: Context, job: JobRow, session: SessionRow) -> list[NewItem]:
    """Return the files that the job's target takes, under the names they get there.

    Raises
    ------
    ChangedError
        A file has no checksum: it is not the version that was sealed.
    """
    settings = context.config.archive[job.target]
    naming = "alyx" if isinstance(settings, ObserveArchive) else settings.naming
    session_path = os.fsencode(context.parsed(session).alyx_path)
    arrived = _arrived_before_us(context, session, job.target)
    items = []
    for row in context.journal.files.each_carriable(session.id):
        if not is_carried(row, settings) or row.id in arrived:
            continue
        if row.md5 is None:
            raise ChangedError(row.path, "was not sealed")
        name = destination(naming, session_path, row.path, row.dataset_id)
        items.append(NewItem(row.id, name, row.size, row.md5))
    return items


def _arrived_before_us(context: Context, session: SessionRow, target: str) -> frozenset[int]:
    """Return the files of a session of old that Alyx said are in the target: they are not carried again."""
    if session.seen_complete:
        return frozenset()
    repository = repository_of(context, session, target)
    return context.journal.backlog.existing_at(session.id, repository) if repository else frozenset()


def lab_of(context: Context, session: SessionRow) -> str:
    """Return the lab of a session: resolved, or configured for its root; may be empty without registration."""
    return session.lab or context.root_of(session).lab


def repository_of(context: Context, session: SessionRow, target: str) -> str:
    """Return the data repository in Alyx that stands for a target, for this session's lab; empty where none does.

    Raises
    ------
    BlockedError
        `unknown_repository`, `lab_without_repository` or `ambiguous_repository` (ruling 16).
    """
    settings = context.config.archive[target]
    endpoint = settings.endpoint if isinstance(settings, GlobusArchive) else ""
    preferred = FILLED_BY_ALYX if isinstance(settings, ObserveArchive) else ""
    if not settings.repository:
        return ""
    return server_repository(context.words(), lab_of(context, session), settings.repository, endpoint, preferred)


def base_of(context: Context, session: SessionRow, target: str) -> bytes:
    """Return the folder of a target that a session's destinations are relative to.

    Raises
    ------
    BlockedError
        As for `repository_of`, where the path is the repository's; `target_path` where that is none.
    """
    settings = context.config.archive[target]
    path = _path(context, session, target, settings)
    if LAB not in path:
        return path
    lab = lab_of(context, session)
    try:
        return with_lab(path, lab)
    except ValueError as error:
        why = f"the lab {lab!r} cannot be the name of a folder" if lab else "the session has no lab"
        raise BlockedError("target_path", f"archive {target} has {{lab}} in its path, and {why}") from error


def _path(context: Context, session: SessionRow, target: str, settings: ArchiveTarget) -> bytes:
    if isinstance(settings, DirectoryArchive) or (isinstance(settings, GlobusArchive) and settings.path != AUTO):
        return os.fsencode(settings.path)
    name = repository_of(context, session, target)
    if not name and isinstance(settings, GlobusArchive):
        name = server_repository(context.words(), lab_of(context, session), AUTO, settings.endpoint)
    repository = context.words().repositories[name]
    if not repository.globus_path.startswith("/"):
        if isinstance(settings, ObserveArchive):
            return b"/"  # only told, never used: nothing is carried
        raise BlockedError(
            "target_path",
            f'archive {target} has path = "auto", and the data repository {name} has the globus_path '
            f"{repository.globus_path!r}, which is no absolute path",
        )
    return os.fsencode(repository.globus_path.rstrip("/") or "/")


def needs_of(name: str, settings: ArchiveTarget) -> tuple[str, ...]:
    """Return the dependencies without which nothing is archived to a target."""
    match settings:
        case ObserveArchive():
            return (ALYX,)
        case GlobusArchive():
            return (GLOBUS, f"archive:{name}")
        case _:
            return (f"archive:{name}",)


def filled_through_globus(config: Config) -> list[str]:
    """Return the names of the archives that some root uses and that Globus fills: they share its limits."""
    used = {name for root in config.roots for name in root.archive}
    return sorted(name for name in used if isinstance(config.archive[name], GlobusArchive))
