"""What each kind of archive holds of a session's copies, and what else stands beside them.

Only what was verified before is looked for: what is still on its way is nobody's fault.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

from labferry.alyx.dataset_rows import RemoteDataset
from labferry.archive.base import StoppedError, ignore
from labferry.archive.directory import DirectoryArchive
from labferry.archive.globus.overwriting import beneath_missing
from labferry.archive.globus.paths import join, split
from labferry.archive.globus.service import GlobusService
from labferry.archive.globus.values import Listing, TransferItem
from labferry.archive.globus.verification import missing_or_different
from labferry.archive.others import expected_names
from labferry.archive.plan import Fault, Plan
from labferry.config import DirectoryArchive as DirectorySettings
from labferry.config import GlobusArchive, ObserveArchive
from labferry.engine.archive import as_item
from labferry.engine.context import GLOBUS, Context
from labferry.engine.planning import repository_of
from labferry.engine.reports.places import session_folder
from labferry.engine.verifying.contents import Contents
from labferry.engine.verifying.copies import Copies
from labferry.engine.verifying.findings import Finding
from labferry.engine.verifying.strangers import strangers
from labferry.journal.rows import SessionRow
from labferry.journal.transfer_rows import ItemRow
from labferry.model import show_path

_BATCH = "verify"  # the plan of a look has no batch of its own
_READ = "every copy was read, and its MD5 compared with the sealed one"
_SIZES = "names and sizes; --deep reads every copy"
_LISTED = (
    "names and sizes as the collection lists them; the content was compared by Globus when it was transferred. --deep "
    "copies every copy inside the collection, so that Globus computes its MD5 again"
)
_HASHED = (
    "every copy was copied once more inside the collection, into a folder that is deleted again: the MD5 that Globus "
    "computed on the way was compared with the sealed one"
)
_RECORDS = "the file records, sizes and hashes that Alyx holds; nothing is downloaded"


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at an archive found.

    Attributes
    ----------
    compared : str
        `content`, `size` or `records`.
    how : str
        The same in words.
    findings : tuple of Finding
    others : tuple of str
        What else is in the folders of the copies, as full paths; those of folders end with `/`.
    """

    compared: str
    how: str
    findings: tuple[Finding, ...]
    others: tuple[str, ...] = ()


def look_at(
    context: Context,
    session: SessionRow,
    target: str,
    copies: Copies,
    datasets: Mapping[str, RemoteDataset],
    *,
    deep: bool,
    stop: Callable[[], bool],
) -> Look:
    """Look for the verified copies of a session at a target.

    Parameters
    ----------
    datasets : mapping
        What Alyx has of the session, by dataset id.
    deep : bool
        Read every copy where that is possible.
    stop : callable
        Asked again and again; True ends the look.

    Raises
    ------
    UnavailableError
        The target cannot be looked at now.
    BlockedError
        Which data repository stands for it is not clear.
    StoppedError
        `stop` said so.
    """
    match context.config.archive[target]:
        case ObserveArchive():
            findings = () if not copies.verified else _not_published(context, session, target, copies, datasets)
            return Look("records", _RECORDS, tuple(findings))
        case GlobusArchive() as settings:
            return _in_collection(context, session, target, settings, copies, stop, deep=deep)
        case DirectorySettings() as settings:
            archive = DirectoryArchive(target, os.fsencode(settings.path))
            return _in_directory(context, session, archive, copies, deep=deep, stop=stop)


# --- a directory ------------------------------------------------------------------------------------------


def _in_directory(
    context: Context,
    session: SessionRow,
    archive: DirectoryArchive,
    copies: Copies,
    *,
    deep: bool,
    stop: Callable[[], bool],
) -> Look:
    findings: list[Finding] = []
    others: list[str] = []
    for base, rows in copies.verified.items():
        source = {row.destination: row.path for row in rows}
        plan = Plan(_BATCH, session_folder(context, session), base, tuple(map(as_item, rows)))
        for difference in archive.verify(plan, ignore, stop, deep=deep):
            findings.append(Finding(source[difference.destination], difference.fault.value, difference.detail))
        found = archive.others(base, _expected(context, session, copies, base))
        others += (show_path(os.path.join(base, path)) for path in found)
    return Look("content" if deep else "size", _READ if deep else _SIZES, tuple(findings), tuple(others))


def _expected(context: Context, session: SessionRow, copies: Copies, base: bytes) -> dict[bytes, set[bytes]]:
    top = os.fsencode(context.parsed(session).alyx_path)
    return expected_names(top, copies.planned[base])


