"""Archive room: what a file is called at the destination. Pure text, nothing is opened here.

Paths are bytes: a name that is not UTF-8 cannot be registered, but with `plain` it can be archived.
"""

from __future__ import annotations

import os
import re
from typing import Literal
from uuid import UUID

from labferry.errors import ConfigError

Naming = Literal["alyx", "plain", "map"]

LAB = b"{lab}"
_NO_NAMES = frozenset({b"", b".", b".."})
_USUAL_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def destination(naming: Naming, session_path: bytes, relpath: bytes, dataset_id: str | None = None) -> bytes:
    """Return where a file belongs, relative to the target's path.

    Parameters
    ----------
    naming : {"alyx", "plain", "map"}
        `alyx` inserts the dataset's UUID as the `data_url` of Alyx has it, `plain` keeps the name.
    session_path : bytes
        The session's path at the destination, for Alyx `subject/yyyy-mm-dd/NNN`.
    relpath : bytes
        The file relative to the session folder, with collection and revision folders.
    dataset_id : str or None
        The dataset's UUID; needed by `alyx`, unused by `plain`.

    Raises
    ------
    ConfigError
        This naming is not available yet.
    ValueError
        A path would leave its folder, or `alyx` was asked for without a dataset.
    """
    path = b"/".join((require_beneath(session_path), require_beneath(relpath)))
    match naming:
        case "plain":
            return path
        case "alyx":
            if dataset_id is None:
                raise ValueError(f"no dataset, no name in the archive: {relpath!r}")
            return with_dataset_id(path, dataset_id)
        case "map":
            raise ConfigError('naming = "map" is not available yet', 'Use "alyx" or "plain".')


def with_dataset_id(path: bytes, dataset_id: str) -> bytes:
    """Insert a dataset's UUID before the extension, as Alyx does when it makes a `data_url`.

    The extension starts at the last dot of the name that is not a leading one; without it the UUID comes last:
    `spikes.times.npy` becomes `spikes.times.<uuid>.npy`, `README` becomes `README.<uuid>`.

    Raises
    ------
    ValueError
        `dataset_id` is not a UUID.
    """
    stem, extension = os.path.splitext(path)
    uuid = dataset_id if _USUAL_UUID.fullmatch(dataset_id) else str(UUID(dataset_id))
    return b"%b.%b%b" % (stem, uuid.encode("ascii"), extension)


def dataset_id(path: bytes) -> tuple[str, bytes] | None:
    """Split what `with_dataset_id` made into the UUID and the plain path; None where there is no UUID."""
    head, _, last = path.rpartition(b".")
    stem, _, middle = head.rpartition(b".")
    for found, plain in ((middle, stem + b"." + last), (last, head)):
        uuid = _uuid(found)
        # Doing it once more settles which of two UUIDs in a row is the inserted one.
        if uuid is not None and os.path.basename(plain) and with_dataset_id(plain, uuid) == path:
            return uuid, plain
    return None


def _uuid(text: bytes) -> str | None:
    """Return `text` if it is a UUID as Alyx writes it."""
    try:
        uuid = str(UUID(text.decode("ascii")))
    except ValueError:
        return None
    return uuid if uuid.encode("ascii") == text else None


def with_lab(path: bytes, lab: str) -> bytes:
    """Fill `lab` into a target's path that contains `{lab}`.

    Raises
    ------
    ValueError
        `lab` cannot be the name of a folder.
    """
    name = os.fsencode(lab)
    if name in _NO_NAMES or b"/" in name or b"\0" in name:
        raise ValueError(f"not the name of a folder: {lab!r}")
    return path.replace(LAB, name)


def before_lab(path: bytes) -> bytes | None:
    """Return the folder above the first part of `path` that contains `{lab}`; None without a placeholder."""
    head, found, _ = path.partition(LAB)
    return (head.rpartition(b"/")[0] or b"/") if found else None


def require_beneath(path: bytes) -> bytes:
    """Return `path` if it names something below the folder it is relative to.

    Raises
    ------
    ValueError
        It is empty, absolute, or has a part that is empty, `.` or `..`.
    """
    if b"\0" in path or not _NO_NAMES.isdisjoint(path.split(b"/")):
        raise ValueError(f"not a path below its folder: {path!r}")
    return path
