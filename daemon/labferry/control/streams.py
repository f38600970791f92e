"""Answers that may go on: the history as it grows, with how far transfers are in between, and the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labferry.control.messages import Request, Stream
from labferry.control.parameters import is_set, needed, number
from labferry.engine.context import Context
from labferry.engine.reports.find import find
from labferry.engine.reports.history import events_fields
from labferry.engine.reports.live import LiveState
from labferry.engine.reports.logs import LINES, follow, logs
from labferry.engine.reports.progress import ProgressNews
from labferry.journal.rows import SessionRow

PROGRESS_STEP = 2.0  # seconds between two words about how far transfers are
EVENT_STEP = 1.0  # seconds until new events are looked for, at the latest
LOG_STEP = 0.5


def event_stream(context: Context, request: Request) -> Stream:
    """Answer with the events since one that was named; who follows is told of new ones, and of progress if asked."""
    endless = is_set(request.query, "follow")
    first = context.journal.last_event() if endless else 0
    news = ProgressNews(context) if endless and is_set(request.query, "progress") else None
    return Stream(_event_steps(context, number(request.query, "since", first), endless, news), endless)


def _event_steps(
    context: Context, since: int, endless: bool, news: ProgressNews | None
) -> Iterator[list[dict[str, Any]]]:
    """Yield events, and between them, where that is asked for, how far the transfers are."""
    journal, wakeup, clock = context.journal, context.wakeup, context.clock
    told_at = clock.monotonic()
    while True:
        heard = wakeup.rings
        events = journal.events(since)
        yield events_fields(context, events)
        if events:
            since = events[-1].id
        if news is not None and clock.monotonic() - told_at >= PROGRESS_STEP:
            told_at = clock.monotonic()
            yield news.since_last_time(since)
        if events:
            continue
        if endless:
            wakeup.wait(heard, EVENT_STEP)
        else:
            return


def log_stream(context: Context, live: LiveState, request: Request) -> Stream:
    """Answer with the newest lines of the log, or with those about one session."""
    row = find(context, needed(request.query, "session")) if request.query.get("session") else None
    lines = number(request.query, "lines", LINES)
    if is_set(request.query, "follow"):
        return Stream(_log_steps(context, live, row, lines), endless=True)
    return Stream(iter([logs(live, row, lines)]), endless=False)


def _log_steps(context: Context, live: LiveState, row: SessionRow | None, lines: int) -> Iterator[list[dict[str, Any]]]:
    wakeup = context.wakeup
    for entries in follow(live, row, lines):
        heard = wakeup.rings
        yield entries
        if not entries:
            wakeup.wait(heard, LOG_STEP)
