"""A user with the real ONE-api client, in a process of its own with a home directory of its own.

Room: cli. Run as `python -m labferry.cli.demonstration.one_client`: reads a task as JSON from its input and writes one
JSON object per dataset to its output. ONE keeps its settings in the home directory and its downloads in the cache it
is given; both are in the demo's directory. Everything ONE prints goes to the log.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from one import params
from one.api import ONE


def main(task: dict[str, Any], out: TextIO) -> None:
    """Search, list and load every dataset of the task's sessions."""
    client = _log_in(task)
    for session in task["sessions"]:
        for answer in _session(client, Path(task["watch_root"]), session):
            out.write(json.dumps({"session": session["folder"], **answer}) + "\n")
            out.flush()


def _log_in(task: dict[str, Any]) -> Any:
    """Return a client that is set up for this Alyx and its data server, as a lab's users are; it asks nobody."""
    url = task["url"]
    params.setup(client=url, silent=True, make_default=True, username=task["username"], cache_dir=task["cache"])
    params.save(params.get(client=url, silent=True).set("HTTP_DATA_SERVER", task["data_url"]), url)
    return ONE(
        base_url=url,
        username=task["username"],
        password=task["password"],
        cache_dir=task["cache"],
        cache_rest=None,
        silent=True,
    )


def _session(client: Any, watch_root: Path, session: dict[str, Any]) -> Iterator[dict[str, str]]:
    day = session["date"]
    found = client.search(subject=session["subject"], date_range=[day, day], number=session["number"])
    listed = {str(path) for path in client.list_datasets(found[0])} if len(found) == 1 else set()
    for path in session["paths"]:
        if len(found) != 1:
            yield {"path": path, "problem": f"lost: ONE finds {len(found)} sessions"}
        elif path not in listed:
            yield {"path": path, "problem": "lost: ONE does not list it"}
        else:
            yield {"path": path, **_load(client, found[0], watch_root / session["folder"] / path, path)}


def _load(client: Any, eid: Any, source: Path, path: str) -> dict[str, str]:
    """Load one dataset; return where ONE put it, or why it could not."""
    try:
        file = client.load_dataset(eid, path, download_only=True)
        if file is None:
            return {"problem": "lost: ONE cannot download it"}
        if path.endswith(".npy"):
            got, written = client.load_dataset(eid, path), np.load(source)
            if got.dtype != written.dtype or got.shape != written.shape or got.tobytes() != written.tobytes():
                return {"problem": "differs from its source as an array"}
    except Exception as error:  # noqa: BLE001 - whatever ONE raises is the answer
        return {"problem": f"lost: ONE says {type(error).__name__}: {error}"}
    return {"file": str(file)}


if __name__ == "__main__":
    output, sys.stdout = sys.stdout, sys.stderr
    main(json.load(sys.stdin), output)
