"""Ruling 2 as an operator meets it: the real daemon at a root with a past of two hundred sessions."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from labferry.alyx.client import AlyxClient
from support.lab import Lab
from support.somebody import somebody
from support.wait import wait_until

SUBJECTS = ("KS005", "KS014", "SWC_001", "SWC_002", "SWC_054", "ZFM-01935", "ZFM-02601", "ZM_1150", "ZM_1743", "ZM_001")
DAYS = 20
FILES = {"alf/_ibl_wheel.position.npy": 3 << 20, "alf/_ibl_trials.intervals.npy": 5 << 20, "notes.txt": 10}  # sparse
DATASETS = [name for name in FILES if name.startswith("alf/")]
MD5 = "f" * 32  # of nothing that is here
# No program can set a folder's change time back: here everything that was there before the first contact is old.
OLD = {"LABFERRY_DETECTION__HISTORY_AGE": "0"}


def write(lab: Lab, session: str) -> Path:
    """Write a session without a completion signal."""
    folder = lab.root / session
    for name, size in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("wb") as stream:
            stream.truncate(size)
    return folder


def register(client: AlyxClient, session: str, lab: str) -> None:
    """Let Alyx know a session, as another program would have registered and archived it."""
    subject, day, number = session.split("/")
    client.post("/sessions", {"subject": subject, "number": int(number), "start_time": f"{day}T09:30:00"})
    body = {"path": session, "filenames": DATASETS, "filesizes": [FILES[name] for name in DATASETS]}
    there = {"hashes": [MD5 for _ in DATASETS], "name": f"{lab}_SR", "labs": lab, "exists": True, "server_only": True}
    client.post("/register-file", {**body, **there})


@pytest.fixture
def old(lab: Lab) -> list[str]:
    """Make a past of two hundred sessions that Alyx knows."""
    lab.environment = {**lab.environment, **OLD}
    sessions = [f"{subject}/2026-03-{day:02d}/001" for subject in SUBJECTS for day in range(1, DAYS + 1)]
    with somebody(lab) as client:
        for session in sessions:
            write(lab, session)
            register(client, session, "mainenlab" if session.startswith("Z") else "cortexlab")
    lab.sandbox("requests", "DELETE")
    return sessions


def bytes_read(lab: Lab) -> int:
    """Return what the daemon has read of any file so far, also from the page cache."""
    assert lab.daemon is not None
    fields = dict(line.split(": ") for line in Path(f"/proc/{lab.daemon.process.pid}/io").read_text().splitlines())
    return int(fields["rchar"])


def test_ruling_02_a_server_with_a_past_is_taken_over_without_a_post_a_read_or_an_alert(
    lab: Lab, old: list[str]
) -> None:
    write(lab, "KS005/2026-03-25/001")  # Alyx does not know this one
    lab.start_ready()
    began = bytes_read(lab)
    lab.wait_for("adopted", len(old), timeout=60)
    wait_until(lambda: lab.status()["history"]["unasked"] == 0, what="the end of the questions")
    status = lab.status()
    assert {state: count for state, count in status["sessions"].items() if count} == {"adopted": 200, "backlog": 1}
    assert [f"{r['method']} {r['path']}" for r in lab.requests() if r["method"] != "GET"] == ["POST /auth-token"]
    assert bytes_read(lab) - began < 40 << 20 < sum(FILES.values()) * len(old) / 10, "of 1.6 GB"
    assert (status["attention"], status["health"], status["jobs"]["blocked"]) == (0, [], 0)
    assert lab.ask("/healthz")["data"] == {"healthy": True, "reasons": []}
    assert lab.journal("SELECT count(*) FROM job") == [(0,)]
    assert lab.journal("SELECT DISTINCT md5 FROM file WHERE fate = 'dataset'") == [(MD5,)]
    warned = {r["event"] for r in lab.records if r["level"] in {"warning", "error", "critical"}}
    assert warned <= {"config"}
    found = lab.explain(lab.root / old[0])
    assert (found["verdict"], found["attention"]) == ("adopted", False)
    lab.stop()
    lab.sandbox("requests", "DELETE")
    lab.start_ready()
    lab.let_work(1.0)
    assert [r["path"] for r in lab.requests()] == [], "an adopted session costs nothing any more"


def test_ruling_02_the_backlog_is_listed_ignored_and_released_by_command(lab: Lab) -> None:
    lab.environment = {**lab.environment, **OLD}
    days = ("2026-03-02", "2026-03-03", "2026-03-04")
    for day in days:
        write(lab, f"KS005/{day}/001")
    lab.start_ready()
    wait_until(lambda: lab.status()["history"]["unasked"] == 0, what="the end of the questions")

    def answer(*words: str) -> dict[str, object]:
        done = lab.command("backlog", *words, "--json")
        assert done.returncode == 0, done.stdout
        data: dict[str, object] = json.loads(done.stdout)["data"]
        return data

    shown = lab.command("backlog", "--limit", "2").stdout
    assert "3  backlog  Alyx does not have it" in shown
    assert "and 1 more" in shown
    assert answer("ignore", "KS005/2026-03-02/001") == {"sessions": 1, "left": 2}
    assert answer("release", "--limit", "1") == {"sessions": 1, "left": 1}
    lab.wait_for("archived")
    assert lab.show(f"KS005/{days[2]}/001")["state"] == "archived"
    assert lab.count("backlog") == 1
    assert lab.explain(lab.root / f"KS005/{days[0]}/001")["verdict"] == "ignored_rule"
    refused = lab.command("backlog", "release", f"KS005/{days[2]}/001", "--json")
    assert (refused.returncode, json.loads(refused.stdout)["error"]["code"]) == (1, "not_history")
    assert answer("release", f"KS005/{days[0]}/001") == {"sessions": 1, "left": 1}
    lab.wait_for("archived", 2)
    lab.command("retry", f"KS005/{days[1]}/001")
    wait_until(lambda: "history" in lab.actions(f"KS005/{days[1]}/001")[2:], what="another question")
    assert os.path.isdir(lab.root / f"KS005/{days[1]}/001")
