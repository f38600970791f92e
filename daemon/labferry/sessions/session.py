"""The session as a value: what the path of its folder says about it.

Room: sessions. Pure values; no file is opened here.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple


class Session(NamedTuple):
    """One recording session's folder, as its path names it.

    A named tuple because it is made once per folder and scan: a frozen dataclass takes twice as long.

    Attributes
    ----------
    layout : str
        Name of the layout that read the path.
    path : bytes
        Relative to the root, as it is on disk: `1` stays `1`.
    subject : str
        The subject's nickname.
    date : datetime.date
        The day of the recording.
    number : int
        Which session of that day.
    lab : str or None
        Only when the path below the root names it; whose session it is, Alyx says.
    """

    layout: str
    path: bytes
    subject: str
    date: date
    number: int
    lab: str | None = None

    @property
    def alyx_path(self) -> str:
        """The path Alyx and the archive know it by; an unpadded number there makes second file records."""
        return f"{self.subject}/{self.date.isoformat()}/{self.number:03d}"
