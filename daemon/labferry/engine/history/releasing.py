"""An operator's hand on history: what Alyx does not know, or knows otherwise, is released in portions or left alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from labferry.engine.context import Context
from labferry.errors import LabferryError
from labferry.journal.backlog import ALL
from labferry.journal.rows import SessionRow
from labferry.model import show_path

PORTION = 100  # sessions that are released at a time, unless another number is given


def chosen(context: Context, root: str = "", subject: str = "", limit: int = ALL) -> list[SessionRow]:
    """Return sessions of the backlog, the newest recordings first.

    Parameters
    ----------
    root, subject : str
        Only those; empty for all.
    limit : int
        At most so many.

    Raises
    ------
    LabferryError
        `bad_request`: there is no such root.
    """
    known = [one.name for one in context.config.roots]
    if root and root not in known:
        raise LabferryError("bad_request", f"There is no root {root!r}.", f"Roots are {', '.join(known)}.")
    return context.journal.backlog.select(root, subject, limit)


def require_history(row: SessionRow) -> SessionRow:
    """Make sure that a session is history.

    Raises
    ------
    LabferryError
        `not_history`.
    """
    if row.history is None:
        name = show_path(row.path)
        hint = f"`labferry explain {name}` says where it is."
        raise LabferryError("not_history", f"{name} is an ordinary session ({row.state}), not history.", hint)
    return row


def release(context: Context, rows: Sequence[SessionRow]) -> dict[str, Any]:
    """Make ordinary sessions of history: complete as soon as nothing changes, then registered and archived.

    Returns
    -------
    dict
        `sessions`: how many; `left`: how many remain in the backlog.
    """
    return _each(context, rows, context.journal.backlog.release)


def ignore(context: Context, rows: Sequence[SessionRow], who: str) -> dict[str, Any]:
    """Leave sessions alone until they are released; returns as `release` does."""
    return _each(context, rows, lambda id_: context.journal.backlog.ignore(id_, "history_ignored", f"{who} said so"))


def ask_again(context: Context, row: SessionRow) -> bool:
    """Let Alyx be asked again about a session of old; False where nobody can be asked about it."""
    registers = any(root.name == row.root and root.registers for root in context.config.roots)
    return registers and context.journal.backlog.ask_again(row.id)


def _each(context: Context, rows: Sequence[SessionRow], change: Callable[[int], bool]) -> dict[str, Any]:
    with context.journal.together():
        changed = sum(change(row.id) for row in rows)
    context.wakeup.ring()
    left = sum(one["sessions"] for one in context.journal.backlog.counts() if one["history"] == "backlog")
    return {"sessions": changed, "left": left}
