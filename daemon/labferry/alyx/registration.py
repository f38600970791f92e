"""The registry room's main act: telling Alyx which files of a session there are.

`/register-file` is not atomic, idempotent only while one request is in flight, and silent about files that it
leaves out or moves. So there is one bare request here, a look at what Alyx has, and a comparison of what was
answered with what was sent. From here only Alyx is touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from labferry.alyx.answers import ProtectedFilesError
from labferry.alyx.client import AlyxClient
from labferry.alyx.fields import Json, as_object, as_objects, flag, identity, number, text, texts
from labferry.alyx.file_records import RemoteFileRecord, ensure_file_record, file_record, mark_exists
from labferry.datasets import collection_revision_name
from labferry.datasets.names import overlong, unsafe_part
from labferry.errors import BlockedError

__all__ = [  # with what belongs to it elsewhere in this room
    "DatasetKey",
    "FileToRegister",
    "ProtectedFilesError",
    "RegisteredFile",
    "RemoteDataset",
    "RemoteFileRecord",
    "SessionDatasets",
    "compare_answer",
    "dataset_pages",
    "datasets_named",
    "delete_dataset",
    "ensure_file_record",
    "files_body",
    "mark_exists",
    "post_files",
    "registered_datasets",
]

DatasetKey = tuple[str, str, str]
"""How Alyx names a file of a session: collection, revision, name; the first two may be empty."""

UNRATED = "NOT_SET"  # Alyx' word for a dataset that nobody has rated

_SESSION_PATH = re.compile(r"[A-Za-z0-9_.-]+/\d{4}-\d{2}-\d{2}/\d{3}")


# --- what Alyx has ----------------------------------------------------------------------------------------


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


# --- what is sent -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileToRegister:
    """One file to be registered.

    Attributes
    ----------
    relpath : str
        Below the session's folder, `/` between parts.
    md5 : str
        Hexadecimal.
    size : int
        Bytes.
    qc : str
        What Alyx holds already and must keep: it forgets what it is not told. Empty for a file that is new.
    """

    relpath: str
    md5: str
    size: int
    qc: str = ""


def files_body(
    alyx_path: str,
    files: Sequence[FileToRegister],
    *,
    lab: str,
    repository: str,
    versions: str,
    created_by: str,
) -> dict[str, object]:
    """Build the body that registers files as "here, not yet on the server".

    All lists have full length, since Alyx drops the files that a short list does not reach, and lab and
    repository are explicit, since it guesses both wrongly.

    Parameters
    ----------
    alyx_path : str
        `SUBJECT/YYYY-MM-DD/NNN`, the number padded: `1` would make second file records.
    files : sequence of FileToRegister
        At most a chunk.
    lab, repository : str
        The subject's lab, and the data repository the files are in now.
    versions : str
        Noted on every dataset (REG-18).
    created_by : str
        Our Alyx user; empty leaves it to the token.

    Raises
    ------
    BlockedError
        `alyx_refused`: Alyx would silently register another path than the one given.
    """
    if not _SESSION_PATH.fullmatch(alyx_path):
        raise BlockedError("alyx_refused", f"{alyx_path!r} is no session path of Alyx: SUBJECT/YYYY-MM-DD/NNN")
    for file in files:
        _require_safe(file.relpath)
    body: dict[str, object] = {
        "path": alyx_path,
        "filenames": [file.relpath for file in files],
        "hashes": [file.md5 for file in files],
        "filesizes": [file.size for file in files],
        "versions": [versions for _ in files],
        "labs": lab,
        "name": repository,
        "exists": True,
        "server_only": False,
        "check_protected": True,
    }
    if any(file.qc for file in files):
        body["qc"] = [file.qc or UNRATED for file in files]
    if created_by:
        body["created_by"] = created_by
    return body


# --- what came back ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RegisteredFile:
    """Alyx' answer for one file.

    Attributes
    ----------
    id : str
        UUID of the dataset.
    collection, revision, name : str
        What Alyx made of the path.
    size : int or None
        Bytes.
    file_records : tuple of RemoteFileRecord
        In all repositories of the lab.
    """

    id: str
    collection: str
    revision: str
    name: str
    size: int | None
    file_records: tuple[RemoteFileRecord, ...]


def post_files(client: AlyxClient, body: Json) -> list[RegisteredFile]:
    """Register the files of one body: exactly one POST.

    Nothing about it is atomic: after any error but `ProtectedFilesError`, look at what Alyx has.

    Returns
    -------
    list of RegisteredFile
        To be compared with the body (`compare_answer`) before any of it is believed.

    Raises
    ------
    ProtectedFilesError
        Some files are protected; nothing was registered.
    RefusedError
        Alyx says no, and its `file` may name the culprit.
    UnknownOutcomeError
        The answer was lost: Alyx may be working on it still (ruling 13).
    """
    return [_registered_file(row) for row in as_objects(client.post("/register-file", body), "POST /register-file")]


def compare_answer(body: Json, answer: Sequence[RegisteredFile]) -> list[str]:
    """List how an answer differs from what was sent; empty when Alyx registered exactly that.

    Parameters
    ----------
    body : mapping
        From `files_body`.
    answer : sequence of RegisteredFile
        From `post_files`.
    """
    sent, path, repository = texts(body, "filenames"), text(body, "path"), text(body, "name")
    wrong = []
    if len(answer) != len(sent):
        wrong.append(f"{len(sent)} files were sent, {len(answer)} were registered")
    for relpath, got in zip(sent, answer, strict=False):
        if (got.collection, got.revision, got.name) != collection_revision_name(relpath.encode()):
            wrong.append(f"{relpath} was registered as {_shown(got)}")
        elif not any((r.repository, r.relative_path) == (repository, f"{path}/{relpath}") for r in got.file_records):
            wrong.append(f"{relpath} has no file record in {repository}")
    return wrong


# --- rows and paths ---------------------------------------------------------------------------------------


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
        file_records=_file_records(row),
        qc=text(row, "qc") or UNRATED,
    )


def _registered_file(row: Json) -> RegisteredFile:
    return RegisteredFile(
        id=identity(as_object(row, "POST /register-file")),
        collection=text(row, "collection"),
        revision=text(row, "revision"),
        name=text(row, "name"),
        size=number(row, "file_size"),
        file_records=_file_records(row),
    )


def _file_records(row: Json) -> tuple[RemoteFileRecord, ...]:
    records = row.get("file_records")
    return tuple(file_record(record) for record in records) if isinstance(records, list) else ()


def _shown(got: RegisteredFile) -> str:
    revision = f"#{got.revision}#" if got.revision else ""
    return "/".join(part for part in (got.collection, revision, got.name) if part)


def _require_safe(relpath: str) -> None:
    """Refuse what Alyx would change silently; the rules of datasets let no such file come so far."""
    if unsafe_part(relpath) is not None or overlong(relpath) is not None:
        shown = relpath.encode("utf-8", "backslashreplace").decode()
        raise BlockedError("alyx_refused", f"Alyx would not take the path {shown} as it is")
