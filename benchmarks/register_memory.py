"""The daemon's memory when it registers one session of 200,000 files: its largest resident set, in MiB.

Twice: as a session that is new, and, an operator having asked for it, as one whose files Alyx has already.
"""

from __future__ import annotations

from pathlib import Path

from many_files import write_many
from memory import memory
from results import result
from support.lab import Lab
from support.wait import wait_until

FILES = 200_000
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
        write_many(lab.root / SESSION, FILES, lambda _: b"x")
        daemon = lab.start_ready()
        wait_until(lambda: _registered(lab, 1), timeout=DEADLINE, what="the session to be registered")
        new = memory(daemon.process.pid)["VmHWM"]
        lab.ask("/v1/jobs/register", "POST", {"session": SESSION, "raw": True})
        wait_until(lambda: _registered(lab, 2), timeout=DEADLINE, what="Alyx to be looked at")
        value = memory(daemon.process.pid)["VmHWM"]
        assert lab.show(SESSION)["files"]["registered"] == FILES
    return result("register_memory", value, "MiB", GOAL, 1, note=f"{new:.1f} MiB while it was new")


def _registered(lab: Lab, generation: int) -> bool:
    jobs = lab.show(SESSION)["jobs"] if lab.ask("/v1/sessions")["data"] else []
    return any(job["state"] == "done" and job["generation"] == generation for job in jobs)
