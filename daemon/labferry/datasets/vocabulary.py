"""Alyx' dataset types and data formats, and which of them a file name has.

Room: datasets. The rule is Alyx' own, applied here first: a file that it would refuse poisons the whole request.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from labferry.datasets.names import object_attribute
from labferry.datasets.patterns import suffix

_NAMES_KEPT = 16_384


@dataclass(frozen=True, slots=True)
class DatasetType:
    """One of Alyx' dataset types; with a blank pattern its name is the rule."""

    name: str
    filename_pattern: str = ""


@dataclass(frozen=True, slots=True)
class DataFormat:
    """One of Alyx' data formats; `extension` has its dot, and is empty for formats that no file has."""

    name: str
    extension: str


class Vocabulary:
    """The dataset types and data formats of one Alyx at one time; never changes, so answers are kept.

    Parameters
    ----------
    types : iterable of DatasetType
    formats : iterable of DataFormat
    """

    def __init__(self, types: Iterable[DatasetType], formats: Iterable[DataFormat]) -> None:
        self.types = tuple(types)
        self.formats = tuple(formats)
        self._by_pattern = tuple(
            (re.compile(fnmatch.translate(t.filename_pattern.casefold())).match, t.name)
            for t in self.types
            if t.filename_pattern.strip()
        )
        self._by_name = frozenset(t.name for t in self.types if not t.filename_pattern.strip())
        extensions = Counter(f.extension for f in self.formats)
        self._format_of_extension = {
            f.extension: f.name for f in self.formats if f.extension and extensions[f.extension] == 1
        }
        self._kept = lru_cache(maxsize=_NAMES_KEPT)(self._types_of)

    def types_of(self, name: str) -> tuple[str, ...]:
        """Return the names of all dataset types that fit a file's name; a dataset has exactly one."""
        return self._kept(name)

    def format_of(self, name: str) -> str | None:
        """Return the name of the only data format with the file's last suffix, in exact case; None without one."""
        return self._format_of_extension.get(suffix(name))

    def _types_of(self, name: str) -> tuple[str, ...]:
        folded = name.casefold()
        fitting = tuple(type_name for matches, type_name in self._by_pattern if matches(folded))
        own_name = object_attribute(name)
        return (*fitting, own_name) if own_name in self._by_name else fitting
