"""Archives: can they be written to, and which data repository stands for them in Alyx."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from labferry.archive.directory import DirectoryArchive
from labferry.archive.naming import LAB
from labferry.config import ArchiveTarget, GlobusArchive, ObserveArchive
from labferry.config import DirectoryArchive as DirectorySettings
from labferry.config.checks import Check, Result
from labferry.engine.context import Context
from labferry.engine.doctor.checking import checked, failed, skipped
from labferry.engine.doctor.sample import Sample
from labferry.engine.planning import AUTO, base_of, repository_of
from labferry.errors import LabferryError
from labferry.journal.rows import SessionRow
from labferry.model import show_path

FLATIRON = "flatiron"  # in the names of the repositories that Alyx' own nightly transfer fills

MakeIn = Callable[[str, str, bytes], None]
"""Makes and removes a directory for an archive in a Globus collection, below a path; raises where it cannot."""


def checks(context: Context, samples: Sequence[Sample], make_in: MakeIn | None) -> Iterator[Check]:
    """Check every archive that some root uses, with the newest sessions of these roots as examples.

    Parameters
    ----------
    make_in : callable or None
        None where Globus cannot be asked.
    """
    for name in sorted({name for sample in samples for name in sample.root.archive}):
        mine = [one for one in samples if name in one.root.archive and one.usable]
        settings = context.config.archive[name]
        yield _place(context, name, settings, [one.session for one in mine if one.session], make_in)
        registered = [one.session for one in mine if one.session and one.root.registers]
        yield _repository(context, name, settings, registered)


# --- where the bytes go -----------------------------------------------------------------------------------


def _place(
    context: Context, name: str, settings: ArchiveTarget, sessions: Sequence[SessionRow], make_in: MakeIn | None
) -> Check:
    check = f"archive:{name}"
    match settings:
        case ObserveArchive():
            return skipped(check, "Alyx moves the data itself: nothing is written from here")
        case DirectorySettings():
            return checked(check, lambda: _directory(context, name, settings, sessions))
        case GlobusArchive() if make_in is None:
            return skipped(check, "Globus cannot be asked")
        case GlobusArchive() if not sessions and _depends_on_lab(settings):
            return skipped(check, "where it goes depends on the lab, and no session is there to try it on")
        case GlobusArchive():
            return checked(check, lambda: _collection(context, name, settings, sessions, make_in))


def _depends_on_lab(settings: GlobusArchive) -> bool:
    return settings.path == AUTO or LAB in os.fsencode(settings.path)


def _directory(context: Context, name: str, settings: DirectorySettings, sessions: Sequence[SessionRow]) -> str:
    held = partial(context.journal.transfers.held, name)
    archive = DirectoryArchive(name, os.fsencode(settings.path), held=held)
    bases = _bases(context, name, sessions) or [os.fsencode(settings.path)]
    for base in bases:
        archive.preflight(base)
    return f"{_named(bases)} can be written to"


def _collection(
    context: Context, name: str, settings: GlobusArchive, sessions: Sequence[SessionRow], make_in: MakeIn
) -> str:
    bases = _bases(context, name, sessions) or [os.fsencode(settings.path)]
    for base in bases:
        make_in(name, settings.endpoint, base)
    return f"{_named(bases)} can be written to in collection {settings.endpoint}"


def _bases(context: Context, name: str, sessions: Sequence[SessionRow]) -> list[bytes]:
    """Return where the examples go, each place once."""
    return list(dict.fromkeys(base_of(context, session, name) for session in sessions))


def _named(bases: Sequence[bytes]) -> str:
    return ", ".join(map(show_path, bases))


# --- what stands for it in Alyx ---------------------------------------------------------------------------


def _repository(context: Context, name: str, settings: ArchiveTarget, sessions: Sequence[SessionRow]) -> Check:
    check = f"archive_repository:{name}"
    if not settings.repository:
        return skipped(check, 'repository = "": Alyx is not told of these copies')
    try:
        found = {repository_of(context, session, name) for session in sessions}
    except LabferryError as trouble:
        return failed(check, trouble)
    found |= {settings.repository} - {AUTO}
    if not found:
        return skipped(check, "it depends on the lab, and no session is there to try it on")
    text = f"data repository {', '.join(sorted(found))} stands for it in Alyx"
    if isinstance(settings, ObserveArchive) or not any(FLATIRON in one.lower() for one in found):
        return Check(check, Result.OK, text)
    return Check(
        check,
        Result.WARNING,
        f'{text}, and kind = "{settings.kind}" transfers into it from here; repositories named {FLATIRON} are usually '
        "filled by Alyx' own nightly transfer",
        'For an IBL lab use kind = "observe", which waits for that transfer and verifies it.',
    )
