"""What an operator asked for with `labferry archive`: carried by the jobs, as JSON, beside what a registration asks."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Asked:
    """An operator's word about what stands in the way of copies.

    Attributes
    ----------
    replace : bool
        What stands at a destination gives its name away and is kept beside it.
    trust_size : bool
        A file of the same name and size in a collection is taken for the session's own.
    by : str
        The user who said so; empty where nobody did.
    """

    replace: bool = False
    trust_size: bool = False
    by: str = ""

    @classmethod
    def from_json(cls, options: str) -> Self:
        """Read the options of a job; empty ones ask for nothing special."""
        said = json.loads(options or "{}")
        return cls(bool(said.get("replace")), bool(said.get("trust_size")), str(said.get("by") or ""))

    def added_to(self, options: str) -> str:
        """Return the options of a job with this word in them; what was asked for before stays asked for."""
        said = json.loads(options or "{}")
        said.update({name: value for name, value in asdict(self).items() if value})
        return json.dumps(said) if said else ""
