"""`labferry status`: the promise at a glance, made to be read at 3 a.m.

Room: cli. First the answer, then what it rests on, then what to type next.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import click

from labferry import __version__
from labferry.cli import human
from labferry.cli.options import asks_daemon
from labferry.cli.output import (
    answer,
    bad,
    dim,
    good,
    indented,
    printable,
    say,
    shortened,
    strong,
    table,
    terminal_width,
    warn,
    wrapped,
)
from labferry.control.client import ControlClient
from labferry.errors import ExitCode, LabferryError

MOVING = 5  # transfers that are named
REDRAW_EVERY = 1.0  # seconds
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"

# Every session state in the order of a session's life, and what it means to who reads it at night.
STATES = {
    "settling": "still being recorded, or waiting for something of it",
    "complete": "finished; on the way into Alyx",
    "registered": "in Alyx; on the way into the archive",
    "archived": "in Alyx and verified wherever its root sends it",
    "adopted": "history that Alyx already knows; left as it is",
    "backlog": "history that Alyx does not know, or knows otherwise",
    "held": "left alone because an operator said so",
    "vanished": "the folder is not there any more",
    "ignored": "left out by a rule",
}
_STATE_COLOURS = {"archived": good, "vanished": warn, "held": warn}
_DEPENDENCY_COLOURS = {"up": good, "down": bad, "needs_login": bad}
_SHOWN_ELSEWHERE = frozenset({"attention", "lane_paused"})  # conditions that other parts of the picture tell
_STUCK = frozenset({"no_signal", "signal_before_data", "late_data", "never_settles", "unreadable"})
_SEVERITY_COLOURS = {"error": bad, "warning": warn, "info": dim}


@click.command("status")
@click.option("--watch", is_flag=True, help="Draw it again every second, until Ctrl-C.")
@asks_daemon
def status(client: ControlClient, as_json: bool, watch: bool) -> None:
    """Show the promise at a glance: what is done, on its way, in need of a person.

    Ends with 0, with 3 when something needs a person, with 4 when the daemon is not running.
    """
    if watch:
        _watch(client, as_json)
    found = client.get("/v1/status")
    answer(found, as_json, lambda data: lines(data, time.time(), terminal_width()))
    click.get_current_context().exit(exit_code(found))


def exit_code(found: dict[str, Any]) -> ExitCode:
    """Return 3 when a session needs a person or a condition breaks the promise, else 0."""
    return ExitCode.ATTENTION if found["attention"] or _errors(found) else ExitCode.OK


def _watch(client: ControlClient, as_json: bool) -> None:
    """Draw again and again; a daemon that is restarted comes back into the picture by itself."""
    on_terminal = sys.stdout.isatty() and not as_json
    while True:
        try:
            found = client.get("/v1/status")
        except LabferryError as error:
            if not on_terminal:
                raise
            said = (bad("error:"), error.message), (warn("hint:"), error.hint)
            _draw(line for word, text in said for line in wrapped(f"{word} {printable(text)}", _size().columns))
        else:
            if on_terminal:
                _draw(lines(printable(found), time.time(), _size().columns))
            else:
                answer(found, as_json, lambda data: [*lines(data, time.time()), ""])
        time.sleep(REDRAW_EVERY)


def _draw(drawn: Iterable[str]) -> None:
    """Replace what the terminal shows, without a flicker, and without scrolling when it is too small."""
    size = _size()
    fitting = [shortened(line, size.columns) for line in islice(drawn, size.lines - 1)]
    say([_HOME + f"{_CLEAR_LINE}\n".join(fitting) + _CLEAR_BELOW])


def _size() -> os.terminal_size:
    size = os.get_terminal_size(sys.stdout.fileno())
    return os.terminal_size((size.columns or 80, size.lines or 24))  # some terminals do not know it


# --- the picture ------------------------------------------------------------------------------------------


def lines(found: dict[str, Any], now: float, width: int = 0) -> Iterator[str]:
    """Yield the picture; `now` in epoch seconds. Sentences are wrapped at a width, 0 is none."""
    yield from wrapped(promise(found), width)
    yield dim(_daemon(found))
    for title, part in (
        ("Sessions", _sessions(found)),
        ("Work", _work(found)),
        ("Dependencies", _dependencies(found, now)),
        ("Roots", _roots(found, now, width and width - 2)),
        ("Conditions", _health(found, now, width and width - 2)),
        ("Next", _next_commands(found)),
    ):
        body = list(part)
        if body:
            yield ""
            yield strong(title)
            yield from indented(body)


def promise(found: dict[str, Any]) -> str:
    """Return the first line: is every finished session registered and archived, or what is in the way."""
    sessions, attention = found["sessions"], found["attention"]
    done = sessions.get("archived", 0)
    on_the_way = sessions.get("complete", 0) + sessions.get("registered", 0) - found["jobs"].get("blocked", 0)
    errors = _errors(found)
    trouble = f" {errors[0]['title']}." if errors else ""
    if attention:
        verb = "needs" if attention == 1 else "need"
        way = f"{max(0, on_the_way):,} on their way"
        return bad(f"{human.plural(attention, 'session')} {verb} a person, {way}.{trouble}")
    if on_the_way > 0:
        way = "is on its way" if on_the_way == 1 else "are on their way"
        text = f"{human.plural(on_the_way, 'session')} {way}, none needs a person."
    elif done > 1:
        text = f"All {done:,} finished sessions are registered and archived."
    elif done == 1:
        text = "The one finished session is registered and archived."
    else:
        text = "No session is finished yet."
    return (warn if errors else good)(text + trouble)


def _errors(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the conditions that break the promise."""
    return [condition for condition in found["health"] if condition["severity"] == "error"]


