"""Calls with an end: against sockets that accept and never answer, as a blocked service does."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

import pytest

from labferry.archive.base import StoppedError, never
from labferry.archive.globus.caller import Caller
from labferry.errors import UnavailableError
from support.wait import wait_until


class Tool:
    """What calls work with here: it remembers where it was used."""

    made: int = 0

    def __init__(self) -> None:
        Tool.made += 1
        self.threads: set[int] = set()
        self.closed = threading.Event()

    def use(self) -> Tool:
        assert not self.closed.is_set()
        self.threads.add(threading.get_ident())
        return self

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed.set()


@pytest.fixture
def caller() -> Iterator[Caller[Tool]]:
    Tool.made = 0
    caller = Caller(Tool)
    yield caller
    caller.close()


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A service that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def listen_for_ever(server: socket.socket) -> bytes:
    with socket.create_connection(server.getsockname()) as connection:
        return connection.recv(1)


def use(tool: Tool) -> Tool:
    return tool.use()


def test_calls_share_one_thread_and_its_tool(caller: Caller[Tool]) -> None:
    tools = {caller.call(use, "use", seconds=10, stop=never) for _ in range(3)}
    (tool,) = tools
    assert len(tool.threads) == 1
    assert threading.get_ident() not in tool.threads


def test_what_a_function_raises_reaches_the_one_who_asked(caller: Caller[Tool]) -> None:
    def fail(_: Tool) -> NoReturn:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        caller.call(fail, "fail", seconds=10, stop=never)
    assert caller.call(use, "use", seconds=10, stop=never).threads
    assert Tool.made == 1


def test_bad_input_a_blocked_service_ends_at_the_deadline(caller: Caller[Tool], silent: socket.socket) -> None:
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"wait for it: no answer within 0\.3 s") as caught:
        caller.call(lambda _: listen_for_ever(silent), "wait for it", seconds=0.3, stop=never)
    assert (caught.value.dependency, caught.value.code) == ("globus", "globus_down")
    assert 0.3 <= time.monotonic() - started < 5


def test_bad_input_a_blocked_service_does_not_delay_a_stop(caller: Caller[Tool], silent: socket.socket) -> None:
    stopping = threading.Event()

    def wait_for_ever(_: Tool) -> bytes:
        stopping.set()
        return listen_for_ever(silent)

    started = time.monotonic()
    with pytest.raises(StoppedError):
        caller.call(wait_for_ever, "wait", seconds=60, stop=stopping.is_set)
    assert time.monotonic() - started < 5


def test_a_stop_comes_before_anything_is_begun(caller: Caller[Tool]) -> None:
    with pytest.raises(StoppedError):
        caller.call(use, "use", seconds=10, stop=lambda: True)
    assert Tool.made == 0


def test_after_a_blocked_call_there_is_a_fresh_thread_with_a_fresh_tool(
    caller: Caller[Tool], silent: socket.socket
) -> None:
    tools: list[Tool] = []

    def wait_for_ever(tool: Tool) -> bytes:
        tools.append(tool.use())
        return listen_for_ever(silent)

    with pytest.raises(UnavailableError):
        caller.call(wait_for_ever, "wait", seconds=0.2, stop=never)
    fresh = caller.call(use, "use", seconds=10, stop=never)
    assert fresh is not tools[0]
    assert fresh.threads.isdisjoint(tools[0].threads)
    assert not tools[0].closed.is_set()  # somebody still works with it

    silent.accept()[0].close()
    wait_until(tools[0].closed.is_set, what="the thread that was left closing its tool")
    assert len(tools[0].threads) == 1
    assert caller.call(use, "use", seconds=10, stop=never) is fresh


def test_a_call_that_waits_for_its_turn_can_be_stopped_too(caller: Caller[Tool], silent: socket.socket) -> None:
    begun, stopping = threading.Event(), threading.Event()

    def wait_for_ever(_: Tool) -> bytes:
        begun.set()
        return listen_for_ever(silent)

    def block() -> None:
        with pytest.raises(StoppedError):
            caller.call(wait_for_ever, "wait", seconds=60, stop=stopping.is_set)

    first = threading.Thread(target=block)
    first.start()
    assert begun.wait(10)
    with pytest.raises(StoppedError):
        caller.call(use, "use", seconds=10, stop=begun.is_set)
    stopping.set()
    first.join(10)
    assert not first.is_alive()


def test_close_closes_the_tool_in_its_own_thread() -> None:
    caller = Caller(Tool)
    tool = caller.call(use, "use", seconds=10, stop=never)
    caller.close()
    wait_until(tool.closed.is_set, what="the tool being closed")
    assert len(tool.threads) == 1


BLOCKED = """
import socket, sys
from labferry.archive.base import never
from labferry.archive.globus.caller import Caller
from labferry.errors import UnavailableError

class Tool:
    def close(self): pass

server = socket.create_server(("127.0.0.1", 0))
connection = socket.create_connection(server.getsockname())
try:
    Caller(Tool).call(lambda _: connection.recv(1), "wait", seconds=0.1, stop=never)
except UnavailableError as error:
    print(error.code)
"""


def test_bad_input_a_blocked_call_does_not_keep_the_process_from_ending() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "globus_down"
