"""Rulings 31-32, WIN-02: the daemon may die, or lose an answer, at any request, and the end is the same.

An undisturbed run lists the requests of one session's whole way. Then every one of them is a crash point, in four
ways:

* before: the daemon is killed while the request is on its way, and it is never carried out;
* late:   the daemon is killed while a request that changes something is on its way, and it is carried out when the
          next life has already looked;
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
from support.lab import FAST, Lab
from support.wait import wait_until

SESSION = ("KS005", "cortexlab", dt.date(2026, 3, 2), 1)
RESEND_AFTER = "LABFERRY_REGISTRATION__RESEND_AFTER"
FIRST_LOOKS = 2  # requests of a new life: the login, and a look at what it was doing
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
    lab.environment[RESEND_AFTER] = "2" if way == "late" else FAST[RESEND_AFTER]
    write_session(lab.root, small_session(), rate=None)
    match way:
        case "lost":
            lab.add_fault(match={"n": number}, when="after", action="drop")
            lab.start()
        case "before":
            kill_at(lab, match={"n": number}, when="before", action="hold", then="drop")
            lab.clear_faults()
            lab.start()
        case "after":
            kill_at(lab, match={"n": number}, when="after", action="hold")
            lab.clear_faults()
            lab.start()
        case "late":
            kill_at(lab, match={"n": number}, when="before", action="hold")
            seen = len(lab.requests())
            lab.start()
            wait_until(lambda: len(lab.requests()) >= seen + FIRST_LOOKS, what="the next life to look")
            lab.clear_faults()
    run_to_the_end(lab)
    return without_ids(lab)


def kill_at(lab: Lab, **rule: object) -> None:
    """Kill the daemon while a rule holds one of its requests."""
    held = lab.add_fault(**rule)
    lab.start()
    lab.wait_for_fault(held)
    lab.kill()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", WAYS)
def test_ruling_32_every_request_is_a_crash_point(lab: Lab, way: str) -> None:
    expected, requests = undisturbed(lab)
    assert expected["archive"], "the undisturbed run archived something"
    assert len(requests) >= 20 / 2, requests
    wrong = []
    for number, request in enumerate(requests, start=1):
        if way == "late" and request.startswith("GET"):
            continue
        result = disturbed(lab, number, way)
        wrong += [f"{way} {number} {request}: {key}" for key in expected if result[key] != expected[key]]
    assert not wrong
