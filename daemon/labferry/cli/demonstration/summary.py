"""What the demo came to: for programs as JSON, for people in a few lines that say what to try next.

Room: cli. Values in, text out.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from labferry.cli import human
from labferry.cli.demonstration.story import Story
from labferry.cli.output import bad, dim, good, indented, printable, strong, table
from labferry.errors import LabferryError

NAMED = 10  # problems that are printed; the rest is counted


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A session that is not archived, and `explain.data` about it."""

    path: str
    explained: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of everything the rig wrote.

    Attributes
    ----------
    wished, recorded, registered, archived, verified : int
        Sessions.
    labs : int
        To which they belong.
    files, size, datasets, lost : int
        Files the rig wrote and their bytes; those that belong into Alyx, and how many of them a user did not get back.
    verified_by : str
        `download` or `ONE`.
    doubled, problems : sequence of str
        What is in Alyx, or was carried by Globus, more than once; what a user did not get back, and why.
    unfinished : sequence of Unfinished
    restarts : int
        How often the daemon died on the way.
    duration_s : float
    kept : Path or None
        The directory, if it stays.
    example : str
        One of the sessions.
    """

    wished: int
    recorded: int
    registered: int
    archived: int
    verified: int
    labs: int
    files: int
    size: int
    datasets: int
    lost: int
    verified_by: str
    doubled: Sequence[str]
    problems: Sequence[str]
    unfinished: Sequence[Unfinished]
    restarts: int
    duration_s: float
    kept: Path | None
    example: str

    @classmethod
    def of(cls, story: Story, *, wished: int, verified_by: str, doubled: Sequence[str], **more: Any) -> Self:
        """Count what the story tells."""
        rows = list(story.rows.values())
        datasets = sum(row.datasets for row in rows)
        return cls(
            wished=wished,
            recorded=story.recorded,
            registered=story.registered,
            archived=story.archived,
            verified=story.verified,
            labs=len({row.session.lab for row in rows}),
            files=sum(row.files for row in rows),
            size=sum(row.size for row in rows),
            datasets=datasets,
            lost=datasets - sum((row.compared or 0) - row.lost for row in rows),
            verified_by=verified_by,
            doubled=doubled,
            example=rows[0].name,
            **more,
        )

    @property
    def is_good(self) -> bool:
        """Whether every session made the whole way, nothing is lost and nothing is doubled."""
        counts = {self.wished, self.recorded, self.registered, self.archived, self.verified}
        return len(counts) == 1 and not (self.lost or self.doubled or self.problems)

    def data(self) -> dict[str, object]:
        """Return `data` of the interface contract, and what else is worth knowing."""
        return {
            "sessions": self.recorded,
            "files": self.datasets,
            "registered": self.registered,
            "archived": self.archived,
            "verified": self.verified,
            "verified_by": self.verified_by,
            "lost": self.lost,
            "duration_s": round(self.duration_s, 3),
            "doubled": len(self.doubled),
            "daemon_restarts": self.restarts,
            "directory": self.kept and str(self.kept),
            "problems": self.wrong(),
        }

    def error(self) -> LabferryError | None:
        """Return what is wrong; None when all is good."""
        if self.is_good:
            return None
        return LabferryError(
            "demo_failed",
            f"Not everything made the whole way: {human.plural(len(self.unfinished), 'session')} not archived, "
            f"{human.plural(self.lost, 'dataset')} lost, {len(self.doubled)} doubled.",
            f"The daemon's log says more: {self.kept}/daemon.log."
            if self.kept
            else "Run it with --keep DIR: the daemon's log is DIR/daemon.log then.",
        )

    def wrong(self) -> list[str]:
        """Name everything that is not as it should be."""
        unfinished = [
            f"{one.path}: {one.explained.get('message') or one.explained['verdict']}" for one in self.unfinished
        ]
        return [*unfinished, *self.problems, *self.doubled]


def opening(sessions: int, socket: Path) -> str:
    """Return what the demo says before it begins."""
    return (
        f"A made-up rig of two labs records {human.plural(sessions, 'session')}, slowly and out of order. labferry\n"
        "registers each in a made-up Alyx, has a made-up Globus copy it to an archive,\n"
        "and verifies it there.\n"
        "Ask it meanwhile, in another terminal:\n"
        f"  labferry status --socket {shlex.quote(str(socket))}\n"
    )


def lines(result: Result) -> Iterator[str]:
    """Yield the summary for people."""
    yield strong(f"What happened in {result.duration_s:.0f} s")
    yield from indented(table(["", ""], _facts(result)))
    yield from _explanations(result)
    yield from _listed("Not as the rig wrote it", result.problems)
    yield from _listed("More than once", result.doubled)
    yield ""
    yield from _next(result)


def _facts(result: Result) -> Iterator[Sequence[str]]:
    sessions = human.plural(result.recorded, "session")
    labs = human.plural(result.labs, "lab")
    yield "recorded", f"{sessions} of {labs}: {human.plural(result.files, 'file')}, {human.size(result.size)}"
    yield "registered", f"{human.plural(result.registered, 'session')} in Alyx"
    others = human.plural(result.files - result.datasets, "file")
    yield "left out", f"{others} that no registration pattern asks for: logs, snapshots"
    yield "archived", f"{human.plural(result.archived, 'session')} through Globus, each copy checked by size and MD5"
    how = "loaded with ONE" if result.verified_by == "ONE" else "downloaded"
    got = human.plural(result.datasets - result.lost, "dataset")
    yield "verified", f"{human.plural(result.verified, 'session')}: {got} {how} and equal to their source"
    yield "lost", good("nothing") if not result.lost else bad(human.plural(result.lost, "dataset"))
    yield "doubled", good("nothing") if not result.doubled else bad(human.plural(len(result.doubled), "record"))
    if result.restarts:
        yield "restarts", f"the daemon died {human.plural(result.restarts, 'time')} and went on where it was"


def _explanations(result: Result) -> Iterator[str]:
    if not result.unfinished:
        return
    yield ""
    yield strong("Not archived, and why (labferry explain)")
    for one in result.unfinished:
        explained = printable(dict(one.explained))
        yield f"  {one.path}"
        yield f"    {bad(str(explained['verdict']))}: {explained.get('message', '')}"
        for fact in explained.get("evidence") or ():
            yield f"    {dim(fact['what'] if isinstance(fact, dict) else str(fact))}"
        if explained.get("hint"):
            yield f"    To do: {explained['hint']}"


def _listed(heading: str, texts: Sequence[str]) -> Iterator[str]:
    if texts:
        yield ""
        yield strong(heading)
        yield from indented(printable(list(texts[:NAMED])))
        if len(texts) > NAMED:
            yield f"  and {len(texts) - NAMED} more"


def _next(result: Result) -> Iterator[str]:
    if result.kept is None:
        yield "Nothing of it is left on this machine. What to try next:"
        yield from indented(
            table(
                ["", ""],
                [
                    ["labferry demo --keep DIR", dim("the same, and everything stays to look around in")],
                    ["labferry demo --one", dim("load the data as scientists do, with ONE")],
                    ["labferry config example", dim("what your own server's configuration looks like")],
                ],
            )
        )
        return
    where = shlex.quote(str(result.kept))
    yield f"Everything is kept in {where}. To look around, start both again and ask:"
    yield from indented(
        [
            f"labferry sandbox --dir {where} &",
            f"labferry run --config {where}/labferry.toml &",
            f"labferry status --socket {where}/control.sock",
            f"labferry show {result.example} --socket {where}/control.sock",
            f"labferry history {result.example} --socket {where}/control.sock",
        ]
    )
