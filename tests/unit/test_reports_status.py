"""`status`, health and metrics: the promise at a glance."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry import __version__
from labferry.detect.scan import NearMiss
from labferry.engine.dependencies import Dependency, Health
from labferry.engine.detection.roots import RootFacts
from labferry.engine.reports.doctor import doctor
from labferry.engine.reports.health import (
    CONDITIONS,
    Condition,
    Facts,
    LateArchive,
    LeftOut,
    LostFiles,
    Replaced,
    Severity,
    SilentLane,
    StalledTask,
    StuckExample,
    StuckSessions,
    conditions,
    in_the_way,
)
from labferry.engine.reports.metrics import metrics
from labferry.engine.reports.status import status
from labferry.errors import UnavailableError
from labferry.model import Blocked, Stage
from support.clock import FakeClock
from support.world import REJECTED, World

# `status.data` of the interface contract
TOP = "version pid started uptime_s paused sessions attention jobs oldest_waiting_s transfers dependencies roots health"
PARTS = {
    "sessions": "settling complete registered archived adopted backlog held vanished ignored",
    "jobs": "queued running waiting blocked",
    "transfers": "active bytes_done bytes_total",
}
ROOT = "name path layout mode watches overflows sessions last_scan scan_s problem"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def pass_by(world: World, seconds: float) -> None:
    assert isinstance(world.clock, FakeClock)
    world.clock.pass_by(seconds)


def codes(world: World) -> list[str]:
    return [condition["code"] for condition in status(world.context, world.live)["health"]]


# --- status -------------------------------------------------------------------------------------------------


def test_status_has_every_field_of_the_contract(world: World) -> None:
    data = status(world.context, world.live)
    assert set(TOP.split()) <= data.keys()
    for part, fields in PARTS.items():
        assert set(fields.split()) <= data[part].keys(), part
    for dependency in data["dependencies"].values():
        assert dependency.keys() >= {"state", "since", "detail"}
    assert [root["name"] for root in data["roots"]] == ["s0", "s1"]
    assert all(root.keys() >= set(ROOT.split()) for root in data["roots"])
    assert json.loads(json.dumps(data)) == data


def test_reg_02_status_says_since_when_the_dataset_types_are_known(world: World) -> None:
    assert status(world.context, world.live)["vocabulary"] == {"fetched": None}
    world.context.words()
    fetched = world.time()
    world.clock.pass_by(300.0)
    assert status(world.context, world.live)["vocabulary"] == {"fetched": fetched}


def test_status_of_a_daemon_that_has_just_begun(world: World) -> None:
    data = status(world.context, world.live)
    assert (data["version"], data["pid"], data["started"]) == (__version__, os.getpid(), world.time())
    assert data["dependencies"]["alyx"]["state"] == "unknown"
    assert data["roots"][0]["last_scan"] is None
    assert (data["oldest_waiting_s"], data["health"]) == (None, [])


def test_status_counts_sessions_and_jobs(world: World) -> None:
    world.archived("KS001/2019-04-02/001")
    world.complete("KS002/2019-04-02/001")
    world.run(Stage.RESOLVE, Blocked("ambiguous_subject", "two", "rename"))
    world.complete("KS003/2019-04-02/001")
    world.found("KS004/2019-04-02/001")
    pass_by(world, 30)
    data = status(world.context, world.live)
    assert {state: count for state, count in data["sessions"].items() if count} == {
        "archived": 1,
        "complete": 2,
        "settling": 1,
    }
    assert data["attention"] == 1
    assert data["jobs"] == {"queued": 1, "running": 0, "waiting": 0, "blocked": 1}
    assert data["oldest_waiting_s"] == 30
    assert data["uptime_s"] == 30
    assert data["roots"][0]["sessions"] == 4


def test_status_counts_rejected_files_as_attention(world: World) -> None:
    world.archived(files=[("x", REJECTED)])
    assert status(world.context, world.live)["attention"] == 1
    assert codes(world) == ["attention"]


def test_status_shows_what_the_detector_knows_of_the_roots(world: World) -> None:
    world.write(session="KS005/2019-13-02/001")
    world.detect.first_scan()
    root = status(world.context, world.live)["roots"][0]
    assert (root["last_scan"], root["mode"], root["near_misses"]) == (world.time(), "scan-only", 1)
    assert codes(world) == ["near_misses"]


def test_status_of_an_outage(world: World) -> None:
    world.context.dependencies.went_down(UnavailableError("alyx", "alyx_down", "connection refused"))
    since = world.time()
    pass_by(world, 10)
    data = status(world.context, world.live)
    assert data["dependencies"]["alyx"] == {
        "state": "down",
        "since": since,
        "code": "alyx_down",
        "detail": "connection refused",
    }
    (condition,) = data["health"]
    assert (condition["code"], condition["severity"], condition["since"]) == ("dependency_down", "error", since)


def test_status_names_lanes_that_are_silent(world: World) -> None:
    assert codes(world) == [], "lanes that are only starting are not silent"
    pass_by(world, 61)
    health = status(world.context, world.live)["health"]
    assert [condition["code"] for condition in health] == ["lane_silent"] * 4
    assert "seal-1" in health[0]["text"]


def test_status_of_lanes_that_live(world: World) -> None:
    world.start(*world.lanes)
    for lane in world.lanes:
        lane.beat("idle")
    data = status(world.context, world.live)
    assert [lane["alive"] for lane in data["lanes"]] == [True] * 4
    assert data["health"] == []


def test_status_names_paused_kinds_of_lanes(world: World) -> None:
    for lane in world.lanes[1:3]:
        lane.pause(True)
    assert status(world.context, world.live)["paused"] == ["register"]
    assert codes(world) == ["lane_paused"]


WAITS = {
    "waiting_signal": "no_signal",
    "signal_before_data": "signal_before_data",
    "waiting_device": "late_data",
    "waiting_collection": "late_data",
    "no_behaviour": "late_data",
    "no_video": "late_data",
    "waiting_size": "late_data",
    "settling": "never_settles",
    "temporary_files": "never_settles",
    "unreadable": "unreadable",
}


def test_status_names_what_waits_for_too_long(world: World) -> None:
    for number, code in enumerate(WAITS):
        row = world.found(f"KS{number:03d}/2019-04-02/001")
        world.journal.sessions.looked(row.id, b"-", code, f"why of {code}")
    assert codes(world) == []
    pass_by(world, world.config.detection.stale_after + 1)
    for lane in world.lanes:
        lane.beat("starting", 60.0)
    health = {condition["code"]: condition for condition in status(world.context, world.live)["health"]}
    assert health.keys() == set(WAITS.values())
    for condition, one in health.items():
        named = [code for code, of in WAITS.items() if of == condition][:3]
        assert all(f"(why of {code})" in one["text"] for code in named), one["text"]
        assert one["severity"] == "warning"
    assert health["late_data"]["text"].startswith("5 sessions without files that should come for too long: ")
    assert health["late_data"]["text"].endswith(" and 2 more.")


def test_sessions_without_any_signal_are_counted_and_the_first_few_named(world: World) -> None:
    for number in range(500):
        row = world.found(f"KS{number:03d}/2019-04-02/001")
        world.journal.sessions.looked(row.id, b"-", "waiting_signal", "no completion signal yet")
        pass_by(world, 1)
    pass_by(world, world.config.detection.stale_after)
    (found,) = [one for one in status(world.context, world.live)["health"] if one["code"] == "no_signal"]
    named = ", ".join(
        f"{world.folder_of(f'KS{number:03d}/2019-04-02/001')} (no completion signal yet)" for number in range(3)
    )
    assert found["text"] == f"500 sessions without completion signal for too long: {named} and 497 more."


def test_sessions_of_a_root_that_is_not_configured_any_more_are_waited_for_by_nobody(tmp_path: Path) -> None:
    world = World(tmp_path)
    row = world.found()
    world.journal.sessions.looked(row.id, b"-", "waiting_signal", "no completion signal yet")
    world.close()
    other = [{"name": "s1", "path": str(world.other), "repository": "local", "events": "off"}]
    again = World(tmp_path, world.clock, roots=other)
    try:
        pass_by(again, 2 * again.config.detection.stale_after)
        assert "no_signal" not in [one["code"] for one in status(again.context, again.live)["health"]]
    finally:
        again.close()


def test_done_09_sessions_of_a_frozen_root_are_waited_for_by_nobody(world: World) -> None:
    for root in ("s0", "s1"):
        world.write("alf/a.b.npy", session=f"{root.upper()}/2019-04-02/001", root=root)
    world.detect.first_scan()
    world.detect.wake()
    world.detect.turn()
    pass_by(world, world.config.detection.stale_after + 1)
    world.root.rename(world.folder / "unmounted")
    world.detect.wake()
    world.detect.turn()
    texts = {one["code"]: one["text"] for one in status(world.context, world.live)["health"]}
    assert "root_frozen" in texts
    assert texts["no_signal"].startswith(f"1 session without completion signal for too long: {world.other}/")


def test_doctor_names_sessions_that_wait_for_too_long(world: World) -> None:
    def checks() -> dict[str, dict[str, str]]:
        return {check["name"]: check for check in doctor(world.context, world.live)["checks"]}

    row = world.found()
    world.journal.sessions.looked(row.id, b"-", "waiting_signal", "no completion signal yet")
    assert checks()["waiting"]["result"] == "ok"
    pass_by(world, world.config.detection.stale_after + 1)
    found = checks()
    assert "waiting" not in found
    assert found["waiting:no_signal"]["result"] == "warning"
    assert str(world.folder_of()) in found["waiting:no_signal"]["text"]
    assert "labferry sessions --state settling" in found["waiting:no_signal"]["hint"]


def test_status_names_a_root_that_is_gone(world: World) -> None:
    world.found()
    world.root.rename(world.folder / "unmounted")
    world.detect.first_scan()
    data = status(world.context, world.live)
    assert (data["roots"][0]["frozen"], data["roots"][1]["frozen"]) == (True, False)
    assert "root_frozen" in codes(world)


def test_status_names_a_journal_that_cannot_be_written(world: World) -> None:
    world.journal._db.problem = "disk full"
    assert codes(world) == ["journal_trouble"]


def test_a_vanished_root_in_the_configuration_keeps_its_sessions(world: World, tmp_path: Path) -> None:
    world.found(root="s1")
    world.close()
    roots = [{"name": "s0", "path": str(world.root), "layout": "ibl", "events": "off", "repository": "local"}]
    again = World(tmp_path, roots=roots)
    try:
        assert status(again.context, again.live)["sessions"]["settling"] == 1
    finally:
        again.close()


# --- health: pure -------------------------------------------------------------------------------------------

ODD_DAYS = (b"20190402", b"20190403", b"20190404")
EVERYTHING = Facts(
    dependencies=[
        Dependency("alyx", Health.DOWN, 5.0, "alyx_down", "connection refused"),
        Dependency("globus", Health.NEEDS_LOGIN, 6.0, "globus_login", "log in"),
        Dependency("archive:nas", Health.UP, 7.0),
    ],
    roots=[
        RootFacts("s0", b"/s0", "ibl", "events", problem="not there", frozen=True),
        RootFacts("s1", b"/s1", "ibl", "scan-only", problem="nfs does not report changes"),
        RootFacts(
            "s2",
            b"/s2",
            "ibl",
            "events",
            near_misses=tuple(NearMiss(b"KS005/%s" % day, day.decode(), "date: YYYY-MM-DD") for day in ODD_DAYS),
            near_miss_count=12,
        ),
    ],
    journal_problem="disk full",
    journal_replaced=Replaced(7.0, "journal-2026-03-03.sqlite"),
    silent=[SilentLane("seal-1", "hashing x", 3.0)],
    paused=["register"],
    stuck=[
        StuckSessions("waiting_signal", 2, 1.0, (StuckExample(b"/s0/a", "no completion signal yet"),)),
        StuckSessions("settling", 1, 1.0, (StuckExample(b"/s0/b", "nothing changed for 1 of 60 s"),)),
        StuckSessions("unreadable", 1, 1.0, (StuckExample(b"/s0/c", "cannot be read"),)),
        StuckSessions("signal_before_data", 1, 1.0, (StuckExample(b"/s0/d", "not one file"),)),
        StuckSessions("no_video", 1, 1.0, (StuckExample(b"/s0/e", "raw_video_data missing"),)),
    ],
    stalled=[StalledTask("hpc", "f00d", "FILE_NOT_FOUND no such file", 2.0)],
    late=[LateArchive("flatiron", 4, 1.0)],
    lost=LostFiles(2, 1, b"/s0/a/alf/x.npy"),
    left_out=LeftOut(2, 3_000_000_000, 1, b"/s0/a/x.ap.bin"),
    attention=3,
    attention_since=4.0,
)


def test_health_of_nothing_is_nothing() -> None:
    found = conditions(Facts(dependencies=[Dependency("alyx", Health.UNKNOWN, 0.0)]))
    assert found == []
    assert in_the_way(found) == []


def test_health_says_everything_in_the_closed_list_the_worst_first() -> None:
    found = conditions(EVERYTHING)
    assert {condition.code for condition in found} == CONDITIONS.keys()
    severities = [condition.severity for condition in found]
    assert severities == sorted(severities, key=[Severity.ERROR, Severity.WARNING, Severity.INFO].index)
    assert all(condition.title and condition.text for condition in found)


def test_only_errors_break_the_promise() -> None:
    for code, (severity, _) in CONDITIONS.items():
        assert (in_the_way([Condition(code, "text")]) == []) is (severity is not Severity.ERROR), code


def test_health_counts_what_it_does_not_name() -> None:
    texts = {condition.code: condition.text for condition in conditions(EVERYTHING)}
    assert "and 9 more" in texts["near_misses"]
    assert "/s0/a (no completion signal yet) and 1 more" in texts["no_signal"]
    assert "3 sessions" in texts["attention"]


# --- metrics ------------------------------------------------------------------------------------------------


def test_metrics_are_prometheus_text(world: World) -> None:
    world.archived()
    world.context.dependencies.went_down(UnavailableError("alyx", "alyx_down", "refused"))
    lines = metrics(world.context, world.live).splitlines()
    for line in (
        f'labferry_build_info{{version="{__version__}"}} 1',
        "labferry_healthy 0",
        'labferry_sessions{state="archived"} 1',
        'labferry_sessions{state="settling"} 0',
        'labferry_jobs{state="blocked"} 0',
        "labferry_attention 0",
        'labferry_dependency_up{name="alyx"} 0',
        'labferry_dependency_up{name="archive:nas"} 1',
        'labferry_root_frozen{root="s0"} 0',
    ):
        assert line in lines, line
    named = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(named) == len(set(named))
    assert all(line.startswith(("# ", *named)) for line in lines)
