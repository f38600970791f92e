"""The benchmarks, made small: what is measured must at least happen."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the benchmarks import each other, for this test alone."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]


def test_globus_is_asked_no_more_than_is_allowed_for_a_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = importlib.import_module("globus_requests")
    monkeypatch.setattr(benchmark, "SESSIONS", 12)
    assert benchmark.run(tmp_path, 1)["ok"]


def test_a_session_is_planned_and_submitted_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = importlib.import_module("globus_planning")
    monkeypatch.setattr(benchmark, "FILES", 200)
    benchmark.prepare(tmp_path / "sealed")
    assert benchmark.work(tmp_path / "sealed")["seconds"] > 0
