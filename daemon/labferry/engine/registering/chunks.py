"""One chunk of files on its way to Alyx: sent as a step, its answer compared, the files that Alyx refuses left out.

Alyx stops at the first file it does not like, keeps what came before, and often does not say which one it was. So the
culprits are found (named by Alyx, without a dataset type, or by halving the chunk) and the others are sent again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from labferry import __version__
from labferry.alyx.answers import ProtectedFilesError, RefusedError
from labferry.alyx.registration import FileToRegister, RegisteredFile, compare_answer, files_body, post_files
from labferry.engine.context import Context
from labferry.engine.outbox import outbox
from labferry.engine.registering.looking import mark_of
from labferry.engine.registering.patience import Patience
from labferry.engine.registering.plan import Plan
from labferry.engine.seal import registration_rules
from labferry.engine.unchanged import require_unchanged
from labferry.errors import BlockedError
from labferry.journal.files import KnownRecord
from labferry.journal.rows import FileRow, JobRow, SessionRow
from labferry.model import FileFate, show_path

FILES_STEP = "files"

# What Alyx has against single files, and what such a file is in the manifest from then on.
REJECTED_AS: Mapping[str, str] = {
    "dataset_type": "no_dataset_type",
    "several_dataset_types": "ambiguous_dataset_type",
    "data_format": "no_data_format",
    "too_long_for_alyx": "name_too_long",
    "file_refused": "refused_by_alyx",
}
ABOUT_ONE_FILE = frozenset({*REJECTED_AS, "orphan_dataset"})
ABOUT_TYPES = frozenset({"dataset_type", "several_dataset_types", "data_format"})

Culprits = dict[int, tuple[str, str]]
"""File ids with the code under which the file is rejected (empty: the job is blocked for it), and why."""


class DoubledRowsError(Exception):
    """Alyx complains of two rows for one file: they are looked for before anything is sent again."""


class Chunks:
    """Sends the files of a session, some at a time."""

    def __init__(self, context: Context, patience: Patience) -> None:
        self._context = context
        self._patience = patience

    def send(self, job: JobRow, session: SessionRow, folder: bytes, files: Sequence[FileRow], plan: Plan) -> None:
        """Register files; those that Alyx refuses are rejected in the manifest, or added to the plan's refusals.

        Raises
        ------
        ChangedError
            A file is not the version that was sealed; nothing of the chunk was sent.
        BlockedError
            Alyx refuses for a reason that holds for all of them, or answers something else than was sent.
        DoubledRowsError
            Once in a plan; doubled rows must be looked for.
        """
        waiting = [list(files)]
        while waiting:
            some = waiting.pop()
            try:
                self._post(job, session, folder, some, plan.ratings)
            except RefusedError as error:
                plan.uncertain = True
                waiting += self._without_culprits(some, plan, error)

    def _post(
        self, job: JobRow, session: SessionRow, folder: bytes, files: Sequence[FileRow], ratings: Mapping[int, str]
    ) -> None:
        """Send one request as a step and record the answer file by file."""
        steps = self._context.journal.steps
        for file in files:
            require_unchanged(folder, file.version)
        body = body_of(self._context, session, [as_sent(file, ratings) for file in files])
        name = f"{FILES_STEP}:{files[0].id}"
        first, last = show_path(files[0].path), show_path(files[-1].path)
        self._patience.sent(job.id, name)
        request = {"files": len(files), "first": first, "last": last, "hashes": [mark_of(file.md5) for file in files]}
        with outbox(steps, job.id, name, request):
            answer = post_files(self._context.alyx, body)
        self._patience.answered(job.id, name)
        wrong = compare_answer(body, answer)
        with self._context.journal.together():
            steps.answer(job.id, name, {"datasets": len(answer), "wrong": wrong})
            if not wrong:
                for file, entry in zip(files, answer, strict=True):
                    self._record(file, entry)
        if wrong:
            raise BlockedError("answer_mismatch", f"Alyx answered something else than was sent: {'; '.join(wrong)}")

    def _record(self, file: FileRow, entry: RegisteredFile) -> None:
        records = [KnownRecord(r.id, r.repository, r.relative_path, r.exists) for r in entry.file_records]
        self._context.journal.files.registered(file.id, entry.id, file.md5 or "", records)

    # --- what Alyx does not take --------------------------------------------------------------------------

    def _without_culprits(self, files: list[FileRow], plan: Plan, error: RefusedError) -> list[list[FileRow]]:
        """Leave out the files that a refusal is about; return what is to be sent again, in pieces."""
        if error.code == "orphan_dataset" and not plan.searched:
            raise DoubledRowsError
        culprits = self._culprits(files, error)
        if not culprits:
            if error.code not in ABOUT_ONE_FILE:
                raise error
            if len(files) > 1:
                half = len(files) // 2
                return [files[half:], files[:half]]
            culprits = {files[0].id: (REJECTED_AS.get(error.code, ""), error.message)}
        if isinstance(error, ProtectedFilesError):
            plan.refused.add(error, *culprits)
        else:
            self._leave_out(files, culprits, plan, error)
        rest = [file for file in files if file.id not in culprits]
        return [rest] if rest else []

    def _culprits(self, files: list[FileRow], error: RefusedError) -> Culprits:
        """Return the files that Alyx names, and those that its vocabulary of now has no word for."""
        if isinstance(error, ProtectedFilesError):
            return {file.id: ("", error.message) for file in files if os.fsdecode(file.path) in error.names}
        if error.code not in ABOUT_ONE_FILE:
            return {}
        as_said = (REJECTED_AS.get(error.code, ""), error.message)
        culprits = {file.id: as_said for file in files if is_named(file, error.file)}
        if error.code in ABOUT_TYPES:
            self._context.vocabulary.get(self._context.alyx, max_age=0)
            rules = registration_rules(self._context)
            for file in files:
                decision = rules.decide_named(file.path)
                if decision.fate is not FileFate.DATASET:
                    culprits[file.id] = (decision.code, decision.reason)
        return culprits

    def _leave_out(self, files: Sequence[FileRow], culprits: Culprits, plan: Plan, error: RefusedError) -> None:
        """Reject what a person must correct at the file; what must be corrected in Alyx blocks the job in the end."""
        for file in files:
            if file.id not in culprits:
                continue
            code, why = culprits[file.id]
            if code:
                self._context.journal.files.reject(file.id, code, why)
            else:
                plan.refused.add(BlockedError(error.code, f"{show_path(file.path)}: {why}"), file.id)


def as_sent(file: FileRow, ratings: Mapping[int, str]) -> FileToRegister:
    """Return a sealed file as it is sent; `ratings` are what Alyx must go on thinking of files."""
    return FileToRegister(os.fsdecode(file.path), file.md5 or "", file.size, ratings.get(file.id, ""))


def body_of(context: Context, session: SessionRow, files: Sequence[FileToRegister]) -> dict[str, object]:
    """Return what is posted for files of a resolved session."""
    assert session.lab is not None
    assert session.repository is not None
    return files_body(
        context.parsed(session).alyx_path,
        files,
        lab=session.lab,
        repository=session.repository,
        versions=context.config.registration.versions or __version__,
        created_by=context.config.alyx.username,
    )


def is_named(file: FileRow, name: str) -> bool:
    """Say whether Alyx' text means this file: it has a path below the session, or only the name."""
    path = os.fsdecode(file.path)
    return bool(name) and name in (path, path.rpartition("/")[2])
