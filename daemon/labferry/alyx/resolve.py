"""The registry room's answer to one question: where does Alyx say a session's files are.

Decisions over Alyx' vocabulary; nothing is asked here. What is ambiguous is never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable

from labferry.alyx.vocabulary import Repository, VocabularySnapshot
from labferry.errors import BlockedError
from labferry.model import show_path

AUTO = "auto"


def local_repository(
    snapshot: VocabularySnapshot, lab: str, endpoint: str, root_path: bytes, configured: str = ""
) -> str:
    """Return the data repository that stands for a root of this machine (REG-16, ruling 14).

    Parameters
    ----------
    snapshot : VocabularySnapshot
        Labs and repositories.
    lab : str
        The subject's lab: on a shared endpoint each lab has a repository of its own.
    endpoint : str
        This machine's Globus endpoint; empty without Globus.
    root_path : bytes
        The root, as the endpoint names it.
    configured : str
        The repository that the configuration sets.

    Raises
    ------
    BlockedError
        `unknown_repository`, `lab_without_repository`, or `ambiguous_repository` naming the candidates.
    """
    if configured:
        return _configured(snapshot, configured)
    wanted = endpoint.strip().lower()
    here = [r for r in snapshot.of_lab(lab) if wanted and r.globus_endpoint_id.lower() == wanted]
    if len(here) > 1:
        depths = {repository.name: _depth_containing(repository.globus_path, root_path) for repository in here}
        deepest = max(depths.values())
        here = [repository for repository in here if deepest and depths[repository.name] == deepest] or here
    where = f"Globus endpoint {endpoint or '(none)'}"
    return _only(here, f"lab {lab} has no data repository with {where}", f"root {show_path(root_path)} and {where}")


def server_repository(
    snapshot: VocabularySnapshot, lab: str, configured: str = AUTO, endpoint: str = "", preferred: str = ""
) -> str:
    """Return the data repository from which users load the lab's data (ruling 16).

    Parameters
    ----------
    snapshot : VocabularySnapshot
        Labs and repositories.
    lab : str
        The session's lab.
    configured : str
        A name, `auto` for the lab's only non-personal repository, or empty: nothing is marked in Alyx.
    endpoint : str
        The archive's Globus endpoint, where it has one.
    preferred : str
        Of several, those that have this in their names, where there are any.

    Returns
    -------
    str
        A name, empty when `configured` is.

    Raises
    ------
    BlockedError
        `unknown_repository`, `lab_without_repository`, or `ambiguous_repository` naming the candidates.
    """
    if configured != AUTO:
        return _configured(snapshot, configured) if configured else ""
    wanted = endpoint.strip().lower()
    servers = [
        repository
        for repository in snapshot.of_lab(lab)
        if not repository.globus_is_personal and wanted in ("", repository.globus_endpoint_id.lower())
    ]
    servers = [repository for repository in servers if preferred in repository.name.lower()] or servers
    return _only(servers, f"lab {lab} has no server repository that fits", f"the archive of lab {lab}")


def _configured(snapshot: VocabularySnapshot, name: str) -> str:
    if name not in snapshot.repositories:
        raise BlockedError("unknown_repository", f"Alyx does not know the data repository {name}")
    return name


def _only(candidates: Iterable[Repository], none: str, purpose: str) -> str:
    names = sorted(repository.name for repository in candidates)
    if not names:
        raise BlockedError("lab_without_repository", none)
    if len(names) > 1:
        raise BlockedError("ambiguous_repository", f"several data repositories fit {purpose}: {', '.join(names)}")
    return names[0]


def _depth_containing(globus_path: str, root_path: bytes) -> int:
    """Return how many folders of the repository's path lead to the root; 0 when it is elsewhere."""
    outer = [part for part in globus_path.encode().split(b"/") if part]
    inner = [part for part in root_path.split(b"/") if part]
    return len(outer) + 1 if globus_path and inner[: len(outer)] == outer else 0
