"""Whose a subject is: its lab as Alyx says now, and the data repository that follows from it below every root."""

from __future__ import annotations

import os
from typing import Any

from labferry.alyx.resolve import local_repository
from labferry.alyx.vocabulary import VocabularySnapshot
from labferry.config import Root
from labferry.engine.context import Context
from labferry.errors import BlockedError


def whois(context: Context, nickname: str) -> dict[str, Any]:
    """Resolve a subject as a register job would do it now; nothing is stored.

    Parameters
    ----------
    nickname : str
        As the subject's folder is called; case matters.

    Returns
    -------
    dict
        `subject`, `lab`, `responsible_user`, `projects`, `problem` (None if Alyx has exactly one such subject), and
        for each root that is registered `root`, `lab`, `configured` (the lab is the root's own), `repository`,
        `problem`.

    Raises
    ------
    UnavailableError
        Alyx cannot be asked now.
    """
    found: dict[str, Any] = {"subject": nickname, "lab": None, "responsible_user": None, "projects": []}
    try:
        subject = context.people.subject(nickname, max_age=0)
    except BlockedError as error:
        return {**found, "problem": _problem(error), "roots": []}
    words = context.words()
    return {
        **found,
        "lab": subject.lab,
        "responsible_user": subject.responsible_user or None,
        "projects": list(subject.projects),
        "problem": None,
        "roots": [_below(context, root, subject.lab, words) for root in context.config.roots if root.registers],
    }


def _below(context: Context, root: Root, lab: str, words: VocabularySnapshot) -> dict[str, Any]:
    """Say what a session of the subject below a root would be registered with."""
    found: dict[str, Any] = {"root": root.name, "lab": root.lab or lab, "configured": bool(root.lab)}
    try:
        repository = local_repository(
            words,
            root.lab or lab,
            endpoint=context.config.globus.endpoint,
            root_path=os.fsencode(root.path),
            configured=root.repository,
        )
    except BlockedError as error:
        return {**found, "repository": None, "problem": _problem(error)}
    return {**found, "repository": repository, "problem": None}


def _problem(error: BlockedError) -> dict[str, str]:
    return {"code": error.code, "message": error.message, "hint": error.hint}
