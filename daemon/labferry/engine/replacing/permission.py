"""Whether content that is in the archives may be replaced: an operator's word, or the configuration's."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from labferry.config import ObserveArchive, Root
from labferry.engine.asked import Asked
from labferry.engine.context import Context
from labferry.engine.planning import repository_of
from labferry.errors import LabferryError
from labferry.journal.rows import FileRow, SessionRow


def replaces_changed(context: Context, target: str) -> bool:
    """Say whether the configuration lets content that changed after archiving be replaced in an archive."""
    settings = context.config.archive.get(target)
    return settings is not None and not isinstance(settings, ObserveArchive) and settings.on_change == "replace"


def outdated(context: Context, file: FileRow) -> frozenset[str]:
    """Return the archives that hold another version of a file under its name."""
    holding = context.journal.transfers.holding(file.id)
    return frozenset(target for target, copy in holding.items() if copy.md5 != file.md5)


def filled_by_us(context: Context, root: Root) -> list[str]:
    """Return the archives of a root that we fill ourselves: those that can hold a file before Alyx knows its hash."""
    return [name for name in root.archive if not isinstance(context.config.archive[name], ObserveArchive)]


class Permission:
    """Whether files that changed after archiving may be registered: never, later, or now.

    Parameters
    ----------
    context : Context
    session : SessionRow
        Resolved.
    asked : Asked
        An operator's word.
    """

    def __init__(self, context: Context, session: SessionRow, asked: Asked) -> None:
        self._context = context
        self._session = session
        self._asked = asked
        self._root = context.root_of(session)

    def later(self, file: FileRow, published: Collection[str]) -> bool | None:
        """Return whether a file is registered only after archives hold it; None where it may not be at all.

        Parameters
        ----------
        file : FileRow
            Sealed, and other than Alyx and the archives have it.
        published : collection of str
            The data repositories, but the one on this server, where Alyx says that it exists.
        """
        context, old = self._context, outdated(self._context, file)
        if self._asked.replace:
            return bool(old.intersection(filled_by_us(context, self._root)))
        ours = [name for name in self._root.archive if replaces_changed(context, name)]
        if not old.issubset(ours):
            return None
        if published and not self._stand_for(ours).issuperset(published):
            return None
        return bool(old)

    def _stand_for(self, targets: Iterable[str]) -> set[str]:
        found = set()
        for name in targets:
            try:
                found.add(repository_of(self._context, self._session, name))
            except LabferryError:
                continue  # not clear which: none
        return found
