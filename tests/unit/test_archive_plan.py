from __future__ import annotations

import dataclasses
from contextlib import suppress

import pytest

from labferry.archive.base import StoppedError
from labferry.archive.meter import Meter
from labferry.archive.plan import Item, Plan, Progress
from labferry.errors import LabferryError

ITEM = Item(b"alf/a.npy", b"S/2020-01-01/001/alf/a.npy", 10, "0" * 32, 1, 2)
OTHER = dataclasses.replace(ITEM, source=b"alf/b.npy", destination=b"S/2020-01-01/001/alf/b.npy", size=5)
PLAN = Plan("41-1", b"/data/S/2020-01-01/001", b"/mnt/nas", (ITEM, OTHER))


def test_a_plan_knows_where_its_items_go() -> None:
    assert PLAN.destination_of(ITEM) == b"/mnt/nas/S/2020-01-01/001/alf/a.npy"


@pytest.mark.parametrize("batch", ["", "a/b", "..", "a b", "-a", "x" * 65])
def test_a_batch_is_fit_for_a_file_name(batch: str) -> None:
    with pytest.raises(ValueError, match="name of a batch"):
        dataclasses.replace(PLAN, batch=batch)


@pytest.mark.parametrize("field", ["session_dir", "base"])
def test_the_folders_of_a_plan_are_absolute(field: str) -> None:
    with pytest.raises(ValueError, match="absolute"):
        dataclasses.replace(PLAN, **{field: b"relative"})


@pytest.mark.parametrize("field", ["source", "destination"])
def test_no_item_leaves_its_folder(field: str) -> None:
    with pytest.raises(ValueError, match="below its folder"):
        dataclasses.replace(PLAN, items=(dataclasses.replace(ITEM, **{field: b"../x"}),))


def test_two_items_never_want_one_destination() -> None:
    twin = dataclasses.replace(OTHER, destination=ITEM.destination)
    with pytest.raises(ValueError, match="2 files for one destination"):
        dataclasses.replace(PLAN, items=(ITEM, twin))


def test_progress_counts_what_is_done_and_forgets_a_file_that_is_begun_again() -> None:
    told: list[Progress] = []
    meter = Meter(PLAN, {OTHER.destination}, told.append, lambda: False)
    with meter.file(ITEM) as count:
        count.start()
        count.moved(7)
        count.start()
        count.moved(10)
    meter.tell()
    assert [(report.bytes_done, report.files_done) for report in told] == [(5, 1), (12, 1), (5, 1), (15, 1), (15, 2)]
    assert {(report.bytes_total, report.files_total) for report in told} == {(15, 2)}


def test_progress_counts_files_that_are_under_way_together_and_not_those_that_failed() -> None:
    told: list[Progress] = []
    meter = Meter(PLAN, frozenset(), told.append, lambda: False)
    with meter.file(OTHER) as other:
        other.moved(5)
        with suppress(OSError), meter.file(ITEM) as count:
            count.moved(7)
            raise OSError
    meter.tell()
    assert [(report.bytes_done, report.files_done) for report in told] == [(5, 0), (12, 0), (5, 1)]


def test_a_stop_is_no_condition_for_operators() -> None:
    meter = Meter(PLAN, frozenset(), lambda _: None, lambda: True)
    with pytest.raises(StoppedError) as caught, meter.file(ITEM) as count:
        count.moved(1)
    assert not isinstance(caught.value, LabferryError)
