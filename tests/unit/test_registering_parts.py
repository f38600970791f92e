"""The small parts of registering files: wishes, plans, refusals, fingerprints, ages."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labferry.alyx.dataset_rows import RemoteDataset
from labferry.alyx.file_records import RemoteFileRecord
from labferry.datasets import collection_revision_name, is_raw
from labferry.engine.registering.looking import Fingerprint, path_of
from labferry.engine.registering.plan import HOLDS, KEPT, Plan, Plans
from labferry.engine.registering.refusals import KEPT as REASONS
from labferry.engine.registering.refusals import Refusals
from labferry.engine.registering.repair import age
from labferry.engine.registering.wish import Wish
from labferry.errors import BlockedError
from support.clock import FakeClock

RECORD = RemoteFileRecord("r1", "cortexlab_SR", "KS005/2026-03-02/001/alf/x.y.npy", exists=True)
ROW = RemoteDataset("d1", "alf", "", "x.y.npy", "a" * 32, 1, "", False, True, "2023-01-01T00:00:00", (RECORD,))


@pytest.mark.parametrize(
    ("path", "raw"),
    [
        (b"raw_behavior_data/_iblrig_taskData.raw.jsonable", True),
        (b"raw_task_data_00/_iblrig_taskData.raw.jsonable", True),
        (b"raw_ephys_data/probe00/x.ap.cbin", True),
        (b"raw_imaging_data_01/x.y.npy", True),
        (b"rawfoo/x.y.npy", False),
        (b"raw/x.y.npy", False),
        (b"raw_data", False),
        (b"alf/raw_behavior_data/x.y.npy", False),
        (b"alf/raw.times.npy", False),
        (b"raw_video_data", False),
        (b"_ibl_experiment.description.yaml", False),
    ],
)
def test_reg_11_raw_data_is_what_is_in_folders_of_that_name(path: bytes, raw: bool) -> None:
    assert is_raw(path) is raw


@given(st.booleans(), st.frozensets(st.binary(min_size=1).filter(lambda b: b"\0" not in b)), st.booleans())
def test_a_wish_travels_as_json_whatever_the_names(raw: bool, files: frozenset[bytes], overwrite: bool) -> None:
    wish = Wish(raw, files, overwrite)
    assert Wish.from_json(wish.to_json()) == wish
    assert all(wish.is_about(path) for path in files)


def test_no_options_ask_for_nothing_special() -> None:
    wish = Wish.from_json("")
    assert wish == Wish()
    assert wish.is_about(b"alf/x.y.npy")


def test_a_plan_is_kept_for_a_while_and_taken_once() -> None:
    clock = FakeClock()
    plans, plan = Plans(clock), Plan([], {})
    plans.keep(1, plan)
    clock.pass_by(HOLDS)
    assert plans.take(1) is plan
    assert plans.take(1) is None
    plans.keep(1, plan)
    clock.pass_by(HOLDS + 1)
    assert plans.take(1) is None


def test_only_so_many_plans_are_kept() -> None:
    plans = Plans(FakeClock())
    for job in range(KEPT + 1):
        plans.keep(job, Plan([], {}))
    assert plans.take(0) is None
    assert all(plans.take(job) for job in range(1, KEPT + 1))


def test_refusals_are_counted_and_the_first_are_named() -> None:
    refusals = Refusals()
    assert refusals.errors() == []
    for number in range(REASONS + 5):
        refusals.add(BlockedError("protected", f"file {number}"), number)
    assert refusals
    assert 3 in refusals
    assert REASONS + 5 not in refusals
    errors = refusals.errors()
    assert [error.message for error in errors[:2]] == ["file 0", "file 1"]
    assert errors[-1].message == "5 more files"


@given(st.permutations(range(5)))
def test_ruling_13_the_order_of_rows_does_not_matter_to_a_fingerprint(order: list[int]) -> None:
    def digest(numbers: list[int]) -> str:
        fingerprint = Fingerprint()
        for number in numbers:
            fingerprint.add(replace(ROW, id=f"d{number}"))
        return str(fingerprint)

    assert digest(order) == digest(list(range(5)))


@pytest.mark.parametrize(
    "other",
    [
        replace(ROW, id="d2"),
        replace(ROW, hash="b" * 32),
        replace(ROW, name="x.z.npy"),
        replace(ROW, file_records=()),
        replace(ROW, file_records=(replace(RECORD, exists=False),)),
    ],
)
def test_ruling_13_whatever_moves_changes_the_fingerprint(other: RemoteDataset) -> None:
    one, two = Fingerprint(), Fingerprint()
    one.add(ROW)
    two.add(other)
    assert str(one) != str(two)


@pytest.mark.parametrize("path", ["alf/x.y.npy", "alf/#2026-01-01#/x.y.npy", "x.y.npy", "a/b/c/#r#/x.y.npy"])
def test_a_dataset_stands_for_the_path_it_was_made_of(path: str) -> None:
    collection, revision, name = collection_revision_name(path.encode())
    assert path_of(replace(ROW, collection=collection, revision=revision, name=name)) == os.fsencode(path)


def test_the_age_of_a_row_is_read_from_alyx_naive_time() -> None:
    assert age("1970-01-01T00:10:00", 660.0) == 60.0
    assert age("1970-01-01T01:10:00+01:00", 660.0) == 60.0
    assert age("yesterday", 660.0) == 0.0
    assert age("", 660.0) == 0.0
