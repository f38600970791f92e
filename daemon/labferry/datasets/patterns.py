"""Which files are asked for: glob patterns over the path below the session's folder.

Room: datasets. All patterns are one regular expression, so that a walk looks at each path once, whatever their
number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from labferry.errors import ConfigError

# What the IBL registers, in its order. Its twelfth pattern is two patterns grown together, and both look for
# `spikesorters` where the pipelines write `spike_sorters`: here it is split, in both spellings.
IBL_PATTERNS = (
    "_ibl_experiment.description.yaml",
    "alf/**/*.*.*",
    "raw_behavior_data/**/_iblrig_*.*",
    "raw_task_data_*/**/_iblrig_*.*",
    "raw_passive_data/**/_iblrig_*.*",
    "raw_behavior_data/**/_iblmic_*.*",
    "raw_video_data/**/_iblrig_*.*",
    "raw_video_data/**/_ibl_*.*",
    "raw_ephys_data/**/_iblrig_*.*",
    "raw_ephys_data/**/_spikeglx_*.*",
    "raw_ephys_data/**/_iblqc_*.*",
    "spike_sorters/**/_kilosort_*.*",
    "spikesorters/**/_kilosort_*.*",
    "raw_widefield_data/**/_ibl_*.*",
    "raw_photometry_data/**/_neurophotometrics_*.*",
)

# The same to the letter, for who must register exactly what ibllib registers.
IBL_PATTERNS_STRICT = (
    *IBL_PATTERNS[:11],
    "spikesorters/**/_kilosort_*.*spikesorters/**/_kilosort_*.*",
    *IBL_PATTERNS[13:],
)

EXCLUDED_SUFFIXES = (".flag", ".error", ".avi")


class Matcher:
    """The patterns of one configuration.

    Parameters
    ----------
    patterns : sequence of str
        `*` is any run of characters but `/`, `?` one of them, `[…]` one of a set, and `**` between slashes any
        number of folders; at the end, any file below. Case counts. Empty means the IBL's own.
    exclude_suffixes : sequence of str
        Last suffixes (`.avi`) that are left out although a pattern asks for them. Case counts.
    strict : bool
        When `patterns` is empty: the IBL's patterns to the letter, mistakes included.

    Raises
    ------
    ConfigError
        A pattern that cannot match anything or is not well formed.
    """

    def __init__(
        self,
        patterns: Sequence[str] = (),
        exclude_suffixes: Sequence[str] = EXCLUDED_SUFFIXES,
        *,
        strict: bool = False,
    ) -> None:
        self.patterns = tuple(patterns) or (IBL_PATTERNS_STRICT if strict else IBL_PATTERNS)
        self.exclude_suffixes = frozenset(exclude_suffixes)
        self._fullmatch = re.compile("|".join(f"({_expression(p)})" for p in self.patterns)).fullmatch

    def match(self, path: bytes) -> str | None:
        """Return the first pattern that asks for the file of this path below the session's folder."""
        # Bytes that are not UTF-8 must still match `*`, as in any shell.
        found = self._fullmatch(path.decode("utf-8", "surrogateescape"))
        return self.patterns[found.lastindex - 1] if found and found.lastindex else None

    def excluded_suffix(self, path: bytes) -> str | None:
        """Return the excluded suffix the file's name ends with, if it does."""
        ending = suffix(path.rpartition(b"/")[2].decode("utf-8", "surrogateescape"))
        return ending if ending in self.exclude_suffixes else None


def suffix(name: str) -> str:
    """Return the last suffix of a file's name with its dot; empty where there is none (`name`, `name.`, `.name`)."""
    stem, dot, ending = name.rpartition(".")
    return dot + ending if stem and ending else ""


def _expression(pattern: str) -> str:
    """Return a pattern as a regular expression without groups that capture."""
    parts = pattern.split("/")
    if not all(parts) or not {".", ".."}.isdisjoint(parts):
        raise ConfigError(
            f"[registration] patterns: {pattern!r} can match no file",
            "A pattern is relative to the session's folder, with single slashes between its parts, no `.` and no `..`.",
        )
    folders = "".join("(?:[^/]+/)*" if part == "**" else _part(part, pattern) + "/" for part in parts[:-1])
    return folders + ("(?:[^/]+/)*[^/]+" if parts[-1] == "**" else _part(parts[-1], pattern))


def _part(part: str, pattern: str) -> str:
    """Return what stands between two slashes as a regular expression."""
    expression = ""
    i = 0
    while i < len(part):
        first = i + 2 if part.startswith("[!", i) else i + 1
        end = part.find("]", first + 1) if part[i] == "[" else -1  # a `]` that comes first is a member of the set
        if end > i:
            expression += _set(part[i + 1 : end], pattern)
            i = end
        else:
            expression += {"*": "[^/]*", "?": "[^/]"}.get(part[i]) or re.escape(part[i])
        i += 1
    return expression


def _set(members: str, pattern: str) -> str:
    """Return the members of `[…]` as a regular expression; `!` in front turns them into what is not meant."""
    negated = members.startswith("!")
    escaped = re.sub(r"([\\\[\]^&~|])", r"\\\1", members[negated:])
    expression = f"(?!/)[{'^' * negated}{escaped}]"
    try:
        re.compile(expression)
    except re.error as error:
        raise ConfigError(
            f"[registration] patterns: the set [{members}] of {pattern!r} is not well formed: {error.msg}",
            "Write a range from its lower to its higher end, as in [0-9].",
        ) from None
    return expression
