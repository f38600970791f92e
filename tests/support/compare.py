"""What a run left behind outside the daemon, in a form in which two runs can be compared."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

from labferry.archive.naming import dataset_id
from support.lab import Lab, archived_files
from support.wait import wait_until


def without_ids(lab: Lab) -> dict[str, Any]:
    """Return everything that is outside the daemon and must not depend on crashes: no ids, no times.

    How many tasks Globus accepted is the same from run to run where one session travels; who travels with whom is not.
    """
    state = lab.state()
    tasks = state["globus"]["tasks"]
    sessions = {
        s["id"]: (s["subject"], s["start_time"], s["number"], s["lab"], str(s["json"]), s["users"])
        for s in state["sessions"]
    }
    datasets = sorted(
        (
            sessions[d["session"]][:3],
            d["collection"] or "",
            d["revision"] or "",
            d["name"],
            d["hash"],
            d["file_size"],
            sorted((r["data_repository"], r["relative_path"], r["exists"]) for r in d["file_records"]),
        )
        for d in state["datasets"]
    )
    return {
        "sessions": sorted(sessions.values()),
        "datasets": datasets,
        "weighings": sorted((w["subject"], w["date_time"], w["weight"], w["user"]) for w in state["weighings"]),
        "water": sorted(
            (sessions[w["session"]][:3], w["date_time"], w["water_type"], w["water_administered"], w["user"])
            for w in state["water_administrations"]
        ),
        "notes": len(state["notes"]),
        "archive": archived_files(lab),
        "tasks": sorted((task["status"], task["fatal_error"]) for task in tasks),
        "carried": sorted(_known_name(item["destination_path"]) for task in tasks for item in task["items"]),
        "transferred": sum(task["files_transferred"] for task in tasks),
        "skipped": sum(task["files_skipped"] for task in tasks),
        "source": sorted(p.relative_to(lab.root).as_posix() for p in lab.root.rglob("*")),
    }


def require_carried_once(found: dict[str, Any]) -> None:
    """Fail unless Globus was asked once for each file that is in the archive, and copied it."""
    assert {name: times for name, times in Counter(found["carried"]).items() if times > 1} == {}
    assert found["carried"] == sorted(f"/{name}" for name in found["archive"])
    assert (found["transferred"], found["skipped"]) == (len(found["archive"]), 0)
    assert {status for status, _ in found["tasks"]} == {"SUCCEEDED"}


def _known_name(path: str) -> str:
    """Return a path in the archive without the dataset's id."""
    known = dataset_id(os.fsencode(path))
    return os.fsdecode(known[1]) if known else path


def names_in_alyx(lab: Lab, subject: str = "KS005") -> list[str]:
    """Return what is registered of a subject, sorted: collection and name of every dataset row."""
    state = lab.state()
    sessions = {s["id"] for s in state["sessions"] if s["subject"] == subject}
    return sorted(f"{d['collection']}/{d['name']}" for d in state["datasets"] if d["session"] in sessions)


def archive_of(lab: Lab, session: str, lab_name: str = "cortexlab") -> dict[str, bytes]:
    """Return what the archive holds of a session, by the path below it."""
    folder = f"{lab_name}/Subjects/{session}/"
    return {name.removeprefix(folder): data for name, data in archived_files(lab).items() if name.startswith(folder)}


def wait_until_fine(lab: Lab, path: Path) -> None:
    """Wait until all of a session is archived, and nothing of it was left out."""

    def fine() -> bool:
        found = lab.explain(path)
        return (found["verdict"], found["attention"]) == ("ok_archived", False)

    wait_until(fine, 20, lambda: f"all of the session to arrive: {lab.explain(path)}\n{lab.log[-3000:]}")
