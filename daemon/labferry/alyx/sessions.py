"""The registry room's sessions: finding one in Alyx, and creating one.

Alyx creates a second session when the same POST comes twice, so creating is one bare request here: whoever
calls it has looked before, looks again afterwards, and lets nobody else create the same session meanwhile.
From here only Alyx is touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from labferry.alyx.answers import RefusedError
from labferry.alyx.client import AlyxClient
from labferry.alyx.fields import Json, as_created, as_object, identity, number, text, texts
from labferry.errors import BlockedError, UnexplainedError

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
    fields : Json
        All of it, as Alyx gave it.
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
    fields: Json


def session_ids(client: AlyxClient, subject: str, day: str | date, session_number: int) -> list[str]:
    """Return the ids of all sessions of a subject, day and number: one request, at most one id if all is well.

    Their lab is not asked for: `/register-file` finds sessions by subject, day and number alone, so a session that
    somebody created under another lab is the session all the same, and another one would be a duplicate.

    Parameters
    ----------
    subject : str
        Nickname; case matters, though Alyx does not mind it.
    day : str or datetime.date
        ISO date of the folder.
    session_number : int
        Of that day.
    """
    query: dict[str, str | int] = {"subject": subject, "date_range": f"{day},{day}", "number": session_number}
    rows = client.list_all("/sessions", query)
    return sorted(identity(row) for row in rows if text(row, "subject") == subject)


def duplicate_session(subject: str, day: str | date, session_number: int, ids: Sequence[str]) -> BlockedError:
    """Return the error that names sessions which should be one."""
    name = f"{subject}/{day}/{session_number:03d}"
    return BlockedError("duplicate_session", f"Alyx holds session {name} {len(ids)} times: {', '.join(ids)}")


def get_session(client: AlyxClient, eid: str) -> RemoteSession:
    """Return a session by its id."""
    path = f"/sessions/{eid}"
    return _remote(as_object(client.get(path), f"GET {path}"))


def look_for_id(client: AlyxClient, eid: str) -> RemoteSession | None:
    """Return a session by its id, None when Alyx has none of it."""
    try:
        return get_session(client, eid)
    except RefusedError as error:
        if error.status != 404:
            raise
        return None


def create_session(client: AlyxClient, record: Json) -> RemoteSession:
    """Create a session: exactly one POST; a second one is a second session.

    Raises
    ------
    RefusedError
        Alyx says no.
    UnknownOutcomeError
        The answer was lost: look before creating again.
    """
    return _remote(as_created(client.post("/sessions", record), "POST /sessions"))


def update_session(client: AlyxClient, eid: str, fields: Json) -> RemoteSession:
    """Write fields of a session: one PATCH, harmless when repeated; `json` is replaced as a whole."""
    path = f"/sessions/{eid}"
    return _remote(as_object(client.patch(path, fields), f"PATCH {path}"))


def delete_session(client: AlyxClient, eid: str) -> None:
    """Delete a session: one DELETE; one that is not there any more is deleted.

    Alyx deletes its datasets with it, so the caller must know that it has none.
    """
    try:
        client.delete(f"/sessions/{eid}")
    except RefusedError as error:
        if error.status != 404:
            raise


def used_for(client: AlyxClient, session: RemoteSession) -> list[str]:
    """Return what hangs on a session in Alyx and would be lost with it, in words; two requests."""
    kept = {
        "water administrations": "wateradmin_session_related",
        "insertions": "probe_insertion",
        "fields of view": "field_of_view",
        "notes": "notes",
    }
    found = [what for what, field in kept.items() if session.fields.get(field)]
    hanging = {"datasets": ("/datasets", {"session": session.id}), "tasks": ("/tasks", {"session": session.id})}
    return found + [what for what, (path, query) in hanging.items() if _holds_any(client, path, query)]


def _holds_any(client: AlyxClient, path: str, query: Mapping[str, str | int]) -> bool:
    try:
        return bool(client.list_all(path, query))
    except (RefusedError, UnexplainedError) as error:
        if isinstance(error, RefusedError) and error.status != 500:
            raise
        return True  # there is something that Alyx cannot show: a task without a status


def ownership(server_name: str) -> dict[str, object]:
    """Return our part of the `json` of a session that we create: two servers notice each other by it (ruling 8)."""
    return {OUR_KEY: {"server_name": server_name}}


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
        fields=row,
    )
