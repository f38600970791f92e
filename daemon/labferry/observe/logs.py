"""What is logged, and how: one call `log.info("snake_case_event", session=…)`, every outlet the same record.

Room: observe. Every other room logs through `structlog.get_logger()` and knows nothing of this module; the service
calls `configure` once. A record is `{at, level, event, …}`: plain values, no secrets, nothing that cannot be
printed.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, TextIO

import structlog

from labferry.model import show_path, utc_text
from labferry.observe.journald import SOCKET as JOURNAL_SOCKET
from labferry.observe.journald import JournalSocket
from labferry.observe.logfile import LogFile
from labferry.observe.outlets import (
    Console,
    Journald,
    JsonLines,
    Outlet,
    Plain,
    Record,
    ToFile,
    is_journal,
)

_PLACE_KEYS = {
    structlog.processors.CallsiteParameter.PATHNAME: "code_file",
    structlog.processors.CallsiteParameter.LINENO: "code_line",
    structlog.processors.CallsiteParameter.FUNC_NAME: "code_func",
}
_LANE_THREAD = "lane-"  # threads of lanes are named so
_DEEPEST = 4  # levels of lists and tables in a value

# How a key ends that may not be logged: `token`, `alyx_password`, `Authorization`.
_SECRETS = ("token", "password", "passwd", "secret", "authorization", "cookie", "credentials")


def configure(
    log_format: str,
    level: str,
    log_file: str | os.PathLike[str] | None,
    stream: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
    journal_socket: str = JOURNAL_SOCKET,
) -> None:
    """Set up logging for the process; may be called again.

    Parameters
    ----------
    log_format : {"auto", "console", "json", "journal"}
        `auto`: journald where systemd connected the stream to it, lines for people on a terminal, else JSON.
    level : {"debug", "info", "warning", "error"}
        What is less than this is dropped. Libraries are heard from `warning` on.
    log_file : path or None
        Every record goes there too, as JSON lines.
    stream : TextIO, optional
        Default: stderr.
    environ : mapping
        Where JOURNAL_STREAM and NO_COLOR are looked up.
    journal_socket : str
        Where journald listens.
    """
    stream = stream or sys.stderr
    outlet = _outlet(log_format, stream, environ, journal_socket)
    outlets: list[Outlet] = [outlet]
    if log_file is not None:
        outlets.append(ToFile(LogFile(os.fspath(log_file)), trouble=outlet))
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.CallsiteParameterAdder(list(_PLACE_KEYS)),
            _finish,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=_Tee(outlets),
        cache_logger_on_first_use=False,
    )
    _hear_libraries(_Tee(outlets), max(threshold, logging.WARNING))


def _outlet(wanted: str, stream: TextIO, environ: Mapping[str, str], journal_socket: str) -> Outlet:
    """Return the outlet that a format means."""
    chosen = wanted
    if wanted == "auto":
        chosen = "journal" if is_journal(stream, environ) else "console" if stream.isatty() else "json"
    if chosen == "journal":
        return Journald(JournalSocket(journal_socket), JsonLines(stream))
    if chosen == "console":
        return Console(stream, colours=stream.isatty() and not environ.get("NO_COLOR"))
    return JsonLines(stream)


class _Tee:
    """Structlog's logger factory and logger in one: every record goes to every outlet."""

    def __init__(self, outlets: Sequence[Outlet]) -> None:
        self._outlets = outlets

    def __call__(self, *_: Any) -> _Tee:
        return self

    def write(self, record: Record) -> None:
        """Write one record everywhere."""
        for outlet in self._outlets:
            outlet.write(record)

    debug = info = warning = error = critical = write


class _FromLibraries(logging.Handler):
    """What libraries say through the standard library's logging, as records of ours."""

    def __init__(self, tee: _Tee, level: int) -> None:
        super().__init__(level)
        self._tee = tee

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)  # a library whose arguments do not fit its own text
        level = record.levelname.lower()
        fields: dict[str, Any] = {
            "event": "library",
            "level": level if level in {"warning", "error", "critical"} else "warning",
            "logger": record.name,
            "message": message,
            "exc_info": record.exc_info,
        }
        self._tee.write(_record(fields))


def _hear_libraries(tee: _Tee, level: int) -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _FromLibraries)]:
        root.removeHandler(handler)
    root.addHandler(_FromLibraries(tee, level))
    root.setLevel(level)
    logging.captureWarnings(True)


# --- the record -------------------------------------------------------------------------------------------


def _finish(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> tuple[tuple[Record], dict[str, Any]]:
    """Turn what was logged into a record, as the one argument of the logger's method."""
    for key, name in _PLACE_KEYS.items():
        fields[name] = fields.pop(key.value, None)
    return (_record(fields),), {}


def _record(fields: MutableMapping[str, Any]) -> Record:
    """Return a record: time, level and event first, then everything that has a value and is no secret."""
    exception = _traceback(fields.pop("exc_info", None))
    fields.pop("stack_info", None)
    record: dict[str, Plain] = {
        "at": utc_text(time.time()),
        "level": fields.pop("level"),
        "event": plain(fields.pop("event", "")),
    }
    thread = threading.current_thread().name
    if thread.startswith(_LANE_THREAD):
        fields.setdefault("lane", thread.removeprefix(_LANE_THREAD))
    record.update({key: plain(value) for key, value in fields.items() if value is not None and not _is_secret(key)})
    if exception:
        record["exception"] = exception
    return record


def plain(value: object, depth: int = 0) -> Plain:
    r"""Return a value as JSON has them: bytes and undecodable text with `\xNN`, tables without secrets."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return show_path(value)
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return {str(key): plain(one, depth + 1) for key, one in value.items() if not _is_secret(str(key))}
    if isinstance(value, list | tuple | set | frozenset) and depth < _DEEPEST:
        return [plain(one, depth + 1) for one in value]
    return _text(str(value))


def _text(text: str) -> str:
    r"""Return text that can be encoded: bytes that were no UTF-8 as `\xNN`, other halves of characters as `\uNNNN`."""
    try:
        return show_path(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _is_secret(key: str) -> bool:
    return key.lower().endswith(_SECRETS)


def _traceback(exc_info: object) -> str:
    """Return the traceback that a record carries; empty without one. Values of variables are never in it."""
    if exc_info is True:
        exc_info = sys.exc_info()
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1]
    if not isinstance(exc_info, BaseException):
        return ""
    return "\n".join(map(_text, "".join(traceback.format_exception(exc_info)).splitlines()))
