"""`make bench`: what it writes, when it measures nothing, and what its exit code says."""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"
CALM, BUSY = 0.3, 2.5

MODULE = """\
def result(name, ratio, ok, goal=1.5, **more):
    return {"name": name, "value": ratio * 2, "unit": "s", "reference": 2.0, "ratio": ratio, "goal": goal, "ok": ok,
            "runs": [1, 2, 3, 4, 5], **more}

def run(workdir, runs):
    assert workdir.is_dir() and runs == 5
    return result("fast", 1.25, True, note="as fast as it gets")

def run_slow(workdir, runs):
    return result("slow", 1.75, False)

def run_broken(workdir, runs):
    raise OSError("no disk")

def run_liar(workdir, runs):
    return result("liar", 1.75, True)
"""


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_run", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


class Bench:
    """The runner with made-up benchmarks on a made-up machine, whose load is told look by look."""

    def __init__(self, runner: ModuleType, folder: Path) -> None:
        self._runner = runner
        self._folder = folder
        self._benchmarks = {
            name: runner.Benchmark("made_up", "≤", function)
            for name, function in {
                "fast": "run",
                "slow": "run_slow",
                "broken": "run_broken",
                "liar": "run_liar",
            }.items()
        }
        self.slept = 0.0

    def run(self, *arguments: str, loads: Iterable[float] = (CALM,)) -> int:
        """Return the exit code; the last load lasts."""
        told = list(loads)
        code: int = self._runner.main(
            arguments,
            benchmarks=self._benchmarks,
            results=self._folder / "results.json",
            load=lambda: told.pop(0) if len(told) > 1 else told[0],
            sleep=self._sleep,
        )
        return code

    def _sleep(self, seconds: float) -> None:
        self.slept += seconds

    @property
    def written(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self._folder / "results.json").read_text())
        return content


@pytest.fixture
def bench(runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    (tmp_path / "made_up.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "made_up", raising=False)
    return Bench(runner, tmp_path)


def test_ruling_33_the_results_are_as_the_contract_has_them(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run("fast") == 0
    assert set(bench.written) == {"schema", "machine", "results"}
    assert bench.written["schema"] == 1
    (result,) = bench.written["results"]
    assert result == {
        "name": "fast",
        "value": 2.5,
        "unit": "s",
        "reference": 2.0,
        "ratio": 1.25,
        "goal": 1.5,
        "ok": True,
        "runs": 5,
    }
    printed = capsys.readouterr().out
    assert "≤ 1.5" in printed
    assert "as fast as it gets" in printed
    assert "1 of 1 goals hold" in printed


def test_the_machine_is_described_without_naming_it(bench: Bench, tmp_path: Path) -> None:
    bench.run("fast")
    machine = bench.written["machine"]
    assert {"cpu", "cores", "memory_gib", "kernel", "python", "load", "forced"} == set(machine)
    text = json.dumps(machine)
    assert socket.gethostname() not in text
    assert str(tmp_path) not in text


def test_a_goal_that_does_not_hold_is_a_failure(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run("fast,slow") == 1
    assert [result["ok"] for result in bench.written["results"]] == [True, False]
    assert "missed: slow" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "complaint"), [("broken", "no disk"), ("liar", "says ok=True")])
def test_a_benchmark_that_breaks_or_lies_costs_only_itself(
    bench: Bench, capsys: pytest.CaptureFixture[str], name: str, complaint: str
) -> None:
    assert bench.run(name, "fast") == 1
    assert [result["name"] for result in bench.written["results"]] == ["fast"]
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert f"broke: {name}" in captured.out


def test_an_unknown_name_is_a_usage_error_that_names_the_known_ones(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.run("fast,quick") == 2
    complaint = capsys.readouterr().err
    assert "no benchmark quick" in complaint
    assert "fast, slow, broken, liar" in complaint


def test_ruling_33_a_busy_machine_measures_nothing_and_says_so(
    bench: Bench, runner: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.run("fast", loads=[BUSY]) == 0
    assert bench.slept >= runner.PATIENCE
    assert bench.written["results"] == [], "what an earlier run measured is not taken for this one's"
    assert "SKIPPED" in capsys.readouterr().out


def test_ruling_33_a_machine_that_becomes_calm_is_measured(bench: Bench, runner: ModuleType) -> None:
    assert bench.run("fast", loads=[BUSY, BUSY, CALM]) == 0
    assert 0 < bench.slept < runner.PATIENCE
    assert len(bench.written["results"]) == 1


def test_ruling_33_force_measures_all_the_same_and_is_on_record(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.run("--force", "fast", loads=[BUSY]) == 0
    assert bench.slept == 0
    assert (bench.written["machine"]["forced"], bench.written["machine"]["load"]) == (True, BUSY)
    assert "--force" in capsys.readouterr().out


def test_every_benchmark_of_the_table_is_there(runner: ModuleType) -> None:
    for name, benchmark in runner.BENCHMARKS.items():
        source = (PROGRAM.parent / f"{benchmark.module}.py").read_text()
        assert f"def {benchmark.function}(workdir: Path, runs: int)" in source, name
