"""What `explain` can answer: the closed list of verdicts, and the shape of an explanation."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from labferry.errors import CODES
from labferry.model import utc_text


class Verdict(StrEnum):
    """What `explain` can answer: a closed list (ruling 26)."""

    OK_ARCHIVED = "ok_archived"
    OK_REGISTERED = "ok_registered"
    ADOPTED = "adopted"
    BACKLOG = "backlog"
    SETTLING = "settling"
    WAITING_SIGNAL = "waiting_signal"
    WAITING_COLLECTION = "waiting_collection"
    WAITING_DEVICE = "waiting_device"
    WAITING_SIZE = "waiting_size"
    SIGNAL_BEFORE_DATA = "signal_before_data"
    SEALING = "sealing"
    QUEUED = "queued"
    REGISTERING = "registering"
    ARCHIVING = "archiving"
    WAITING_DEPENDENCY = "waiting_dependency"
    HELD = "held"
    IGNORED_SUBJECT = "ignored_subject"
    IGNORED_RULE = "ignored_rule"
    NOT_A_SESSION = "not_a_session"
    INSIDE_SESSION = "inside_session"
    ABOVE_SESSION = "above_session"
    UNREADABLE = "unreadable"
    OUTSIDE_ROOTS = "outside_roots"
    ROOT_FROZEN = "root_frozen"
    VANISHED = "vanished"
    MOVED = "moved"
    SAME_SESSION_ELSEWHERE = "same_session_elsewhere"
    CHANGED_AFTER_ARCHIVE = "changed_after_archive"
    NEVER_SETTLES = "never_settles"
    BLOCKED = "blocked"


NEEDS_A_PERSON = frozenset(
    {
        Verdict.NOT_A_SESSION,
        Verdict.UNREADABLE,
        Verdict.ROOT_FROZEN,
        Verdict.VANISHED,
        Verdict.MOVED,
        Verdict.SAME_SESSION_ELSEWHERE,
        Verdict.CHANGED_AFTER_ARCHIVE,
        Verdict.NEVER_SETTLES,
        Verdict.BLOCKED,
    }
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One piece of evidence; `at` in epoch seconds where it has a time."""

    what: str
    at: float | None = None

    def to_json(self) -> dict[str, str | None]:
        """Return it as JSON."""
        return {"what": self.what, "at": utc_text(self.at)}


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer to "why is this folder where it is?".

    Attributes
    ----------
    verdict : Verdict
    message, hint : str
        What is the case, and what to do about it; `hint` may be empty.
    code : str
        The reason below the verdict; empty when there is none.
    evidence : tuple of Fact
    next : Fact or None
        What happens next, and when if that is known.
    attention : bool
        Whether a person must act.
    harmless : bool
        Nobody must, although the verdict is one of `NEEDS_A_PERSON`.
    """

    verdict: Verdict
    message: str
    code: str = ""
    hint: str = ""
    evidence: tuple[Fact, ...] = ()
    next: Fact | None = None
    attention: bool = False
    harmless: bool = False
    more: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the fields of `explain.data` after the path."""
        return {
            "verdict": self.verdict.value,
            "code": self.code,
            "message": self.message,
            "hint": self.hint or (CODES[self.code].hint if self.code in CODES else ""),
            "evidence": [fact.to_json() for fact in self.evidence],
            "next": self.next.to_json() if self.next else None,
            "attention": self.attention or (self.verdict in NEEDS_A_PERSON and not self.harmless),
            **self.more,
        }