def _daemon(found: dict[str, Any]) -> str:
    name = f" on {found['server_name']}" if found.get("server_name") else ""
    text = f"labferry {found['version']}{name}, process {found['pid']}, up {human.duration(found['uptime_s'])}"
    if found["version"] != __version__:
        text += f"; this command is {__version__}: restart the daemon"
    return text


def _sessions(found: dict[str, Any]) -> list[str]:
    rows = []
    for state, count in found["sessions"].items():
        if count:
            rows.append([f"{count:,}", _STATE_COLOURS.get(state, str)(state), dim(STATES.get(state, ""))])
    if found["attention"]:
        rows.append([f"{found['attention']:,}", bad("attention"), dim("of these need a person")])
    return table(["", "", ""], rows, right=(0,)) or ["none found yet"]


def _work(found: dict[str, Any]) -> Iterator[str]:
    counts = [f"{count:,} {state}" for state, count in found["jobs"].items() if count]
    if counts:
        oldest = found.get("oldest_waiting_s")
        yield f"jobs: {', '.join(counts)}" + (f"; the oldest waits for {human.duration(oldest)}" if oldest else "")
    unasked = found.get("history", {}).get("unasked", 0)
    if unasked:
        yield f"history: Alyx is asked about {unasked:,} old {'session' if unasked == 1 else 'sessions'}, one by one"
    transfers = found["transfers"]
    if transfers.get("active"):
        yield f"transfers: {transfers['active']} active, {human.progress(transfers)}"
        yield from indented(_moving(transfers.get("moving", [])))
    if found["paused"]:
        yield warn(f"paused: {', '.join(found['paused'])}")


def _moving(transfers: list[dict[str, Any]]) -> list[str]:
    """Return the transfers that move now, a line each; those that are nearly done come first."""
    rows = [
        [
            "/".join(one.get("path", "").split("/")[-3:]),
            one["target"],
            human.share(one),
            human.speed(one),
            human.time_left(one),
        ]
        for one in transfers[:MOVING]
    ]
    more = len(transfers) - MOVING
    return table(["", "", "", "", ""], rows, right=(2, 3, 4)) + ([f"and {more} more"] if more > 0 else [])


