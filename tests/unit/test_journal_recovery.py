"""A damaged journal is kept, the newest good backup takes its place, and kills in between change nothing in the end."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from labferry.errors import UnavailableError
from labferry.journal import Journal, JournalError, open_journal, recovery
from labferry.journal.journal import BACKUPS, FILE
from support.clock import FakeClock

DAMAGE = b"this was a journal once"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def make(state: Path, clock: FakeClock, *, backups: int = 2) -> None:
    """Write a journal with one session more than its newest backup knows, then damage it."""
    journal = Journal(state, clock)
    journal.sessions.meet_root("s0", b"/s0", "ibl")
    for number in range(1, backups + 2):
        journal.sessions.add(
            "s0", b"S/2024-03-01/%03d" % number, layout="ibl", subject="S", date="2024-03-01", number=number, lab=None
        )
        if number <= backups:
            journal.back_up(keep=7)
            clock.pass_by(86_400)
    journal.close()
    (state / FILE).write_bytes(DAMAGE)


def known(journal: Journal) -> int:
    return len(journal.sessions.folders("s0"))


def test_ruling_23_a_damaged_journal_is_kept_and_the_newest_backup_restored(tmp_path: Path, clock: FakeClock) -> None:
    make(tmp_path, clock)
    journal = open_journal(tmp_path, clock)
    assert known(journal) == 2
    (found,) = journal.recoveries()
    journal.close()
    assert (found.at, found.backup) == (clock.now(), "journal-2023-11-15.sqlite")
    assert found.known_until == clock.now() - 86_400
    assert "cannot be read as a journal" in found.why
    assert Path(found.kept_as, FILE).read_bytes() == DAMAGE
    again = open_journal(tmp_path, clock)
    assert len(again.recoveries()) == 1, "and that was it"
    again.close()


def test_ruling_23_a_backup_that_is_damaged_too_is_passed_over(tmp_path: Path, clock: FakeClock) -> None:
    make(tmp_path, clock)
    newest = max((tmp_path / BACKUPS).iterdir())
    content = bytearray(newest.read_bytes())
    content[1024:4096] = bytes(3072)
    newest.write_bytes(content)
    journal = open_journal(tmp_path, clock)
    assert (known(journal), journal.recoveries()[0].backup) == (1, "journal-2023-11-14.sqlite")
    journal.close()


def test_ruling_23_without_a_good_backup_the_journal_begins_anew(tmp_path: Path, clock: FakeClock) -> None:
    make(tmp_path, clock, backups=0)
    journal = open_journal(tmp_path, clock)
    assert (known(journal), journal.recoveries()[0].backup) == (0, "")
    journal.close()


def test_ruling_23_the_log_of_the_damaged_journal_never_meets_the_restored_one(
    tmp_path: Path, clock: FakeClock
) -> None:
    make(tmp_path, clock)
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"{FILE}{suffix}").write_bytes(b"left over")
    journal = open_journal(tmp_path, clock)
    kept = Path(journal.recoveries()[0].kept_as)
    assert sorted(path.name for path in kept.iterdir()) == [FILE, f"{FILE}-shm", f"{FILE}-wal"]
    assert (journal.check(), known(journal)) == (None, 2)
    journal.close()


def test_ruling_23_what_is_damaged_twice_in_one_second_is_kept_twice(tmp_path: Path, clock: FakeClock) -> None:
    make(tmp_path, clock)
    open_journal(tmp_path, clock).close()
    (tmp_path / FILE).write_bytes(b"and what took its place")
    journal = open_journal(tmp_path, clock)
    kept = [file.read_bytes() for file in sorted((tmp_path / recovery.KEPT).glob(f"*/{FILE}"))]
    assert kept == [DAMAGE, b"and what took its place"]
    assert Path(journal.recoveries()[-1].kept_as, FILE).read_bytes() == kept[1]
    journal.close()


def test_a_full_disk_is_no_damage(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, clock)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(JournalError, match="No space left"):
        open_journal(tmp_path, clock)
    monkeypatch.undo()
    journal = open_journal(tmp_path, clock)
    assert known(journal) == 2
    journal.close()


# --- kills ------------------------------------------------------------------------------------------------------

KILLER = """
import os, signal, sys
from pathlib import Path
from labferry.journal import open_journal
from support.clock import FakeClock

left = int(sys.argv[2])

def after(what):
    def wrapped(*args, **kwargs):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return what(*args, **kwargs)
    return wrapped

