"""Second stage: the manifest. Every file gets a fate; those that will be sent get their MD5 in one read pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase

from labferry.config import DirectoryArchive, GlobusArchive, Root
from labferry.datasets import Matcher, Vocabulary, decide
from labferry.detect.seal import Interrupted, seal
from labferry.engine.context import Context
from labferry.engine.worker import StoppedEarly
from labferry.errors import CODES, BlockedError
from labferry.journal.jobs import Move
from labferry.journal.rows import FileRow, JobRow, SessionRow
from labferry.model import Decision, Done, FileFate, FileVersion, JobKind, Outcome, show_path
from labferry.sessions.walk import walk_session

BATCH = 64  # checksums per commit: a kill costs at most so many small files of reading again
NEVER_SENT = frozenset({"not_regular", "file_unreadable", "removed"})


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
        files = context.journal.files.list_files(session.id, session.generation, self._listing(folder, root))
        wanted = [row for row in files if is_sent(row, root, context.config.archive)]
        if job.kind is JobKind.REGISTER and not any(row.fate is FileFate.DATASET for row in files):
            raise BlockedError("no_datasets", f"none of the {len(files)} files of {show_path(session.path)} is a dataset")
        self._hash(session, job, folder, wanted, beat)
        context.journal.sessions.sealed(session.id)
        return Done()

    def _listing(self, folder: bytes, root: Root) -> Iterator[tuple[FileVersion, Decision]]:
        registration = self._context.config.registration
        matcher = Matcher(
            registration.patterns, registration.exclude_suffixes, strict=registration.ibl_strict_patterns
        )
        vocabulary = self._context.words().datasets if root.register else Vocabulary((), ())
        for file in walk_session(folder):
            version = file.version or FileVersion(file.path, 0, 0, 0)
            if file.error:
                yield version, rejected("file_unreadable", file.error)
            elif not root.register:
                regular = file.version is not None
                code = "not_registered" if regular else "not_regular"
                yield version, Decision(FileFate.EXCLUDED, code, "this root is archived without registration")
            else:
                yield version, decide(file.path, file.version is not None, matcher, vocabulary)

    def _hash(
        self, session: SessionRow, job: JobRow, folder: bytes, wanted: list[FileRow], beat: Callable[[str, float], None]
    ) -> None:
        """Store a checksum for every wanted file; those of unchanged versions are known already."""
        journal = self._context.journal
        known = {row.version: row.md5 for row in wanted if row.md5}
        todo = [row.version for row in wanted if row.md5 is None]
        left = sum(version.size for version in todo)
        journal.jobs.set_bytes_left(job.id, left)
        done: list[tuple[FileVersion, str]] = []
        hashed = 0

        def on_bytes(count: int) -> None:
            nonlocal hashed
            hashed += count
            beat(f"hashing {show_path(session.path)}: {hashed} of {left} bytes", 120.0)

        try:
            for sealed in seal(folder, todo, known.get, stop=lambda: self._context.wakeup.stopping, on_bytes=on_bytes):
                done.append((sealed.version, sealed.md5))
                if len(done) >= BATCH:
                    journal.files.checksums(session.id, done)
                    done.clear()
        except Interrupted:
            raise StoppedEarly from None
        finally:
            journal.files.checksums(session.id, done)

    def finish(self, job: JobRow, move: Move) -> bool:
        """Commit the end of the attempt."""
        return self._context.journal.jobs.finish_attempt(job, move)


def rejected(code: str, why: str) -> Decision:
    """Return the decision for a file that should have been registered and cannot be."""
    return Decision(FileFate.REJECTED, code, why or CODES[code].title)


def is_sent(row: FileRow, root: Root, archives: dict[str, object]) -> bool:
    """Say whether a file goes anywhere: only such files are hashed (ruling 6)."""
    if row.fate is FileFate.DATASET:
        return True
    return any(is_carried(row, archives[name]) for name in root.archive)


def is_carried(row: FileRow, archive: object) -> bool:
    """Say whether an archive takes a file (ruling 15): datasets under `alyx` names, else all but `exclude`."""
    if not isinstance(archive, DirectoryArchive | GlobusArchive):
        return False
    path = os.fsdecode(row.path)
    if archive.include and not _matches(path, archive.include):
        return False
    if _matches(path, archive.exclude):
        return False
    if archive.naming == "alyx":
        return row.fate is FileFate.DATASET
    return row.code not in NEVER_SENT


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)
