"""Progress of transfers, as `status`, `show` and `follow` tell it, while a directory or Globus is filled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labferry.control.api import Api
from labferry.control.messages import Request, Stream
from labferry.control.peers import Peer
from labferry.engine.archive import ArchiveStage
from labferry.engine.reports.sessions import show
from labferry.engine.reports.status import status
from labferry.model import Stage
from support.globus import GlobusBench
from support.stages import FILES, StageBench
from support.wait import wait_until

MIB = 1 << 20
FOUR = {f"raw_video_data/_iblrig_{side}Camera.raw.mp4": b"x" * MIB for side in ("left", "right", "body", "belly")}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StageBench]:
    bench = StageBench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def globus(tmp_path: Path) -> Iterator[GlobusBench]:
    bench = GlobusBench(tmp_path)
    yield bench
    bench.close()


def while_copying(bench: StageBench, look: Callable[[], object], files: dict[str, bytes]) -> None:
    """Copy a session; every report takes a second, and `look` looks on."""
    bench.write(files=files)
    for stage in (Stage.RESOLVE, Stage.SEAL, Stage.REGISTER, Stage.SEAL):
        bench.step(stage)
    job = bench.journal.jobs.claim(Stage.ARCHIVE, "server")
    assert job is not None
    stage = bench.archives["server"]
    assert isinstance(stage, ArchiveStage)

    def beat(_what: str, _at_most: float) -> None:
        bench.clock.pass_by(1.0)
        look()

    stage(job, beat)


def test_progress_of_a_copy_is_in_status_and_show(bench: StageBench) -> None:
    seen: list[dict[str, Any]] = []

    def look() -> None:
        moving = status(bench.context, bench.live)["transfers"]["moving"]
        if moving:
            row = bench.journal.sessions.get(moving[0]["session"])
            assert row is not None
            shown = show(bench.context, row)["transfers"][0]
            assert {name: shown[name] for name in ("bytes_done", "files_done", "bytes_per_s", "seconds_left")} == {
                name: moving[0][name] for name in ("bytes_done", "files_done", "bytes_per_s", "seconds_left")
            }
            seen.append(moving[0])

    while_copying(bench, look, {**FILES, **FOUR})
    assert seen[0]["bytes_per_s"] is None, "nobody knows a speed before something has moved"
    assert seen[0]["seconds_left"] is None
    fast = [one for one in seen if one["bytes_per_s"]]
    assert fast, seen
    assert all(
        one["seconds_left"]
        == pytest.approx((one["bytes_total"] - one["bytes_done"]) / one["bytes_per_s"], rel=0.05, abs=0.1)
        for one in fast
    )
    assert max(one["files_done"] for one in seen) > 1
    assert seen[-1]["target"] == "server"
    assert seen[-1]["path"].endswith("KS005/2026-03-02/001")
    after = status(bench.context, bench.live)["transfers"]
    assert (after["active"], after["moving"], after["bytes_per_s"], after["seconds_left"]) == (0, [], None, None)


def test_many_small_files_are_few_transactions(bench: StageBench) -> None:
    """A kill may cost evidence of the last half second, which the next attempt finds again; not a write per file."""
    seen: set[int] = set()

    def look() -> None:
        bench.clock.mono -= 0.99  # a hundred reports a second
        seen.update(row["verified"] for row in bench.journal._db.read(VERIFIED))

    many = {f"alf/probe00/spikes.times{number:03d}.npy": b"%d" % number for number in range(100)}
    while_copying(bench, look, {**FILES, **many})
    assert len(seen) < 10, "evidence was written down file by file"


VERIFIED = "SELECT count(*) AS verified FROM item WHERE verified_at IS NOT NULL"


def test_progress_of_a_globus_task_is_in_status(globus: GlobusBench) -> None:
    """The service counts a task as a whole, at every look."""
    rule = globus.fault(match="", when="before", action="task", becomes="PAUSED", times=None)
    globus.submitted(files={**FILES, **FOUR})
    globus.look()
    first = status(globus.context, globus.live)["transfers"]["moving"]
    assert [(one["bytes_done"], one["files_done"], one["bytes_per_s"]) for one in first] == [(0, 0, None)]
    globus.look()
    (still,) = status(globus.context, globus.live)["transfers"]["moving"]
    assert (still["bytes_per_s"], still["seconds_left"]) == (0.0, None), "it stands still: nobody knows how long"
    globus.fault(match="", when="after", action="task", becomes="PAUSED", times=None)
    globus.sandbox.faults.remove(rule)
    wait_until(lambda: globus.tasks()[0]["files_transferred"] == 7, what="the mover")
    globus.look()
    (full,) = status(globus.context, globus.live)["transfers"]["moving"]
    total = full["bytes_total"]
    assert (full["bytes_done"], full["files_done"], full["files_total"]) == (total, 7, 7)
    assert (full["bytes_per_s"], full["seconds_left"]) == (pytest.approx(total / 2, rel=0.01), 0.0)
    globus.heal()
    globus.wait_for_end()
    globus.rest()
    after = status(globus.context, globus.live)["transfers"]
    assert (after["active"], after["moving"]) == (0, [])


def test_who_follows_is_told_how_far_transfers_are_and_only_who_asks(bench: StageBench) -> None:
    api = Api(bench.context, bench.live)
    peer = Peer(0, 0, 0)
    told: list[dict[str, Any]] = []
    plain: list[dict[str, Any]] = []

    def stream(**query: str) -> Iterator[list[dict[str, Any]]]:
        found = api.answer(Request("GET", "/v1/events", {"follow": "1", **query}, {}, peer))
        assert isinstance(found, Stream)
        return found.steps

    asked, others = stream(progress="1"), stream()
    next(asked)
    next(others)

    def look() -> None:
        bench.clock.pass_by(1.0)
        bench.context.wakeup.ring()  # so that nobody waits for news
        told.extend(next(asked))
        plain.extend(next(others))

    while_copying(bench, look, {**FILES, **FOUR})
    progress = [one for one in told if one["action"] == "progress"]
    assert progress
    assert {one["action"] for one in plain}.isdisjoint({"progress"})
    done = [(one["transfer"]["files_done"], one["transfer"]["bytes_done"]) for one in progress]
    assert done == sorted(set(done)), "said once each"
    last = bench.journal.last_event()
    assert all(one["id"] <= last for one in progress), "resuming after it loses no event"
    assert progress[0]["path"].endswith("KS005/2026-03-02/001")
