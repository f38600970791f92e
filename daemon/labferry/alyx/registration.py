"""The registry room's main act: telling Alyx which files of a session there are.

`/register-file` is not atomic, idempotent only while one request is in flight, and silent about files that it
leaves out or moves. So there is one bare request here, and a comparison of what was answered with what was sent; what
Alyx has then, `dataset_rows` looks up. From here only Alyx is touched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from labferry.alyx.client import AlyxClient
from labferry.alyx.dataset_rows import UNRATED
from labferry.alyx.fields import Json, as_object, as_objects, identity, number, text, texts
from labferry.alyx.file_records import RemoteFileRecord, file_records
from labferry.datasets import collection_revision_name
from labferry.datasets.names import overlong, unsafe_part
from labferry.errors import BlockedError

_SESSION_PATH = re.compile(r"[A-Za-z0-9_.-]+/\d{4}-\d{2}-\d{2}/\d{3}")


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


def _registered_file(row: Json) -> RegisteredFile:
    return RegisteredFile(
        id=identity(as_object(row, "POST /register-file")),
        collection=text(row, "collection"),
        revision=text(row, "revision"),
        name=text(row, "name"),
        size=number(row, "file_size"),
        file_records=file_records(row),
    )


def _shown(got: RegisteredFile) -> str:
    revision = f"#{got.revision}#" if got.revision else ""
    return "/".join(part for part in (got.collection, revision, got.name) if part)


def _require_safe(relpath: str) -> None:
    """Refuse what Alyx would change silently; the rules of datasets let no such file come so far."""
    if unsafe_part(relpath) is not None or overlong(relpath) is not None:
        shown = relpath.encode("utf-8", "backslashreplace").decode()
        raise BlockedError("alyx_refused", f"Alyx would not take the path {shown} as it is")
