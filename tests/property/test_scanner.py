"""Scanning again shows what a listing of everything shows, whatever was made, removed or moved in between."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labferry.detect import scanner
from labferry.detect.scan import ScanResult, scan
from labferry.detect.scanner import Scanner
from labferry.sessions.registry import layout
from support.disks import next_tick

IBL = layout("ibl")
PLACES = [
    f"{subject}/{day}/{number}" for subject in ("A", "B") for day in ("2020-01-01", "2020-01-02") for number in "12"
]
STEPS = st.lists(
    st.tuples(st.sampled_from(["make", "remove", "move"]), st.sampled_from(PLACES), st.integers(1, 3)), max_size=12
)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_whatever_happens_a_scan_shows_what_a_listing_of_everything_shows(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int]]
) -> None:
    place = tmp_path_factory.mktemp("tree")
    root = place / "Subjects"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanner, "YOUNG", -(10**18))
        scans, shown, nth = Scanner(os.fsencode(root), IBL), ScanResult(), 0
        for what, name, depth in steps:
            target = root / Path(*name.split("/")[:depth])
            if what == "make":
                target.mkdir(parents=True, exist_ok=True)
            elif target.exists() and what == "remove":
                shutil.rmtree(target)
            elif target.exists():
                nth += 1
                target.rename(root / f"moved{nth}")
            shown = scans.scan().result or shown
            everything = scan(os.fsencode(root), IBL)
            assert {one.path for one in shown.found} == {one.path for one in everything.found}
            assert sorted(shown.near_misses) == sorted(everything.near_misses)
            next_tick(place)
