"""Errors as sentences: the file and line (or variable), the key, its value, and the way out.

Turns pydantic's findings and those of `rules` and `credentials` into the lines an operator reads. Values of
unknown keys are never repeated: one of them may be a password in the wrong place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel

from labferry.config.model import ARCHIVE_KINDS, Config, Root, Section
from labferry.config.source import ALIASES, Location, Source, printable, written_roots
from labferry.config.values import SecretInValueError, nearest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

LONGEST_VALUE = 80  # characters of a value that a message repeats

# What to write for a required key; keyed by table and key.
_REQUIRED: Final = {
    ("", "server_name"): 'a name for this machine that stays, as server_name = "lab-server-1"',
    ("", "alyx"): "the table [alyx] with url, username and password_file",
    ("alyx", "url"): 'the address of Alyx, as url = "https://alyx.example.org"',
    ("roots", "name"): 'a name that stays when the path changes, as name = "s0"',
    ("roots", "path"): 'the directory to watch, as path = "/mnt/s0/Data/Subjects"',
    ("archive", "kind"): 'kind = "observe", "globus" or "directory"',
    ("archive", "endpoint"): "the UUID of the destination collection",
    ("archive", "path"): 'the directory to copy into, as path = "/mnt/nas/archive"',
}

# Secrets somebody wrote into the file itself, and the key that takes a file instead.
_INLINE: Final = {
    ("alyx", "password"): "password_file",
    ("alyx", "token"): "token_file",
    ("globus", "client_secret"): "client_secret_file",
    ("alerts", "urls"): "urls_file",
    ("alerts", "dead_man_url"): "dead_man_url_file",
}


class _Nothing:
    """No value to show."""


NOTHING: Final = _Nothing()


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes
    ----------
    location : tuple
        The key: names of tables and keys, numbers in arrays of tables.
    sentence : str
        What is wrong and the way out; follows the key and its value.
    value : object
        What was written; NOTHING when there is none or it must not be repeated.
    """

    location: Location
    sentence: str
    value: object = NOTHING


def lines(source: Source, problems: Iterable[Problem]) -> list[str]:
    """Return one line for every problem, in the order of the file."""
    found = []
    for problem in sorted(problems, key=lambda problem: source.line(problem.location)):
        value = "" if problem.value is NOTHING else f" = {_shown(problem.value)}"
        key = key_text(source, problem.location)
        found.append(printable(f"{source.where(problem.location)}: {key}{value} {problem.sentence}"))
    return list(dict.fromkeys(found))


def key_text(source: Source, location: Location) -> str:
    """Write a key as the file would: `state_dir`, `[alyx] url`, `[[roots]] "s0" path`, `[archive.nas] kind`."""
    table, rest = location[0], list(location[1:])
    if table == "roots" and rest:
        number = int(rest.pop(0))
        root = dict(enumerate(written_roots(source.table))).get(number)
        name = root.get("name") if isinstance(root, dict) else None
        head = f'[[roots]] "{name}"' if isinstance(name, str) else f"[[roots]] number {number + 1}"
    elif table == "archive" and rest:
        head = f"[archive.{rest.pop(0)}]"
    elif _is_table(table):
        head = "[[roots]]" if table == "roots" else f"[{table}]"
    else:
        head = str(table)
    key = next((str(part) for part in rest if isinstance(part, str)), "")
    return f"{head} {key}".rstrip()


def from_pydantic(error: ErrorDetails) -> Problem:
    """Turn one of pydantic's findings into a problem."""
    location = _location(error)
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "missing":
        return _missing(location)
    if kind == "extra_forbidden":
        return _unknown(location, error)
    if kind == "union_tag_not_found":
        return _missing((*location, "kind"))
    if kind == "union_tag_invalid":
        return Problem((*location, "kind"), _one_of(context["tag"], list(ARCHIVE_KINDS)), context["tag"])
    if kind == "literal_error":
        known = [name.strip("'") for name in context["expected"].replace(" or ", ", ").split(", ")]
        return Problem(location, _one_of(value, known), value)
    if kind == "value_error":
        cause = context["error"]
        return Problem(location, str(cause), NOTHING if isinstance(cause, SecretInValueError) else value)
    if kind == "string_type":
        return Problem(location, "is not a text; write it in quotes", value)
    if location == ("roots",):
        return Problem(location, "must be a list of tables; begin each one with a line [[roots]] in double brackets")
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return Problem(location, "must be a table; write its keys below a line with its name in brackets")
    return Problem(location, f"cannot be used: {error['msg']}")


def _location(error: ErrorDetails) -> Location:
    """Return the key that pydantic means; it adds the archive's kind and, for a bad name, `[key]`."""
    location = tuple(part for part in error["loc"] if part != "[key]")
    if len(location) > 2 and location[0] == "archive" and location[2] in ARCHIVE_KINDS:
        return (*location[:2], *location[3:])
    return location


def _missing(location: Location) -> Problem:
    table = str(location[0]) if len(location) > 1 else ""
    what = _REQUIRED.get((table, str(location[-1])), "it")
    return Problem(location, f"is missing; add {what}")


def _unknown(location: Location, error: ErrorDetails) -> Problem:
    table = str(location[0]) if len(location) > 1 else ""
    key = str(location[-1])
    if (table, key) in _INLINE:
        instead = _INLINE[(table, key)]
        return Problem(location, f"is a secret and never read from here; write it into a file and name that: {instead}")
    if location in ALIASES:
        return Problem(location, f"is another name of {ALIASES[location]}, which is set too; remove one of them")
    known = keys_of(_model(error["loc"][:-1]))
    guess = nearest(key, known)
    if not guess and (home := _home(key)):
        return Problem(location, f"is not a known key here; it belongs {home}")
    return Problem(location, f"is not a known key{guess or '; known are ' + ', '.join(known)}")


def _home(key: str) -> str:
    """Return where a key belongs that was written into the wrong table."""
    if key in Config.model_fields:
        return "to the top of the file, before the first line in brackets"
    tables = [name for name in Config.model_fields if _is_table(name) and key in keys_of(_model((name, 0)))]
    return "into " + " or ".join("[[roots]]" if name == "roots" else f"[{name}]" for name in tables) if tables else ""


def keys_of(model: type[BaseModel]) -> list[str]:
    """Return the keys of a table as they are written in the file."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _model(location: Location) -> type[BaseModel]:
    """Return the model of the table at a location as pydantic gives it, with the archive's kind."""
    if not location:
        return Config
    if location[0] == "roots":
        return Root
    if location[0] == "archive":
        return ARCHIVE_KINDS.get(str(location[-1]), Section)
    field = Config.model_fields.get(str(location[0]))
    annotation = field.annotation if field else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else Section


def _is_table(name: str | int) -> bool:
    return name in ("roots", "archive") or _model((name,)) is not Section


def _one_of(value: object, known: list[str]) -> str:
    guess = nearest(value, known) if isinstance(value, str) else ""
    return f"is not one of {', '.join(known)}{guess or '; write one of them, in quotes'}"


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
