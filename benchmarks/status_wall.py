"""`labferry status`, the whole process from start to exit code, against a Python that does nothing."""

from __future__ import annotations

import http.server
import json
import os
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from results import result

GOAL = 12.0
ROOTS = 20
STATES = ("settling", "complete", "registered", "archived", "adopted", "backlog", "held", "vanished", "ignored")
DATA = {
    "version": "0",
    "pid": 1,
    "started": "2024-05-31T00:00:00.000Z",
    "uptime_s": 86_400.0,
    "server_name": "lab-server-1",
    "paused": [],
    "sessions": dict.fromkeys(STATES, 12_345),
    "attention": 3,
    "jobs": {"queued": 40, "running": 4, "waiting": 12, "blocked": 3},
    "oldest_waiting_s": 3600.0,
    "transfers": {"active": 2, "bytes_done": 10**9, "bytes_total": 10**10},
    "dependencies": {name: {"state": "up", "since": "2024-05-31T00:00:00.000Z"} for name in ("alyx", "archive:nas")},
    "roots": [
        {
            "name": f"s{number}",
            "path": f"/mnt/s{number}/Data/Subjects",
            "layout": "ibl",
            "mode": "events",
            "watches": 256,
            "sessions": 1000,
            "last_scan": "2024-05-31T12:00:00.000Z",
            "scan_s": 0.1,
            "problem": None,
        }
        for number in range(ROOTS)
    ],
    "health": [],
}


def run(workdir: Path, runs: int) -> dict[str, object]:
    with _daemon() as socket:
        # As the installed command does it; `-m` would look the package up a second time.
        start = "import sys; from labferry.__main__ import main; main()"
        asking = [sys.executable, "-c", start, "status", "--socket", socket]
        nothing = [sys.executable, "-c", "pass"]
        for command in (asking, nothing):  # byte code and page cache
            _seconds(command, workdir)
        walls, floors = [], []
        for _ in range(runs * 5):  # short runs: more of them, in turn, so that other load falls on both
            floors.append(_seconds(nothing, workdir))
            walls.append(_seconds(asking, workdir))
    return result("status_wall", median(walls), "s", GOAL, walls, reference=median(floors))


def _seconds(command: Sequence[str], workdir: Path) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, cwd=workdir, capture_output=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode not in {0, 3}:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return seconds


@contextmanager
def _daemon() -> Iterator[str]:
    """Serve the status on a socket in a folder of its own: socket paths are short."""
    content = json.dumps({"schema": 1, "ok": True, "data": DATA, "error": None}).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "control.sock")
        with socketserver.UnixStreamServer(path, Handler) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield path
            finally:
                server.shutdown()
                thread.join()
