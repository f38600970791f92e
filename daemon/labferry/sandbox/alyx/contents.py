"""Content types: how notes and datasets name the kind of record they belong to.

Room: sandbox.
"""

from __future__ import annotations

from dataclasses import dataclass

from labferry.sandbox.alyx.answers import FailedError
from labferry.sandbox.alyx.store import Database


@dataclass(frozen=True)
class ContentType:
    """A kind of record: its application and model on the real server, its table here."""

    application: str
    model: str
    label: str
    table: str

    @property
    def name(self) -> str:
        """How the server shows it."""
        return f"{self.application}.{self.model}"

    def exists(self, db: Database, key: str) -> bool:
        """Whether there is such a record."""
        return db.one(" ".join(["SELECT 1 FROM", self.table, "WHERE id = ?"]), key) is not None


_KNOWN = (
    ContentType("actions", "session", "Session", "session"),
    ContentType("actions", "weighing", "Weighing", "weighing"),
    ContentType("data", "dataset", "Dataset", "dataset"),
    ContentType("data", "tag", "Tag", "tag"),
    ContentType("experiments", "probeinsertion", "ProbeInsertion", "insertion"),
    ContentType("subjects", "subject", "Subject", "subject"),
    ContentType("subjects", "project", "Project", "project"),
)


def content_type(name: str) -> ContentType:
    """Return the content type called `model` or `application.model`.

    Raises
    ------
    FailedError
        There is none.
    """
    for known in _KNOWN:
        if name in (known.model, known.name):
            return known
    raise FailedError("ContentType matching query does not exist.")
