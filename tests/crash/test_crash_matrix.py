"""Rulings 31-32, WIN-02: the daemon may die, or lose an answer, at any request, and the end is the same.

An undisturbed run lists the requests of one session's whole way. Then every one of them is a crash point, in four
ways:

* before: the daemon is killed while the request is on its way, and it is never carried out;
* late:   the daemon is killed while the request is on its way, and it is carried out after the kill;
* after:  the daemon is killed when the request is carried out and its answer is not there yet;
* lost:   the request is carried out and the connection drops; the daemon lives on.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from labferry.sandbox.rig import RigSession, plan_session, write_session
from support.compare import without_ids
from support.lab import Lab

SESSION = ("KS005", "cortexlab", dt.date(2026, 3, 2), 1)
WAYS = ("before", "late", "after", "lost")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


def small_session() -> RigSession:
    """Return a session whose files fill two requests of three."""
    whole = plan_session(*SESSION, scale=0.05)
    chosen = [file for file in whole.files if file.registrable][:5] + [f for f in whole.files if not f.registrable][:1]
    return dataclasses.replace(whole, files=tuple(chosen))


def run_to_the_end(lab: Lab) -> None:
    lab.wait_for("archived")
    assert lab.stop() == 0


def undisturbed(lab: Lab) -> tuple[dict[str, Any], list[str]]:
    lab.forget_everything()
    lab.environment["LABFERRY_REGISTRATION__CHUNK"] = "3"
    write_session(lab.root, small_session(), rate=None)
    lab.start()
    run_to_the_end(lab)
    return without_ids(lab), [f"{r['method']} {r['path'].split('?')[0]}" for r in lab.requests()]


def disturbed(lab: Lab, number: int, way: str) -> dict[str, Any]:
    lab.forget_everything()
    write_session(lab.root, small_session(), rate=None)
    if way == "lost":
        rule = lab.add_fault(match={"n": number}, when="after", action="drop")
        lab.start()
        lab.wait_for_fault(rule)
    else:
        when = "after" if way == "after" else "before"
        release = "drop" if way == "before" else "go on"
        rule = lab.add_fault(match={"n": number}, when=when, action="hold", then=release)
        lab.start()
        lab.wait_for_fault(rule)
        lab.kill()
        lab.clear_faults()
        lab.start()
    run_to_the_end(lab)
    return without_ids(lab)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", WAYS)
def test_ruling_32_every_request_is_a_crash_point(lab: Lab, way: str) -> None:
    expected, requests = undisturbed(lab)
    assert expected["archive"], "the undisturbed run archived something"
    assert len(requests) >= 20 / 2, requests
    wrong = []
    for number, request in enumerate(requests, start=1):
        result = disturbed(lab, number, way)
        wrong += [f"{way} {number} {request}: {key}" for key in expected if result[key] != expected[key]]
    assert not wrong
