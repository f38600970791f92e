"""`make bench`: runs the benchmarks, prints a table of ratios, writes `results.json`.

    python benchmarks/run.py [--force] [NAME,NAME …]

A benchmark compares with something measured in the same run, so its ratio can be compared from one machine to
another; its times cannot. On a busy machine nothing is measured. Exit codes: 0 every goal holds, or nothing was
measured; 1 a goal does not hold; 2 there is no benchmark of that name.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
SCRATCH = "/var/tmp"  # on a disk: what syncs its writes would find none below a /tmp in memory
RUNS = 5
BUSY = 1.0  # load average of the last minute above which nothing is measured
PATIENCE = 60.0  # seconds to wait for the machine to become calm
LOOK_EVERY = 5.0  # seconds


@dataclass(frozen=True)
class Benchmark:
    """Where a benchmark is, on which side of its goal the ratio must be, and a program that it compares with."""

    module: str
    bound: Literal["≤", "≥"]
    function: str = "run"
    needs: str = ""

    def run(self, workdir: Path) -> dict[str, Any]:
        """Measure; the modules are imported one by one, so that a broken one costs only itself."""
        result: dict[str, Any] = getattr(importlib.import_module(self.module), self.function)(workdir, RUNS)
        return result


BENCHMARKS: Mapping[str, Benchmark] = {
    "match_files": Benchmark("match_files", "≤"),
    "list_sessions": Benchmark("list_sessions", "≤"),
    "start_ready": Benchmark("start_ready", "≤"),
    "start_ready_new": Benchmark("start_ready", "≤", "run_new"),
    "steady_scan": Benchmark("steady", "≤", "run_scan"),
    "steady_cpu": Benchmark("steady", "≤", "run_cpu"),
    "steady_cpu_unsignalled": Benchmark("steady", "≤", "run_cpu_unsignalled"),
    "growth_cpu": Benchmark("steady", "≤", "run_growth"),
    "watches": Benchmark("steady", "≤", "run_watches"),
    "detect_latency_p99": Benchmark("detect_latency", "≤"),
    "status_p99": Benchmark("status_under_load", "≤"),
    "tracked_rss": Benchmark("tracked_rss", "≤"),
    "idle_rss": Benchmark("idle_rss", "≤"),
    "seal": Benchmark("seal", "≥"),
    "seal_threads": Benchmark("seal", "≥", "run_threads"),
    "journal": Benchmark("journal", "≥"),
    "status_wall": Benchmark("status_wall", "≤"),
    "register_one": Benchmark("register", "≤"),
    "register_server": Benchmark("register", "≤", "run_server"),
    "register_requests": Benchmark("register", "≤", "run_requests"),
    "register_memory": Benchmark("register_memory", "≤"),
    "archive_directory": Benchmark("archive_directory", "≤", needs="rsync"),
    "globus_requests": Benchmark("globus_requests", "≤"),
    "globus_plan": Benchmark("globus_plan", "≤"),
    "globus_plan_rss": Benchmark("globus_plan", "≤", "run_memory"),
}

_LINE = "{:<23}{:>24}{:>16}{:>9}{:>9}  {}"


def main(
    arguments: Sequence[str],
    *,
    benchmarks: Mapping[str, Benchmark] = BENCHMARKS,
    results: Path = RESULTS,
    load: Callable[[], float] = lambda: os.getloadavg()[0],
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Run the named benchmarks, or all; return the exit code."""
    options = _options(arguments)
    names = [name for argument in options.names for name in argument.split(",") if name] or list(benchmarks)
    unknown = [name for name in names if name not in benchmarks]
    if unknown:
        print(f"There is no benchmark {', '.join(unknown)}. There are: {', '.join(benchmarks)}.", file=sys.stderr)
        return 2
    busy = 0.0 if options.force else _wait_for_calm(load, sleep)
    machine = {**describe_machine(), "load": round(load(), 2), "forced": options.force}
    if busy:
        _write(results, machine, [])
        print(
            f"SKIPPED: nothing was measured, the machine is busy (load {busy:.2f}, must be at most {BUSY})."
            " --force measures all the same."
        )
        return 0
    measured, failed = _measure_all({name: benchmarks[name] for name in names})
    _write(results, machine, measured)
    print(_summary(measured, failed, options.force))
    return 1 if failed or not all(result["ok"] for result in measured) else 0


