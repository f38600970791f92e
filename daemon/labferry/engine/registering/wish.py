"""What an operator asked for with `labferry register`: carried by the job, as JSON."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Self

from labferry.datasets import is_raw
from labferry.journal.rows import FileRow


@dataclass(frozen=True, slots=True)
class Wish:
    """Which files of a session come first, and whether they are sent although Alyx has them.

    Attributes
    ----------
    raw : bool
        Those in raw data folders.
    files : frozenset of bytes
        These, relative to the session's folder. With neither of the two: all.
    overwrite : bool
        Send them in any case.
    """

    raw: bool = False
    files: frozenset[bytes] = frozenset()
    overwrite: bool = False

    def is_about(self, path: bytes) -> bool:
        """Say whether a file is asked for."""
        if self.files:
            return path in self.files
        return is_raw(path) if self.raw else True

    def wants_again(self, file: FileRow, since: float) -> bool:
        """Say whether a file is sent although Alyx has it: once since the wish, which is an epoch time."""
        return self.overwrite and self.is_about(file.path) and (file.registered_at or 0.0) <= since

    def to_json(self) -> str:
        """Return what `from_json` reads."""
        files = sorted(os.fsdecode(path) for path in self.files)
        return json.dumps({"raw": self.raw, "files": files, "overwrite": self.overwrite})

    @classmethod
    def from_json(cls, options: str) -> Self:
        """Read the options of a job; empty ones ask for nothing special."""
        said = json.loads(options or "{}")
        files = frozenset(os.fsencode(path) for path in said.get("files", ()))
        return cls(bool(said.get("raw")), files, bool(said.get("overwrite")))
