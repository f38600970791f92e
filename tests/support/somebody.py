"""Somebody else at work in a lab's Alyx, over REST as the lab's own user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from labferry.alyx.client import AlyxClient
from labferry.model import SystemClock
from support.lab import Lab


def as_somebody(lab: Lab, method: str, path: str, body: Mapping[str, object] | None = None) -> object:
    """Send one request; return what Alyx answered."""
    with somebody(lab) as client:
        if method == "DELETE":
            return client.delete(path)
        return client.post(path, body or {}) if method == "POST" else client.patch(path, body or {})


@contextmanager
def somebody(lab: Lab) -> Iterator[AlyxClient]:
    """Lend a client for many requests."""
    password = Path(lab.up["password_file"]).read_text().strip()
    client = AlyxClient(
        lab.up["alyx_url"],
        username=lab.up["alyx_user"],
        password=lambda: password,
        timeout=20.0,
        clock=SystemClock(),
        user_agent="somebody",
    )
    with closing(client):
        yield client
