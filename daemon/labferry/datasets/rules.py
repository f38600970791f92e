"""The decision about every file of a session: dataset, or why not.

Room: datasets.
"""

from __future__ import annotations

from functools import lru_cache

from labferry.datasets.names import is_raw, overlong, unsafe_part
from labferry.datasets.patterns import Matcher, suffix
from labferry.datasets.vocabulary import Vocabulary
from labferry.errors import CODES
from labferry.model import Decision, FileFate

_DECISIONS_KEPT = 16_384


class RegistrationRules:
    """What one configuration and one Alyx together say about files.

    Parameters
    ----------
    matcher : Matcher
        Which files are asked for.
    vocabulary : Vocabulary
        Which dataset types and data formats there are.
    raw_only : bool
        Only what is in folders of raw data.
    """

    def __init__(self, matcher: Matcher, vocabulary: Vocabulary, *, raw_only: bool = False) -> None:
        self.matcher = matcher
        self.vocabulary = vocabulary
        self.raw_only = raw_only
        # Sessions repeat each other's paths: most of a walk is answered from here.
        self._kept = lru_cache(maxsize=_DECISIONS_KEPT)(self._decide)

    def decide(self, path: bytes, is_regular: bool = True) -> Decision:
        """Decide about one file.

        Parameters
        ----------
        path : bytes
            Relative to the session's folder. Of a file: folders are never datasets and never asked about.
        is_regular : bool
            Whether it is a regular file, and no link, pipe, socket or device.
        """
        return self._kept(path, is_regular)

    def _decide(self, path: bytes, is_regular: bool) -> Decision:
        pattern = self.matcher.match(path) or ""
        left_out = self._left_out(path, pattern)
        if left_out is None:
            return self._acceptable(path, is_regular, pattern)
        if not is_regular:  # no pattern and no other rule would make a dataset of it
            return _decision(left_out.fate, "not_regular", pattern=pattern)
        return left_out

    def _left_out(self, path: bytes, pattern: str) -> Decision | None:
        """Decide about what the configuration does not ask for; None for what it does."""
        if not pattern:
            return _decision(FileFate.UNMATCHED, "no_pattern")
        if ending := self.matcher.excluded_suffix(path):
            return _decision(FileFate.EXCLUDED, "excluded_suffix", ending, pattern)
        if self.raw_only and not is_raw(path):
            return _decision(FileFate.EXCLUDED, "out_of_scope", pattern=pattern)
        return None

    def decide_named(self, path: bytes, is_regular: bool = True) -> Decision:
        """Decide about a file that an operator asked for by name: no pattern and no scope leaves it out."""
        return self._acceptable(path, is_regular, self.matcher.match(path) or "")

    def _acceptable(self, path: bytes, is_regular: bool, pattern: str) -> Decision:
        """Decide whether Alyx can take a file that is asked for."""
        if not is_regular:
            return _decision(FileFate.REJECTED, "not_regular", pattern=pattern)
        try:
            text = path.decode("utf-8")
        except UnicodeDecodeError:
            return _decision(FileFate.REJECTED, "not_utf8", pattern=pattern)
        if (part := unsafe_part(text)) is not None:
            return _decision(FileFate.REJECTED, "unsafe_name", repr(part), pattern)
        if names := overlong(text):
            return _decision(FileFate.REJECTED, "name_too_long", names, pattern)
        return self._typed(text.rpartition("/")[2], pattern)

    def _typed(self, name: str, pattern: str) -> Decision:
        """Decide by Alyx' words: a file they do not cover is skipped and counted, it asks for nobody (REG-02)."""
        types = self.vocabulary.types_of(name)
        if not types:
            return _decision(FileFate.UNMATCHED, "no_dataset_type", name, pattern)
        if len(types) > 1:
            return _decision(FileFate.UNMATCHED, "ambiguous_dataset_type", ", ".join(types), pattern)
        data_format = self.vocabulary.format_of(name)
        if data_format is None:
            return _decision(FileFate.UNMATCHED, "no_data_format", suffix(name) or "no extension", pattern)
        return Decision(FileFate.DATASET, pattern=pattern, dataset_type=types[0], data_format=data_format)


def _decision(fate: FileFate, code: str, detail: str = "", pattern: str = "") -> Decision:
    title = CODES[code].title
    return Decision(fate, code, f"{title}: {detail}" if detail else title, pattern)