for owner, name in ((Path, "rename"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir"), (os, "fsync")):
    setattr(owner, name, after(getattr(owner, name)))
open_journal(Path(sys.argv[1]), FakeClock()).close()
"""


def run_until_killed(state: Path, steps: int, script: str = KILLER) -> bool:
    """Run a script in a process that dies after so many changes of the file system; return whether it did."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script, str(state), str(steps)], env=environment, check=False)
    assert done.returncode in {0, -signal.SIGKILL}
    return done.returncode != 0


def test_ruling_23_a_kill_at_any_step_of_a_recovery_changes_nothing_in_the_end(
    tmp_path: Path, clock: FakeClock
) -> None:
    steps, killed = 0, True
    while killed:
        state = tmp_path / str(steps)
        state.mkdir()
        make(state, FakeClock())
        killed = run_until_killed(state, steps)
        journal = open_journal(state, clock)
        assert (known(journal), journal.check()) == (2, None)
        (found,) = journal.recoveries()
        assert Path(found.kept_as, FILE).read_bytes() == DAMAGE
        journal.close()
        assert not (state / recovery.MARKER).exists()
        steps += 1
    assert steps > 10, "there are that many places to die at"


UNNOTED = """
import os, signal, sys
from pathlib import Path
from labferry.journal import Journal, open_journal
from support.clock import FakeClock

Journal.note_recovery = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
open_journal(Path(sys.argv[1]), FakeClock())
"""


def test_ruling_23_what_took_the_journals_place_and_is_damaged_too_is_replaced_as_well(
    tmp_path: Path, clock: FakeClock
) -> None:
    make(tmp_path, clock)
    assert run_until_killed(tmp_path, 0, UNNOTED)
    assert (tmp_path / recovery.MARKER).exists()
    (tmp_path / FILE).write_bytes(b"torn by a power cut")
    journal = open_journal(tmp_path, clock)
    assert (known(journal), journal.check()) == (2, None)
    kept = {file.read_bytes() for file in (tmp_path / recovery.KEPT).glob(f"*/{FILE}")}
    assert kept == {DAMAGE, b"torn by a power cut"}
    journal.close()


BACKUP_KILLER = KILLER.replace(
    "open_journal(Path(sys.argv[1]), FakeClock()).close()", "open_journal(Path(sys.argv[1]), FakeClock()).back_up(7)"
)


def test_ruling_23_a_kill_during_a_backup_leaves_the_older_ones(tmp_path: Path, clock: FakeClock) -> None:
    journal = Journal(tmp_path, clock)
    journal.sessions.meet_root("s0", b"/s0", "ibl")
    good = journal.back_up(keep=7)
    journal.close()
    before = good.read_bytes()
    killed = [run_until_killed(tmp_path, steps, BACKUP_KILLER) for steps in range(3)]
    assert any(killed)
    for path in (tmp_path / BACKUPS).glob("*.sqlite"):
        with sqlite3.connect(path) as database:
            assert database.execute("PRAGMA quick_check").fetchone() == ("ok",)
    assert (good.read_bytes() == before) or not all(killed)
    journal = Journal(tmp_path, clock)
    journal.back_up(keep=7)
    journal.close()
    assert [path.name for path in (tmp_path / BACKUPS).iterdir()] == [good.name], "nothing is left lying about"


# --- while it runs ----------------------------------------------------------------------------------------------


@pytest.fixture
def holed(tmp_path: Path, clock: FakeClock) -> Journal:
    """An open journal under which a table's page was overwritten."""
    journal = Journal(tmp_path, clock)
    journal.sessions.meet_root("s0", b"/s0", "ibl")
    journal.close()
    with sqlite3.connect(tmp_path / FILE) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'session'").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    with (tmp_path / FILE).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))
    return Journal(tmp_path, clock)


@pytest.mark.parametrize(
    "what",
    [lambda journal: journal.sessions.all(), lambda journal: journal.back_up(7)],
    ids=["read", "backup"],
)
def test_ruling_24_damage_that_a_statement_meets_is_remembered(
    holed: Journal, what: Callable[[Journal], object]
) -> None:
    assert holed.damage == ""
    with pytest.raises(JournalError, match="malformed"):
        what(holed)
    assert "malformed" in holed.damage
    holed.close()


def test_a_full_disk_under_a_backup_is_told_apart(tmp_path: Path, clock: FakeClock) -> None:
    journal = Journal(tmp_path, clock)
    (tmp_path / BACKUPS).mkdir()
    (tmp_path / BACKUPS / "journal-2023-11-14.sqlite.part").mkdir()
    with pytest.raises((UnavailableError, OSError)):
        journal.back_up(keep=7)
    assert journal.damage == ""
    journal.close()