def _dependencies(found: dict[str, Any], now: float) -> list[str]:
    rows = []
    for name, one in found["dependencies"].items():
        state = one["state"]
        since = f"for {human.age(one.get('since'), now)}" if one.get("since") and state != "unknown" else ""
        detail = "" if state == "up" else one.get("detail") or ("not needed yet" if state == "unknown" else "")
        if name == "alyx" and not detail and (fetched := found.get("vocabulary", {}).get("fetched")):
            detail = dim(f"dataset types fetched {human.ago(fetched, now)}")
        rows.append([name, _DEPENDENCY_COLOURS.get(state, str)(state.replace("_", " ")), since, detail])
    return table(["", "", "", ""], rows)


def _roots(found: dict[str, Any], now: float, width: int) -> Iterator[str]:
    """Yield a line per root, and below it what is the matter with it, unless a condition says so."""
    said = [condition["text"] for condition in found["health"]]
    problems = [root.get("problem") or "" for root in found["roots"]]
    told = [any(problem in text for text in said) for problem in problems]
    rows = [
        [
            root["name"],
            root["path"],
            root["layout"],
            f"{root['sessions']:,}",
            _mode(root),
            human.ago(root.get("last_scan"), now) + f" ({root['scan_s']:.2f} s)",
            _trouble(root)("see below") if problem else "",
        ]
        for root, problem in zip(found["roots"], problems, strict=True)
    ]
    header, *lines = table(["root", "path", "layout", "sessions", "mode", "last scan", "problem"], rows, right=(3,))
    yield header
    for line, root, problem, elsewhere in zip(lines, found["roots"], problems, told, strict=True):
        yield line
        if problem and not elsewhere:
            yield from indented(wrapped(_trouble(root)(problem), width and width - 2))


def _trouble(root: dict[str, Any]) -> Callable[[str], str]:
    return bad if root.get("frozen") else warn


def _mode(root: dict[str, Any]) -> str:
    if root["mode"] != "events":
        return warn(root["mode"])
    lost = root.get("overflows", 0)
    times = warn(f", events lost {human.plural(lost, 'time')}") if lost else ""
    watches = f"{root['watches']:,} watch{'' if root['watches'] == 1 else 'es'}"
    return f"events ({watches}{times})"


def _health(found: dict[str, Any], now: float, width: int) -> Iterator[str]:
    for condition in found["health"]:
        if condition["code"] in _SHOWN_ELSEWHERE:
            continue
        colour = _SEVERITY_COLOURS.get(condition["severity"], str)
        since = f" (for {human.age(condition['since'], now)})" if condition.get("since") else ""
        yield from wrapped(f"{colour(condition['severity'])}: {condition['title']}{since}", width)
        if condition.get("text"):
            yield from indented(wrapped(condition["text"], width and width - 2))
        if condition.get("hint"):
            yield from indented(wrapped(f"{warn('hint:')} {condition['hint']}", width and width - 2))


def _next_commands(found: dict[str, Any]) -> list[str]:
    sessions, jobs = found["sessions"], found["jobs"]
    rows = []
    if found["attention"]:
        rows.append(["labferry sessions --state attention", "which ones"])
        rows.append(["labferry explain PATH", "why, and what to do"])
    if jobs.get("blocked"):
        rows.append(["labferry jobs --state blocked", "every reason with its remedy"])
    if jobs.get("waiting"):
        rows.append(["labferry jobs --state waiting", "what is being waited for"])
    if found["paused"]:
        rows.append(["labferry resume", "take up work again"])
    if sessions.get("backlog", 0) > found.get("history", {}).get("unasked", 0):
        rows.append(["labferry backlog", "old sessions that wait for a decision"])
    if any(condition["code"] in _STUCK for condition in found["health"]):
        rows.append(["labferry sessions --state settling", "what the unfinished ones wait for"])
    if sessions.get("vanished"):
        rows.append(["labferry sessions --state vanished", "whose folders are gone"])
    if _errors(found) or any(not lane.get("alive", True) for lane in found.get("lanes", [])):
        rows.append(["labferry logs -n 50", "what the daemon says"])
    return table(["", ""], [[command, dim(why)] for command, why in rows])
