"""The registry room's people and animals: who is whose, remembered for a while.

Sessions of one subject come by the dozen; each of them would ask the same questions. From here only Alyx is touched.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass

from labferry.alyx.client import AlyxClient
from labferry.alyx.fields import Json, text, texts
from labferry.errors import BlockedError, UnexplainedError
from labferry.model import Clock

MAX_AGE = 600.0  # seconds
SOON = 5.0  # seconds: what is missing may have been added since, and is asked for again no sooner


@dataclass(frozen=True, slots=True)
class Subject:
    """An animal as Alyx has it; `responsible_user` may be empty."""

    nickname: str
    lab: str
    responsible_user: str
    projects: tuple[str, ...]


class People:
    """Subjects by nickname, and the names of all users; shared by threads.

    Parameters
    ----------
    client : AlyxClient
    clock : Clock
        Ages are counted on its monotonic side.
    """

    def __init__(self, client: AlyxClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._lock = threading.Lock()
        self._subjects: dict[str, tuple[float, tuple[Subject, ...]]] = {}
        self._users: tuple[float, frozenset[str]] | None = None

    def subject(self, nickname: str, max_age: float = MAX_AGE) -> Subject:
        """Return the only subject of this name; what is missing or ambiguous is asked for again, as it may be new.

        Raises
        ------
        BlockedError
            `subject_not_on_alyx`; `ambiguous_subject` naming the labs: Alyx cannot tell the two apart (ruling 14);
            `subject_broken`: Alyx fails on this one.
        """
        known = self._subjects.get(nickname)
        if known is None or len(known[1]) != 1 or self._clock.monotonic() - known[0] >= max_age:
            known = (self._clock.monotonic(), self._look_for(nickname))
            with self._lock:
                self._subjects[nickname] = known
        found = known[1]
        if not found:
            raise BlockedError("subject_not_on_alyx", f"Alyx does not know the subject {nickname}")
        if len(found) > 1:
            labs = ", ".join(sorted(one.lab for one in found))
            raise BlockedError("ambiguous_subject", f"ambiguous subject {nickname} in {labs}")
        return found[0]

    def _look_for(self, nickname: str) -> tuple[Subject, ...]:
        """Ask for the subjects of a name. Alyx computes about each one's weight, and that may fail."""
        try:
            rows = self._client.list_all("/subjects", {"nickname": nickname})
        except UnexplainedError as error:
            raise BlockedError("subject_broken", f"Alyx cannot show the subject {nickname}: {error.message}") from error
        return tuple(_subject(row) for row in rows if text(row, "nickname") == nickname)

    def users(self, wanted: Collection[str]) -> frozenset[str]:
        """Return which of the wanted users Alyx has; those that it did not have a while ago are asked for again."""
        if not wanted:
            return frozenset()
        known = self._users
        age = float("inf") if known is None else self._clock.monotonic() - known[0]
        if known is None or age > MAX_AGE or (age > SOON and not known[1].issuperset(wanted)):
            names = frozenset(text(row, "username") for row in self._client.list_all("/users"))
            known = self._users = (self._clock.monotonic(), names)
        return known[1].intersection(wanted)


def _subject(row: Json) -> Subject:
    return Subject(text(row, "nickname"), text(row, "lab"), text(row, "responsible_user"), texts(row, "projects"))
