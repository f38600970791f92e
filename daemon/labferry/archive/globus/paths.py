"""Archive room: where a local file is in a collection. Pure text, nothing is opened here.

Disks hold bytes and Globus documents hold JSON text, so a name that is not UTF-8 ends here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from labferry.errors import BlockedError
from labferry.model import show_path


@dataclass(frozen=True, slots=True)
class CollectionMap:
    """Which local folder a collection shows, and under which name.

    Attributes
    ----------
    local_path : str
        The folder on this machine, absolute.
    endpoint_subdir : str
        The same folder in the collection, absolute.
    """

    local_path: str
    endpoint_subdir: str

    def to_collection(self, local: bytes) -> str:
        """Return the path that the absolute local path `local` has in the collection.

        Raises
        ------
        BlockedError
            `outside_local_path` or `not_transferable_name`.
        """
        shown, parts = _parts(os.fsencode(self.local_path)), _parts(local)
        if parts[: len(shown)] != shown or b".." in parts:
            raise self._outside(local)
        return join(self.endpoint_subdir, *parts[len(shown) :])

    def _outside(self, local: bytes) -> BlockedError:
        return BlockedError(
            "outside_local_path",
            f"{show_path(local)} is not below {self.local_path}, which is what the source collection shows",
        )


def join(base: str, *parts: bytes | str) -> str:
    """Return the path of `parts` below `base` in a collection, `/` between them; parts may contain some.

    Raises
    ------
    BlockedError
        `not_transferable_name`: a part is not UTF-8.
    """
    names = [part if isinstance(part, str) else _text(part) for part in parts]
    return "/".join([base.rstrip("/"), *names]) or "/"


def split(path: str) -> tuple[str, str]:
    """Return directory and name of an absolute path in a collection."""
    directory, _, name = path.rpartition("/")
    return directory or "/", name


def _parts(path: bytes) -> list[bytes]:
    return [part for part in path.split(b"/") if part not in {b"", b"."}]


def _text(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        raise BlockedError(
            "not_transferable_name", f"{show_path(name)}: the name is not UTF-8, so Globus cannot be asked for it"
        ) from None
