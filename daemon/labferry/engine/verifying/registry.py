"""What Alyx says of a session, held against the manifest: one look at its datasets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from labferry.alyx.answers import RefusedError
from labferry.alyx.dataset_rows import RemoteDataset, SessionDatasets, registered_datasets
from labferry.datasets import collection_revision_name
from labferry.engine.context import ALYX, Context
from labferry.engine.verifying.findings import Finding
from labferry.journal.rows import FileRow, SessionRow
from labferry.model import FileFate, show_path


@dataclass(frozen=True, slots=True)
class Registry:
    """What Alyx has of a session.

    Attributes
    ----------
    eid : str or None
        Of the session; None before it is known in Alyx.
    gone : bool
        Alyx does not know that session any more.
    expected, registered, online : int
        Datasets of the manifest; those that Alyx has with the same hash and size; those of them that users can load:
        their file exists in a repository that is nobody's own machine.
    findings : tuple of Finding
    others : tuple of str
        Datasets of the session that the manifest does not have: somebody else registered them.
    exist : mapping
        Data repository to the number of expected datasets whose file exists there.
    datasets : mapping
        Everything that Alyx has, by dataset id.
    """

    eid: str | None
    gone: bool = False
    expected: int = 0
    registered: int = 0
    online: int = 0
    findings: tuple[Finding, ...] = ()
    others: tuple[str, ...] = ()
    exist: Mapping[str, int] = field(default_factory=dict)
    datasets: Mapping[str, RemoteDataset] = field(default_factory=dict)


def look_up(context: Context, session: SessionRow, manifest: Sequence[FileRow]) -> Registry:
    """Ask Alyx for the datasets of a session and compare; nothing is asked before the session is known there.

    Raises
    ------
    UnavailableError
        Alyx cannot be asked now.
    """
    wanted = [row for row in manifest if row.fate is FileFate.DATASET]
    if session.eid is None:
        return Registry(None, expected=len(wanted))
    try:
        remote = registered_datasets(context.alyx, session.eid)
    except RefusedError as refused:
        if refused.code != "session_gone":
            raise
        return Registry(session.eid, gone=True, expected=len(wanted))
    context.reachable(ALYX)
    pairs = [(row, remote.get(collection_revision_name(row.path))) for row in wanted]
    wrong = {row.path: finding for row, there in pairs for finding in _compare(row, there, remote)}
    public = {name for name, one in context.words().repositories.items() if not one.globus_is_personal}
    right = [there for row, there in pairs if there is not None and row.path not in wrong]
    ours = (row for row in manifest if row.dataset_id is not None or row.fate is FileFate.DATASET)
    known = {collection_revision_name(row.path) for row in ours}
    return Registry(
        session.eid,
        expected=len(wanted),
        registered=len(right),
        online=sum(any(record.exists and record.repository in public for record in one.file_records) for one in right),
        findings=tuple(wrong.values()),
        others=tuple("/".join(filter(None, key)) for key in sorted(remote) if key not in known),
        exist=Counter(name for _, there in pairs if there is not None for name in _repositories(there)),
        datasets={one.id: one for one in remote.values()},
    )


def _repositories(there: RemoteDataset) -> set[str]:
    return {record.repository for record in there.file_records if record.exists}


def _compare(row: FileRow, there: RemoteDataset | None, remote: SessionDatasets) -> Iterator[Finding]:
    name = show_path(row.path)
    sealed = row.registered_hash if row.taken_over else row.md5
    if there is None:
        yield Finding(row.path, "missing", f"{name} is not in Alyx")
    elif there.key in remote.doubled:
        yield Finding(row.path, "doubled", f"{name} is in Alyx {len(remote.doubled[there.key])} times")
    elif there.hash != sealed:
        yield Finding(row.path, "hash", f"{name}: Alyx holds MD5 {there.hash or 'none'}, sealed was {sealed or 'none'}")
    elif there.size != row.size:
        yield Finding(row.path, "size", f"{name}: Alyx holds {there.size} bytes, sealed were {row.size}")
