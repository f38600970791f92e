"""Where the values come from: the file's text, and the environment over it.

Reads one file and the environment it is given; knows for every key which of the two (and which line) to name
in a message.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from labferry.config.model import Config
from labferry.config.values import from_json, nearest
from labferry.errors import ConfigError

DEFAULT_PATH = "/etc/labferry/config.toml"
PREFIX = "LABFERRY_"
PATH_VARIABLE = "LABFERRY_CONFIG"

Location = tuple[str | int, ...]
Table = dict[str, object]

# The names under which map-ephys knows the same keys: its `globus.local_endpoint` is `[globus] endpoint`.
ALIASES: Mapping[Location, str] = {
    ("globus", "local_endpoint"): "endpoint",
    ("globus", "local_endpoint_subdir"): "endpoint_subdir",
    ("globus", "local_endpoint_local_path"): "local_path",
}

_HEADER = re.compile(r"\s*(\[\[?)([^\[\]]+)\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"\s*([A-Za-z0-9_\-.\"' ]+?)\s*=")
_AT = re.compile(r"(.*) \(at (line \d+, column \d+|end of document)\)")


class _Overridable(Config, BaseSettings):
    """The same keys, as pydantic-settings wants them to read an environment."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        enable_decoding=False,  # lists stay text here, so that their errors are reported with all others
    )


@dataclass(frozen=True)
class Source:
    """A configuration as it was written.

    Attributes
    ----------
    path : str
        The file, absolute.
    text : str
        Its content.
    table : dict
        Its content with the environment over it.
    environ : Mapping
        The environment it was read with.
    """

    path: str
    text: str
    table: Table
    environ: Mapping[str, str]

    def where(self, location: Location) -> str:
        """Return what to name for this key: the environment variable, or the file with the line if it is there."""
        names = {name.upper(): name for name in self.environ}
        for part in _outwards(location):
            variable = PREFIX + "__".join(map(str, part)).upper()
            if variable in names:
                return names[variable]
        line = self.line(location)
        return f"{self.path}:{line}" if line else self.path

    def line(self, location: Location) -> int:
        """Return the line of a key, or of the nearest table around it, or 0.

        Good enough to point at, not a parser.
        """
        known = _lines(self.text)
        return next((known[part] for part in _outwards(location) if part in known), 0)

    def foreign_variables(self) -> list[str]:
        """Return a sentence for every LABFERRY_ variable that is no key: somebody else's, or misspelt."""
        known = [PREFIX + name.upper() for name in Config.model_fields]
        sentences = []
        for name in sorted(self.environ):
            first = name.upper().split("__", 1)[0]
            if first.startswith(PREFIX) and first not in (*known, PATH_VARIABLE):
                sentences.append(f"{name}: the environment variable is no key and was ignored{nearest(first, known)}")
        return sentences


def printable(text: str) -> str:
    """Return text in one line that does nothing to a terminal: what cannot be printed becomes an escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def written_roots(table: Mapping[str, object]) -> list[object]:
    """Return the roots as they were written, in the file or as JSON in the environment; [] when they are no list."""
    try:
        roots = from_json(table.get("roots", []))
    except ValueError:
        return []
    return roots if isinstance(roots, list) else []


def config_path(path: str | None, environ: Mapping[str, str]) -> str:
    """Return the file to read: the given one, else LABFERRY_CONFIG, else /etc/labferry/config.toml."""
    return os.path.abspath(path or environ.get(PATH_VARIABLE) or DEFAULT_PATH)


def read(path: str, environ: Mapping[str, str]) -> Source:
    """Read the file and lay the environment over it.

    Raises
    ------
    ConfigError
        The file is missing, unreadable, not UTF-8 or not TOML.
    """
    text = _read_text(path)
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        match = _AT.fullmatch(str(error))
        place = f"{match[2]}: {match[1]}" if match else str(error)
        raise ConfigError(
            f"{printable(path)}: {place}",
            "The file is not valid TOML there: look for a missing quote, comma or bracket.",
        ) from None
    return Source(path, text, _over(_renamed(table), _renamed(_from_environment(environ))), environ)


def _read_text(path: str) -> str:
    shown = printable(path)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise ConfigError(
            f"{shown}: there is no such file",
            f"Name another one with --config or {PATH_VARIABLE}, or begin with `labferry config example > {shown}`.",
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{shown}: cannot be read: {error.strerror}",
            "Give this user read permission, or name another file with --config.",
        ) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{shown}:{line}: the byte 0x{data[error.start]:02x} is not UTF-8", "Save the file in the encoding UTF-8."
        ) from None


def _from_environment(environ: Mapping[str, str]) -> Table:
    variables = EnvSettingsSource(_Overridable)
    variables.env_vars = {name.lower(): value for name, value in environ.items()}
    return dict(variables())


def _renamed(table: Table) -> Table:
    """Return a table with the usual names of its keys; one that stands there under both is left for `problems`."""
    result = dict(table)
    for (name, alias), key in ALIASES.items():
        section = result.get(str(name))
        if isinstance(section, dict) and alias in section and key not in section:
            result[str(name)] = {key if written == alias else written: value for written, value in section.items()}
    return result


def _outwards(location: Location) -> Iterator[Location]:
    """Yield a key under all its names, then the tables around it."""
    yield location
    yield from (alias for alias, key in ALIASES.items() if (*alias[:-1], key) == location)
    for length in range(len(location) - 1, 0, -1):
        yield location[:length]


def _over(below: Mapping[str, object], above: Mapping[str, object]) -> Table:
    """Lay one table over another. Names of the upper one have lost their case to the environment."""
    result = dict(below)
    spelling = {key.lower(): key for key in below}
    for name, value in above.items():
        key = spelling.get(name, name)
        old = result.get(key)
        result[key] = _over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _lines(text: str) -> dict[Location, int]:
    found: dict[Location, int] = {}
    table: Location = ()
    arrays: dict[Location, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if header := _HEADER.fullmatch(line):
            table = _parts(header[2])
            if header[1] == "[[":
                arrays[table] = arrays.get(table, -1) + 1
                table = (*table, arrays[table])
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault((*table, *_parts(key[1])), number)
    return found


def _parts(dotted: str) -> tuple[str, ...]:
    parts: Sequence[str] = re.findall(r"\"[^\"]*\"|'[^']*'|[^.\s]+", dotted)
    return tuple(part.strip("\"'") for part in parts)
