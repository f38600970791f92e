"""The registry room's file records: Alyx' statements that a dataset is, or is not yet, in a data repository.

From here only Alyx is touched.
"""

from __future__ import annotations

from dataclasses import dataclass

from labferry.alyx.answers import RefusedError
from labferry.alyx.client import AlyxClient
from labferry.alyx.fields import Json, as_object, flag, identity, text


@dataclass(frozen=True, slots=True)
class RemoteFileRecord:
    """One file record.

    Attributes
    ----------
    id : str
        UUID.
    repository : str
        Name of the data repository.
    relative_path : str
        Below the repository's `globus_path`, without the dataset's UUID.
    exists : bool
        Whether the file is there.
    on_server : bool
        Whether the repository publishes its files under a URL. Only lists of datasets say so; elsewhere false.
    """

    id: str
    repository: str
    relative_path: str
    exists: bool
    on_server: bool = False


def file_record(row: Json) -> RemoteFileRecord:
    """Read a file record from any of Alyx' answers."""
    return RemoteFileRecord(
        id=identity(row),
        repository=text(row, "data_repository"),
        relative_path=text(row, "relative_path"),
        exists=flag(row, "exists"),
        on_server=bool(text(row, "data_url")),
    )


def file_records(row: Json) -> tuple[RemoteFileRecord, ...]:
    """Read the file records of a dataset from any of Alyx' answers about it."""
    records = row.get("file_records")
    return tuple(file_record(record) for record in records) if isinstance(records, list) else ()


def ensure_file_record(client: AlyxClient, dataset_id: str, repository: str, relative_path: str) -> RemoteFileRecord:
    """Find a dataset's file record in a repository, or create it with `exists` false.

    At most one POST; somebody else who creates it at the same moment is no error.

    Raises
    ------
    RefusedError
        The path belongs to another dataset (`orphan_dataset`), or Alyx refuses otherwise.
    UnknownOutcomeError
        The answer to the POST was lost; call again.
    """
    found = _find(client, dataset_id, repository, relative_path)
    if found is not None:
        return found
    record: Json = {
        "dataset": f"{client.url}/datasets/{dataset_id}",
        "data_repository": repository,
        "relative_path": relative_path,
        "exists": False,
    }
    try:
        return file_record(as_object(client.post("/files", record), "POST /files"))
    except RefusedError as refused:
        found = _find(client, dataset_id, repository, relative_path) if refused.status == 400 else None
        if found is None:
            raise
        return found


def mark_exists(client: AlyxClient, file_record_id: str) -> RemoteFileRecord:
    """State that the file is in the repository: one PATCH, harmless when repeated."""
    return _state(client, file_record_id, exists=True)


def mark_missing(client: AlyxClient, file_record_id: str) -> RemoteFileRecord:
    """State that the file is not in the repository: one PATCH, harmless when repeated."""
    return _state(client, file_record_id, exists=False)


def _state(client: AlyxClient, file_record_id: str, *, exists: bool) -> RemoteFileRecord:
    path = f"/files/{file_record_id}"
    return file_record(as_object(client.patch(path, {"exists": exists}), f"PATCH {path}"))


def _find(client: AlyxClient, dataset_id: str, repository: str, relative_path: str) -> RemoteFileRecord | None:
    records = (file_record(row) for row in client.list_all("/files", {"dataset": dataset_id}))
    return next((r for r in records if (r.repository, r.relative_path) == (repository, relative_path)), None)