# --- a Globus collection ----------------------------------------------------------------------------------


def _in_collection(
    context: Context,
    session: SessionRow,
    target: str,
    settings: GlobusArchive,
    copies: Copies,
    stop: Callable[[], bool],
    *,
    deep: bool,
) -> Look:
    findings: list[Finding] = []
    others: list[str] = []
    if not (copies.verified or deep):
        return Look("size", _LISTED, ())
    assert context.globus is not None, "a Globus archive is used"
    with closing(context.globus.open()) as service:

        def contents_of(top: str) -> Contents:
            folder = join(top, os.fsencode(context.parsed(session).alyx_path))
            return Contents(context, service, target, settings.endpoint, folder, stop)

        if deep:
            findings += strangers(context, session, target, service, contents_of)
        for base, rows in copies.verified.items():
            top = os.fsdecode(base)
            expected = {
                join(top, folder): {os.fsdecode(name) for name in names}
                for folder, names in _expected(context, session, copies, base).items()
            }
            listings = _listings(service, settings.endpoint, target, expected, stop)
            items = {join(top, row.destination): row for row in rows}
            absent = list(_not_listed(target, items, listings))
            findings += absent
            others += _not_expected(expected, listings)
            if deep:
                wrong = {finding.path for finding in absent}
                whole = {where: row for where, row in items.items() if row.path not in wrong}
                findings += _other_content(target, whole, contents_of(top))
    context.reachable(GLOBUS)
    return Look("content" if deep else "size", _HASHED if deep else _LISTED, tuple(findings), tuple(others))


def _other_content(target: str, items: Mapping[str, ItemRow], contents: Contents) -> Iterator[Finding]:
    found = contents.md5_of({where: row.size for where, row in items.items()}) if items else {}
    for where, row in items.items():
        if found.get(where) == row.md5:
            continue
        if found.get(where):
            detail = f"its MD5 is {found[where]}, {row.md5} was verified"
            yield Finding(row.path, Fault.CONTENT.value, f"archive {target}: {where}: {detail}")
        else:
            detail = "the collection computes no MD5 of it"
            yield Finding(row.path, Fault.UNREADABLE.value, f"archive {target}: {where}: {detail}")


def _listings(
    service: GlobusService, endpoint: str, target: str, folders: Mapping[str, object], stop: Callable[[], bool]
) -> dict[str, Listing | None]:
    """List folders, a parent before what is beneath it; what is beneath a missing one is not asked for."""
    listings: dict[str, Listing | None] = {}
    missing: list[str] = []
    for folder in sorted(folders):
        if stop():
            raise StoppedError
        known_missing = beneath_missing(folder, missing)
        listings[folder] = None if known_missing else service.listing(endpoint, folder, blame=f"archive:{target}")
        if listings[folder] is None:
            missing.append(folder)
    return listings


def _not_listed(target: str, items: Mapping[str, ItemRow], listings: Mapping[str, Listing | None]) -> Iterator[Finding]:
    wanted = [TransferItem("", where, row.size, row.md5) for where, row in items.items()]
    for where, what in missing_or_different(listings, wanted):
        folder, name = split(where)
        entry = (listings[folder] or {}).get(name)
        fault = Fault.MISSING if entry is None else Fault.SIZE if entry.is_file else Fault.NOT_A_FILE
        yield Finding(items[where].path, fault.value, f"archive {target}: {where}: {what}")


def _not_expected(expected: Mapping[str, set[str]], listings: Mapping[str, Listing | None]) -> Iterator[str]:
    for folder, listing in listings.items():
        for name, entry in sorted((listing or {}).items()):
            if name not in expected[folder]:
                yield join(folder, name) + ("" if entry.is_file else "/")


# --- moved by Alyx ----------------------------------------------------------------------------------------


def _not_published(
    context: Context, session: SessionRow, target: str, copies: Copies, datasets: Mapping[str, RemoteDataset]
) -> Iterator[Finding]:
    """Compare with what Alyx says now: it was its word that the copies were verified by."""
    repository = repository_of(context, session, target)
    for row in (row for rows in copies.verified.values() for row in rows):
        name = show_path(row.path)
        there = datasets.get(row.dataset_id or "")
        if there is None or not any(r.exists and r.repository == repository for r in there.file_records):
            yield Finding(row.path, Fault.MISSING.value, f"{name} is not in {repository} any more, as Alyx says")
        elif there.size != row.size:
            detail = f"{name} has {there.size} bytes in {repository}, as Alyx says; {row.size} were verified"
            yield Finding(row.path, Fault.SIZE.value, detail)
