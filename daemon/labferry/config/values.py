"""The kinds of values a configuration holds, each with its own check.

Pure: text in, value out. Every check raises ValueError with the end of a sentence that begins with the key
and its value (`is not a duration; write "90s"`); `problems` puts the two together. A check accepts text for
numbers and flags too, because the environment has nothing else.
"""

from __future__ import annotations

import json
import re
import zoneinfo
from collections.abc import Callable
from datetime import time
from decimal import Decimal
from difflib import get_close_matches
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

LONGEST = 100 * 365 * 86400.0  # a hundred years, in seconds: beyond it a duration is a slip of the pen
LONGEST_SOCKET_PATH = 107  # bytes; the kernel's sockaddr_un holds 108 with the final zero

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)", re.ASCII)
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_WINDOWS = re.compile(r"[A-Za-z]:([\\/]|$)|\\\\", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BRACES = re.compile(r"\{[^{}]*\}|[{}]")


class SecretInValueError(ValueError):
    """The value is wrong and may hold a secret: it must not be repeated in the message."""


# --- durations and times ----------------------------------------------------------------------------------


def parse_duration(value: object) -> float:
    """Read a duration: "90s", "10m", "2h", "1d" or a number of seconds.

    Returns
    -------
    float
        Seconds, from 0 to a hundred years.

    Raises
    ------
    ValueError
        `value` is not such a duration.
    """
    seconds: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        seconds = float(match[1]) * _UNITS[match[2]]
    if seconds is None or not seconds >= 0:
        raise ValueError('is not a duration; write "90s", "10m", "2h", "1d" or a number of seconds')
    if seconds > LONGEST:
        raise ValueError('is longer than a hundred years; write "90s", "10m", "2h", "1d" or a number of seconds')
    return float(seconds)


def duration_text(seconds: float) -> str:
    """Write a duration in the largest unit that needs no fraction; `parse_duration` reads it back unchanged."""
    if seconds != int(seconds):
        return f"{Decimal(repr(seconds)):f}s"
    whole = int(seconds)
    unit = next((unit for unit in "dhm" if whole and whole % _UNITS[unit] == 0), "s")
    return f"{whole // _UNITS[unit]}{unit}"


def _optional_duration(value: object) -> float | None:
    return None if value in ("", None) else parse_duration(value)


def _optional_text(seconds: float | None) -> str:
    return "" if seconds is None else duration_text(seconds)


def _above_zero(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError('must be longer than 0; write for example "30s"')
    return seconds


Duration = Annotated[float, BeforeValidator(parse_duration), PlainSerializer(duration_text, when_used="json")]
Interval = Annotated[Duration, AfterValidator(_above_zero)]
OptionalDuration = Annotated[
    float | None, BeforeValidator(_optional_duration), PlainSerializer(_optional_text, when_used="json")
]


def parse_time_of_day(value: object) -> time | None:
    """Read a time of day such as "08:00"; "" is none.

    Raises
    ------
    ValueError
        `value` is not such a time.
    """
    if value in ("", None):
        return None
    if isinstance(value, time):
        return value
    match = _TIME_OF_DAY.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('is not a time of day; write it in quotes with hours and minutes, as "08:00"')
    return time(int(match[1]), int(match[2]))


def _time_text(value: time | None) -> str:
    return "" if value is None else value.strftime("%H:%M")


TimeOfDay = Annotated[time | None, BeforeValidator(parse_time_of_day), PlainSerializer(_time_text)]


def _time_zone(name: str) -> str:
    if not name:
        return name
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        if not known:
            raise ValueError("cannot be checked: this machine has no time zones; install the package tzdata") from None
        way_out = nearest(name, known) or "; write an IANA name, as Europe/London"
        raise ValueError(f"is not a time zone{way_out}") from None
    return name


TimeZone = Annotated[str, AfterValidator(_time_zone)]

# --- flags, numbers, lists --------------------------------------------------------------------------------


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "1": True, "false": False, "0": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError("is neither true nor false; write one of them, without quotes")


def _whole_number(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def whole(lowest: int, highest: int) -> BeforeValidator:
    """Accept whole numbers from `lowest` to `highest`."""

    def check(value: object) -> int:
        number = _whole_number(value)
        if number is None:
            raise ValueError(f"is not a whole number; write one from {lowest} to {highest}")
        if not lowest <= number <= highest:
            raise ValueError(f"is out of range; write a number from {lowest} to {highest}")
        return number

    return BeforeValidator(check)


def from_json(value: object) -> object:
    """Read text from the environment as JSON; everything else stays as it is.

    Raises
    ------
    ValueError
        The text is not JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON; in the environment this key is written as a JSON list") from None


def _texts(value: object) -> tuple[str, ...]:
    try:
        items = from_json(value)
    except ValueError:
        items = None
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError('is not a list of texts; write ["one", "two"]')
    return tuple(items)


Flag = Annotated[bool, BeforeValidator(_flag)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]

# --- names, paths, addresses ------------------------------------------------------------------------------


def nearest(word: str, known: set[str] | list[str]) -> str:
    """Return `; did you mean "x"?` for the nearest known word, or nothing when none is near."""
    close = get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("is not a usable name; write 1 to 64 letters, digits, dots, underscores or hyphens")
    return value


def _absolute(value: str) -> str:
    if _WINDOWS.match(value):
        raise ValueError("is a Windows path; write where it is mounted on this machine, as /mnt/s0/Data/Subjects")
    if not value.startswith("/"):
        raise ValueError("is not absolute; write the whole path beginning with / (~ and variables are not expanded)")
    if _CONTROL.search(value):
        raise ValueError("contains a control character; write a plain path")
    parts = [part for part in value.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError("contains ..; write the path without it")
    return "/" + "/".join(parts)


def _with_lab(value: str) -> str:
    for braces in _BRACES.findall(value):
        if braces != "{lab}":
            raise ValueError(f"contains {braces}; {{lab}} is the only placeholder")
    return value


def _socket(value: str) -> str:
    if len(value.encode()) > LONGEST_SOCKET_PATH:
        raise ValueError(f"is longer than {LONGEST_SOCKET_PATH} bytes, the limit for a socket; choose a shorter path")
    return value


def _collection_path(value: str) -> str:
    """Check a path in a Globus collection: written with slashes even where the collection is on Windows."""
    if _WINDOWS.match(value):
        raise ValueError("is a Windows path; Globus writes C:\\Data as /C/Data")
    return _absolute(value)


def is_uuid(value: str) -> bool:
    """Tell whether this is a UUID in its usual spelling."""
    return _UUID.fullmatch(value.lower()) is not None


def _uuid(value: str) -> str:
    if not is_uuid(value.strip()):
        raise ValueError(
            "is not a collection's UUID; copy it from the collection's page in the Globus web application, "
            "as 01234567-89ab-cdef-0123-456789abcdef"
        )
    return value.strip().lower()


def _url(value: str) -> str:
    if "@" in value:
        raise SecretInValueError("contains a user name or password; write the address alone, secrets go into files")
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or re.search(r"\s", value):
        raise ValueError("is not an address; write it as https://alyx.example.org")
    return value.rstrip("/")


def _listen(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not (colon and host.strip("[]") and re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
        raise ValueError("is not an address to listen on; write host and port as 127.0.0.1:9477")
    return value


def _or(word: str, check: Callable[[str], str]) -> AfterValidator:
    """Accept `word` as it is, check everything else."""
    return AfterValidator(lambda value: value if value == word else check(value))


Name = Annotated[str, AfterValidator(_name)]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
OptionalPath = Annotated[str, _or("", _absolute)]
SocketPath = Annotated[AbsolutePath, AfterValidator(_socket)]
ArchivePath = Annotated[AbsolutePath, AfterValidator(_with_lab)]
CollectionPath = Annotated[str, AfterValidator(_collection_path)]
AutoCollectionPath = Annotated[str, _or("auto", _collection_path), AfterValidator(_with_lab)]
Uuid = Annotated[str, AfterValidator(_uuid)]
OptionalUuid = Annotated[str, _or("", _uuid)]
Url = Annotated[str, AfterValidator(_url)]
OptionalUrl = Annotated[str, _or("", _url)]
OptionalListen = Annotated[str, _or("", _listen)]
