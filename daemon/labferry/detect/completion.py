"""Detection room: when is a session complete? A pure state machine over what was seen, without a file or a clock.

A session is complete when its completion signal was seen, or its own files say that it is finished, when nothing of
what they ask for is missing (`evidence`), and when nothing changed for the quiet period. "Nothing changed" means two
equal signatures at least that long apart on the monotonic clock, with no other signature in between; file times are
never compared with the time of day, because rigs have clocks of their own.

The caller looks when `Watched.next_look` has come, hands the result to `observe`, and keeps the new state. What it
keeps in the journal over a restart is the latched signal only: the quiet period starts anew then (ruling 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from labferry.detect.evidence import NO_EVIDENCE, Evidence, Finding, judge
from labferry.detect.signature import Signature, Unreadable
from labferry.errors import ConfigError
from labferry.model import first_of, show_path

HINT_CALM = 0.5  # seconds without a further hint before it is worth looking
SOONEST = 0.01  # seconds; a remainder of the quiet period below this is not worth a look of its own
PATIENCE = 120.0  # with a signal, a look is never later than this part of the time for which nothing changed
NAMED = 20  # paths named in a reason; the rest is counted

# The rules of `completion` (configuration): `manifest` and `metadata` belong to layouts that are not here yet.
RULES_HERE = ("auto", "flag", "spikeglx", "quiet")


@dataclass(frozen=True, slots=True)
class Rules:
    """How the sessions of one root become complete.

    Attributes
    ----------
    completion : str
        One of `RULES_HERE`; what each asks for, `evidence.judge` says.
    quiet, quiet_without_signal : float
        Seconds without a change, after a signal and without one.
    signal_names : tuple of bytes
        Files in the session folder that say "ready"; `raw_session.flag` for IBL.
    look_every, look_at_least_every : float
        Seconds between two looks: the first while something changes, growing up to the second while nothing happens
        (ruling 5): soon without a signal, slowly once one was seen. Where hints may be lost or absent, have every
        scan look for the signal alone (`signal_present`) and pass it to `hinted`: that is what keeps the delay
        bounded (ruling 7).

    Raises
    ------
    ConfigError
        `completion` names a rule that does not exist here.
    """

    completion: str = "auto"
    quiet: float = 60.0
    quiet_without_signal: float = 600.0
    signal_names: tuple[bytes, ...] = (b"raw_session.flag",)
    look_every: float = 30.0
    look_at_least_every: float = 3600.0

    def __post_init__(self) -> None:
        if self.completion not in RULES_HERE:
            raise ConfigError(
                f"completion = {self.completion!r} is not available here",
                f"Use one of: {', '.join(RULES_HERE)}.",
            )

    @property
    def needs_signal(self) -> bool:
        """Whether sessions end by a signal, or (`auto`) by something as good as one."""
        return self.completion in {"auto", "flag"}


@dataclass(frozen=True, slots=True)
class Watched:
    """What is remembered about a session that is not complete yet; all times are monotonic seconds.

    A fresh one, with `signal_seen` from the journal, is what a session starts with: when it is found, after a
    restart, and when a file changed under the sealing.

    Attributes
    ----------
    signal_seen : bool
        Latched: other software deletes the flag, maybe at once (ruling 4).
    signature : Signature or None
        As of the last look; None before the first one, and after a look at a folder that was not there.
    unchanged_since : float or None
        When that signature was seen first.
    signal_since : float or None
        When this process first knew of the signal; the quiet period is not older than that.
    next_look : float
        When to look again; the past means now.
    interval : float
        Seconds to the next look while nothing happens.
    hinted_at : float or None
        The first hint that no look has answered yet.
    again : bool
        It was complete before, and something changed.
    """

    signal_seen: bool = False
    signature: Signature | None = None
    unchanged_since: float | None = None
    signal_since: float | None = None
    next_look: float = 0.0
    interval: float = 0.0
    hinted_at: float | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Settling:
    """Not complete yet.

    Attributes
    ----------
    code : str
        `waiting_signal`, `settling`, `temporary_files`, `unreadable`, `signal_before_data`, or that of a `Finding`.
    why : str
        One sentence for the operator.
    since : float
        Monotonic seconds: nothing changed since then.
    next_look_after : float
        Seconds until another look makes sense.
    """

    code: str
    why: str
    since: float
    next_look_after: float


@dataclass(frozen=True, slots=True)
class Complete:
    """All there and quiet: the session can be sealed.

    `signature` is what stood still since `since` (monotonic seconds); `signal_seen` is false only where no signal is
    needed.
    """

    signature: Signature
    since: float
    signal_seen: bool


Verdict = Settling | Complete


def observe(
    state: Watched,
    signature: Signature | None,
    signal_seen: bool,
    now: float,
    rules: Rules,
    evidence: Evidence = NO_EVIDENCE,
) -> tuple[Watched, Verdict]:
    """Take one look at a session into account.

    Parameters
    ----------
    state : Watched
        From the last look.
    signature : Signature or None
        The folder as it is now; None when it is not there.
    signal_seen : bool
        A completion signal is there now.
    now : float
        Monotonic seconds when the look ended: what was written while it went on may have been seen already, and
        the quiet period must not begin before that.
    rules : Rules
        Of the session's root.
    evidence : Evidence
        What the session's own files say.

    Returns
    -------
    tuple of Watched and Verdict
        The state for the next look, and what can be said now.
    """
    latched = state.signal_seen or signal_seen
    signal_since = now if latched and state.signal_since is None else state.signal_since
    same = signature is not None and state.signature is not None and state.signature.digest == signature.digest
    unchanged_since = state.unchanged_since if same and state.unchanged_since is not None else now

    quiet = rules.quiet if latched else rules.quiet_without_signal
    quiet_since = unchanged_since if signal_since is None else max(unchanged_since, signal_since)
    code, why = _obstacle(signature, latched, rules, judge(evidence, rules.completion, again=state.again))
    remaining = quiet - (now - quiet_since)
    seen = replace(
        state,
        signal_seen=latched,
        signature=signature,
        unchanged_since=unchanged_since,
        signal_since=signal_since,
        hinted_at=None,
    )
    if not code and same and remaining <= 0 and signature is not None:
        return replace(seen, next_look=now, interval=0.0), Complete(signature, quiet_since, latched)

    if not code:
        code, why = "settling", f"nothing changed for {now - quiet_since:.0f} of {quiet:.0f} s"
        after, interval = min(max(remaining, SOONEST), rules.look_every), 0.0
    elif same and state.interval and not latched:
        after = interval = min(2 * state.interval, rules.look_at_least_every)
    else:
        still = (now - unchanged_since) / PATIENCE if latched else 0.0
        after = interval = min(max(rules.look_every, still), rules.look_at_least_every)
    verdict = Settling(code, why, unchanged_since, after)
    return replace(seen, next_look=now + after, interval=interval), verdict


def hinted(state: Watched, now: float, rules: Rules, *, signal_seen: bool = False) -> Watched:
    """Return the state after a hint: look soon, but not once per event of a storm.

    A hint proves nothing about the files and changes only the time of the next look: when the hints pause for a
    moment, and no later than `look_every` after the first of them. A signal that was seen on the way, by a cheap
    look for the flag alone or by name in an event, is latched at once: it may be gone before the next look.
    """
    first = now if state.hinted_at is None else state.hinted_at
    return replace(
        state,
        signal_seen=state.signal_seen or signal_seen,
        signal_since=now if signal_seen and state.signal_since is None else state.signal_since,
        hinted_at=first,
        next_look=min(now + HINT_CALM, first + rules.look_every),
        interval=0.0,
    )


def _obstacle(signature: Signature | None, signal_seen: bool, rules: Rules, finding: Finding) -> tuple[str, str]:
    """Return code and sentence of what stands in the way apart from the quiet period; empty when nothing does."""
    if signature is None:
        return "unreadable", "the folder is not there"
    if signature.unreadable:
        return "unreadable", f"cannot be read: {_causes(signature.unreadable)}"
    if not signature.files and signal_seen:
        return "signal_before_data", "the completion signal is there, but not one file"
    if signature.files and finding.code and not signature.temporary:
        return finding.code, finding.why
    if not signature.files and finding.not_ended:
        return "no_files", f"not one file yet, and no {_shown(rules.signal_names)}"
    if not signal_seen and finding.not_ended:
        return "waiting_signal", f"no {_shown(rules.signal_names)} yet, and {finding.not_ended}"
    if not signature.files:
        return "settling", "the folder is empty"
    if signature.temporary:
        return "temporary_files", f"still being written: {_shown(signature.temporary)}"
    return "", ""


def _causes(entries: Sequence[Unreadable]) -> str:
    causes = (f"{show_path(entry.path) or 'the folder itself'} ({entry.why})" for entry in entries[:NAMED])
    return first_of(causes, len(entries))


def _shown(paths: Sequence[bytes]) -> str:
    return first_of(map(show_path, paths[:NAMED]), len(paths))
