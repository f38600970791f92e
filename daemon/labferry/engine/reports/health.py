"""Whether the promise is kept: conditions with a name, a severity and a sentence; a closed list.

Pure: takes facts, returns conditions. `status` shows them, `/healthz` answers with them, alerts are made of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from labferry.engine.dependencies import Dependency, Health
from labferry.engine.detection.roots import RootFacts
from labferry.engine.reports.hints import typed
from labferry.model import first_of, show_path

NAMED = 3  # folders or sessions named in one sentence


class Severity(StrEnum):
    """How bad a condition is. Only an `error` breaks the promise."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


CONDITIONS: dict[str, tuple[Severity, str]] = {
    "dependency_down": (Severity.ERROR, "A service that the work needs does not answer"),
    "dependency_login": (Severity.ERROR, "A service does not accept our login"),
    "journal_trouble": (Severity.ERROR, "The journal cannot be written"),
    "journal_replaced": (Severity.WARNING, "The journal was damaged and is another one now"),
    "lane_silent": (Severity.ERROR, "A part of the daemon shows no sign of life"),
    "transfer_stalled": (Severity.ERROR, "A transfer makes no progress"),
    "root_frozen": (Severity.ERROR, "A root is not as it was: nothing is concluded from what is missing"),
    "root_problem": (Severity.WARNING, "A root is watched less closely than it could be, or has lost many sessions"),
    "lane_paused": (Severity.WARNING, "An operator paused a part of the work"),
    "attention": (Severity.WARNING, "Sessions need a person"),
    "never_archived": (Severity.WARNING, "Files were removed before they were archived"),
    "no_signal": (Severity.WARNING, "Sessions have no completion signal for long"),
    "signal_before_data": (Severity.WARNING, "Sessions have a completion signal and no data for long"),
    "late_data": (Severity.WARNING, "Sessions wait long for files that should come"),
    "never_settles": (Severity.WARNING, "Sessions do not come to rest"),
    "unreadable": (Severity.WARNING, "Sessions cannot be read"),
    "archive_late": (Severity.WARNING, "Sessions wait long for Alyx to move them"),
    "large_unmatched": (Severity.WARNING, "Large files are registered and archived nowhere"),
    "near_misses": (Severity.INFO, "Folders do not follow the layout and are not picked up"),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing to know; `since` in epoch seconds where it is known."""

    code: str
    text: str
    since: float | None = None

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return CONDITIONS[self.code][0]

    @property
    def title(self) -> str:
        """What kind of thing it is, in words."""
        return CONDITIONS[self.code][1]


@dataclass(frozen=True, slots=True)
class SilentLane:
    """A lane without a sign of life: what it did last, and since when silence is not fine any more."""

    name: str
    doing: str
    since: float


class StuckExample(NamedTuple):
    """A session's folder, and what it waits for."""

    folder: bytes
    why: str


@dataclass(frozen=True, slots=True)
class StuckSessions:
    """Sessions that have waited in detection for too long, by reason; `examples` are the first few."""

    code: str
    sessions: int
    since: float
    examples: tuple[StuckExample, ...] = ()


@dataclass(frozen=True, slots=True)
class StalledTask:
    """A Globus task that has not moved since `since`, with what Globus says about it."""

    target: str
    task: str
    fault: str
    since: float


@dataclass(frozen=True, slots=True)
class LateArchive:
    """Sessions that have waited since `since` for Alyx to move them to a target."""

    target: str
    sessions: int
    since: float


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Large files that no rule asks for, and one of them."""

    files: int
    size: int
    sessions: int
    example: bytes


@dataclass(frozen=True, slots=True)
class LostFiles:
    """Files that were to be archived and were removed before, and one of them."""

    files: int
    sessions: int
    example: bytes


@dataclass(frozen=True, slots=True)
class Replaced:
    """A damaged journal: when it was replaced, and by which backup (empty: it began anew)."""

    at: float
    backup: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What health is judged by.

    Attributes
    ----------
    dependencies : sequence of Dependency
    roots : sequence of RootFacts
    journal_problem : str or None
    journal_replaced : Replaced or None
        Not long ago.
    silent : sequence of SilentLane
    paused : sequence of str
        Kinds of lanes.
    stuck : sequence of StuckSessions
    stalled : sequence of StalledTask
    late : sequence of LateArchive
    lost : LostFiles or None
    left_out : LeftOut or None
    attention : int
        Sessions that need a person.
    attention_since : float or None
        When the first of their jobs was blocked.
    """

    dependencies: Sequence[Dependency] = ()
    roots: Sequence[RootFacts] = ()
    journal_problem: str | None = None
    journal_replaced: Replaced | None = None
    silent: Sequence[SilentLane] = ()
    paused: Sequence[str] = ()
    stuck: Sequence[StuckSessions] = ()
    stalled: Sequence[StalledTask] = ()
    late: Sequence[LateArchive] = ()
    lost: LostFiles | None = None
    left_out: LeftOut | None = None
    attention: int = 0
    attention_since: float | None = None


def conditions(facts: Facts) -> list[Condition]:
    """Return everything there is to know, the worst first."""
    order = list(Severity)
    return sorted(_all(facts), key=lambda condition: -order.index(condition.severity))


def in_the_way(found: Iterable[Condition]) -> list[Condition]:
    """Return what keeps finished sessions from getting, by themselves, to where they belong."""
    return [condition for condition in found if condition.severity is Severity.ERROR]


def _all(facts: Facts) -> Iterator[Condition]:
    if facts.journal_problem:
        yield Condition("journal_trouble", facts.journal_problem)
    if facts.journal_replaced:
        backup = facts.journal_replaced.backup
        how = f"backup {backup} was restored" if backup else "it began anew"
        text = f"The journal was damaged and {how}; `labferry doctor` lists what it cannot know."
        yield Condition("journal_replaced", text, facts.journal_replaced.at)
    for lane in facts.silent:
        yield Condition("lane_silent", f"Lane {lane.name} is silent; the last it said was: {lane.doing}.", lane.since)
    for dependency in facts.dependencies:
        if dependency.state is Health.DOWN:
            yield Condition("dependency_down", f"{dependency.name}: {dependency.detail}", dependency.since)
        elif dependency.state is Health.NEEDS_LOGIN:
            yield Condition("dependency_login", _needs_login(dependency), dependency.since)
    for task in facts.stalled:
        text = f"Task {task.task} to {task.target} does not move: {task.fault or 'Globus names no fault'}."
        yield Condition("transfer_stalled", text, task.since)
    for root in facts.roots:
        yield from _of_root(root)
    for name in facts.paused:
        yield Condition("lane_paused", f"Lane {name} takes no work; `labferry resume` lets it go on.")
    yield from _stuck(facts.stuck)
    for late in facts.late:
        text = f"{_sessions(late.sessions)} not in {late.target} yet: Alyx moves them, look at its own transfers."
        yield Condition("archive_late", text, late.since)
    if facts.lost:
        yield _lost(facts.lost)
    if facts.left_out:
        yield _left_out(facts.left_out)
    if facts.attention:
        which = "`labferry sessions --state attention` names them, `labferry explain PATH` says why"
        text = f"{_sessions(facts.attention)} to look at: {which}."
        yield Condition("attention", text, facts.attention_since)


def _needs_login(dependency: Dependency) -> str:
    """Return what is wrong with a login, with the command that gives another one."""
    service = "alyx" if dependency.code.startswith("alyx") else "globus"
    command, detail = f"`labferry login {service}`", dependency.detail.rstrip(".")
    said = "" if command in detail else f"; {command} says what to do"
    return f"{dependency.name}: {detail}{said}."


def _of_root(root: RootFacts) -> Iterator[Condition]:
    if root.frozen:
        yield Condition("root_frozen", f"Root {root.name}: {_then(root.problem, root.hint)}")
    elif root.problem:
        yield Condition("root_problem", f"Root {root.name}: {_then(root.problem, root.hint)}")
    if root.near_miss_count:
        misses = (_named(typed(miss.path), miss.rule) for miss in root.near_misses[:NAMED])
        told = f"`labferry explain {typed(root.path)}` lists them."
        yield Condition("near_misses", f"Root {root.name}: {first_of(misses, root.near_miss_count)}. {told}")


def _then(problem: str, hint: str) -> str:
    end = "" if problem.endswith((".", "?")) else "."
    return f"{problem}{end} {hint}" if hint else problem


def _named(folder: str, why: str) -> str:
    return f"{folder} ({why})" if why else folder


_STUCK = {
    "waiting_signal": "no_signal",
    "no_files": "no_signal",
    "signal_before_data": "signal_before_data",
    "waiting_device": "late_data",
    "waiting_collection": "late_data",
    "no_behaviour": "late_data",
    "no_video": "late_data",
    "waiting_size": "late_data",
    "unreadable": "unreadable",
    "crash": "unreadable",
}
# Sessions that are not complete for too long, by condition.
STUCK = {
    "no_signal": "without completion signal",
    "signal_before_data": "with a completion signal and without data",
    "late_data": "without files that should come",
    "unreadable": "with something that cannot be read",
    "never_settles": "without rest",
}


def _stuck(found: Sequence[StuckSessions]) -> Iterator[Condition]:
    """Yield one condition for all reasons of one kind."""
    for condition, text in STUCK.items():
        kind = [stuck for stuck in found if _STUCK.get(stuck.code, "never_settles") == condition]
        if not kind:
            continue
        count = sum(stuck.sessions for stuck in kind)
        examples = [example for stuck in kind for example in stuck.examples][:NAMED]
        named = first_of((_named(show_path(example.folder), example.why) for example in examples), count)
        since = min(stuck.since for stuck in kind)
        yield Condition(condition, f"{_sessions(count)} {text} for too long: {named}.", since)


def _lost(lost: LostFiles) -> Condition:
    what, them, they_are = f"{lost.files} files were", "them", "they are"
    if lost.files == 1:
        what, them, they_are = "1 file was", "it", "it is"
    text = (
        f"{what} removed from {_sessions(lost.sessions)} before every archive had {them}: {show_path(lost.example)}. "
        f"Put {them} back and {they_are} archived; `labferry hold SESSION` says that it is known."
    )
    return Condition("never_archived", text)


def _left_out(files: LeftOut) -> Condition:
    what = "1 file" if files.files == 1 else f"{files.files} files"
    text = (
        f"{what} of {files.size / 1e9:.1f} GB in {_sessions(files.sessions)} that no pattern asks for: "
        f"{show_path(files.example)}. Add a pattern, or the ending to `exclude_suffixes` if that is meant."
    )
    return Condition("large_unmatched", text)


def _sessions(count: int) -> str:
    return "1 session" if count == 1 else f"{count} sessions"
