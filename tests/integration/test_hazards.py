"""What may happen to detection on a real machine: lost events and exhausted limits cost time, never a session."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from support.lab import FLAG, Lab
from support.wait import wait_until

FIRST = "KS005/2026-03-02/001"
BURST = 30_000  # files
LIMIT = 500  # watches
UNFINISHED = 260  # sessions, each of which wants a watch for itself and one for its day
DATASET = {"alf/_ibl_wheel.position.npy": b"positions"}


@pytest.mark.timeout(120)
def test_done_06_a_daemon_that_stood_still_misses_no_session_and_status_counts_the_loss(lab: Lab) -> None:
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if queue > BURST:
        pytest.skip(f"the kernel queues {queue} events here: {BURST} files do not overflow it")
    watched = lab.write(FIRST, DATASET, flag=False)
    daemon = lab.start_ready()
    lab.wait_for("settling")
    (root,) = lab.status()["roots"]
    assert root["overflows"] == 0
    new = [f"KS005/2026-03-03/{number:03d}" for number in range(1, 11)]
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        for number in range(BURST - 2 * (len(new) + 1)):
            os.close(os.open(os.fsencode(watched / f"{number}.raw"), os.O_CREAT | os.O_WRONLY))
        for session in new:
            lab.write(session, DATASET)
        (watched / FLAG).touch()
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    lab.wait_for("archived", 1 + len(new), timeout=100)
    (root,) = lab.status()["roots"]
    assert root["overflows"] > 0
    assert lab.logged("events_lost") != []
    shown = lab.command("status").stdout
    assert "events lost" in " ".join(shown.split())
    assert sorted(s["number"] for s in lab.state()["sessions"]) == sorted([1, *range(1, 11)])


@pytest.fixture
def limited_lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab whose daemon lives where the kernel gives it `LIMIT` watches."""
    unshare = shutil.which("unshare")
    limit = Path("/proc/sys/user/max_inotify_watches")
    if unshare is None or not limit.exists():
        pytest.skip("needs user namespaces with a limit of their own")
    prefix = (unshare, "-Ur", "sh", "-c", f'echo {LIMIT} > {limit} && exec "$@"', "sh")
    if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs user namespaces, and the right to set a limit in one")
    with Lab(tmp_path, prefix=prefix) as lab:
        yield lab


def test_done_06_with_too_few_watches_all_is_found_and_the_limit_is_named(limited_lab: Lab) -> None:
    lab, first = limited_lab, date(2026, 3, 1)
    days = [first + timedelta(number) for number in range(UNFINISHED)]
    unfinished = [lab.write(f"KS005/{day}/001", DATASET, flag=False) for day in days]
    lab.start_ready()
    lab.wait_for("settling", UNFINISHED)
    (root,) = wait_until(lambda: [r for r in lab.status()["roots"] if r["problem"]], what="the limit to be said")
    assert root["mode"] == "events"
    assert root["watches"] == LIMIT
    assert f"{LIMIT} of " in root["problem"]
    assert "sysctl -w fs.inotify.max_user_watches=" in root["problem"]
    assert [c["code"] for c in lab.status()["health"]] == ["root_problem"]
    assert len(lab.logged("watches_limited")) == 1
    assert "sysctl -w fs.inotify.max_user_watches=" in lab.command("status").stdout.replace("\n", "")
    for folder in (unfinished[0], unfinished[-1]):  # the newest are watched, the oldest is not
        (folder / FLAG).touch()
    lab.write("ZM_1150/2026-03-02/001", DATASET)
    lab.wait_for("archived", 3)
    assert len(lab.logged("watches_limited")) == 1, "once, not at every scan"
    lab.require_calm()
