"""What a run left behind outside the daemon, in a form in which two runs can be compared."""

from __future__ import annotations

from typing import Any

from support.lab import Lab, archived_files


def without_ids(lab: Lab) -> dict[str, Any]:
    """Return everything that is outside the daemon and must not depend on crashes: no ids, no times."""
    state = lab.state()
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
        "weighings": len(state["weighings"]),
        "water": len(state["water_administrations"]),
        "notes": len(state["notes"]),
        "archive": archived_files(lab),
        "source": sorted(p.relative_to(lab.root).as_posix() for p in lab.root.rglob("*")),
    }
