"""Who recorded a session, of the users that Alyx knows (REG-10).

Room: sessions. Pure.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import NamedTuple

from labferry.sessions.record.remark import Remark


class Users(NamedTuple):
    """Users of a session; empty leaves it to Alyx, which takes whoever sends the request."""

    names: tuple[str, ...]
    remarks: tuple[Remark, ...] = ()


def session_users(recorders: Iterable[str], known: Container[str], responsible: str | None) -> Users:
    """Return the users of a session.

    Parameters
    ----------
    recorders : iterable of str
        Who ran its tasks, as the rig says.
    known : container of str
        The users that Alyx has.
    responsible : str or None
        The subject's responsible user, who stands in when none of the others is known.
    """
    wanted = tuple(recorders)
    found = tuple(name for name in wanted if name in known)
    unknown = [name for name in wanted if name not in known]
    if found and not unknown:
        return Users(found)
    names = found or ((responsible,) if responsible else ())
    who = f"Alyx does not know {', '.join(unknown)}" if unknown else "the task settings name no user"
    instead = (
        f"the session's users are {', '.join(names)}" if names else "the session is put down to labferry's own user"
    )
    return Users(names, (Remark("unknown_recorder", f"{who}; {instead}"),))


def user_of(recorder: str | None, users: Iterable[str], own: str) -> str:
    """Return the user of a weighing or water administration: who ran the task if Alyx knows them, else our own."""
    return recorder if recorder is not None and recorder in users else own
