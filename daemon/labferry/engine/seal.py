"""Second stage: the manifest. Every file gets a fate; those that will be sent get their MD5 in one read pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from itertools import islice

from labferry.config import ArchiveTarget, ObserveArchive, Root
from labferry.datasets import Matcher, RegistrationRules, Vocabulary
from labferry.detect.seal import SealInterruptedError, seal
from labferry.detect.signature import is_about_transfer
from labferry.engine.context import Context
from labferry.engine.giving_way import give_way
from labferry.engine.old_names import rename_old_files
from labferry.engine.worker import StoppedEarly
from labferry.errors import CODES, BlockedError, ChangedError, LabferryError
from labferry.journal.files import REMOVED
from labferry.journal.jobs import Move
from labferry.journal.rows import CarriableRow, FileRow, JobRow, SessionRow
from labferry.model import Decision, Done, FileFate, FileVersion, JobKind, Outcome, Stage, show_path
from labferry.sessions.record import require_data
from labferry.sessions.walk import FileKind, WalkedFile, walk_session

BATCH = 64  # checksums per commit …
BATCH_BYTES = 64 * 1024 * 1024  # … and bytes: a kill costs at most so much of reading again, and the file at hand
ABOUT_SESSION = "about_session"
NEVER_SENT = frozenset({"not_regular", "file_unreadable", "removed", "removed_unarchived"})


class Seal:
    """Freeze what the session consists of."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __call__(self, job: JobRow, beat: Callable[[str, float], None]) -> Outcome:
        """List the files, decide about each, hash what will be sent somewhere."""
        context = self._context
        session = context.session_of(job)
        root = context.root_of(session)
        folder = context.folder_of(session)
        beat(f"listing {show_path(session.path)}", 600.0)
        files = context.journal.files
        if session.sealed_generation == session.generation:
            closed = require_nothing_new(folder, lambda path: files.at(session.id, path))
            if closed is not None:
                context.journal.revisits.closed(session.id, closed.path, closed.error)
        else:
            if job.kind is JobKind.REGISTER:
                rename_old_files(context, job, session, folder)
            wanted_by = partial(carriers, root=root, archives=context.config.archive)
            files.list_files(session.id, session.generation, self._listing(folder, root, session), wanted_by)
        self._require_datasets(job, session, folder)
        self._hash(session, job, folder, root, beat)
        self._require_datasets(job, session, folder)  # some may have turned out to be unreadable
        if session.sealed_generation != session.generation:
            context.journal.sessions.sealed(session.id, job.generation)
        if job.kind is JobKind.ARCHIVE:
            context.journal.jobs.set_bytes_left(job.id, self._to_carry(job, session))
        return Done()

    def _to_carry(self, job: JobRow, session: SessionRow) -> int:
        """Return the bytes that the job's target takes: they decide whose turn it is there (ruling 19)."""
        settings = self._context.config.archive[job.target]
        rows = self._context.journal.files.each_carriable(session.id)
        return sum(row.size for row in rows if is_carried(row, settings))

    def _require_datasets(self, job: JobRow, session: SessionRow, folder: bytes) -> None:
        files = self._context.journal.files
        if job.kind is JobKind.REGISTER and not files.has_datasets(session.id):
            require_data(folder)  # where nothing was recorded, nobody should look for patterns
            count, name = files.count(session.id), show_path(session.path)
            raise BlockedError("no_datasets", f"none of the {count} files of {name} is a dataset")

    def _listing(self, folder: bytes, root: Root, session: SessionRow) -> Iterator[tuple[FileVersion, Decision]]:
        """Decide about every file below the folder, and about every folder that cannot be read."""
        rules = registration_rules(self._context) if root.registers else None
        named = self._context.journal.files.named(session.id)
        for file in walk_session(folder):
            if not file.path:
                raise BlockedError("unreadable", f"{show_path(folder)}: {file.error}")
            version = file.version or FileVersion(file.path, 0, 0, 0)
            if rules is not None and file.path in named and not file.error:
                yield version, rules.decide_named(file.path, file.kind is FileKind.REGULAR)
            else:
                yield version, fate_of(file, rules)

    def _hash(
        self, session: SessionRow, job: JobRow, folder: bytes, root: Root, beat: Callable[[str, float], None]
    ) -> None:
        """Store a checksum for every file that is sent somewhere; those of unchanged versions are known already."""
        journal = self._context.journal
        left = sum(row.size for row in self._unread(session, root))
        journal.jobs.set_bytes_left(job.id, left)
        hashed = 0

        def on_bytes(count: int) -> None:
            nonlocal hashed
            hashed += count
            beat(f"hashing {show_path(session.path)}: {hashed} of {left} bytes", 120.0)

        unread = self._unread(session, root)
        while todo := list(islice(unread, BATCH)):
            while todo:
                todo = self._hash_some(session, folder, todo, on_bytes)
                if hashed < left:
                    give_way(self._context, job, (Stage.SEAL,), f"{left - hashed} bytes are left")

    def _unread(self, session: SessionRow, root: Root) -> Iterator[FileRow]:
        """Yield the files that will be sent somewhere and have no checksum yet."""
        for row in self._context.journal.files.each(session.id):
            if row.md5 is None and is_sent(row, root, self._context.config.archive):
                yield row

    def _hash_some(
        self, session: SessionRow, folder: bytes, todo: list[FileRow], on_bytes: Callable[[int], None]
    ) -> list[FileRow]:
        """Read files until there is enough for a commit; return those that are left."""
        files = self._context.journal.files
        done: list[tuple[FileVersion, str]] = []
        size = 0
        sealing = seal(
            folder,
            [row.version for row in todo],
            lambda _: None,
            stop=lambda: self._context.wakeup.stopping,
            on_bytes=on_bytes,
        )
        try:
            for sealed in sealing:
                done.append((sealed.version, sealed.md5))
                size += sealed.version.size
                if size >= BATCH_BYTES:
                    break
        except SealInterruptedError:
            raise StoppedEarly from None
        except LabferryError as error:
            if error.code != "file_unreadable":
                raise
            files.reject(todo.pop(len(done)).id, error.code, error.message)
        finally:
            files.checksums(session.id, done)
        return todo[len(done) :]

    def finish(self, job: JobRow, move: Move) -> bool:
        """Commit the end of the attempt."""
        return self._context.journal.jobs.finish_attempt(job, move)


