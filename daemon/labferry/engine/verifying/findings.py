"""What a verification finds: the value that every part of it returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One file that is not as the journal says.

    Attributes
    ----------
    path : bytes
        Relative to the session's folder.
    fault : str
        In an archive `missing`, `size`, `content`, `unreadable`, `not_a_file` or `changed`; in Alyx `missing`,
        `hash`, `size` or `doubled`.
    detail : str
        One sentence: where, and what is different.
    """

    path: bytes
    fault: str
    detail: str
