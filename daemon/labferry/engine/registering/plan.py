"""What is left to do for the files of a session: ids, not rows, so that a giant session fits into memory.

A plan rests on a look at Alyx. It is kept between two chunks where the job gave way to others, and only there: after
anything unforeseen, and after a while, Alyx is looked at again.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from labferry.engine.registering.refusals import Refusals
from labferry.model import Clock

KEPT = 8  # plans at a time: more giants than that look again
HOLDS = 600.0  # seconds without a chunk until Alyx is looked at again


@dataclass
class Plan:
    """The work on the files of one session.

    Attributes
    ----------
    unmarked : list of str
        File records to be told that the file is here, the next one last.
    ratings : dict of int to str
        What Alyx must go on thinking of files.
    todo : array of int
        Ids of the files to be sent, the next one at `position`.
    refused : Refusals
        Files that were left out.
    bytes_left : int
        Of the files to be sent.
    young : dict of int to float
        Files with rows that may be orphans, and the seconds until these are old.
    replacing : set of int
        Files that are sent when the archives hold them.
    uncertain : bool
        Something was refused, or got lost: the result is looked at.
    searched : bool
        Doubled rows were looked for after Alyx had complained of some.
    """

    unmarked: list[str]
    ratings: dict[int, str]
    todo: array[int] = field(default_factory=lambda: array("q"))
    refused: Refusals = field(default_factory=Refusals)
    bytes_left: int = 0
    young: dict[int, float] = field(default_factory=dict)
    replacing: set[int] = field(default_factory=set)
    uncertain: bool = False
    searched: bool = False
    position: int = 0

    @property
    def files_left(self) -> int:
        """The number of files to be sent."""
        return len(self.todo) - self.position

    def chunk(self, size: int) -> array[int]:
        """Return the files to be sent next."""
        return self.todo[self.position : self.position + size]

    def sent(self, files: int, size: int) -> None:
        """Note that the next so many files, of so many bytes, are dealt with."""
        self.position += files
        self.bytes_left -= size


class Plans:
    """Plans of jobs that gave way; shared by the lanes, where one job is in one lane at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[int, tuple[float, Plan]] = {}

    def keep(self, job_id: int, plan: Plan) -> None:
        """Keep the plan of a job that gave way."""
        while len(self._kept) >= KEPT:
            self._kept.pop(next(iter(self._kept)), None)
        self._kept[job_id] = (self._clock.monotonic(), plan)

    def take(self, job_id: int) -> Plan | None:
        """Return the plan of a job if it still holds, and forget it."""
        at, plan = self._kept.pop(job_id, (0.0, None))
        return plan if plan is not None and self._clock.monotonic() - at <= HOLDS else None
