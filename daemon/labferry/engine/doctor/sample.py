"""The newest session of every root: an example to try on what a job would ask of Alyx."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from labferry.alyx.resolve import local_repository
from labferry.config import Root
from labferry.config.checks import Check, Result
from labferry.engine.context import Context
from labferry.engine.doctor.checking import failed, skipped
from labferry.errors import LabferryError
from labferry.journal.rows import SessionRow
from labferry.model import show_path


@dataclass(frozen=True, slots=True)
class Sample:
    """A root with its newest session; `session` knows its lab where that could be found out, None without any."""

    root: Root
    session: SessionRow | None
    trouble: LabferryError | None = None

    @property
    def usable(self) -> bool:
        """Whether where it is archived can be told: its lab is known, or needs not be."""
        return self.session is not None and bool(self.session.lab or self.root.lab or not self.root.registers)


def samples(context: Context, *, ask: bool) -> list[Sample]:
    """Return one sample for each root; with `ask` Alyx tells the lab of its subject."""
    return [_sample(context, root, ask=ask) for root in context.config.roots]


def _sample(context: Context, root: Root, *, ask: bool) -> Sample:
    there = [row for row in context.journal.sessions.of_root(root.name) if row.vanished_at is None]
    if not there:
        return Sample(root, None)
    newest = max(there, key=lambda row: (row.date, row.number, row.id))
    if not ask or not root.registers:
        return Sample(root, newest)
    try:
        subject = context.people.subject(newest.subject)
        return Sample(root, replace(newest, lab=root.lab or subject.lab))
    except LabferryError as trouble:
        return Sample(root, newest, trouble)


def checks(context: Context, sample: Sample, *, answers: bool) -> Iterator[Check]:
    """Check whether subject and data repository of a sample can be resolved, as its register job would do it."""
    root, session = sample.root, sample.session
    names = (f"subject:{root.name}", f"repository:{root.name}")
    if not root.registers:
        why = "this root is not registered in Alyx"
    elif not answers:
        why = "Alyx cannot be asked"
    elif session is None:
        why = "no session is there to try it on"
    else:
        yield from _resolved(context, sample, session, *names)
        return
    yield from (skipped(name, why) for name in names)


def _resolved(
    context: Context, sample: Sample, session: SessionRow, subject_check: str, repository_check: str
) -> Iterator[Check]:
    example = f"{show_path(session.path)}, the newest session of root {sample.root.name}"
    if sample.trouble is not None:
        yield failed(subject_check, sample.trouble)
        yield skipped(repository_check, f"the lab of {example}, is not known")
        return
    lab = session.lab or ""
    yield Check(subject_check, Result.OK, f"subject {session.subject} is of lab {lab} ({example})")
    try:
        repository = local_repository(
            context.words(),
            lab,
            endpoint=context.config.globus.endpoint,
            root_path=os.fsencode(sample.root.path),
            configured=sample.root.repository,
        )
    except LabferryError as trouble:
        yield failed(repository_check, trouble)
        return
    yield Check(repository_check, Result.OK, f"its files are in data repository {repository} of lab {lab} for Alyx")
