"""Whether a file is still the version that was sealed: asked directly before anything is said or done about it."""

from __future__ import annotations

import os

from labferry.errors import ChangedError
from labferry.model import FileVersion


def require_unchanged(folder: bytes, sealed: FileVersion) -> None:
    """Stat a file of a session folder again.

    Raises
    ------
    ChangedError
        It is not the version that was sealed.
    """
    try:
        now = os.lstat(os.path.join(folder, sealed.path))
    except FileNotFoundError:
        raise ChangedError(sealed.path, "is gone since it was sealed") from None
    if FileVersion(sealed.path, now.st_size, now.st_mtime_ns, now.st_ctime_ns) != sealed:
        raise ChangedError(sealed.path, "changed since it was sealed")


def is_unchanged(folder: bytes, sealed: FileVersion) -> bool:
    """Say whether a file of a session folder can be looked at and is the version that was sealed."""
    try:
        require_unchanged(folder, sealed)
    except (ChangedError, OSError):
        return False
    return True
