"""`labferry match`: which files of a folder are datasets, and why the others are not.

Room: cli. The daemon decides, by the same rules as when it registers; nothing is sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import click

from labferry.cli import human
from labferry.cli.options import asks_daemon, typed_session
from labferry.cli.output import answer, bad, dim, good, strong, table, warn
from labferry.control.client import ControlClient

_COLOURS = {"dataset": good, "unmatched": dim, "excluded": dim, "rejected": bad}


@click.command("match")
@click.argument("path")
@asks_daemon
def match(client: ControlClient, as_json: bool, path: str) -> None:
    """List the files of the session at PATH: pattern, dataset type, and what is decided about them."""
    answer(client.get("/v1/match", path=typed_session(path)), as_json, _lines)


def _lines(found: dict[str, Any]) -> Iterator[str]:
    files = found["files"]
    yield strong(found["path"])
    if not files:
        yield "No file is there."
        return
    header = ["file", "size", "pattern", "dataset type", "decision"]
    yield from table(header, [_row(file) for file in files], right=(1,))
    yield ""
    yield _summary(found)


def _row(file: dict[str, Any]) -> list[str]:
    fate = file["decision"]
    return [
        file["path"],
        human.size(file["size"]) if file.get("size") is not None else "",
        file.get("pattern") or "",
        file.get("dataset_type") or "",
        _COLOURS.get(fate, warn)(": ".join(filter(None, (fate, file.get("reason"))))),
    ]


def _summary(found: dict[str, Any]) -> str:
    """Return the counts in one line: what is registered, and what is left out for which reason."""
    files, counts = found["files"], found["counts"]
    datasets = [file for file in files if file["decision"] == "dataset"]
    total = human.size(sum(file["size"] or 0 for file in datasets))
    of = human.plural(sum(counts.values()), "file")
    left_out = Counter(file["code"] for file in files if file["decision"] != "dataset")
    parts = [f"{counts.get('dataset', 0):,} of {of} would be registered ({total})"]
    parts += [f"{count:,} {code}" for code, count in left_out.most_common()]
    text = ", ".join(parts)
    return f"{text}." if found.get("complete", True) else f"{text}; only the first {len(files):,} are listed."
