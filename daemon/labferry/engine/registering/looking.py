"""What Alyx holds for a session, compared with the manifest page by page: what remains in memory is numbers.

A look changes nothing in Alyx. What Alyx holds as it is here is taken over into the journal, if that is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import replace

from labferry.alyx.dataset_rows import UNRATED, RemoteDataset, dataset_pages
from labferry.datasets import collection_revision_name
from labferry.engine.context import Context
from labferry.engine.registering.compact import Ids, Numbers
from labferry.engine.replacing.permission import Permission, outdated
from labferry.errors import BlockedError
from labferry.journal.files import KnownRecord
from labferry.journal.rows import FileRow, SessionRow
from labferry.model import FileFate, show_path

MARK = 12  # hexadecimal digits


class Look:
    """One look at all datasets of a session.

    Parameters
    ----------
    context : Context
    session : SessionRow
        Resolved.
    wants_again : callable
        Says whether a file is sent although Alyx has it.
    permission : Permission or None
        Says whether content that changed after archiving may be registered; None: never.
    adopt : bool
        Note in the journal what Alyx holds.
    sent : collection of str
        The marks of content that was sent without an answer: it is ours, though the file may have changed since.

    Attributes
    ----------
    same : Ids
        The files that Alyx holds as they are here, and that need not be sent.
    unmarked : list of str
        File records of such files that do not say that the file is here.
    ratings : dict of int to str
        What Alyx thinks of files that are sent again with the same content: it forgets that unless it is told.
    conflicts : dict of int to tuple of str
        The files that must not be sent (ruling 10): the code, and the MD5 that Alyx has.
    later : set of int
        The files that are sent when the archives hold them: they replace what is archived.
    doubled : dict of int to FileRow
        The files that Alyx has several rows for.
    """

    def __init__(
        self,
        context: Context,
        session: SessionRow,
        wants_again: Callable[[FileRow], bool] = lambda _: False,
        *,
        permission: Permission | None = None,
        adopt: bool = True,
        sent: Collection[str] = (),
    ) -> None:
        self._context = context
        self._session = session
        self._wants_again = wants_again
        self._permission = permission
        self._adopts = adopt
        self._sent = sent
        self._fingerprint = Fingerprint()
        self._seen = Numbers()  # file to the hash of its dataset's id
        self.same = Ids()
        self.unmarked: list[str] = []
        self.ratings: dict[int, str] = {}
        self.conflicts: dict[int, tuple[str, str]] = {}
        self.later: set[int] = set()
        self.doubled: dict[int, FileRow] = {}

    @property
    def fingerprint(self) -> str:
        """A digest of what was seen: equal ones mean that nothing moved (ruling 13)."""
        return str(self._fingerprint)

    def at(self, eid: str, beat: Callable[[], None] = lambda: None) -> None:
        """Go through all datasets of the session; calls `beat` before each page.

        Raises
        ------
        RefusedError
            Alyx does not know the session.
        """
        beat()
        for page in dataset_pages(self._context.alyx, eid):
            with self._context.journal.together():
                for there in page:
                    self._fingerprint.add(there)
                    self._meet(there)
            beat()

    def _meet(self, there: RemoteDataset) -> None:
        file = self._context.journal.files.at(self._session.id, path_of(there))
        if file is None or file.fate is not FileFate.DATASET:
            return
        dataset = hash(there.id)
        known = self._seen.get(file.id)
        if known is None:
            self._seen[file.id] = dataset
            self.compare(file, there)
        elif known != dataset:  # pages may overlap while Alyx works; this is another row
            self.doubled[file.id] = file
            self.same.discard(file.id)
            self.conflicts.pop(file.id, None)
            self.later.discard(file.id)

    def compare(self, file: FileRow, there: RemoteDataset) -> None:
        """Decide about a file that Alyx has one row for.

        One that was taken over was not read, so it is not sent. One that Alyx knows no hash of was read since; where it
        is published, the first hash would un-publish it as another one does.
        """
        if file.taken_over and (there.hash or self._is_published(there)):
            as_it_was = (there.id, there.hash) == (file.dataset_id, file.registered_hash)
            if as_it_was and not self._wants_again(file):
                self.same.add(file.id)
        elif there.hash == file.md5:
            self._same_content(file, there)
        elif code := self._conflict(self._as_sent(file, there), there):
            self.conflicts[file.id] = (code, there.hash)

    def _same_content(self, file: FileRow, there: RemoteDataset) -> None:
        assert self._session.repository is not None, "resolved before"
        here = there.record_at(self._session.repository, self._context.alyx_path_of(self._session, file.path))
        if here is not None and not here.exists:
            self.unmarked.append(here.id)
        if here is not None and not self._wants_again(file):
            self._adopt(file, there)
            self.same.add(file.id)
        elif there.qc != UNRATED:
            self.ratings[file.id] = there.qc

    def _as_sent(self, file: FileRow, there: RemoteDataset) -> FileRow:
        """Return the file as the journal knows it now: what arrived without an answer was registered by us."""
        if there.hash == file.registered_hash or mark_of(there.hash) not in self._sent:
            return file
        self._adopt(file, there)
        return replace(file, registered_hash=there.hash)

    def _conflict(self, file: FileRow, there: RemoteDataset) -> str:
        """Never post over content that we did not write, nor over content that is archived (ruling 10)."""
        if not there.hash:
            return "hash_conflict" if self._is_published(there) else ""
        if there.hash != file.registered_hash:
            return "hash_conflict"
        published = self._published_in(there)
        if not published and not outdated(self._context, file):
            return ""
        later = self._permission.later(file, published) if self._permission is not None else None
        if later:
            self.later.add(file.id)
        return "changed_after_archive" if later is None else ""

    def _is_published(self, there: RemoteDataset) -> bool:
        return bool(self._published_in(there))

    def _published_in(self, there: RemoteDataset) -> set[str]:
        return {r.repository for r in there.file_records if r.exists} - {self._session.repository}

    def _adopt(self, file: FileRow, there: RemoteDataset) -> None:
        if not self._adopts or (file.registered_hash == there.hash and file.dataset_id == there.id):
            return
        records = [KnownRecord(r.id, r.repository, r.relative_path, r.exists) for r in there.file_records]
        self._context.journal.files.registered(file.id, there.id, there.hash, records)


def mark_of(md5: str | None) -> str:
    """Return enough of a hash to know it again; a journal may hold very many."""
    return (md5 or "")[:MARK]


class Fingerprint:
    """A digest of rows in any order: Alyx promises none."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = 0

    def __str__(self) -> str:
        return f"{self._count}:{self._sum:032x}"

    def add(self, there: RemoteDataset) -> None:
        """Count a row in."""
        records = ",".join(sorted(f"{r.id}={r.exists}" for r in there.file_records))
        row = hashlib.blake2b(f"{there.key}|{there.id}|{there.hash}|{records}".encode(), digest_size=16)
        self._sum = (self._sum + int.from_bytes(row.digest(), "big")) % 2**128
        self._count += 1


def conflict(file: FileRow, code: str, there: str) -> BlockedError:
    """Return the error for a file that must not be sent; `there` is the MD5 that Alyx has."""
    name = show_path(file.path)
    if code == "hash_conflict":
        known = f"MD5 {there}" if there else "it published without MD5"
        why = f"{name}: Alyx has {known}, which was not written from here; the file has {file.md5}"
        return BlockedError(code, why)
    return BlockedError(code, f"{name} changed after it was verified in the archive")


def path_of(there: RemoteDataset) -> bytes:
    """Return the path below the session's folder that a dataset stands for."""
    revision = f"#{there.revision}#" if there.revision else ""
    return "/".join(part for part in (there.collection, revision, there.name) if part).encode("utf-8", "surrogatepass")


def key_of(file: FileRow) -> tuple[str, str, str]:
    """Return how Alyx names a file: collection, revision, name."""
    return collection_revision_name(file.path)
