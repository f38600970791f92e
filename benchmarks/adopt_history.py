"""What it costs to be installed in front of a lab's whole past: by hand, not part of `make bench`.

    PYTHONPATH=tests .venv/bin/python benchmarks/adopt_history.py [SESSIONS]

Makes 20,000 old sessions of ten files (200,000 in all, sparse) and an Alyx that knows them, starts the daemon, and
prints one JSON object: seconds until it is ready, processor and wall seconds until all are adopted, memory, requests,
bytes read, the journal's size; then the same of a second start. The daemon asks as fast as Alyx answers: what limits it
in a lab, two questions a second, is time in which nothing happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from uuid import uuid4

from support.lab import Lab
from support.wait import wait_until

SESSIONS = 20_000
A_DAY = 2  # sessions
LOOK_EVERY = 5.0  # seconds: counting all sessions is work, too
SIZE = 100_000_000  # bytes of each file, of which none is on the disk
COLLECTIONS: dict[str, tuple[str, ...]] = {}
COLLECTIONS["alf"] = ("_ibl_wheel.position.npy", "_ibl_wheel.timestamps.npy", "_ibl_trials.intervals.npy")
COLLECTIONS["alf/probe00"] = ("spikes.times.npy", "spikes.clusters.npy", "spikes.depths.npy", "clusters.depths.npy")
COLLECTIONS["raw_video_data"] = ("_iblrig_leftCamera.timestamps.ssv",)
OTHERS = ("notes.txt", "logs/session.log")
UNHURRIED = "import labferry.engine.history.allowance as a; a.Allowance.__init__.__defaults__ = (1e6, 1e6); "
DAEMON = UNHURRIED + "from labferry.cli.main import cli; cli()"
OLD = {"LABFERRY_DETECTION__HISTORY_AGE": "0", "LABFERRY_LOG__FORMAT": "json"}


def sessions(subjects: list[str], count: int) -> list[tuple[str, str, int]]:
    """Return subject, day and number of every session."""
    first = date(2015, 1, 1)
    found = []
    for number in range(count):
        subject, nth = subjects[number % len(subjects)], number // len(subjects)
        found.append((subject, (first + timedelta(nth // A_DAY)).isoformat(), nth % A_DAY + 1))
    return found


def write(root: Path, known: list[tuple[str, str, int]]) -> None:
    """Write the folders."""
    for subject, day, number in known:
        folder = root / subject / day / f"{number:03d}"
        for collection in (*COLLECTIONS, "logs"):
            (folder / collection).mkdir(parents=True, exist_ok=True)
        for name in [*(f"{at}/{name}" for at, names in COLLECTIONS.items() for name in names), *OTHERS]:
            with (folder / name).open("wb") as stream:
                stream.truncate(SIZE)


def plant(database: Path, known: list[tuple[str, str, int]]) -> None:
    """Let Alyx know them."""
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        subjects = {row[0]: row[1:] for row in connection.execute("SELECT nickname, id, lab FROM subject")}
        for subject, day, number in known:
            key, lab = subjects[subject]
            eid, at = str(uuid4()), f"{day}T09:30:00"
            connection.execute(
                "INSERT INTO session (id, subject, lab, number, start_time, auto_datetime) VALUES (?, ?, ?, ?, ?, ?)",
                (eid, key, lab, number, at, at),
            )
            for collection, names in COLLECTIONS.items():
                for name in names:
                    dataset = str(uuid4())
                    kind = ".".join(name.split(".")[:-1])
                    connection.execute(
                        "INSERT INTO dataset (id, name, created_datetime, dataset_type, data_format, collection,"
                        " session, file_size, hash, auto_datetime) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        (dataset, name, at, kind, name.rpartition(".")[2], collection, eid, SIZE, "f" * 32, at),
                    )
                    path = f"{subject}/{day}/{number:03d}/{collection}/{name}"
                    for repository in (f"{lab}_SR", f"flatiron_{lab}"):
                        connection.execute(
                            'INSERT INTO file_record (id, dataset, data_repository, relative_path, "exists")'
                            " VALUES (?, ?, ?, ?, 1)",
                            (str(uuid4()), dataset, repository, path),
                        )


def started(lab: Lab) -> tuple[subprocess.Popen[bytes], float]:
    """Start the daemon; return it, and the seconds until it answered with a scan behind it."""
    with (lab.directory / "daemon.log").open("ab") as log:
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-c", DAEMON, "run", "--config", lab.config],
            env={**os.environ, **OLD},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

    def ready() -> bool:
        assert process.poll() is None, lab.log[-3000:]
        return bool(lab.log.count('"event": "ready"') or lab.log.count('"event":"ready"'))

    wait_until(ready, timeout=600, what="the daemon to be ready")
    return process, time.monotonic() - began


def measured(process: subprocess.Popen[bytes]) -> dict[str, float]:
    """Return processor seconds, memory in MiB, and bytes read so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":\t") for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    read = dict(line.split(": ") for line in Path(f"/proc/{process.pid}/io").read_text().splitlines())
    return {
        "cpu_s": (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        "rss_mib": int(status["VmRSS"].split()[0]) / 1024,
        "peak_mib": int(status["VmHWM"].split()[0]) / 1024,
        "read_mib": int(read["rchar"]) / 2**20,
    }


def latency(lab: Lab) -> float:
    """Return the 99th percentile of the seconds that a status takes."""
    seconds = []
    for _ in range(50):
        began = time.monotonic()
        lab.status()
        seconds.append(time.monotonic() - began)
    return quantiles(seconds, n=100)[98]


def ended(process: subprocess.Popen[bytes], lab: Lab) -> None:
    """Stop the daemon, and forget its log."""
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    (lab.directory / "daemon.log").write_text("")


def main(count: int) -> None:
    """Measure, and print what came out."""
    subjects = [f"OLD_{number:03d}" for number in range(160)]
    with TemporaryDirectory(dir="/var/tmp", prefix="adopt-history-") as folder:
        directory = Path(folder)
        with Lab(directory, *(f"{name}:cortexlab" for name in subjects)) as lab:
            lab.stop_sandbox()
            known = sessions(subjects, count)
            write(lab.root, known)
            plant(directory / "alyx.sqlite", known)
            lab.restart_sandbox()
            process, ready_s = started(lab)
            at_ready, began = measured(process), time.monotonic()
            while lab.count("adopted") < count:
                assert process.poll() is None, lab.log[-3000:]
                time.sleep(LOOK_EVERY)
            adopted_s = time.monotonic() - began
            after, status = measured(process), lab.status()
            asked = Counter(f"{r['method']} {r['path'].split('?')[0]}" for r in lab.requests())
            first = {
                "ready_s": ready_s,
                "adopted_s": adopted_s,
                "cpu_per_session_ms": 1000 * (after["cpu_s"] - at_ready["cpu_s"]) / count,
                "at_ready": at_ready,
                "after": after,
                "status_p99_s": latency(lab),
                "alerts": [status["attention"], status["health"]],
                "requests": asked,
                "journal_mib": sum(f.stat().st_size for f in lab.state_dir.glob("journal*")) / 2**20,
            }
            ended(process, lab)
            lab.sandbox("requests", "DELETE")
            process, ready_s = started(lab)
            lab.let_work(5.0)
            second = {"ready_s": ready_s, **measured(process), "requests": len(lab.requests())}
            ended(process, lab)
        print(json.dumps({"sessions": count, "first": first, "second": second}, indent=1))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SESSIONS)
