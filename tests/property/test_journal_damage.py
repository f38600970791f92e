"""Bytes of the journal that flip: it is noticed, or it does not matter; the damaged file is kept, a backup restored."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labferry.errors import LabferryError
from labferry.journal import Journal, JournalError, open_journal
from labferry.journal.journal import FILE
from support.clock import FakeClock

SESSIONS = 40


@pytest.fixture(scope="module")
def sample() -> Iterator[Path]:
    """A state directory with a journal and the backup of a day before it."""
    with tempfile.TemporaryDirectory() as folder:
        clock = FakeClock()
        journal = Journal(Path(folder), clock)
        journal.sessions.meet_root("s0", b"/s0", "ibl")
        for number in range(1, SESSIONS + 1):
            session = journal.sessions.add(
                "s0",
                b"S/2024-03-01/%03d" % number,
                layout="ibl",
                subject="S",
                date="2024-03-01",
                number=number,
                lab=None,
            )
            journal.sessions.signal(session, "raw_session.flag")
            journal.sessions.complete(session, b"signature", register=True, targets=["nas"])
        journal.back_up(keep=7)
        clock.pass_by(86_400)
        journal.sessions.meet_root("s1", b"/s1", "ibl")
        journal.close()
        yield Path(folder)


def opened_or_refused(state: Path, clock: FakeClock) -> Journal | LabferryError:
    try:
        return open_journal(state, clock)
    except LabferryError as error:
        return error


def damage_of(journal: Journal) -> str:
    """Return what the check after an unclean stop finds, or a statement after it."""
    if damage := journal.check():
        return damage
    try:
        journal.sessions.folders("s0")
        journal.recoveries()
    except JournalError:
        return journal.damage
    return ""


@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ruling_23_flipped_bytes_never_leave_a_journal_that_is_not_sound(
    sample: Path, flips: list[tuple[float, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        shutil.copytree(sample, state)
        content = bytearray((state / FILE).read_bytes())
        for place, mask in flips:
            content[int(place * len(content))] ^= mask
        (state / FILE).write_bytes(content)
        clock = FakeClock(1_800_000_000.0)
        opened = opened_or_refused(state, clock)
        if isinstance(opened, LabferryError):
            # Its schema's number is another one now, which is no damage that can be seen: then nothing is moved.
            assert opened.code in {"journal_newer", "journal_unusable", "journal_foreign"}
            assert (state / FILE).exists()
            return
        journal = opened
        for _ in range(2):  # what a life of the daemon finds damaged, the next one replaces
            if not (damage := damage_of(journal)):
                break
            journal.close()
            journal = open_journal(state, clock, damage)
        try:
            assert damage_of(journal) == ""
            assert len(journal.sessions.folders("s0")) == SESSIONS
            for recovery in journal.recoveries():
                assert recovery.backup == "journal-2023-11-14.sqlite"
                assert Path(recovery.kept_as, FILE).exists(), "the damaged one is kept"
        finally:
            journal.close()
