"""The journal's questions about Globus tasks: what is archived, however much it is, costs nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.journal import Journal
from labferry.journal.database import load_queries
from support.clock import FakeClock

TASKS, TRANSFERS = load_queries("tasks"), load_queries("transfers")
EVERY_TURN = ("open", "open_count", "ready")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path, FakeClock())
    yield journal
    journal.close()


def plan(journal: Journal, sql: str) -> list[str]:
    """Return how SQLite would carry out a statement."""
    rows = journal._db._writer.execute(f"EXPLAIN QUERY PLAN {sql}", defaultdict(int))
    return [row[3] for row in rows]


def scanned(journal: Journal, sql: str) -> list[str]:
    """Return the tables of which every row is looked at."""
    steps = [step for step in plan(journal, sql) if step.startswith("SCAN")]
    whole = tuple(f"SCAN {name}" for name in ("task", "job", "item", "file", "session", "transfer", "old", "other"))
    return [step for step in steps if step.startswith(whole) and "USING INDEX task_open" not in step]


@pytest.mark.parametrize("name", sorted(TASKS))
def test_no_question_about_tasks_looks_at_everything_there_ever_was(journal: Journal, name: str) -> None:
    assert scanned(journal, TASKS[name]) == []


# `held` is asked of an archive that is empty only, which no archive in use is.
@pytest.mark.parametrize("name", sorted(set(TRANSFERS) - {"totals", "insert_item", "held"}))
def test_no_question_about_transfers_looks_at_everything_there_ever_was(journal: Journal, name: str) -> None:
    assert scanned(journal, TRANSFERS[name]) == []


@pytest.mark.parametrize("name", EVERY_TURN)
def test_what_is_asked_every_turn_begins_with_what_is_unfinished(journal: Journal, name: str) -> None:
    assert any("task_open" in step or "job_unfinished" in step for step in plan(journal, TASKS[name]))
