"""How long `status` takes while 100,000 files are being hashed, in front of 20,000 archived sessions (WIN-05)."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path
from statistics import quantiles

from big_lab import known_past
from big_tree import put_away
from many_files import write_many
from results import result
from support.wait import wait_until

FILES = 100_000
GOAL = 0.2
PAUSE = 0.05  # seconds between two questions
DEADLINE = 600.0
LEAST = 50  # answers, for a percentile to mean anything
SETTINGS = {"LABFERRY_DETECTION__SCAN_EVERY": "30", "LABFERRY_DETECTION__QUIET": "1"}
HASHING = "hashing "


def run(workdir: Path, runs: int) -> dict[str, object]:
    """Measure once, whatever `runs` says: a hundred thousand files give enough answers."""
    del runs
    with known_past(workdir, environment=SETTINGS) as big:
        subject = big.tree / "KS005"
        try:
            write_many(subject / f"{date.today()}/001", FILES, lambda number: b"%d" % number * 100)
            big.start()
            lab = big.lab
            wait_until(lambda: _is_hashing(lab.status()), timeout=DEADLINE, what="the session to be hashed")
            seconds: list[float] = []
            while True:
                began = time.perf_counter()
                status = lab.status()
                seconds.append(time.perf_counter() - began)
                if not _is_hashing(status):
                    break
                time.sleep(PAUSE)
            ours = "SELECT id FROM session WHERE subject = 'KS005'"
            ((read,),) = lab.journal(f"SELECT count(*) FROM file WHERE md5 IS NOT NULL AND session_id = ({ours})")
            assert read == FILES, f"{read} files were hashed, {status['lanes']}"
        finally:
            put_away(workdir, [subject])
    assert len(seconds) >= LEAST, f"only {len(seconds)} answers while files were hashed"
    value = quantiles(seconds, n=100)[98]
    note = f"{len(seconds)} answers, median {sorted(seconds)[len(seconds) // 2]:.3f} s"
    return result("status_p99", value, "s", GOAL, seconds, note=note)


def _is_hashing(status: dict[str, object]) -> bool:
    lanes = status["lanes"]
    assert isinstance(lanes, list)
    return any(str(lane["doing"]).startswith(HASHING) for lane in lanes)
