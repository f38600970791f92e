"""What a client asks to be transferred, read strictly.

Room: sandbox. Only files are moved: the real service also takes directories, which nobody here sends.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from labferry.sandbox.globus.answers import bad_request
from labferry.sandbox.globus.collections import Collection, Collections
from labferry.sandbox.globus.copying import ALGORITHMS

_LABEL = re.compile(r"[A-Za-z0-9 _-]{1,128}")
_NOT_HERE = ("delete_destination_extra", "filter_rules", "recursive_symlinks")


@dataclass(frozen=True)
class Item:
    """One file that is wanted elsewhere."""

    source_path: str
    destination_path: str
    external_checksum: str | None
    algorithm: str


@dataclass(frozen=True)
class Transfer:
    """A whole request, fit to become a task.

    Attributes
    ----------
    deadline : float or None
        Epoch seconds; None leaves it to the service.
    """

    source: Collection
    destination: Collection
    label: str | None
    items: tuple[Item, ...]
    sync_level: int | None
    deadline: float | None
    verify_checksum: bool
    preserve_timestamp: bool
    encrypt_data: bool
    skip_source_errors: bool
    fail_on_quota_errors: bool

    @property
    def paths(self) -> str:
        """Digest of endpoints and paths, whatever their order."""
        pairs = sorted(f"{item.source_path}\0{item.destination_path}" for item in self.items)
        return hashlib.sha256("\n".join([self.source.id, self.destination.id, *pairs]).encode()).hexdigest()


def read(document: Mapping[str, object], collections: Collections) -> Transfer:
    """Read the document of `POST /transfer`.

    Raises
    ------
    RefusedError
        It is not one that can be carried out.
    """
    if document.get("DATA_TYPE") != "transfer":
        raise bad_request("InvalidDocument", "DATA_TYPE must be 'transfer'")
    label = document.get("label")
    if label is not None and (not isinstance(label, str) or not _LABEL.fullmatch(label) or label != label.strip()):
        raise bad_request("InvalidLabel", f"Invalid label {label!r}: at most 128 letters, digits, spaces, - and _")
    for name in _NOT_HERE:
        if document.get(name):
            raise bad_request("NotSupported", f"{name} is not known to the sandbox")
    items = document.get("DATA")
    if not isinstance(items, Sequence) or not items:
        raise bad_request("NoTransferItems", "A transfer requires at least one item")
    source = collections.get(document.get("source_endpoint"))
    destination = collections.get(document.get("destination_endpoint"))
    return Transfer(
        source,
        destination,
        label,
        tuple(_item(one) for one in items),
        _sync_level(document.get("sync_level")),
        _deadline(document.get("deadline")),
        verify_checksum=_flag(document, "verify_checksum", default=True),
        preserve_timestamp=_flag(document, "preserve_timestamp"),
        encrypt_data=_flag(document, "encrypt_data"),
        skip_source_errors=_flag(document, "skip_source_errors"),
        fail_on_quota_errors=_flag(document, "fail_on_quota_errors"),
    )


def _item(described: object) -> Item:
    if not isinstance(described, Mapping) or described.get("DATA_TYPE") != "transfer_item":
        raise bad_request("InvalidDocument", "every item must have the DATA_TYPE 'transfer_item'")
    if described.get("recursive"):
        raise bad_request("NotSupported", "the sandbox moves files, not directories")
    paths = described.get("source_path"), described.get("destination_path")
    if not all(isinstance(path, str) and path.startswith("/") for path in paths):
        raise bad_request("InvalidPath", f"{paths[0]!r} -> {paths[1]!r}: both paths must be absolute")
    checksum, algorithm = described.get("external_checksum"), str(described.get("checksum_algorithm") or "MD5").upper()
    if algorithm not in ALGORITHMS:
        raise bad_request("InvalidChecksumAlgorithm", f"{algorithm!r} is none of {', '.join(ALGORITHMS)}")
    return Item(str(paths[0]), str(paths[1]), None if checksum is None else str(checksum).lower(), algorithm)


def _sync_level(value: object) -> int | None:
    if value is None or (isinstance(value, int) and 0 <= value <= 3):
        return value
    raise bad_request("InvalidSyncLevel", f"sync_level {value!r} is none of 0, 1, 2, 3")


def _deadline(value: object) -> float | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise bad_request("InvalidDeadline", f"{value!r} is no time") from error
    if moment.tzinfo is None:
        raise bad_request("InvalidDeadline", f"{value!r} has no time zone")
    return moment.timestamp()


def _flag(document: Mapping[str, object], name: str, *, default: bool = False) -> bool:
    value = document.get(name, default)
    if not isinstance(value, bool):
        raise bad_request("InvalidDocument", f"{name} must be true or false")
    return value
