"""The registry room's sessions: finding one in Alyx, and creating one.

Alyx creates a second session when the same POST comes twice, so creating is one bare request here: whoever
calls it has looked before, looks again afterwards, and lets nobody else create the same session meanwhile.
From here only Alyx is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time

from labferry.alyx.client import AlyxClient
from labferry.alyx.fields import Json, as_object, identity, number, text, texts
from labferry.errors import BlockedError
from labferry.sessions.session import Session

OUR_KEY = "labferry"  # our part of a session's `json`


@dataclass(frozen=True, slots=True)
class RemoteSession:
    """A session as Alyx has it.

    Attributes
    ----------
    id : str
        UUID, the `eid`.
    url : str
        As Alyx gives it.
    subject, lab : str
        Nickname and name. The lab need not be the subject's.
    number : int or None
        Of that day.
    start_time : str
        Naive local time, ISO 8601.
    users, projects : tuple of str
        Names.
    json : object
        Whatever is in the field; usually an object or None.
    """

    id: str
    url: str
    subject: str
    lab: str
    number: int | None
    start_time: str
    users: tuple[str, ...]
    projects: tuple[str, ...]
    json: object


def find_session(client: AlyxClient, subject: str, day: str | date, session_number: int) -> RemoteSession | None:
    """Look for a session; two requests when there is one.

    Its lab is not asked for: `/register-file` finds sessions by subject, day and number alone, so a session that
    somebody created under another lab is the session all the same, and another one would be a duplicate.

    Parameters
    ----------
    subject : str
        Nickname; case matters, though Alyx does not mind it.
    day : str or datetime.date
        ISO date of the folder.
    session_number : int
        Of that day.

    Raises
    ------
    BlockedError
        `duplicate_session`: there is more than one.
    """
    query: dict[str, str | int] = {"subject": subject, "date_range": f"{day},{day}", "number": session_number}
    rows = [row for row in client.list_all("/sessions", query) if text(row, "subject") == subject]
    if not rows:
        return None
    if len(rows) > 1:
        ids = ", ".join(sorted(identity(row) for row in rows))
        message = f"Alyx holds session {subject}/{day}/{session_number:03d} {len(rows)} times: {ids}"
        raise BlockedError("duplicate_session", message)
    path = f"/sessions/{identity(rows[0])}"
    return _remote(as_object(client.get(path), f"GET {path}"))  # the list leaves out users and json


def create_session(client: AlyxClient, record: Json) -> RemoteSession:
    """Create a session: exactly one POST; a second one is a second session.

    Raises
    ------
    RefusedError
        Alyx says no.
    UnknownOutcomeError
        The answer was lost: look before creating again.
    """
    return _remote(as_object(client.post("/sessions", record), "POST /sessions"))


def session_record(
    session: Session,
    *,
    lab: str,
    user: str,
    server_name: str,
    start: time = time(),
    projects: Sequence[str] = (),
    procedures: Sequence[str] = (),
) -> dict[str, object]:
    """Build the body that creates a session.

    Parameters
    ----------
    session : Session
        From the folder's path.
    lab : str
        The subject's lab.
    user : str
        Our Alyx user; empty leaves it to the token.
    server_name : str
        Written into the session's `json`, so that two servers notice each other (ruling 8).
    start : datetime.time
        Wall time of the start; the day is always the folder's, as Alyx finds sessions by it.
    projects, procedures : sequence of str
        Names that Alyx must know.
    """
    moment = datetime.combine(session.date, start.replace(tzinfo=None, microsecond=0))
    record: dict[str, object] = {
        "subject": session.subject,
        "lab": lab,
        "type": "Experiment",
        "number": session.number,
        "start_time": moment.isoformat(),
        "projects": list(projects),
        "procedures": list(procedures),
        "json": {OUR_KEY: {"server_name": server_name}},
    }
    if user:
        record["users"] = [user]
    return record


def owner(json: object) -> str | None:
    """Return the name of the labferry server that created a session, from its `json`; None when it was none."""
    ours = json.get(OUR_KEY) if isinstance(json, dict) else None
    name = ours.get("server_name") if isinstance(ours, dict) else None
    return name if isinstance(name, str) and name else None


def _remote(row: Json) -> RemoteSession:
    return RemoteSession(
        id=identity(row),
        url=text(row, "url"),
        subject=text(row, "subject"),
        lab=text(row, "lab"),
        number=number(row, "number"),
        start_time=text(row, "start_time"),
        users=texts(row, "users"),
        projects=texts(row, "projects"),
        json=row.get("json"),
    )
