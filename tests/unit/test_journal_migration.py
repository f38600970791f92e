"""A journal that an older labferry wrote: taken over as it is, with a copy of what was there before."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from labferry.journal import Journal, JournalError, database
from labferry.journal.database import APPLICATION_ID, migrations
from labferry.model import JobKind, JobState, SessionState, Stage
from support.clock import FakeClock

FILE = "journal.sqlite"
VERSIONS = [version for version, _ in migrations()]
OLDER = VERSIONS[:-1]
MD5 = "0" * 32

# What every schema so far can hold: one session registered and on its way to an archive, another one archived.
ROWS = f"""
INSERT INTO instance VALUES ('life', 77, '0.1', 100, 200);
INSERT INTO root (name, path, layout, first_contact_at) VALUES ('s0', X'2F64617461', 'ibl', 100);
INSERT INTO session (id, root, path, layout, subject, date, number, eid, first_seen_at, complete_at, generation,
  sealed_generation, updated_at)
VALUES (1, 's0', X'4B533030352FFF', 'ibl', 'KS005', '2019-04-02', 1, 'an-eid', 100, 110, 1, 1, 110),
       (2, 's0', X'4B533030362F', 'ibl', 'KS006', '2019-04-02', 1, 'other-eid', 100, 110, 1, 1, 110);
INSERT INTO file (id, session_id, path, generation, size, mtime_ns, ctime_ns, md5, fate)
VALUES (1, 1, X'61', 1, 10, 1, 1, '{MD5}', 'dataset'), (2, 1, X'62', 1, 20, 1, 1, '{MD5}', 'dataset'),
       (3, 2, X'63', 1, 30, 1, 1, '{MD5}', 'dataset');
INSERT INTO job (id, session_id, kind, target, generation, state, stage, attempts, not_before, created_at, updated_at,
  finished_at)
VALUES (1, 1, 'register', '', 1, 'done', 'register', 1, 110, 110, 120, 120),
       (2, 1, 'archive', 'nas', 1, 'waiting', 'archive', 1, 130, 120, 130, NULL),
       (3, 2, 'register', '', 1, 'done', 'register', 1, 110, 110, 120, 120),
       (4, 2, 'archive', 'nas', 1, 'done', 'archive', 1, 130, 120, 130, 130);
INSERT INTO attempt VALUES (2, 1, 'life', 'archive', 120, 130, 'waiting', 'target_full', '');
INSERT INTO transfer (id, job_id, target, base, batch, state, bytes_total, files_total, bytes_done, files_done,
  started_at, updated_at, ended_at)
VALUES (1, 2, 'nas', X'2F6E6173', 'lf-1', 'active', 30, 2, 10, 1, 120, 130, NULL),
       (2, 4, 'nas', X'2F6E6173', 'lf-2', 'verified', 30, 1, 30, 1, 120, 130, 130);
INSERT INTO item (transfer_id, file_id, destination, size, md5, verified_at, verified_how, marked_at)
VALUES (1, 1, X'782F61', 10, '{MD5}', 125, 'copied', NULL), (1, 2, X'782F62', 20, '{MD5}', NULL, NULL, NULL),
       (2, 3, X'782F63', 30, '{MD5}', 125, 'copied', 130);
"""


def write(file: Path, version: int) -> None:
    """Write the journal that a labferry with this schema left behind."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA page_size = 1024")
        connection.execute("PRAGMA journal_mode = WAL")
        for number, script in migrations():
            if number <= version:
                connection.executescript(script)
        connection.executescript(ROWS)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")


