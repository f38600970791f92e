"""Faults on demand: requests that fail, hang or lose their answer exactly when a test says so.

Room: sandbox. A rule acts `before` the request is applied, or `after`, when it is applied and committed and
only the answer is lost, replaced or late. Four kinds of rule are not about requests: `task` catches a transfer of
Globus when the mover takes it up (`before`) or has moved all its files (`after`), `file` hinders single files of one,
`collection` puts a collection into a condition, and `admission` lets only some logins into one: all three for as long
as the rule exists.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from labferry.sandbox.http import ConnectionDroppedError, Request, Response

_ON_REQUESTS = ("status", "drop", "delay", "hold")
_BECOMES: Mapping[str, Mapping[str, str]] = {  # by action: what it can become, with the code that says so
    "task": {
        "FAILED": "ENDPOINT_ERROR",
        "STALLED": "ENDPOINT_ERROR",
        "INACTIVE": "NO_CREDENTIALS",
        "PAUSED": "PAUSED",
        "CANCELED_BY_ADMIN": "CANCELED",
    },
    "file": {"HINDERED": "FILE_NOT_FOUND"},
    "collection": dict.fromkeys(("offline", "paused", "read_only", "full", "denied", "unshared", "no_md5"), ""),
    "admission": dict.fromkeys(("data_access", "session"), ""),
}
_ACTIONS = (*_ON_REQUESTS, *_BECOMES)
_LASTING = ("file", "collection", "admission")  # as long as the rule exists, unless it says how often
_PHASES = ("before", "after")
_ENDS = ("go on", "drop")
_KEYS = {"id", "match", "when", "action", "times", "status", "body", "headers", "seconds", "then"}
_KEYS |= {"becomes", "code", "description"}


@dataclass
class Rule:
    """One fault.

    Attributes
    ----------
    text, pattern : str
        What `METHOD /path?query` must contain, or match as a regular expression; empty matches everything. Of a
        task the line is `TASK <source endpoint> <destination endpoint> <label>`, of a file
        `FILE <source path> <destination path>`, of a collection its id.
    number : int or None
        Only the so-many-th matching request, counted from 1 since the rule was added.
    times : int or None
        How often it acts; None is always.
    then : str
        After a hold or a delay: `go on`, or `drop` the connection.
    becomes, code, description : str
        What a task, file or collection becomes, and the fault that a task gets.
    since : float
        When the rule was made, epoch seconds.
    """

    id: int
    action: str
    when: str = "before"
    text: str = ""
    pattern: str = ""
    number: int | None = None
    times: int | None = 1
    status: int = 503
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 1.0
    then: str = "go on"
    becomes: str = ""
    code: str = ""
    description: str = ""
    since: float = field(default_factory=time.time)
    seen: int = 0
    hits: int = 0
    planned: int = 0

    def matches(self, line: str) -> bool:
        """Whether a line fits."""
        return self.text in line and re.search(self.pattern, line) is not None

    def takes(self, line: str) -> bool:
        """Count a line; whether the rule acts on it."""
        if not self.matches(line):
            return False
        self.seen += 1
        if self.times is not None and self.planned >= self.times:
            return False
        if self.number is not None and self.seen != self.number:
            return False
        self.planned += 1
        return True

    def answer(self) -> Response:
        """Return the answer that replaces the real one."""
        if isinstance(self.body, str):
            return Response(self.status, self.body.encode(), "text/html; charset=utf-8", dict(self.headers))
        body = {"detail": "fault injected", "status_code": self.status} if self.body is None else self.body
        return Response(self.status, json.dumps(body).encode(), headers=dict(self.headers))

    def shown(self) -> dict[str, object]:
        """Return the rule as JSON."""
        match: dict[str, object] = {"text": self.text, "regexp": self.pattern, "n": self.number}
        shown = {"id": self.id, "match": match, "when": self.when, "action": self.action, "times": self.times}
        if self.becomes:
            shown |= {"becomes": self.becomes, "code": self.code, "description": self.description}
        return {**shown, "seen": self.seen, "hits": self.hits}


@dataclass(frozen=True)
class Plan:
    """The rules that act on one request."""

    before: Rule | None
    after: Rule | None

    @property
    def rule_ids(self) -> list[int]:
        """Which rules these are."""
        return [rule.id for rule in (self.before, self.after) if rule is not None]


class Faults:
    """The rules, and the requests that wait for one of them. Safe for many threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._rules: dict[int, Rule] = {}
        self._last_id = 0
        self._releases = 0

    def add(self, described: Mapping[str, object]) -> Rule:
        """Add a rule from its JSON.

        Raises
        ------
        ValueError, TypeError
            It is not one.
        """
        with self._changed:
            self._last_id += 1
            rule = _read(self._last_id, described)
            self._rules[rule.id] = rule
            return rule

    def remove(self, rule_id: int | None = None) -> None:
        """Remove a rule, or all of them; requests it holds go on."""
        with self._changed:
            if rule_id is None:
                self._rules.clear()
            else:
                self._rules.pop(rule_id, None)
            self._changed.notify_all()

    def release(self) -> None:
        """Let every request go on that is held or delayed now."""
        with self._changed:
            self._releases += 1
            self._changed.notify_all()

    def list(self) -> list[dict[str, object]]:
        """Return all rules as JSON."""
        with self._changed:
            return [rule.shown() for rule in self._rules.values()]

    def wait(self, rule_id: int, hits: int, timeout: float) -> dict[str, object] | None:
        """Wait until a rule acted `hits` times; None if it did not within `timeout` seconds.

        Raises
        ------
        KeyError
            No such rule.
        """
        with self._changed:
            rule = self._rules[rule_id]
            return rule.shown() if self._changed.wait_for(lambda: rule.hits >= hits, timeout) else None

    def plan(self, request: Request) -> Plan:
        """Decide which rules act on a request, when it arrives."""
        with self._changed:
            chosen: dict[str, Rule] = {}
            for rule in self._rules.values():
                if rule.action in _ON_REQUESTS and rule.when not in chosen and rule.takes(request.line):
                    chosen[rule.when] = rule
            return Plan(chosen.get("before"), chosen.get("after"))

    def take_up(self, line: str, when: str) -> Rule | None:
        """Return the rule that catches a task of Globus, and count it."""
        with self._changed:
            for rule in self._rules.values():
                if rule.action == "task" and rule.when == when and rule.takes(line):
                    self._hit(rule)
                    return rule
            return None

    def collection(self, endpoint: str) -> str:
        """Return the condition that a rule puts a collection into, empty if none does; count it."""
        with self._changed:
            for rule in self._rules.values():
                if rule.action == "collection" and rule.takes(endpoint):
                    self._hit(rule)
                    return rule.becomes
            return ""

    def admission(self, endpoint: str) -> Rule | None:
        """Return the rule that lets only some logins into a collection, and count it."""
        with self._changed:
            for rule in self._rules.values():
                if rule.action == "admission" and rule.takes(endpoint):
                    self._hit(rule)
                    return rule
            return None

    def hinders(self, source: str, destination: str) -> Rule | None:
        """Return the rule that hinders a file of a transfer of Globus, and count it."""
        line = f"FILE {source} {destination}"
        with self._changed:
            for rule in self._rules.values():
                if rule.action == "file" and rule.takes(line):
                    self._hit(rule)
                    return rule
            return None

    def has(self, rule_id: int) -> bool:
        """Say whether a rule still exists."""
        with self._changed:
            return rule_id in self._rules

    def _hit(self, rule: Rule) -> None:
        rule.hits += 1
        self._changed.notify_all()

    def act(self, rule: Rule | None) -> Response | None:
        """Carry a rule out; return the answer it puts in place, None to go on.

        Raises
        ------
        ConnectionDroppedError
            The rule drops the connection.
        """
        if rule is None:
            return None
        with self._changed:
            self._hit(rule)
            if rule.action in ("delay", "hold"):
                releases = self._releases
                self._changed.wait_for(
                    lambda: self._releases > releases or rule.id not in self._rules,
                    rule.seconds if rule.action == "delay" else None,
                )
        if rule.action == "drop" or (rule.action in ("delay", "hold") and rule.then == "drop"):
            raise ConnectionDroppedError
        return rule.answer() if rule.action == "status" else None


