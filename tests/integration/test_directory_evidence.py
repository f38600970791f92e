"""What a directory archive keeps of what was there before: lost evidence, and half copies nobody goes on with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labferry.archive.base import Carried
from labferry.archive.directory import DirectoryArchive
from labferry.archive.plan import Evidence
from labferry.config import DirectoryArchive as Settings
from labferry.engine.archive import ArchiveStage
from labferry.journal.rows import SessionRow
from labferry.journal.transfer_rows import ItemRow, TransferRow
from labferry.model import JobState, Stage
from support.replacing import WHEEL, change, copy_of, go_on, is_done, lies, published
from support.stages import StageBench


class Forgetful(DirectoryArchive):
    """Carries everything, and says of one file less than it should that it arrived."""

    def advance(self, *args: Any, keep: Callable[[Evidence], None], **named: Any) -> Carried:
        """Keep to itself how the wheel's file was verified."""

        def keep_others(evidence: Evidence) -> None:
            if b"_ibl_wheel" not in evidence.destination:
                keep(evidence)

        return super().advance(*args, keep=keep_others, **named)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StageBench]:
    bench = StageBench(tmp_path)
    yield bench
    bench.close()


def forgetful(bench: StageBench) -> ArchiveStage:
    settings = bench.context.config.archive["server"]
    assert isinstance(settings, Settings)
    return ArchiveStage(bench.context, Forgetful("server", os.fsencode(settings.path)))


def copied_without_evidence(bench: StageBench) -> tuple[SessionRow, TransferRow]:
    """Bring a session to its archive, which forgets to say so of one file."""
    _, session = bench.write()
    for stage in (Stage.RESOLVE, Stage.SEAL, Stage.REGISTER, Stage.SEAL):
        bench.step(stage)
    bench.archives["server"] = forgetful(bench)
    bench.step(Stage.ARCHIVE)
    (transfer,) = bench.journal.transfers.of_session(session.id)
    return session, transfer


def items(bench: StageBench, session: SessionRow) -> list[ItemRow]:
    (transfer,) = bench.journal.transfers.of_session(session.id)
    return bench.journal.transfers.items(transfer.id)


def test_map_03_a_transfer_is_not_verified_while_evidence_is_missing(bench: StageBench) -> None:
    real = bench.archives["server"]
    bench.archives["server"] = forgetful(bench)
    _, session = bench.write()
    assert bench.run_until(Stage.ARCHIVE).state is JobState.QUEUED
    (transfer,) = bench.journal.transfers.of_session(session.id)
    assert transfer.state == "active"
    assert not any(exists for _, exists in published(bench).values())

    bench.archives["server"] = real
    bench.clock.pass_by(900.0)
    go_on(bench)
    assert is_done(bench, session)
    assert {row.path.decode(): row.verified_how for row in items(bench, session)}[WHEEL] == "adopted"
    assert lies(bench) == []


def test_map_03_what_was_called_verified_without_evidence_is_looked_at_again(bench: StageBench) -> None:
    session, transfer = copied_without_evidence(bench)
    bench.journal.transfers.finish(transfer.id, "verified")  # as it was done once
    bench.end_life()
    bench.open()
    bench.clock.pass_by(900.0)
    go_on(bench)
    assert is_done(bench, session)
    assert all(row.verified_at is not None and (row.marked_at or not row.dataset_id) for row in items(bench, session))
    assert lies(bench) == []


def test_map_03_a_half_copy_of_an_older_generation_is_removed(bench: StageBench) -> None:
    session, transfer = copied_without_evidence(bench)
    copy = copy_of(bench, session)
    half, others = copy.parent / f".lf-{transfer.batch}-0.part", copy.parent / ".lf-lf-somebody-0.part"
    half.write_bytes(b"posi")  # killed in the midst of it
    others.write_bytes(b"of another session")
    bench.end_life()
    bench.open()
    change(bench, session, {"alf/_ibl_trials.extra.npy": b"new"})
    bench.clock.pass_by(900.0)
    go_on(bench)
    assert is_done(bench, session)
    assert (half.exists(), others.exists()) == (False, True)
