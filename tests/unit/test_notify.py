"""A word to systemd, as a real datagram socket hears it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from uuid import uuid4

import pytest

from labferry.observe import notify
from labferry.observe.notify import Notifier
from support.command import socket_folder


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with socket_folder() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(folder / "notify"))
        listener.settimeout(5)
        yield listener


def heard(manager: socket.socket) -> dict[str, str]:
    lines = manager.recv(4096).decode().split("\n")
    return dict(line.split("=", 1) for line in lines)


def test_what_is_said_is_heard(manager: socket.socket) -> None:
    notifier = Notifier.from_environ({"NOTIFY_SOCKET": manager.getsockname()})
    notifier.ready()
    notifier.status("2 sessions\nneed a person")
    notifier.watchdog()
    notifier.reloading()
    notifier.stopping()
    assert heard(manager) == {"READY": "1"}
    assert heard(manager) == {"STATUS": "2 sessions need a person"}
    assert heard(manager) == {"WATCHDOG": "1"}
    reloading = heard(manager)
    assert reloading["RELOADING"] == "1"
    assert int(reloading["MONOTONIC_USEC"]) > 0
    assert heard(manager) == {"STOPPING": "1"}


def test_a_manager_that_does_not_listen_costs_patience_and_no_processor_time(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "PATIENCE", 0.2)
    notifier = Notifier.from_environ({"NOTIFY_SOCKET": manager.getsockname()})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as another:
        another.setblocking(False)
        with suppress(BlockingIOError):  # its queue is full
            while True:
                another.sendto(b"X=1", manager.getsockname())
    wall, own = time.perf_counter(), time.thread_time()
    notifier.status("nobody hears this")
    assert time.thread_time() - own < (time.perf_counter() - wall) / 4
    heard(manager)
    notifier.status("but this")
    assert manager.recv(4096) == b"X=1"


def test_a_long_chore_is_announced_to_the_watchdog_and_taken_back(manager: socket.socket) -> None:
    notifier = Notifier.from_environ({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "30000000"})
    notifier.expect_silence(900.0)
    notifier.expect_beats()
    assert heard(manager) == {"WATCHDOG": "1", "WATCHDOG_USEC": "900000000"}
    assert heard(manager) == {"WATCHDOG": "1", "WATCHDOG_USEC": "30000000"}


def test_where_no_watchdog_waits_a_chore_needs_no_word(manager: socket.socket) -> None:
    notifier = Notifier.from_environ({"NOTIFY_SOCKET": manager.getsockname()})
    notifier.expect_silence(900.0)
    notifier.expect_beats()
    notifier.ready()
    assert heard(manager) == {"READY": "1"}


def test_abstract_sockets_are_reached() -> None:
    name = f"labferry-test-{uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.settimeout(5)
        Notifier.from_environ({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert heard(listener) == {"READY": "1"}


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "relative"}])
def test_without_a_socket_there_is_silence(environ: dict[str, str]) -> None:
    notifier = Notifier.from_environ(environ)
    notifier.ready()
    notifier.stopping()
    assert notifier.watchdog_interval is None
    assert not notifier.heard


def test_a_manager_that_is_gone_does_not_matter(manager: socket.socket) -> None:
    path = manager.getsockname()
    notifier = Notifier(path)
    manager.close()
    notifier.watchdog()
    os.unlink(path)
    notifier.watchdog()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as restarted:
        restarted.bind(path)
        restarted.settimeout(5)
        notifier.watchdog()
        assert heard(restarted) == {"WATCHDOG": "1"}


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_interval_is_half_of_what_systemd_waits(environ: dict[str, str], interval: float | None) -> None:
    assert Notifier.from_environ(environ).watchdog_interval == interval
