"""One line about the daemon, for `systemctl status`: what is done, what is not, and what is wrong since when.

Room: service. `summary` is pure; `StatusLine` says it to systemd when it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from labferry.engine.reports.health import Condition, in_the_way
from labferry.model import Clock, SessionState
from labferry.observe.notify import Notifier

# Seconds between two looks, each of which counts all sessions: while something happens, and while nothing does.
EVERY = 2.0
AT_REST = 60.0
SPELLED = 2  # errors that are spelled out; `labferry status` has all
# In the order of what is asked first at night: is it done?
ORDER = (
    SessionState.ARCHIVED,
    SessionState.REGISTERED,
    SessionState.COMPLETE,
    SessionState.SETTLING,
    SessionState.ADOPTED,
    SessionState.BACKLOG,
    SessionState.HELD,
    SessionState.VANISHED,
)


def summary(
    sessions: Mapping[str, int], attention: int, conditions: Sequence[Condition], paused: Sequence[str], now: float
) -> str:
    """Return the daemon's state in one line.

    Parameters
    ----------
    sessions : mapping
        How many, by state.
    attention : int
        How many of them need a person.
    conditions : sequence of Condition
        The worst first.
    paused : sequence of str
        Kinds of lanes that an operator paused.
    now : float
        Epoch seconds; times of another day than today's carry their date.
    """
    errors = in_the_way(conditions)
    parts = [_counts(sessions, attention)]
    parts += [f"{condition.text.removesuffix('.')}{_since(condition.since, now)}" for condition in errors[:SPELLED]]
    if len(errors) > SPELLED:
        parts.append(f"and {len(errors) - SPELLED} more: `labferry status`")
    if paused:
        parts.append(f"paused: {', '.join(paused)}")
    return "; ".join(parts)


def _counts(sessions: Mapping[str, int], attention: int) -> str:
    counts = [(state.value, sessions[state]) for state in ORDER if sessions.get(state)]
    if not counts:
        return "no sessions yet"
    (first, number), *rest = counts
    words = [f"{number:,} {'session' if number == 1 else 'sessions'} {first}"]
    words += [f"{count:,} {state}" for state, count in rest]
    if attention:
        words.append(f"{attention:,} {'needs' if attention == 1 else 'need'} a person")
    return ", ".join(words)


def _since(moment: float | None, now: float) -> str:
    """Return a time as the machine's wall clock has it."""
    if moment is None:
        return ""
    then, today = datetime.fromtimestamp(moment).astimezone(), datetime.fromtimestamp(now).astimezone()
    return f" (since {then:%H:%M})" if then.date() == today.date() else f" (since {then:%Y-%m-%d %H:%M})"


class StatusLine:
    """Says a line to systemd when it is another one than before, and looks at most every few seconds.

    Parameters
    ----------
    notifier : Notifier
    clock : Clock
    """

    def __init__(self, notifier: Notifier, clock: Clock) -> None:
        self._notifier = notifier
        self._clock = clock
        self._said = ""
        self._seen: object = None
        self._looked_at = clock.monotonic() - AT_REST

    def say(self, text: str) -> None:
        """Say this now."""
        if text != self._said:
            self._said = text
            self._notifier.status(text)

    def keep(self, look: Callable[[], str], seen: object) -> None:
        """Say what `look` returns, if somebody listens and it is time to look.

        Parameters
        ----------
        look : callable
        seen : object
            Another value than last time means that something happened.
        """
        pause = AT_REST if seen == self._seen else EVERY
        if self._notifier.heard and self._clock.monotonic() >= self._looked_at + pause:
            self._seen = seen
            self._looked_at = self._clock.monotonic()
            self.say(look())
