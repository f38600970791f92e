"""The line that `systemctl status` shows."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone

import pytest

from labferry.engine.reports.health import Condition
from labferry.observe.notify import Notifier
from labferry.service.summary import AT_REST, EVERY, StatusLine, summary
from support.clock import FakeClock
from support.command import socket_folder

HERE = timezone(timedelta(hours=1))
NOW = datetime(2026, 11, 21, 3, 0, tzinfo=HERE).timestamp()
NIGHT = datetime(2026, 11, 21, 2, 14, tzinfo=HERE).timestamp()
YESTERDAY = datetime(2026, 11, 20, 23, 59, tzinfo=HERE).timestamp()
DOWN = Condition("dependency_down", "alyx: Alyx at https://alyx.example.org cannot be reached: refused", NIGHT)


@pytest.fixture(autouse=True)
def local_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "LAB-1")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_it_says_what_is_done_what_is_not_and_what_is_wrong_since_when() -> None:
    sessions = {"settling": 2, "archived": 12, "held": 0}
    assert summary(sessions, 1, [DOWN], [], NOW) == (
        "12 sessions archived, 2 settling, 1 needs a person; "
        "alyx: Alyx at https://alyx.example.org cannot be reached: refused (since 02:14)"
    )


@pytest.mark.parametrize(
    ("sessions", "attention", "line"),
    [
        ({}, 0, "no sessions yet"),
        ({"settling": 1}, 0, "1 session settling"),
        ({"archived": 20012, "complete": 3}, 2, "20,012 sessions archived, 3 complete, 2 need a person"),
        ({"ignored": 4}, 0, "no sessions yet"),
    ],
)
def test_counts_are_said_as_people_say_them(sessions: dict[str, int], attention: int, line: str) -> None:
    assert summary(sessions, attention, [], [], NOW) == line


def test_only_what_breaks_the_promise_is_spelled_out_and_not_all_of_it() -> None:
    frozen = [Condition("root_frozen", f"Root {name}: it is gone") for name in "abc"]
    warning = Condition("near_misses", "Root a: x")
    assert summary({}, 0, [*frozen, warning], [], NOW) == (
        "no sessions yet; Root a: it is gone; Root b: it is gone; and 1 more: `labferry status`"
    )


def test_what_an_operator_paused_is_not_forgotten() -> None:
    assert (
        summary({"complete": 1}, 0, [], ["archive", "register"], NOW) == "1 session complete; paused: archive, register"
    )


def test_a_time_of_another_day_carries_its_date() -> None:
    silent = Condition("lane_silent", "Lane detect is silent; the last it said was: idle.", YESTERDAY)
    assert summary({}, 0, [silent], [], NOW).endswith("was: idle (since 2026-11-20 23:59)")


# --- when it is said ------------------------------------------------------------------------------------------


@pytest.fixture
def systemd() -> Iterator[socket.socket]:
    with socket_folder() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(folder / "notify"))
        listener.setblocking(False)
        yield listener


def said(systemd: socket.socket) -> list[str]:
    """Return what was said since the last call."""
    heard = []
    with suppress(BlockingIOError):
        while True:
            heard.append(systemd.recv(1024).decode().removeprefix("STATUS="))
    return heard


def test_while_something_happens_it_looks_every_few_seconds_and_says_what_changed(systemd: socket.socket) -> None:
    clock = FakeClock()
    line = StatusLine(Notifier(systemd.getsockname()), clock)
    looks = iter(["one", "one", "two"])
    for seen in range(3):
        line.keep(lambda: next(looks), seen)
        line.keep(lambda: next(looks), seen + 100)  # too soon
        clock.pass_by(EVERY)
    assert said(systemd) == ["one", "two"]


def test_while_nothing_happens_it_hardly_looks(systemd: socket.socket) -> None:
    clock = FakeClock()
    line = StatusLine(Notifier(systemd.getsockname()), clock)
    line.keep(lambda: "one", 7)
    clock.pass_by(AT_REST - 1)
    line.keep(lambda: "two", 7)
    assert said(systemd) == ["one"]
    clock.pass_by(1)
    line.keep(lambda: "two", 7)
    assert said(systemd) == ["two"]


def test_where_nobody_listens_the_journal_is_not_asked() -> None:
    line = StatusLine(Notifier(None), FakeClock())
    line.keep(lambda: pytest.fail("it was asked"), 1)
