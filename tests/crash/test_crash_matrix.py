"""Rulings 31-32, WIN-02: the daemon may die, or lose an answer, at any request, and the end is the same.

An undisturbed run lists the requests of one session's whole way: to Alyx, to Globus, and for the tokens of both. Then
every one of them is a crash point, in four ways:

* before: the daemon is killed while the request is on its way, and it is never carried out;
* late:   the daemon is killed while a request that changes something is on its way, and it is carried out when the
          next life has already looked;
* after:  the daemon is killed when the request is carried out and its answer is not there yet;
* lost:   the request is carried out and the connection drops; the daemon lives on.

A request is known by its kind and by how many of that kind came before, not by its place in the log: how often the
daemon asks Globus how far a task is depends on how fast that moves. Of these questions the first two are crash points
(the second if the run came to it), the others are like the second.

A directory archive makes no requests of its own; the random kills hit it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import queue
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from labferry.sandbox.rig import RigSession, plan_session, write_session
from support.compare import require_carried_once, without_ids
from support.lab import Lab, fresh
from support.wait import wait_until

SESSION = ("KS005", "cortexlab", dt.date(2026, 3, 2), 1)
FILES = ("description.yaml", "taskSettings.raw.json", "taskData.raw.jsonable", ".log")
AT_ONCE = 3  # labs that are disturbed at the same time: a daemon mostly waits
QUICK = {
    "LABFERRY_DETECTION__QUIET": "0.05",
    "LABFERRY_DETECTION__SCAN_EVERY": "0.05",
    "LABFERRY_REGISTRATION__CHUNK": "2",
}
RESEND_AFTER = "LABFERRY_REGISTRATION__RESEND_AFTER"
FIRST_LOOKS = 2  # requests of a new life: for a token, and to look at what it was doing, or to say it again
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
HOW_FAR = "GET /v0.10/task_list"
WAYS: Mapping[str, Mapping[str, str]] = {  # what happens to the request
    "before": {"when": "before", "action": "hold", "then": "drop"},
    "late": {"when": "before", "action": "hold"},
    "after": {"when": "after", "action": "hold"},
    "lost": {"when": "after", "action": "drop"},
}


@dataclass(frozen=True)
class Point:
    """The so-many-th request of a kind."""

    kind: str
    number: int

    @property
    def match(self) -> dict[str, object]:
        """What a fault rule must match."""
        return {"regexp": f"^{re.escape(self.kind).replace(re.escape('UUID'), UUID.pattern)}([?]|$)", "n": self.number}

    @property
    def changes_something(self) -> bool:
        return not self.kind.startswith("GET")

    @property
    def service(self) -> str:
        return "globus" if re.search(" /v[0-9]", self.kind) else "alyx"

    def __str__(self) -> str:
        return f"{self.kind} #{self.number}"


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[queue.SimpleQueue[Lab]]:
    free: queue.SimpleQueue[Lab] = queue.SimpleQueue()
    with contextlib.ExitStack() as stack:
        for _ in range(AT_ONCE):
            lab = Lab(tmp_path_factory.mktemp("lab"), archive="globus")
            lab.environment.update(QUICK)
            free.put(stack.enter_context(lab))
        yield free


@contextlib.contextmanager
def borrowed(labs: queue.SimpleQueue[Lab]) -> Iterator[Lab]:
    """Lend a lab with a finished session in it and nothing else."""
    shared = labs.get()
    try:
        with fresh(shared) as lab:
            write_session(lab.root, small_session(), rate=None)
            yield lab
    finally:
        labs.put(shared)


def small_session() -> RigSession:
    """Return a session with all that Alyx is told of one; its files are in two folders and fill two requests of two."""
    whole = plan_session(*SESSION, scale=0.05)
    return dataclasses.replace(whole, files=tuple(file for file in whole.files if file.path.endswith(FILES)))


def points(requests: Iterable[Mapping[str, Any]]) -> list[Point]:
    """Return the crash points of a run, in the order in which it came to them."""
    seen: Counter[str] = Counter()
    found = []
    for request in requests:
        kind = UUID.sub("UUID", f"{request['method']} {request['path'].partition('?')[0]}")
        seen[kind] += 1
        found.append(Point(kind, seen[kind]))
    return [point for point in found if point.kind != HOW_FAR or point.number <= 2]


@pytest.fixture(scope="module")
def undisturbed(labs: queue.SimpleQueue[Lab]) -> tuple[dict[str, Any], list[Point]]:
    """What is there at the end of a run that nobody disturbs, and the requests on its way."""
    with borrowed(labs) as lab:
        lab.start()
        run_to_the_end(lab)
        expected, found = without_ids(lab), points(lab.requests())
    require_carried_once(expected)
    assert (len(expected["tasks"]), expected["weighings"], expected["water"]) == (1, 1, 1)
    assert {"POST /auth-token", "POST /v2/oauth2/token", "POST /v0.10/transfer", HOW_FAR} <= {p.kind for p in found}
    assert sum(point.kind == "POST /register-file" for point in found) == 2
    return expected, found


def run_to_the_end(lab: Lab) -> None:
    lab.wait_for("archived")
    assert lab.stop() == 0


def disturbed(lab: Lab, point: Point, way: str) -> dict[str, Any]:
    if way == "late":
        lab.environment[RESEND_AFTER] = "3"
    rule = lab.add_fault(match=point.match, **WAYS[way])
    lab.start()
    wait_until(lambda: came_to(lab, rule, point), 30, f"{way} {point}")
    if way != "lost":
        lab.kill()
        seen = len(lab.requests())
        if way != "late":
            lab.clear_faults()
        lab.start()
        if way == "late":
            wait_until(lambda: len(lab.requests()) >= seen + FIRST_LOOKS, 30, "the next life to look")
            lab.clear_faults()
    run_to_the_end(lab)
    return without_ids(lab)


def came_to(lab: Lab, rule: int, point: Point) -> bool:
    """Say whether a run came to a point, or to its end without one that not every run comes to."""
    lab.require_running()
    return lab.hits(rule) > 0 or (point.kind == HOW_FAR and lab.count("archived") > 0)


def differences(labs: queue.SimpleQueue[Lab], expected: Mapping[str, Any], point: Point, way: str) -> list[str]:
    with borrowed(labs) as lab:
        found = disturbed(lab, point, way)
    return [f"{way} {point}: {key}: {found[key]}" for key in expected if found[key] != expected[key]]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("service", ["alyx", "globus"])
@pytest.mark.parametrize("way", WAYS)
def test_ruling_32_every_request_is_a_crash_point(
    labs: queue.SimpleQueue[Lab], undisturbed: tuple[dict[str, Any], list[Point]], way: str, service: str
) -> None:
    expected, found = undisturbed
    chosen = [one for one in found if one.service == service and (one.changes_something or way != "late")]
    assert chosen
    with ThreadPoolExecutor(AT_ONCE) as pool:
        each = pool.map(lambda point: differences(labs, expected, point, way), chosen)
        wrong = [line for lines in each for line in lines]
    assert not wrong, "\n".join(wrong)
