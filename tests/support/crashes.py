"""Crash points: every request of an undisturbed run, and the ways in which the daemon may die or be left alone."""

from __future__ import annotations

import contextlib
import queue
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.lab import Lab, fresh
from support.wait import wait_until

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RESEND_AFTER = "LABFERRY_REGISTRATION__RESEND_AFTER"
FIRST_LOOKS = 2  # requests of a new life: for a token, and to look at what it was doing, or to say it again
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

    @property
    def look(self) -> str:
        """The kind of request that looks what became of this one, if there is such a kind."""
        return f"GET {self.kind.partition(' ')[2]}"

    @property
    def is_to_globus(self) -> bool:
        """Whether Globus is asked, for a token or for a transfer; otherwise it is Alyx."""
        return re.search(" /v[0-9]", self.kind) is not None

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
    archive : str
        How the files get into the archive: `directory` or `globus`.
    environment : mapping of str to str
        More of the daemon's configuration.
    optional : collection of str
        Kinds of requests that not every run makes as often as another one.
    ended : callable or None
        Says that a run has come to its end, where that is no state of a session.
    """

    prepare: Callable[[Lab], object]
    outcome: Callable[[Lab], World]
    last: str = "registered"
    archive: str = "directory"
    environment: Mapping[str, str] = field(default_factory=dict)
    optional: Collection[str] = ()
    ended: Callable[[Lab], bool] | None = None
    _labs: queue.SimpleQueue[Lab] = field(default_factory=queue.SimpleQueue)
    _kinds: frozenset[str] = frozenset()

    @contextlib.contextmanager
    def labs(self, directories: Iterable[Path]) -> Iterator[None]:
        """Start one lab in each of the directories; so many points can be tried side by side."""
        with contextlib.ExitStack() as stack:
            for directory in directories:
                lab = stack.enter_context(Lab(directory, archive=self.archive))
                lab.environment.update(QUICK | self.environment)
                self._labs.put(lab)
            yield

    def undisturbed(self) -> tuple[World, list[Point]]:
        """Return the end of a run, and its points."""
        with self._borrowed() as lab:
            lab.start()
            world, found = self._to_the_end(lab), points(lab.requests())
        self._kinds = frozenset(point.kind for point in found)
        return world, found

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
            wait_until(lambda: self._came_to(lab, rule, point), 30, f"{way} {point}")
            if way != "lost":
                self._next_life(lab, point, way, rule)
            return self._to_the_end(lab)

    def _came_to(self, lab: Lab, rule: int, point: Point) -> bool:
        """Say whether a run came to a point, or to its end without one that not every run comes to."""
        lab.require_running()
        return lab.hits(rule) > 0 or (point.kind in self.optional and self._has_ended(lab))

    def _has_ended(self, lab: Lab) -> bool:
        return self.ended(lab) if self.ended else lab.count(self.last) > 0

    def _next_life(self, lab: Lab, point: Point, way: str, rule: int) -> None:
        lab.kill()
        seen = len(lab.requests())
        if way != "late":
            lab.remove_fault(rule)
        lab.start()
        if way == "late":
            wait_until(lambda: self._looked(point, lab.requests()[seen:]), 30, f"the next life to look for {point}")
            lab.remove_fault(rule)

    def _looked(self, point: Point, requests: Sequence[Mapping[str, Any]]) -> bool:
        """Say whether a life has looked what became of a request, or is well under way where there is no such look."""
        if point.look in self._kinds:
            return any(kind_of(request) == point.look for request in requests)
        return len(requests) >= FIRST_LOOKS

    def _to_the_end(self, lab: Lab) -> World:
        if self.ended is None:
            lab.wait_for(self.last)
        else:
            wait_until(lambda: self._has_ended(lab), 30, lambda: f"the end of a run\n{lab.log[-3000:]}")
        assert lab.stop() == 0
        return self.outcome(lab)
