"""The daemon's memory when it registers one session of 200,000 files: its largest resident set, in MiB.

Twice: as a session that is new, and, an operator having asked for it, as one whose files Alyx has already.
"""

from __future__ import annotations

import re
from pathlib import Path

from support.lab import Lab
from support.wait import wait_until

FILES = 200_000
IN_A_FOLDER = 500
GOAL = 150  # MiB
DEADLINE = 3600.0  # seconds: it is the sandbox that takes its time
SESSION = "KS005/2026-03-02/001"
PATIENT = {  # one look at a folder is enough, and requests need not be small here
    "LABFERRY_DETECTION__QUIET": "1",
    "LABFERRY_DETECTION__SCAN_EVERY": "5",
    "LABFERRY_REGISTRATION__CHUNK": "500",
}


def run(workdir: Path, runs: int) -> dict[str, object]:
    """Measure once, whatever `runs` says: it takes minutes, and memory varies little."""
    del runs
    with Lab(workdir, environment=PATIENT) as lab:
        config = Path(lab.config)
        config.write_text(config.read_text().replace('archive = ["server"]', "archive = []"))
        _write_session(lab.root / SESSION)
        daemon = lab.start_ready()
        wait_until(lambda: _registered(lab, 1), timeout=DEADLINE, what="the session to be registered")
        new = _peak(daemon.process.pid)
        lab.ask("/v1/jobs/register", "POST", {"session": SESSION, "raw": True})
        wait_until(lambda: _registered(lab, 2), timeout=DEADLINE, what="Alyx to be looked at")
        value = _peak(daemon.process.pid)
        assert lab.show(SESSION)["files"]["registered"] == FILES
    return {
        "name": "register_memory",
        "value": value,
        "unit": "MiB",
        "reference": 1,  # the goal is in MiB, not a ratio
        "ratio": value,
        "goal": GOAL,
        "ok": value <= GOAL,
        "runs": 1,
        "note": f"{new:.1f} MiB while it was new",
    }


def _write_session(folder: Path) -> None:
    for number in range(FILES):
        below = folder / f"alf/part{number // IN_A_FOLDER:04d}"
        if number % IN_A_FOLDER == 0:
            below.mkdir(parents=True)
        (below / f"spikes.times.n{number % IN_A_FOLDER:03d}.npy").write_bytes(b"x")
    (folder / "raw_session.flag").touch()


def _registered(lab: Lab, generation: int) -> bool:
    jobs = lab.show(SESSION)["jobs"] if lab.ask("/v1/sessions")["data"] else []
    return any(job["state"] == "done" and job["generation"] == generation for job in jobs)


def _peak(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024