def ask(file: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def schema(file: Path) -> set[tuple[str, str, str]]:
    """Return what there is and how it was made, in no order."""
    return set(ask(file, "SELECT type, name, coalesce(sql, '') FROM sqlite_schema"))


def content(file: Path) -> dict[str, list[dict[str, Any]]]:
    """Return every row of every table."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {
            name: [dict(row) for row in connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2")] for name in names
        }


@pytest.fixture(params=OLDER, ids=[f"schema-{version}" for version in OLDER])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, int]:
    write(tmp_path / FILE, request.param)
    return tmp_path, request.param


def test_every_row_of_an_older_journal_is_kept_and_what_is_new_has_its_default(old: tuple[Path, int]) -> None:
    folder, _ = old
    before = content(folder / FILE)
    Journal(folder, FakeClock()).close()
    after = content(folder / FILE)
    for table, rows in before.items():
        kept = [{name: row[name] for name in rows[0]} for row in after[table]] if rows else after[table]
        assert kept == rows, table
    assert ask(folder / FILE, "PRAGMA user_version") == [(VERSIONS[-1],)]
    assert ask(folder / FILE, "PRAGMA foreign_key_check") == []
    assert ask(folder / FILE, "PRAGMA integrity_check") == [("ok",)]


def test_globus_begins_with_nothing_under_way_and_nothing_of_ours(tmp_path: Path) -> None:
    write(tmp_path / FILE, 1)
    journal = Journal(tmp_path, FakeClock())
    assert journal.tasks.open() == []
    transfer = journal.transfers.get(1)
    assert (transfer.source, transfer.alone, transfer.bytes_done) == (None, 0, 10)
    first, second = journal.transfers.items(1)
    assert [(item.ours, item.task_id, item.arrived_how) for item in (first, second)] == [(None, None, None)] * 2
    assert (first.verified_how, second.verified_at) == ("copied", None)
    journal.close()


def test_a_migrated_journal_is_a_new_one_with_a_past(
    old: tuple[Path, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, _ = old
    fresh = tmp_path_factory.mktemp("fresh")
    Journal(folder, FakeClock()).close()
    Journal(fresh, FakeClock()).close()
    assert schema(folder / FILE) == schema(fresh / FILE)


def test_work_goes_on_where_it_was(old: tuple[Path, int]) -> None:
    folder, _ = old
    journal = Journal(folder, FakeClock())
    assert journal.jobs.begin_life() == 0
    states = {row.id: row.state for row in journal.sessions.select()}
    assert states == {1: SessionState.REGISTERED, 2: SessionState.ARCHIVED}
    job = journal.jobs.claim(Stage.ARCHIVE, "nas")
    assert job is not None
    assert (job.id, job.kind, job.state) == (2, JobKind.ARCHIVE, JobState.RUNNING)
    transfer = journal.transfers.of_job(2)
    assert transfer is not None
    journal.transfers.looked(transfer.id, [b"x/b"])
    assert [event.action for event in journal.history(1)][-1] == "archive"
    journal.close()


def test_a_copy_of_the_old_file_is_kept_beside_it(old: tuple[Path, int]) -> None:
    folder, version = old
    before = content(folder / FILE)
    Journal(folder, FakeClock()).close()
    backup = folder / f"{FILE}.schema-{version}"
    assert backup.stat().st_mode & 0o777 == 0o600
    assert ask(backup, "PRAGMA user_version") == [(version,)]
    assert content(backup) == before
    assert [file.name for file in folder.glob("*.part")] == []
    Journal(folder, FakeClock()).close()
    assert sorted(file.name for file in folder.glob(f"{FILE}.schema-*")) == [backup.name], "once is enough"


def test_a_new_journal_needs_no_copy(tmp_path: Path) -> None:
    Journal(tmp_path, FakeClock()).close()
    assert sorted(file.name for file in tmp_path.iterdir()) == [FILE]


def test_a_migration_that_breaks_off_leaves_the_old_journal(
    old: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, version = old
    before = content(folder / FILE)
    half = "ALTER TABLE job ADD COLUMN first TEXT;\nALTER TABLE no_such_table ADD COLUMN second TEXT;"
    with monkeypatch.context() as patch:
        known = [one for one in migrations() if one[0] <= version]  # numbers may have gaps
        patch.setattr(database, "migrations", lambda: [*known, (version + 1, half)])
        with pytest.raises(JournalError, match="no_such_table"):
            Journal(folder, FakeClock())
    assert content(folder / FILE) == before
    assert ask(folder / FILE, "PRAGMA user_version") == [(version,)]
    Journal(folder, FakeClock()).close()
    assert ask(folder / FILE, "PRAGMA user_version") == [(VERSIONS[-1],)]


KILLER = """
import os, signal, sqlite3, sys
from pathlib import Path
from labferry.journal import Journal
from support.clock import FakeClock

left = int(sys.argv[2])

def step():
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return 0

def connected(*args, connect=sqlite3.connect, **kwargs):
    connection = connect(*args, **kwargs)
    connection.set_progress_handler(step, 200)
    return connection

sqlite3.connect = connected
Journal(Path(sys.argv[1]), FakeClock()).close()
"""


def test_a_kill_in_the_middle_of_migrations_costs_nothing_but_the_time(tmp_path: Path) -> None:
    def place(name: str) -> Path:
        (tmp_path / name).mkdir()
        write(tmp_path / name / FILE, OLDER[0])
        return tmp_path / name

    undisturbed = place("undisturbed")
    Journal(undisturbed, FakeClock()).close()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    reached, steps, killed = set(), 1, True
    while killed:
        folder = place(str(steps))
        command = [sys.executable, "-c", KILLER, str(folder), str(steps)]
        code = subprocess.run(command, env=environment, check=False).returncode
        assert code in {0, -signal.SIGKILL}
        killed = code != 0
        ((version,),) = ask(folder / FILE, "PRAGMA user_version")
        reached.add(version)
        Journal(folder, FakeClock()).close()
        assert content(folder / FILE) == content(undisturbed / FILE)
        assert schema(folder / FILE) == schema(undisturbed / FILE)
        steps *= 2
    assert len(reached) > 2, f"killed at the schemas {sorted(reached)}"
