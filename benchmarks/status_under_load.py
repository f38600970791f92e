"""How long `status` takes while 100,000 files are being hashed, in front of 20,000 archived sessions (WIN-05)."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path
from statistics import quantiles

from big_journal import big_journal
from big_lab import BigLab
from big_tree import big_tree, shared
from support.lab import FLAG
from support.wait import wait_until

FILES, IN_A_FOLDER = 100_000, 500
GOAL = 0.2
PAUSE = 0.05  # seconds between two questions
DEADLINE = 600.0
LEAST = 50  # answers, for a percentile to mean anything
SETTINGS = {"LABFERRY_DETECTION__SCAN_EVERY": "30", "LABFERRY_DETECTION__QUIET": "1"}
HASHING = "hashing "


def run(workdir: Path, runs: int) -> dict[str, object]:
    """Measure once, whatever `runs` says: a hundred thousand files give enough answers."""
    del runs
    tree = big_tree(workdir)
    session = f"KS005/{date.today()}/001"
    folder = tree / session
    with BigLab(workdir / "lab", tree, big_journal(workdir, tree), SETTINGS) as big:
        try:
            _write(folder)
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
            if folder.exists():
                (tree / "KS005").rename(shared(workdir) / f"done-{time.time_ns()}")
    assert len(seconds) >= LEAST, f"only {len(seconds)} answers while files were hashed"
    value = quantiles(seconds, n=100)[98]
    return {
        "name": "status_p99",
        "value": value,
        "unit": "s",
        "reference": 1,  # the goal is in seconds, not a ratio
        "ratio": value,
        "goal": GOAL,
        "ok": value <= GOAL,
        "runs": seconds,
        "note": f"{len(seconds)} answers, median {sorted(seconds)[len(seconds) // 2]:.3f} s",
    }


def _write(folder: Path) -> None:
    for number in range(FILES):
        below = folder / f"alf/part{number // IN_A_FOLDER:04d}"
        if number % IN_A_FOLDER == 0:
            below.mkdir(parents=True)
        (below / f"spikes.times.n{number % IN_A_FOLDER:03d}.npy").write_bytes(b"%d" % number * 100)
    (folder / FLAG).touch()


def _is_hashing(status: dict[str, object]) -> bool:
    lanes = status["lanes"]
    assert isinstance(lanes, list)
    return any(str(lane["doing"]).startswith(HASHING) for lane in lanes)