def _read(rule_id: int, described: Mapping[str, object]) -> Rule:
    unknown = set(described) - _KEYS
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)}; known are {sorted(_KEYS)}")
    action, when = described.get("action"), described.get("when", "before")
    if action not in _ACTIONS or when not in _PHASES:
        raise ValueError(f"action is one of {_ACTIONS}, when one of {_PHASES}")
    then = described.get("then", "go on")
    if then not in _ENDS:
        raise ValueError(f"then is one of {_ENDS}")
    match = described.get("match", "")
    if isinstance(match, str):
        match = {"text": match}
    if not isinstance(match, Mapping) or set(match) - {"text", "regexp", "n"}:
        raise ValueError('match is a string or an object with "text", "regexp", "n"')
    headers = described.get("headers", {})
    if not isinstance(headers, Mapping):
        raise TypeError("headers is an object")
    becomes, code = _becomes(str(action), described)
    times = described.get("times", None if action in _LASTING else 1)
    return Rule(
        rule_id,
        str(action),
        str(when),
        str(match.get("text", "")),
        str(match.get("regexp", "")),
        None if match.get("n") is None else int(str(match["n"])),
        None if times is None else int(str(times)),
        int(str(described.get("status", 503))),
        described.get("body"),
        {str(name): str(value) for name, value in headers.items()},
        float(str(described.get("seconds", 1.0))),
        str(then),
        becomes,
        code,
        str(described.get("description", "fault injected")),
    )


def _becomes(action: str, described: Mapping[str, object]) -> tuple[str, str]:
    """Return what a task or collection becomes, and the code of the fault; both empty for requests."""
    known = _BECOMES.get(action, {})
    becomes = str(described.get("becomes", ""))
    if becomes not in known and (known or becomes):
        raise ValueError(f"becomes is one of {tuple(known)} for the action {action!r}")
    return becomes, str(described.get("code") or known.get(becomes, ""))
