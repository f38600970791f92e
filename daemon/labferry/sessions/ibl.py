"""The layout `ibl`: ALF session folders, `[LAB/Subjects/]SUBJECT/YYYY-MM-DD/NUMBER`.

Room: sessions. Stricter than the field's own parsers on purpose: they search where this one compares whole names,
and so take `KS 005` for the subject `005` and `2019-13-45` for a day.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from labferry.model import show_path
from labferry.sessions.layout import Level, NotASession, Parsed, parse_by_steps
from labferry.sessions.session import Session

SUBJECT_RULE = "subject: 1 to 64 letters, digits, `_`, `.` or `-`"
LAB_RULE = "lab: letters, digits and `_` (it stands before `Subjects`)"
SUBJECTS_RULE = "below a lab: `Subjects`, with a capital letter"
DATE_RULE = "date: YYYY-MM-DD"
YEAR_RULE = "date: the year is between 1900 and 2099"
CALENDAR_RULE = "no such day in the calendar"
NUMBER_RULE = "session number: one to three digits"

# Patterns of bytes: `\w` and `\d` mean ASCII, as Alyx means them.
_SUBJECT = re.compile(rb"[\w.-]{1,64}")
_LAB = re.compile(rb"\w+")
_DATE = re.compile(rb"(\d{4})-(\d{2})-(\d{2})")
_DATE_DIGITS = re.compile(rb"(\d{4})(?:\D?(\d{2})\D?(\d{2})|\D(\d{1,2})\D(\d{1,2}))")
_DAY_FIRST = re.compile(rb"(\d{2})\D(\d{2})\D(\d{4})")
_CENTURY = re.compile(rb"19|20")
_NUMBERS = {b"%0*d" % (width, number): number for width in (1, 2, 3) for number in range(10**width)}
_LONG_NUMBER = re.compile(rb"0+(\d{3})")


class IblLayout:
    """ALF folders of the International Brain Laboratory."""

    name = "ibl"
    shape = "[LAB/Subjects/]SUBJECT/YYYY-MM-DD/NUMBER"

    def top(self) -> Level:
        """Return the root, where stepping begins."""
        return _Root()

    def parse(self, path: bytes) -> Parsed:
        """Read a path relative to the root; never raises."""
        return parse_by_steps(_Root(), path)


class _Root:
    path = b""

    def step(self, name: bytes) -> Level | NotASession:
        lab = name.decode("ascii") if _LAB.fullmatch(name) else None
        if _is_subject(name):
            return _SubjectOrLab(name, name.decode("ascii"), lab)
        if lab is not None:
            return _Lab(name, lab)
        return _no_subject(name)


# The levels are not frozen: the scan makes one per folder, and that alone would be a tenth of its time.
@dataclass(slots=True)
class _Lab:
    """A folder of the root that can only be a lab: its name is too long for a subject."""

    path: bytes
    lab: str

    def step(self, name: bytes) -> Level | NotASession:
        if name != b"Subjects":
            return NotASession(self.lab, SUBJECT_RULE)
        return _Subjects(self.path + b"/Subjects", self.lab)


@dataclass(slots=True)
class _SubjectOrLab:
    """A folder of the root: a subject, unless `Subjects` lies in it, which no day is called."""

    path: bytes
    subject: str
    lab: str | None

    def step(self, name: bytes) -> Level | NotASession:
        if name != b"Subjects":
            if self.lab is not None and name.lower() == b"subjects":
                return NotASession(show_path(name), SUBJECTS_RULE, "Subjects")
            return _step_day(self.path, self.subject, None, name)
        if self.lab is None:
            return NotASession(self.subject, LAB_RULE)
        return _Subjects(self.path + b"/Subjects", self.lab)


@dataclass(slots=True)
class _Subjects:
    path: bytes
    lab: str

    def step(self, name: bytes) -> Level | NotASession:
        if not _is_subject(name):
            return _no_subject(name)
        return _Subject(self.path + b"/" + name, name.decode("ascii"), self.lab)


@dataclass(slots=True)
class _Subject:
    path: bytes
    subject: str
    lab: str | None

    def step(self, name: bytes) -> Level | NotASession:
        return _step_day(self.path, self.subject, self.lab, name)


@dataclass(slots=True)
class _Day:
    path: bytes
    subject: str
    lab: str | None
    date: date

    def step(self, name: bytes) -> Session | NotASession:
        number = _NUMBERS.get(name)
        if number is None:
            return NotASession(show_path(name), NUMBER_RULE, _nearest_number(name))
        return Session("ibl", self.path + b"/" + name, self.subject, self.date, number, self.lab)


def _step_day(path: bytes, subject: str, lab: str | None, name: bytes) -> Level | NotASession:
    day = _day(name)
    if isinstance(day, NotASession):
        return day
    return _Day(path + b"/" + name, subject, lab, day)


def _no_subject(name: bytes) -> NotASession:
    bare = name.strip(b" ")
    return NotASession(show_path(name), SUBJECT_RULE, bare.decode("ascii") if _is_subject(bare) else "")


def _is_subject(name: bytes) -> bool:
    return _SUBJECT.fullmatch(name) is not None and name not in {b".", b".."}


@lru_cache(maxsize=16_384)  # forty years of days: every subject of a root was recorded on the same ones
def _day(name: bytes) -> date | NotASession:
    if not _DATE.fullmatch(name):
        return NotASession(show_path(name), DATE_RULE, _nearest_day(name))
    if not _CENTURY.match(name):
        return NotASession(show_path(name), YEAR_RULE)
    try:
        return date.fromisoformat(name.decode("ascii"))
    except ValueError:
        return NotASession(show_path(name), CALENDAR_RULE)


def _nearest_number(name: bytes) -> str:
    """Return `0001`, or a number with a space, as a session number is written; empty when it is none."""
    bare = name.strip(b" ")
    padded = _LONG_NUMBER.fullmatch(bare)
    if padded is not None:
        bare = padded[1]
    return bare.decode("ascii") if bare in _NUMBERS else ""


def _nearest_day(name: bytes) -> str:
    """Return `20190402`, `2019_4_2`, `28-04-2019` and the like as a day is written; empty when it is no day, or two."""
    name = name.strip(b" ")
    if match := _DATE_DIGITS.fullmatch(name):
        return _one_day(*(digits for digits in match.groups() if digits))
    if match := _DAY_FIRST.fullmatch(name):
        one, other, year = match.groups()
        days = {_one_day(year, other, one), _one_day(year, one, other)} - {""}
        return days.pop() if len(days) == 1 else ""
    return ""


def _one_day(year: bytes, month: bytes, day: bytes) -> str:
    with suppress(ValueError):
        if _CENTURY.match(year):
            return date(int(year), int(month), int(day)).isoformat()
    return ""
