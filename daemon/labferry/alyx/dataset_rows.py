"""The registry room's dataset rows: what Alyx has of a session, orphans of a lost race included.

From here only Alyx is touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from labferry.alyx.client import AlyxClient
from labferry.alyx.fields import Json, flag, identity, number, text
from labferry.alyx.file_records import RemoteFileRecord, file_records

DatasetKey = tuple[str, str, str]
"""How Alyx names a file of a session: collection, revision, name; the first two may be empty."""

UNRATED = "NOT_SET"  # Alyx' word for a dataset that nobody has rated


@dataclass(frozen=True, slots=True)
class RemoteDataset:
    """A dataset row of a session.

    Attributes
    ----------
    id : str
        UUID.
    collection, revision, name : str
        The first two may be empty.
    hash : str
        MD5, empty where Alyx has none.
    size : int or None
        Bytes.
    version : str
        Of the program that registered it.
    protected : bool
        A tag forbids to change it.
    default : bool
        It is the revision that users get.
    created : str
        Naive, in the server's time zone.
    file_records : tuple of RemoteFileRecord
        Where it is, or will be. None at all is the sign of an orphan or of a registration cut short.
    qc : str
        What somebody or some program thinks of it, `NOT_SET` where nobody does.
    """

    id: str
    collection: str
    revision: str
    name: str
    hash: str
    size: int | None
    version: str
    protected: bool
    default: bool
    created: str
    file_records: tuple[RemoteFileRecord, ...]
    qc: str = UNRATED

    @property
    def key(self) -> DatasetKey:
        """Collection, revision and name."""
        return (self.collection, self.revision, self.name)

    def record_at(self, repository: str, path: str) -> RemoteFileRecord | None:
        """Return its record in a repository; other paths there (an unpadded number) are other files."""
        return next((r for r in self.file_records if (r.repository, r.relative_path) == (repository, path)), None)


class SessionDatasets(Mapping[DatasetKey, RemoteDataset]):
    """The datasets of one session by collection, revision and name.

    Where several rows share a key, the one with file records stands for it.

    Attributes
    ----------
    doubled : dict
        Every key with more than one row, and all its rows. Alyx answers any request about it with 500.
    orphans : tuple of RemoteDataset
        Rows without file records beside a row that has some: what a lost race leaves, and what may be deleted
        to repair it (once it is old enough and if it is not protected).
    """

    def __init__(self, rows: Iterable[RemoteDataset]) -> None:
        unique = {row.id: row for row in rows}  # pages may overlap while Alyx works
        by_key: dict[DatasetKey, list[RemoteDataset]] = {}
        for row in sorted(unique.values(), key=lambda row: (not row.file_records, row.id)):
            by_key.setdefault(row.key, []).append(row)
        self._first = {key: rows[0] for key, rows in by_key.items()}
        self.doubled = {key: tuple(rows) for key, rows in by_key.items() if len(rows) > 1}
        self.orphans = tuple(
            row for rows in self.doubled.values() for row in rows if rows[0].file_records and not row.file_records
        )

    def __getitem__(self, key: DatasetKey) -> RemoteDataset:
        return self._first[key]

    def __iter__(self) -> Iterator[DatasetKey]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)


def registered_datasets(client: AlyxClient, eid: str) -> SessionDatasets:
    """Look at all datasets of a session.

    Raises
    ------
    RefusedError
        Alyx does not know the session.
    """
    return SessionDatasets(row for page in dataset_pages(client, eid) for row in page)


def dataset_pages(client: AlyxClient, eid: str) -> Iterator[list[RemoteDataset]]:
    """Yield all datasets of a session page by page: there may be hundreds of thousands; raises as above."""
    for page in client.pages("/datasets", {"session": eid}):
        yield [_remote_dataset(row) for row in page]


def datasets_named(client: AlyxClient, eid: str, key: DatasetKey) -> tuple[RemoteDataset, ...]:
    """Look at all rows of a session that share collection, revision and name."""
    rows = map(_remote_dataset, client.list_all("/datasets", {"session": eid, "name": key[2]}))
    return tuple(row for row in rows if row.key == key)


def delete_dataset(client: AlyxClient, dataset_id: str) -> None:
    """Delete one dataset row: only ever an orphan, under the conditions of ruling 13."""
    client.delete(f"/datasets/{dataset_id}")


def _remote_dataset(row: Json) -> RemoteDataset:
    return RemoteDataset(
        id=identity(row),
        collection=text(row, "collection"),
        revision=text(row, "revision"),
        name=text(row, "name"),
        hash=text(row, "hash"),
        size=number(row, "file_size"),
        version=text(row, "version"),
        protected=flag(row, "protected"),
        default=flag(row, "default_dataset"),
        created=text(row, "created_datetime"),
        file_records=file_records(row),
        qc=text(row, "qc") or UNRATED,
    )
