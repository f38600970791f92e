"""Where a log record goes: a terminal, JSON lines, journald, the log file.

Room: observe. An outlet takes a finished record (plain values, no secrets) and writes it; none ever raises,
because a log that cannot be written must not stop the work it is about.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol, TextIO

from labferry.model import utc_seconds
from labferry.observe.journald import JournalSocket
from labferry.observe.logfile import LogFile

Plain = str | int | float | bool | None | list["Plain"] | dict[str, "Plain"]
Record = Mapping[str, Plain]

IDENTIFIER = "labferry"
PLACE = ("code_file", "code_line", "code_func")  # of the call; only journald gets it

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_COLOURS = {"debug": "2", "warning": "33", "error": "31;1", "critical": "31;1"}
_HEAD = ("at", "level", "event", "exception", *PLACE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Keys that are journald fields of their own; every other key has `LABFERRY_` in front.
_FIELDS = frozenset(
    {"session", "eid", "job", "action", "code", "step", "attempt", "lane", "code_file", "code_line", "code_func"}
)
# The same values under the names by which journald's users know such things.
_ALSO = {"event": "EVENT", "session": "SESSION_PATH", "job": "JOB_ID"}


class Outlet(Protocol):
    """Something a record can be written to."""

    def write(self, record: Record) -> None:
        """Write one record; never raises."""


class JsonLines:
    """One JSON object per line on a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, record: Record) -> None:
        """Write one record."""
        _print(self._stream, json_line(record))


class Console:
    """Lines for people on a stream: time, level, event, what belongs to it, and tracebacks below.

    Parameters
    ----------
    stream : TextIO
    colours : bool
    """

    def __init__(self, stream: TextIO, colours: bool) -> None:
        self._stream = stream
        self._colours = colours

    def write(self, record: Record) -> None:
        """Write one record."""
        level = str(record.get("level", "info"))
        parts = [
            self._painted(_clock_time(record), "2"),
            self._painted(f"{level:7}", _COLOURS.get(level, "")),
            self._painted(str(record.get("event", "")), "1"),
            *(f"{self._painted(key + '=', '2')}{_shown(value)}" for key, value in _details(record)),
        ]
        below = [_printable(line) for line in str(record.get("exception", "")).splitlines()]
        _print(self._stream, "\n".join([" ".join(parts), *below]))

    def _painted(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours and colour else text


class Journald:
    """Records with fields in the system's journal; on the stream as JSON when journald does not take them."""

    def __init__(self, socket: JournalSocket, fallback: JsonLines) -> None:
        self._socket = socket
        self._fallback = fallback

    def write(self, record: Record) -> None:
        """Write one record."""
        try:
            self._socket.send(journal_fields(record))
        except OSError:
            self._fallback.write(record)


class ToFile:
    """The log file; trouble with it is said once on another outlet, and once when it is over."""

    def __init__(self, file: LogFile, trouble: Outlet) -> None:
        self._file = file
        self._trouble = trouble
        self._failing = False

    def write(self, record: Record) -> None:
        """Write one record."""
        try:
            self._file.write(json_line(record))
        except OSError as error:
            if not self._failing:
                self._failing = True
                self._say(record, "warning", "log_file_failed", why=error.strerror or str(error))
            return
        if self._failing:
            self._failing = False
            self._say(record, "info", "log_file_works_again")

    def _say(self, record: Record, level: str, event: str, **details: Plain) -> None:
        self._trouble.write({"at": record.get("at"), "level": level, "event": event, **details})


def json_line(record: Record) -> str:
    """Return a record as one line of JSON."""
    return json.dumps({key: value for key, value in record.items() if key not in PLACE})


def journal_fields(record: Record) -> dict[str, str]:
    """Return the journald fields of a record."""
    level = str(record.get("level", "info"))
    message = " ".join([str(record.get("event", "")), *(f"{key}={_shown(value)}" for key, value in _details(record))])
    if record.get("exception"):
        message += f"\n{record['exception']}"
    fields = {
        "MESSAGE": message,
        "PRIORITY": str(_PRIORITIES.get(level, 6)),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "ACTION": str(record.get("event", "")),
    }
    for key, value in record.items():
        if value is None:
            continue
        text = value if isinstance(value, str) else json.dumps(value)
        if key in _ALSO:
            fields[_ALSO[key]] = text
        if key not in {"at", "level", "event", "exception"}:
            fields[key.upper() if key in _FIELDS else f"LABFERRY_{key.upper()}"] = text
    return fields


def _details(record: Record) -> list[tuple[str, Plain]]:
    return [(key, value) for key, value in record.items() if key not in _HEAD and value is not None and value != ""]


def _shown(value: Plain) -> str:
    r"""Return a value on one line: control characters as `\xNN`, quoted where it would not be one word."""
    text = _printable(value if isinstance(value, str) else json.dumps(value))
    return f'"{text}"' if " " in text and isinstance(value, str) else text


def _printable(line: str) -> str:
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", line)


def _clock_time(record: Record) -> str:
    """Return the local time of day: who looks at a console was there."""
    try:
        return datetime.fromtimestamp(utc_seconds(str(record.get("at")))).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return ""


def _print(stream: TextIO, text: str) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except (OSError, ValueError):
        return  # the terminal is gone or the stream closed


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Tell whether systemd connected a stream to its journal: JOURNAL_STREAM names the stream's device and inode."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