def require_nothing_new(folder: bytes, sealed: Callable[[bytes], FileRow | None]) -> WalkedFile | None:
    """Look whether the session is still what was sealed, before it is archived.

    A link or a pipe is as new as a file, for the next list says what hinders it. Behind a folder that is closed to us
    may be anything: what was sealed goes its way all the same, and a person is asked to open the folder (ruling 22).

    Parameters
    ----------
    folder : bytes
        The session's, absolute.
    sealed : callable
        Returns what the manifest says about a file.

    Returns
    -------
    WalkedFile or None
        The first folder that cannot be looked into, of those that were not listed as such.

    Raises
    ------
    ChangedError
        A file appeared, or one that is sent is another version: a late camera must not be left behind.
    """
    closed = None
    for file in walk_session(folder):
        if is_about_transfer(file.path):
            continue
        row = sealed(file.path)
        if row is not None and row.code in REMOVED:
            row = None
        if file.error:
            closed = file if row is None and closed is None else closed
        elif row is None:
            raise ChangedError(file.path, "appeared after the session was sealed")
        elif row.md5 is not None and row.version != file.version:
            raise ChangedError(file.path, "changed since it was sealed")
    return closed


def registration_rules(context: Context) -> RegistrationRules:
    """Return the rules by which files become datasets: the configured patterns and Alyx' vocabulary."""
    settings = context.config.registration
    return _rules(
        settings.patterns,
        settings.exclude_suffixes,
        settings.ibl_strict_patterns,
        settings.scope == "raw",
        context.words().datasets,
    )


@lru_cache(maxsize=1)
def _rules(
    patterns: tuple[str, ...], exclude_suffixes: tuple[str, ...], strict: bool, raw_only: bool, vocabulary: Vocabulary
) -> RegistrationRules:
    """Keep the rules, and with them what they decided before, until Alyx' vocabulary is another one."""
    return RegistrationRules(Matcher(patterns, exclude_suffixes, strict=strict), vocabulary, raw_only=raw_only)


def fate_of(file: WalkedFile, rules: RegistrationRules | None) -> Decision:
    """Decide about one thing that the walk found; without rules the root is archived without registration."""
    if file.error:
        return Decision(FileFate.REJECTED, "file_unreadable", file.error)
    if rules is not None:
        decision = rules.decide(file.path, file.kind is FileKind.REGULAR)
        if decision.code == "no_pattern" and is_about_transfer(file.path):  # nobody should look for a pattern
            return Decision(FileFate.EXCLUDED, ABOUT_SESSION, CODES[ABOUT_SESSION].title)
        return decision
    code = "not_registered" if file.kind is FileKind.REGULAR else "not_regular"
    return Decision(FileFate.EXCLUDED, code, CODES[code].title)


def is_sent(row: FileRow, root: Root, archives: Mapping[str, ArchiveTarget]) -> bool:
    """Say whether a file goes anywhere: only such files are hashed (ruling 6)."""
    if row.fate is FileFate.DATASET:
        return True
    return bool(carriers(row, root, archives))


def carriers(row: FileRow, root: Root, archives: Mapping[str, ArchiveTarget]) -> Set[str]:
    """Return the archives of a root that take a file."""
    return {name for name in root.archive if is_carried(row, archives[name])}


def is_carried(row: FileRow | CarriableRow, archive: ArchiveTarget) -> bool:
    """Say whether an archive takes a file (ruling 15): Alyx' datasets, or with other names all but `exclude`."""
    if isinstance(archive, ObserveArchive):
        return row.fate == FileFate.DATASET
    if archive.include and not _matches(row.path, archive.include):
        return False
    if archive.exclude and _matches(row.path, archive.exclude):
        return False
    if archive.naming == "alyx":
        return row.fate == FileFate.DATASET
    return row.code not in NEVER_SENT


def _matches(path: bytes, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(os.fsdecode(path), pattern) for pattern in patterns)
