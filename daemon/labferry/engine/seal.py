"""Second stage: the manifest. Every file gets a fate; those that will be sent get their MD5 in one read pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import islice

from labferry.config import ArchiveTarget, ObserveArchive, Root
from labferry.datasets import Matcher, RegistrationRules, Vocabulary
from labferry.detect.seal import SealInterruptedError, seal
from labferry.detect.signature import is_about_transfer
from labferry.engine.context import Context
from labferry.engine.worker import StoppedEarly
from labferry.errors import CODES, BlockedError, ChangedError, LabferryError
from labferry.journal.jobs import Move
from labferry.journal.rows import FileRow, JobRow, SessionRow
from labferry.model import Decision, Done, FileFate, FileVersion, JobKind, Outcome, show_path
from labferry.sessions.walk import FileKind, WalkedFile, walk_session

BATCH = 64  # checksums per commit …
BATCH_BYTES = 64 * 1024 * 1024  # … and bytes: a kill costs at most so much of reading again, and the file at hand
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
        if session.sealed_generation == session.generation:
            files = context.journal.files.of_session(session.id)
            require_nothing_new(folder, files)
        else:
            listing = list(self._listing(folder, root))  # first: a slow disk or Alyx must not hold up the journal
            files = context.journal.files.list_files(session.id, session.generation, listing)
        wanted = [row for row in files if is_sent(row, root, context.config.archive)]
        self._require_datasets(job, session, len(files))
        self._hash(session, job, folder, wanted, beat)
        self._require_datasets(job, session, len(files))  # some may have turned out to be unreadable
        if session.sealed_generation != session.generation:
            context.journal.sessions.sealed(session.id)
        return Done()

    def _require_datasets(self, job: JobRow, session: SessionRow, count: int) -> None:
        if job.kind is JobKind.REGISTER and not self._context.journal.files.datasets(session.id):
            raise BlockedError("no_datasets", f"none of the {count} files of {show_path(session.path)} is a dataset")

    def _listing(self, folder: bytes, root: Root) -> Iterator[tuple[FileVersion, Decision]]:
        """Decide about every file below the folder, and about every folder that cannot be read."""
        rules = registration_rules(self._context) if root.registers else None
        for file in walk_session(folder):
            if not file.path:
                raise BlockedError("unreadable", f"{show_path(folder)}: {file.error}")
            yield file.version or FileVersion(file.path, 0, 0, 0), fate_of(file, rules)

    def _hash(
        self, session: SessionRow, job: JobRow, folder: bytes, wanted: list[FileRow], beat: Callable[[str, float], None]
    ) -> None:
        """Store a checksum for every wanted file; those of unchanged versions are known already."""
        journal = self._context.journal
        todo = [row for row in wanted if row.md5 is None]
        left = sum(row.size for row in todo)
        journal.jobs.set_bytes_left(job.id, left)
        hashed = 0

        def on_bytes(count: int) -> None:
            nonlocal hashed
            hashed += count
            beat(f"hashing {show_path(session.path)}: {hashed} of {left} bytes", 120.0)

        while todo:
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
                for sealed in islice(sealing, BATCH):
                    done.append((sealed.version, sealed.md5))
                    size += sealed.version.size
                    if size >= BATCH_BYTES:
                        break
            except SealInterruptedError:
                raise StoppedEarly from None
            except LabferryError as error:
                if error.code != "file_unreadable":
                    raise
                journal.files.reject(todo.pop(len(done)).id, error.code, error.message)
            finally:
                journal.files.checksums(session.id, done)
            del todo[: len(done)]

    def finish(self, job: JobRow, move: Move) -> bool:
        """Commit the end of the attempt."""
        return self._context.journal.jobs.finish_attempt(job, move)


def require_nothing_new(folder: bytes, files: list[FileRow]) -> None:
    """Look whether the session is still what was sealed, before it is archived.

    Raises
    ------
    ChangedError
        A file appeared, or one that is sent is another version: a late camera must not be left behind.
    """
    sealed = {row.path: row for row in files}
    for file in walk_session(folder):
        if file.version is None or is_about_transfer(file.path):
            continue
        row = sealed.get(file.path)
        if row is None:
            raise ChangedError(file.path, "appeared after the session was sealed")
        if row.md5 is not None and row.version != file.version:
            raise ChangedError(file.path, "changed since it was sealed")


def registration_rules(context: Context) -> RegistrationRules:
    """Return the rules by which files become datasets: the configured patterns and Alyx' vocabulary."""
    settings = context.config.registration
    return _rules(settings.patterns, settings.exclude_suffixes, settings.ibl_strict_patterns, context.words().datasets)


@lru_cache(maxsize=1)
def _rules(
    patterns: tuple[str, ...], exclude_suffixes: tuple[str, ...], strict: bool, vocabulary: Vocabulary
) -> RegistrationRules:
    """Keep the rules, and with them what they decided before, until Alyx' vocabulary is another one."""
    return RegistrationRules(Matcher(patterns, exclude_suffixes, strict=strict), vocabulary)


def fate_of(file: WalkedFile, rules: RegistrationRules | None) -> Decision:
    """Decide about one thing that the walk found; without rules the root is archived without registration."""
    if file.error:
        return Decision(FileFate.REJECTED, "file_unreadable", file.error)
    if rules is not None:
        return rules.decide(file.path, file.kind is FileKind.REGULAR)
    code = "not_registered" if file.kind is FileKind.REGULAR else "not_regular"
    return Decision(FileFate.EXCLUDED, code, CODES[code].title)


def is_sent(row: FileRow, root: Root, archives: Mapping[str, ArchiveTarget]) -> bool:
    """Say whether a file goes anywhere: only such files are hashed (ruling 6)."""
    if row.fate is FileFate.DATASET:
        return True
    return any(is_carried(row, archives[name]) for name in root.archive)


def is_carried(row: FileRow, archive: ArchiveTarget) -> bool:
    """Say whether an archive takes a file (ruling 15): Alyx' datasets, or with other names all but `exclude`."""
    if isinstance(archive, ObserveArchive):
        return row.fate is FileFate.DATASET
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
