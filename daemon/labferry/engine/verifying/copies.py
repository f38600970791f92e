"""What the journal says of a session's copies at one target: verified, still to come, or of another version."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from labferry.config import ArchiveTarget
from labferry.engine.seal import is_carried
from labferry.engine.verifying.findings import Finding
from labferry.journal import Journal
from labferry.journal.rows import FileRow, SessionRow
from labferry.journal.transfer_rows import ItemRow
from labferry.model import show_path


@dataclass(frozen=True, slots=True)
class Copies:
    """A session's copies at a target.

    Attributes
    ----------
    files : int
        How many files of the manifest the target takes.
    pending : int
        Those of them that no copy was verified of.
    verified : mapping
        The copies that were verified, by the folder their destinations are relative to; those of files that were
        removed from the session since are among them.
    planned : mapping
        All destinations that were ever planned, by the same folders: whatever stands there is ours.
    changed : tuple of Finding
        Files whose verified copy is of another version than the manifest's.
    """

    files: int
    pending: int
    verified: Mapping[bytes, Sequence[ItemRow]]
    planned: Mapping[bytes, set[bytes]]
    changed: tuple[Finding, ...]


def copies_of(
    journal: Journal, session: SessionRow, target: str, settings: ArchiveTarget, manifest: Iterable[FileRow]
) -> Copies:
    """Return what the journal says of the copies at `target`; the newest verified copy of a file counts."""
    newest: dict[int, tuple[bytes, ItemRow]] = {}
    planned: dict[bytes, set[bytes]] = defaultdict(set)
    for transfer in journal.transfers.of_session(session.id):
        if transfer.target != target:
            continue
        for item in journal.transfers.items(transfer.id):
            planned[transfer.base].update(name for name in (item.destination, item.staged, item.kept) if name)
            if item.verified_at is not None and not item.is_staged:
                newest[item.file_id] = (transfer.base, item)
    verified: dict[bytes, list[ItemRow]] = defaultdict(list)
    for base, item in newest.values():
        verified[base].append(item)
    carried = [row for row in manifest if is_carried(row, settings)]
    return Copies(
        files=len(carried),
        pending=sum(row.id not in newest for row in carried),
        verified=verified,
        planned=planned,
        changed=tuple(
            _changed(row, newest[row.id][1]) for row in carried if row.id in newest and row.md5 != newest[row.id][1].md5
        ),
    )


def _changed(row: FileRow, copy: ItemRow) -> Finding:
    now = f"has MD5 {row.md5}" if row.md5 else "has not been read"
    return Finding(
        row.path,
        "changed",
        f"{show_path(row.path)}: the file that is here now {now}; verified in the archive was {copy.md5}",
    )
