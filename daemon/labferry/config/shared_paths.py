"""Which folders of this machine Globus Connect Personal shows: its file `config-paths`, beside that with its id.

One path a line, as comma-separated values without a header: the path, whether it may be shared with others, and whether
it may be written to. `~` is the home of whoever runs it; without the file that is all it shows.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from labferry.errors import ConfigError

NAME = "config-paths"
_USUAL = ("~/,0,1",)
_YES = "1"


@dataclass(frozen=True, slots=True)
class SharedPath:
    """A folder that is shown with everything below it.

    Attributes
    ----------
    path : str
        Absolute.
    shareable : bool
        Whether guest collections may be made of it.
    writable : bool
    """

    path: str
    shareable: bool
    writable: bool

    def holds(self, path: str) -> bool:
        """Tell whether a path is the folder or below it, part by part."""
        return PurePosixPath(path).is_relative_to(self.path)


def shared_paths(lines: Iterable[str], home: str) -> Iterator[SharedPath]:
    """Yield the folders that the lines of the file name; a line that names no absolute path shows nothing.

    Parameters
    ----------
    lines : iterable of str
    home : str
        What `~` stands for.
    """
    for row in csv.reader(lines, skipinitialspace=True):
        path = row[0].strip() if row else ""
        if path == "~" or path.startswith("~/"):
            path = home + path[1:]
        if os.path.isabs(path):
            yield SharedPath(os.path.normpath(path), _flag(row, 1, default=False), _flag(row, 2, default=True))


def read_shared_paths(client_id_file: str) -> list[SharedPath]:
    """Return the folders that this machine's Globus Connect Personal shows.

    Parameters
    ----------
    client_id_file : str
        Its file `client-id.txt`: `~/.globusonline/lta/client-id.txt` of whoever runs it.

    Raises
    ------
    ConfigError
        The file is there and cannot be read.
    """
    folder = os.path.dirname(client_id_file)
    home = os.path.dirname(os.path.dirname(folder))
    file = os.path.join(folder, NAME)
    try:
        with open(file, encoding="utf-8", errors="surrogateescape", newline="") as lines:
            return list(shared_paths(lines, home))
    except FileNotFoundError:
        return list(shared_paths(_USUAL, home))
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{file} cannot be read: {reason}", "give the service user read permission") from None


def _flag(row: list[str], column: int, *, default: bool) -> bool:
    return row[column].strip() == _YES if len(row) > column else default
