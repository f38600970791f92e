"""How it is known that a session's files are in the archives, as `labferry show` says it.

Room: cli.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from labferry.cli import human
from labferry.cli.output import bad, dim

SHOWN = 20  # files listed of each transfer; --json has more
# What is meant by the words of the journal; others are sentences themselves.
_HOW = {
    "copied": "copied, and read back from the archive",
    "adopted": "found there, read and compared",
    "transferred": "transferred, MD5 compared by Globus, listed",
    "compared": "found there, MD5 compared by Globus, listed",
    "transferred by Globus alone, no MD5": "transferred; Globus compared both sides, the collection computes no MD5",
    "compared by Globus alone, no MD5": "found there; Globus compared both sides, the collection computes no MD5",
    "archived earlier": "verified by an earlier generation, listed",
    "observed": "there with the registered size and hash, as Alyx says",
}


def evidence_lines(transfers: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield the evidence of each transfer: how many files were verified how, by which task, and file by file."""
    for transfer in transfers:
        evidence = transfer.get("evidence")
        if evidence and evidence["files"]:
            yield ""
            yield f"Evidence of job {transfer['job']}, {transfer['target']}"
            yield from (f"  {line}" for line in _of_transfer(evidence))


def _of_transfer(evidence: dict[str, Any]) -> Iterator[str]:
    for one in evidence["summary"]:
        how = _HOW.get(one["how"], one["how"]) or "not verified yet"
        more = [f"{one['marked']:,} marked in Alyx"] if one["marked"] else []
        more += [f"{one['replaced']:,} in the place of something else"] if one["replaced"] else []
        yield ", ".join([f"{human.plural(one['files'], 'file')} ({human.size(one['bytes'])}): {how}", *more])
    for task in evidence["tasks"]:
        yield _of_task(task)
    for file in evidence["files"][:SHOWN]:
        how = file["how"] or "not verified yet"
        yield f"{dim(file['md5'])}  {file['destination']}  {dim(how)}"
        if file["kept"]:
            yield f"  {dim('what stood there is kept as')} {file['kept']}"
    left = sum(one["files"] for one in evidence["summary"]) - SHOWN
    if left > 0:
        yield dim(f"and {left:,} more; --json lists them")


def _of_task(task: dict[str, Any]) -> str:
    counters = task["counters"]
    said = f"Globus task {task['task'] or task['label']} {task['state']}"
    if task["fault"]:
        said = f"{said}: {bad(task['fault'])}"
    if not counters:
        return said
    return (
        f"{said}: {counters['files_transferred']:,} of {human.plural(counters['files'], 'file')} copied, "
        f"{counters['files_skipped']:,} found equal, {human.plural(counters['faults'], 'fault')}"
    )
