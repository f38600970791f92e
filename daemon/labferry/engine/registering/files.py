"""The files of a session: what Alyx lacks is posted in chunks, what it has is adopted, what it refuses is named."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from itertools import islice

from labferry import __version__
from labferry.alyx.answers import RefusedError
from labferry.alyx.file_records import RemoteFileRecord, mark_exists
from labferry.alyx.registration import (
    DatasetKey,
    FileToRegister,
    ProtectedFilesError,
    RegisteredFile,
    RemoteDataset,
    SessionDatasets,
    compare_answer,
    files_body,
    post_files,
    registered_datasets,
)
from labferry.datasets import collection_revision_name
from labferry.engine.context import Context
from labferry.engine.outbox import outbox
from labferry.engine.registering.patience import Patience
from labferry.engine.unchanged import require_unchanged
from labferry.errors import BlockedError, NotYetError
from labferry.journal.files import KnownRecord
from labferry.journal.rows import FileRow, JobRow, SessionRow
from labferry.model import show_path

FILES_STEP = "files"
LOOK_STEP = "look"


class EnsureFiles:
    """Bring the datasets of a session into Alyx."""

    def __init__(self, context: Context, patience: Patience) -> None:
        self._context = context
        self._patience = patience

    def settled_datasets(self, job: JobRow, eid: str) -> SessionDatasets:
        """Return what Alyx has for the session, once no request of ours can be in flight (ruling 13)."""
        steps = self._context.journal.steps
        remote = registered_datasets(self._context.alyx, eid)
        open_step = next(
            (step for step in steps.of_job(job.id) if step.name.startswith(FILES_STEP) and step.answered_at is None),
            None,
        )
        if open_step is None:
            return remote
        self._patience.require_over(job.id, open_step.name)
        seen = f"{open_step.name} {fingerprint(remote)}"
        look = steps.get(job.id, LOOK_STEP)
        every = self._context.config.registration.resend_look_every
        if look is None or look.request != json.dumps(seen):
            steps.send(job.id, LOOK_STEP, seen)
            self._patience.sent(job.id, LOOK_STEP)
            raise NotYetError("files_in_flight", "watching what becomes of the last request", every)
        wait = every - self._patience.elapsed.seconds(job.id, LOOK_STEP)
        if wait > 0:
            raise NotYetError("files_in_flight", "watching what becomes of the last request", wait)
        with self._context.journal.together():
            steps.drop(job.id, open_step.name)
            steps.drop(job.id, LOOK_STEP)
        return remote

    def ensure(
        self,
        job: JobRow,
        session: SessionRow,
        folder: bytes,
        files: list[FileRow],
        remote: SessionDatasets,
        beat: Callable[[str, float], None],
    ) -> list[BlockedError]:
        """Post what Alyx lacks, chunk by chunk; return what could not be sent."""
        context = self._context
        refused: list[BlockedError] = []
        todo: list[FileRow] = []
        for file in files:
            key = key_of(file)
            there = remote.get(key)
            if key in remote.doubled:
                refused.append(doubled(file, remote.doubled[key]))
            elif there is not None and there.hash == file.md5 and (here := self._record_here(session, file, there)):
                if not here.exists:
                    # Posting the same hash again would not change it.
                    mark_exists(context.alyx, here.id)
                self._adopt(file, there)
            elif there is not None and (conflict := self._conflict(session, file, there)):
                refused.append(conflict)
            else:
                todo.append(file)
        left = sum(file.size for file in todo)
        queue = iter(todo)
        while chunk := list(islice(queue, context.config.registration.chunk)):
            beat(f"registering {len(chunk)} files of {show_path(session.path)}", 3 * context.config.alyx.timeout)
            refused += self._post(job, session, folder, chunk)
            left -= sum(file.size for file in chunk)
            context.journal.jobs.set_bytes_left(job.id, left)
        return refused

    def _post(self, job: JobRow, session: SessionRow, folder: bytes, chunk: list[FileRow]) -> list[BlockedError]:
        """Send one chunk as a step and record the answer file by file."""
        context, steps = self._context, self._context.journal.steps
        for file in chunk:
            require_unchanged(folder, file.version)
        assert session.lab is not None
        assert session.repository is not None
        body = files_body(
            context.parsed(session).alyx_path,
            [FileToRegister(os.fsdecode(file.path), file.md5 or "", file.size) for file in chunk],
            lab=session.lab,
            repository=session.repository,
            versions=context.config.registration.versions or __version__,
            created_by=context.config.alyx.username,
        )
        earlier = steps.of_job(job.id)
        name = f"{FILES_STEP}:{earlier[-1].id + 1 if earlier else 1}"
        self._patience.sent(job.id, name)
        try:
            with outbox(steps, job.id, name, {"filenames": body["filenames"]}):
                answer = post_files(context.alyx, body)
        except ProtectedFilesError as error:
            return self._without(job, session, folder, chunk, error)
        except RefusedError as error:
            return self._without_untyped(job, session, folder, chunk, error)
        self._patience.answered(job.id, name)
        wrong = compare_answer(body, answer)
        with context.journal.together():
            steps.answer(job.id, name, {"datasets": len(answer), "wrong": wrong})
            for file, entry in zip(chunk, answer, strict=not wrong):
                if not wrong:
                    self._record(file, entry)
        if wrong:
            raise BlockedError("answer_mismatch", f"Alyx answered something else than was sent: {'; '.join(wrong)}")
        return []

    def _without(
        self, job: JobRow, session: SessionRow, folder: bytes, chunk: list[FileRow], error: ProtectedFilesError
    ) -> list[BlockedError]:
        """Send the unprotected rest of a chunk; the protected files stay as they are in Alyx."""
        protected = set(error.names)
        rest = [file for file in chunk if os.fsdecode(file.path) not in protected]
        if len(rest) == len(chunk):
            raise error
        return [error, *(self._post(job, session, folder, rest) if rest else [])]

    def _without_untyped(
        self, job: JobRow, session: SessionRow, folder: bytes, chunk: list[FileRow], error: RefusedError
    ) -> list[BlockedError]:
        """Leave out a file that has no dataset type any more, and send the rest; raise whatever else was refused."""
        culprits = [file for file in chunk if error.code == "dataset_type" and is_named(file, error.file)]
        if not culprits:
            raise error
        for file in culprits:
            self._context.journal.files.reject(file.id, "no_dataset_type", error.message)
        rest = [file for file in chunk if file not in culprits]
        return self._post(job, session, folder, rest) if rest else []

    def _record_here(self, session: SessionRow, file: FileRow, there: RemoteDataset) -> RemoteFileRecord | None:
        """Return Alyx' record that the file is on this server, under the path that we register."""
        assert session.repository is not None
        return there.record_at(session.repository, self._context.alyx_path_of(session, file.path))

    def _conflict(self, session: SessionRow, file: FileRow, there: RemoteDataset) -> BlockedError | None:
        """Never post over content that we did not write, nor over content that is archived (ruling 10)."""
        if not there.hash or there.hash == file.md5:
            return None
        name = show_path(file.path)
        if there.hash != file.registered_hash:
            return BlockedError(
                "hash_conflict",
                f"{name}: Alyx has MD5 {there.hash}, which was not written from here; the file has {file.md5}",
            )
        published = any(r.exists and r.repository != session.repository for r in there.file_records)
        copied = any(copy.md5 != file.md5 for copy in self._context.journal.transfers.copies(file.id))
        if published or copied:
            return BlockedError("changed_after_archive", f"{name} changed after it was verified in the archive")
        return None

    def _adopt(self, file: FileRow, there: RemoteDataset) -> None:
        if file.registered_hash == there.hash and file.dataset_id == there.id:
            return
        records = [KnownRecord(r.id, r.repository, r.relative_path, r.exists) for r in there.file_records]
        self._context.journal.files.registered(file.id, there.id, there.hash, records)

    def _record(self, file: FileRow, entry: RegisteredFile) -> None:
        records = [KnownRecord(r.id, r.repository, r.relative_path, r.exists) for r in entry.file_records]
        self._context.journal.files.registered(file.id, entry.id, file.md5 or "", records)

    def check(self, eid: str, session: SessionRow, refused: list[BlockedError]) -> None:
        """Look at the result: every file is in Alyx with the hash it has here."""
        remote = registered_datasets(self._context.alyx, eid)
        files = self._context.journal.files.datasets(session.id)  # those that were not left out
        missing = [
            show_path(file.path)
            for file in files
            if (there := remote.get(key_of(file))) is None or there.hash != file.md5
        ]
        if missing and not refused:
            raise NotYetError(
                "files_in_flight", f"{len(missing)} files are not in Alyx as they are here yet: {missing[0]}, …", 5.0
            )


def key_of(file: FileRow) -> DatasetKey:
    """Return how Alyx names a file: collection, revision, name."""
    return collection_revision_name(file.path)


def is_named(file: FileRow, name: str) -> bool:
    """Say whether Alyx' text means this file: it has a path below the session, or only the name."""
    path = os.fsdecode(file.path)
    return bool(name) and name in (path, path.rpartition("/")[2])


def doubled(file: FileRow, rows: tuple[RemoteDataset, ...]) -> BlockedError:
    """Return the error for a file that Alyx has several rows for: every request that names it would fail."""
    bare = [row.id for row in rows if not row.file_records]
    return BlockedError(
        "orphan_dataset",
        f"{show_path(file.path)}: {len(rows)} dataset rows in Alyx; without file records: {', '.join(bare) or 'none'}",
    )


def fingerprint(remote: SessionDatasets) -> str:
    """Return a digest of what Alyx holds: equal digests mean that nothing moved (ruling 13)."""
    digest = hashlib.blake2b(digest_size=16)
    for key in sorted(remote):
        there = remote[key]
        records = ",".join(sorted(f"{r.id}={r.exists}" for r in there.file_records))
        digest.update(f"{key}|{there.id}|{there.hash}|{records}\n".encode())
    return digest.hexdigest()
