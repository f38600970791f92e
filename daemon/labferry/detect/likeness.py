"""Detection room: whether a folder is another one under a new name, although not all of it came along. Pure.

Two sessions of one task have files of the same names, and some of them, such as settings that were copied, may even be
the same. So nothing may speak against it (every name that both have is one version), and what both have must be what
the older one was: most of its files and of its bytes, a dataset among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

Version = tuple[int, int]  # size, modification time in nanoseconds: what a copy keeps, too
SEVERAL = 3  # files: fewer of them say nothing where most of what is there is something else
PROBED = 3  # files, the largest ones, by which sessions are found that are worth a comparison


class Listed(NamedTuple):
    """A file of a manifest: where it was, as which version, and whether it was a dataset."""

    path: bytes
    version: Version
    is_dataset: bool


def is_mostly(there: Mapping[bytes, Version], manifest: Iterable[Listed]) -> bool:
    """Say whether the files of a folder are most of what a session had.

    Parameters
    ----------
    there : mapping of bytes to Version
        The files of the folder.
    manifest : iterable of Listed
        Those of the session when it was listed.
    """
    files = size = common = common_size = datasets = 0
    for file in manifest:
        files += 1
        size += file.version[0]
        now = there.get(file.path)
        if now is None:
            continue
        if now != file.version:
            return False
        common += 1
        common_size += now[0]
        datasets += file.is_dataset
    most_of_it = 2 * common >= files and 2 * common_size > size and datasets > 0
    return most_of_it and (common >= SEVERAL or 2 * common_size > sum(now[0] for now in there.values()))


def telling(there: Mapping[bytes, Version]) -> list[bytes]:
    """Return the files of a folder by which its former name is looked for: the largest."""
    return sorted(there, key=lambda path: there[path], reverse=True)[:PROBED]
