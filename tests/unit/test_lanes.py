"""Lanes: alive or not, paused, stopped; one fault does not silence them."""

from __future__ import annotations

import threading

from labferry.engine.lanes import LaneThread
from labferry.engine.wakeup import Wakeup
from labferry.errors import UnavailableError
from labferry.model import SystemClock
from support.clock import FakeClock
from support.wait import wait_until


class Scripted(LaneThread):
    """A lane that does what a test says."""

    def __init__(self, wakeup: Wakeup, clock: FakeClock | SystemClock, script: list[object]) -> None:
        super().__init__("scripted", wakeup, clock)
        self.script = script
        self.turns = 0
        self.tidied = threading.Event()

    def turn(self) -> float:
        self.turns += 1
        what = self.script.pop(0) if self.script else 60.0
        if isinstance(what, Exception):
            raise what
        if isinstance(what, threading.Event):
            what.wait()
            return 0.0
        assert isinstance(what, float)
        return what

    def tidy(self) -> None:
        self.tidied.set()


def test_a_fault_does_not_silence_a_lane() -> None:
    wakeup = Wakeup()
    lane = Scripted(wakeup, SystemClock(), [ZeroDivisionError("x"), UnavailableError("journal", "journal_full", "f")])
    lane.start()
    wait_until(lambda: lane.turns >= 1, what="the first turn")
    for turns in (2, 3):
        wakeup.ring()
        wait_until(lambda turns=turns: lane.turns >= turns or wakeup.ring(), what="the next turn")  # type: ignore[misc]
    assert lane.alive
    wakeup.stop()
    assert lane.join(5)
    assert lane.tidied.is_set()


def test_a_lane_that_hangs_is_not_alive_and_one_that_said_so_before_is() -> None:
    wakeup, clock, hang = Wakeup(), FakeClock(), threading.Event()
    lane = Scripted(wakeup, clock, [hang])
    lane.start()
    wait_until(lambda: lane.turns == 1, what="the turn to begin")
    lane.beat("something long", at_most=600.0)
    clock.pass_by(599)
    assert lane.alive
    clock.pass_by(2)
    assert not lane.alive
    assert lane.last_beat.doing == "something long"
    hang.set()
    wakeup.stop()
    assert lane.join(5)


def test_a_paused_lane_takes_no_work_and_goes_on_when_it_is_resumed() -> None:
    wakeup = Wakeup()
    lane = Scripted(wakeup, SystemClock(), [])
    lane.pause(True)
    lane.start()
    beat = lane.last_beat
    wait_until(lambda: lane.last_beat is not beat or wakeup.ring(), what="a round without a turn")
    assert lane.turns == 0
    lane.pause(False)
    wait_until(lambda: lane.turns >= 1, what="a turn after the pause")
    wakeup.stop()
    assert lane.join(5)


def test_a_ring_between_look_and_sleep_is_not_lost() -> None:
    wakeup = Wakeup()
    heard = wakeup.rings
    wakeup.ring()
    done = threading.Event()
    thread = threading.Thread(target=lambda: (wakeup.wait(heard, 60.0), done.set()))
    thread.start()
    assert done.wait(5)
    thread.join()
