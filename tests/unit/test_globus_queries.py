"""The journal's questions about Globus tasks: what is archived, however much it is, costs nothing."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.journal import Journal
from labferry.journal.database import load_queries
from support.clock import FakeClock

TASKS, TRANSFERS = load_queries("tasks"), load_queries("transfers")
FILES, BACKLOG = load_queries("files"), load_queries("backlog")
OF_ONE_FILE = {":destination", ":file_id", ":path"}  # what such a statement is carried out for each file of a session
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


def of_one_file() -> dict[str, str]:
    """Return the statements that are carried out once for every file of a session, by group and name."""
    everything = {"tasks": TASKS, "transfers": TRANSFERS, "files": FILES, "backlog": BACKLOG}
    by_id = {f"files.{name}" for name in ("forget", "gone", "has_copies", "reject", "registered")} | {
        "backlog.take_over"
    }
    several = {"transfers.insert_item", "tasks.page_of_parcels"}
    return {
        f"{group}.{name}": sql
        for group, statements in everything.items()
        for name, sql in statements.items()
        if f"{group}.{name}" in by_id
        or (OF_ONE_FILE & set(re.findall(r":\w+", sql)) and f"{group}.{name}" not in several)
    }


@pytest.mark.parametrize("name", sorted(of_one_file()))
def test_hazard_what_is_done_for_each_file_does_not_read_all_files(journal: Journal, name: str) -> None:
    """A session of 100,000 files would take hours."""
    steps = plan(journal, of_one_file()[name])
    others = [step for step in steps if step.startswith(("SCAN item", "SCAN file", "SCAN session"))]
    others += [step for step in steps if re.search(r"\b(item|file)\b.* \((transfer_id|session_id)=\?\)$", step)]
    assert others == []
