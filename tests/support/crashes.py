"""Crash points: every request of an undisturbed run, and the ways in which the daemon may die or be left alone."""

from __future__ import annotations

import contextlib
import queue
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.lab import Lab, fresh
from support.wait import wait_until

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RESEND_AFTER = "LABFERRY_REGISTRATION__RESEND_AFTER"
QUICK = {
    "LABFERRY_DETECTION__QUIET": "0.05",
    "LABFERRY_DETECTION__SCAN_EVERY": "0.05",
}
WAYS: Mapping[str, Mapping[str, str]] = {  # what happens to the request
    "before": {"when": "before", "action": "hold", "then": "drop"},
    "late": {"when": "before", "action": "hold"},
    "after": {"when": "after", "action": "hold"},
    "lost": {"when": "after", "action": "drop"},
}
World = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """The so-many-th request of a kind: method and path, with any id in it."""

    kind: str
    number: int

    @property
    def match(self) -> dict[str, object]:
        """What a fault rule must match."""
        return {"regexp": f"^{re.escape(self.kind).replace(re.escape('UUID'), UUID.pattern)}([?]|$)", "n": self.number}

    @property
    def changes_something(self) -> bool:
        """Whether it can be carried out late, when the next life has looked already."""
        return not self.kind.startswith("GET")

    def is_looked_for_by(self, request: Mapping[str, Any]) -> bool:
        """Say whether a request of the next life may be the look at what became of this one."""
        return kind_of(request) == f"GET {self.kind.partition(' ')[2]}"

    def __str__(self) -> str:
        return f"{self.kind} #{self.number}"


def kind_of(request: Mapping[str, Any]) -> str:
    """Return the kind of a request."""
    return UUID.sub("UUID", f"{request['method']} {request['path'].partition('?')[0]}")


def points(requests: Iterable[Mapping[str, Any]]) -> list[Point]:
    """Return the crash points of a run, in the order in which it came to them."""
    seen: Counter[str] = Counter()
    found = []
    for request in requests:
        kind = kind_of(request)
        seen[kind] += 1
        found.append(Point(kind, seen[kind]))
    return found


@dataclass
class Crashes:
    """Runs the same session again and again, disturbed at one point each, and compares the ends.

    Attributes
    ----------
    prepare : callable
        Puts into an empty lab what there is to do.
    outcome : callable
        Returns what is there in the end, without ids and times.
    last : str
        The state that the session reaches in the end.
    """

    prepare: Callable[[Lab], object]
    outcome: Callable[[Lab], World]
    last: str = "registered"
    _labs: queue.SimpleQueue[Lab] = field(default_factory=queue.SimpleQueue)

    @contextlib.contextmanager
    def labs(self, directories: Iterable[Path]) -> Iterator[None]:
        """Start one lab in each of the directories; so many points can be tried side by side."""
        with contextlib.ExitStack() as stack:
            for directory in directories:
                lab = stack.enter_context(Lab(directory))
                lab.environment.update(QUICK)
                self._labs.put(lab)
            yield

    def undisturbed(self) -> tuple[World, list[Point]]:
        """Return the end of a run, and its points."""
        with self._borrowed() as lab:
            lab.start()
            return self._to_the_end(lab), points(lab.requests())

    def differences(self, expected: World, chosen: Iterable[Point], way: str, at_once: int) -> list[str]:
        """Return in words where the ends of disturbed runs differ from the expected one."""
        with ThreadPoolExecutor(at_once) as pool:
            found = list(pool.map(lambda point: (point, self._disturbed(point, way)), chosen))
        return [
            f"{way} {point}: {key}: {world[key]}"
            for point, world in found
            for key in expected
            if world[key] != expected[key]
        ]

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[Lab]:
        shared = self._labs.get()
        try:
            with fresh(shared) as lab:
                self.prepare(lab)
                yield lab
        finally:
            self._labs.put(shared)

    def _disturbed(self, point: Point, way: str) -> World:
        with self._borrowed() as lab:
            if way == "late":
                lab.environment[RESEND_AFTER] = "3"
            rule = lab.add_fault(match=point.match, **WAYS[way])
            lab.start()
            wait_until(lambda: lab.hits(rule) > 0, 30, f"{way} {point}")
            if way != "lost":
                self._next_life(lab, point, way)
            return self._to_the_end(lab)

    def _next_life(self, lab: Lab, point: Point, way: str) -> None:
        lab.kill()
        seen = len(lab.requests())
        if way != "late":
            lab.clear_faults()
        lab.start()
        if way == "late":
            wait_until(
                lambda: any(map(point.is_looked_for_by, lab.requests()[seen:])),
                30,
                f"the next life to look for {point}",
            )
            lab.clear_faults()

    def _to_the_end(self, lab: Lab) -> World:
        lab.wait_for(self.last)
        assert lab.stop() == 0
        return self.outcome(lab)
