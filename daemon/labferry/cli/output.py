"""What commands print: the JSON envelope for programs, plain text for people, errors for both.

Room: cli. Results go to stdout, errors to stderr; with `--json` everything is one envelope on stdout. Colours
only on a terminal, and not with NO_COLOR. Nothing from disk or network reaches the terminal with its control
characters.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import click

from labferry.errors import LabferryError

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_STYLED = re.compile(r"([^\x1b]*)((?:\x1b\[[0-9;]*m)?)")  # plain text, and a change of style after it
_WORD = re.compile(r"(?:`[^`]*`|[^ ])+")  # of a sentence; a command is one
_LONG_TEXTS = frozenset({"detail", "exception"})


def envelope(data: object, error: LabferryError | None = None) -> str:
    """Return the JSON answer of a command, one line."""
    wrong = error and {"code": error.code, "message": error.message, "hint": error.hint}
    return json.dumps({"schema": 1, "ok": error is None, "data": data, "error": wrong})


def answer(data: Any, as_json: bool, lines: Callable[[Any], Iterable[str]]) -> None:
    """Print a result: the envelope, or the lines that `lines` makes of the data."""
    if as_json:
        click.echo(envelope(data))
    else:
        say(lines(printable(data)))


def answer_each(found: Iterable[dict[str, Any]], as_json: bool, line: Callable[[Any], str]) -> None:
    """Print objects as they come, one line each: as JSON without an envelope, or as `line` writes them."""
    for one in found:
        if as_json:
            click.echo(json.dumps(one))
        else:
            say([line(printable(one))])


def quoted(text: str) -> str:
    """Return text as one word of a `key=value` line."""
    return f'"{text}"' if " " in text else text


def say(lines: Iterable[str]) -> None:
    """Print lines for people, in one write."""
    click.echo("\n".join(lines), color=_colour())


def fail(error: LabferryError, as_json: bool) -> None:
    """Print an error: what is wrong, then what to do about it."""
    if as_json:
        click.echo(envelope(None, error))
        return
    marked = [(bad("error:"), line) for line in error.message.splitlines()]
    marked += [(warn("hint:"), line) for line in error.hint.splitlines()]
    click.echo("\n".join(f"{mark} {printable(text)}" for mark, text in marked), err=True, color=_colour())


def printable(data: Any) -> Any:
    r"""Return data whose texts cannot steer a terminal: control characters as `\xNN`.

    Line breaks stay in the texts that have lines: tracebacks.
    """
    if isinstance(data, str):
        return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", data)
    if isinstance(data, dict):
        return {printable(key): _printable_field(key, value) for key, value in data.items()}
    if isinstance(data, list):
        return [printable(value) for value in data]
    return data


def _printable_field(key: str, value: Any) -> Any:
    if key in _LONG_TEXTS and isinstance(value, str):
        return "\n".join(printable(line) for line in value.splitlines())
    return printable(value)


# --- plain tables -----------------------------------------------------------------------------------------


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Return aligned lines, header first. Columns without any value are left out.

    Parameters
    ----------
    header : sequence of str
        One title per column; all empty for a table without a header.
    rows : iterable of sequence of str
        Cells, possibly coloured.
    right : collection of int
        Numbers of the columns that are aligned to the right.
    """
    body = [list(row) for row in rows]
    kept = [i for i in range(len(header)) if any(row[i] for row in body)]
    lines = [[dim(header[i].upper()) for i in kept]] if any(header) else []
    lines += [[row[i] for i in kept] for row in body]
    widths = [max(len(click.unstyle(line[column])) for line in lines) for column in range(len(kept))]
    return ["  ".join(_cells(line, widths, [i in right for i in kept])).rstrip() for line in lines]


def _cells(line: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> Iterator[str]:
    for cell, width, is_right in zip(line, widths, right, strict=True):
        gap = " " * (width - len(click.unstyle(cell)))
        yield gap + cell if is_right else cell + gap


def shortened(line: str, width: int) -> str:
    """Return a line, possibly coloured, that is at most so wide; what is cut off is told by `…`."""
    if len(click.unstyle(line)) <= width:
        return line
    kept, left = [], width - 1
    for text, style in _STYLED.findall(line):
        kept += [text[:left], style]
        left -= len(text[:left])
    return "".join([*kept, "…"])


def wrapped(line: str, width: int) -> list[str]:
    """Return a sentence, possibly coloured, as lines that are at most so wide; in one where the width is 0.

    What stands between backticks stays in one line, and so does a word that is wider: somebody may want to copy it.
    """
    if not width or len(click.unstyle(line)) <= width:
        return [line]
    lines = [""]
    for word in _WORD.findall(line):
        joined = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and len(click.unstyle(joined)) > width:
            lines.append(word)
        else:
            lines[-1] = joined
    return lines


def terminal_width() -> int:
    """Return COLUMNS, else how wide the terminal on stdout is; 0 where a program reads, which wants whole lines."""
    typed = os.environ.get("COLUMNS", "")
    if typed.isdecimal():
        return int(typed)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):  # no terminal, or nothing that has a file
        return 0


def indented(lines: Iterable[str]) -> list[str]:
    """Return lines moved to the right, below a heading."""
    return [f"  {line}" for line in lines]


# --- colours ----------------------------------------------------------------------------------------------


def good(text: str) -> str:
    """Return text that says: fine."""
    return click.style(text, fg="green") if text else ""


def warn(text: str) -> str:
    """Return text that says: look here."""
    return click.style(text, fg="yellow") if text else ""


def bad(text: str) -> str:
    """Return text that says: act here."""
    return click.style(text, fg="red", bold=True) if text else ""


def dim(text: str) -> str:
    """Return text that stays in the background."""
    return click.style(text, dim=True) if text else ""


def strong(text: str) -> str:
    """Return text that is a heading."""
    return click.style(text, bold=True) if text else ""


def _colour() -> bool | None:
    """Return click's setting: None lets it look whether the stream is a terminal."""
    return False if os.environ.get("NO_COLOR") else None