def describe_machine() -> dict[str, object]:
    """Return what the results depend on, without anything that names this machine."""
    cpu = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu[1].strip() if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description="Measure labferry.")
    parser.add_argument("names", nargs="*", metavar="NAME,NAME", help="only these benchmarks")
    parser.add_argument("--force", action="store_true", help="measure on a busy machine too")
    return parser.parse_args(arguments)


def _wait_for_calm(load: Callable[[], float], sleep: Callable[[float], None]) -> float:
    """Return 0 when the machine is calm, its load when it stays busy."""
    for look in range(int(PATIENCE / LOOK_EVERY) + 1):
        now = load()
        if now <= BUSY:
            return 0.0
        if look == 0:
            print(f"The machine is busy (load {now:.2f}): waiting up to {PATIENCE:.0f} s …", flush=True)
        sleep(LOOK_EVERY)
    return now


def _measure_all(benchmarks: Mapping[str, Benchmark]) -> tuple[list[dict[str, Any]], list[str]]:
    """Run one after the other, a line each; return the results and the names of those that broke.

    Each has a folder of its own. What several of them use they put beside it, into a folder `shared`.
    """
    measured, failed = [], []
    print(_LINE.format("benchmark", "value", "reference", "ratio", "goal", "ok"), flush=True)
    with TemporaryDirectory(prefix="labferry-bench-", dir=SCRATCH) as scratch:
        for name, benchmark in benchmarks.items():
            if benchmark.needs and shutil.which(benchmark.needs) is None:
                print(f"{name:<23}SKIPPED: {benchmark.needs} is not installed", flush=True)
                continue
            try:
                with TemporaryDirectory(prefix=f"{name}-", dir=scratch) as workdir:
                    result = _checked(name, benchmark, benchmark.run(Path(workdir)))
            except Exception:  # noqa: BLE001 - whatever broke in one, the others are measured
                traceback.print_exc()
                print(f"{name:<23}broke, see above", flush=True)
                failed.append(name)
                continue
            note = result.pop("note", "")
            print(_row(result, benchmark.bound) + (f"  ({note})" if note else ""), flush=True)
            measured.append(result)
    return measured, failed


def _checked(name: str, benchmark: Benchmark, result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as the contract has it; `note` is for the table only."""
    if result["name"] != name:
        raise ValueError(f"the benchmark {name} calls itself {result['name']}")
    ratio, goal = result["ratio"], result["goal"]
    if result["ok"] is not (ratio <= goal if benchmark.bound == "≤" else ratio >= goal):
        raise ValueError(f"{name} says ok={result['ok']} of {ratio} {benchmark.bound} {goal}")
    runs = result["runs"]
    return {
        "name": name,
        "value": _rounded(result["value"]),
        "unit": result["unit"],
        "reference": _rounded(result["reference"]),
        "ratio": _rounded(ratio),
        "goal": goal,
        "ok": result["ok"],
        "runs": runs if isinstance(runs, int) else len(runs),
        "note": result.get("note", ""),
    }


def _rounded(number: float) -> float:
    return float(f"{number:.5g}")


def _row(result: Mapping[str, Any], bound: str) -> str:
    return _LINE.format(
        result["name"],
        f"{result['value']:.5g} {result['unit']}",
        f"{result['reference']:.5g}",
        f"{result['ratio']:.2f}",
        f"{bound} {result['goal']:.3g}",
        "yes" if result["ok"] else "NO",
    )


def _summary(measured: Sequence[Mapping[str, Any]], failed: Sequence[str], forced: bool) -> str:
    missed = [result["name"] for result in measured if not result["ok"]]
    parts = [f"{len(measured) - len(missed)} of {len(measured) + len(failed)} goals hold, median of {RUNS} runs"]
    parts += [f"missed: {', '.join(missed)}"] if missed else []
    parts += [f"broke: {', '.join(failed)}"] if failed else []
    parts += ["measured by --force, whatever else the machine did"] if forced else []
    return "; ".join(parts)


def _write(path: Path, machine: Mapping[str, object], measured: Sequence[Mapping[str, Any]]) -> None:
    content = {"schema": 1, "machine": machine, "results": measured}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    sys.path.append(str(HERE.parent / "tests"))  # some start a whole lab, as the tests do
    sys.exit(main(sys.argv[1:]))
