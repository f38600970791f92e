r"""How the server reads paths, dataset types and formats from file names, with its blind spots.

Room: sandbox. Pure functions over text and tables. The worst of the blind spots: the first folder outside
the alphabet `[\w.-]` and everything below it are silently dropped from the collection.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from labferry.sandbox.alyx.answers import FailedError, by_hand
from labferry.sandbox.alyx.store import Database, Row

_SESSION = r"(?P<subject>[\w.-]+)/(?P<date>\d{4}-\d{2}-\d{2})/(?P<number>\d{1,3})"
_BELOW = r"(?:(?P<collection>[\w./-]+)/)?(?:#(?P<revision>[\w.-]+)#/)?"
_SESSION_FOLDER = re.compile(_SESSION)
_FOLDER = re.compile(rf"(?:\w+/Subjects/)?{_SESSION}/{_BELOW}")
_LOOSE_FOLDER = re.compile(_BELOW)
_OBJECT_ATTRIBUTE = re.compile(
    r"(?:_[a-zA-Z0-9]+_)?(?P<object>[a-zA-Z0-9]\w*)"
    r"\.(?P<attribute>(?:_[a-z]+_)?[a-zA-Z0-9]+(?:_(?:times|intervals)(?=[_.]))?)(?:_\w+)?(?:\.[\w.-]+)*\.\w+$"
)
GOOD_PATH = re.compile(r"[a-zA-Z0-9_][^\\:]+")
"""What a file record's path may be."""
GOOD_COLLECTION = re.compile(r"[\w./-]+")
"""What a dataset's collection may be."""
_ONE_REVISION = (
    "Invalid ALF path. There must be only 1 revision and it cannot containsub folders. "
    "A revision folder must be surrounded by pound signs (#)."
)
_ALPHABET = (
    "Invalid ALF path. Only letters, numbers, hyphen and underscores allowed. "
    "A revision folder must be surrounded by pound signs (#)."
)


@dataclass(frozen=True)
class SessionPath:
    """`subject/date/number` at the head of a path."""

    subject: str
    date: str
    number: int


@dataclass(frozen=True)
class DatasetPath:
    """Where a file is registered; not always where it was said to be."""

    folder: str
    collection: str
    revision: str
    name: str

    @property
    def relative_path(self) -> str:
        """The path that file records get."""
        revision = f"#{self.revision}#" if self.revision else ""
        return PurePosixPath(self.folder, self.collection, revision, self.name).as_posix()


def session_path(path: str) -> SessionPath:
    """Read a session from the head of a path.

    Raises
    ------
    ValueError
        It does not begin with one.
    """
    match = _SESSION_FOLDER.match(path)
    if match is None:
        raise ValueError(f"The path {path} should be `nickname/YYYY-MM-DD/n/...")
    return SessionPath(match["subject"], match["date"], int(match["number"]))


def dataset_path(root: str, name: str) -> DatasetPath:
    """Split a session's file into collection, revision and name.

    Raises
    ------
    RefusedError
        400; it does not say which file.
    """
    full = PurePosixPath(root, name)
    match = _FOLDER.match(f"{full.parent.as_posix()}/")
    if match is None:
        raise by_hand(400, "detail", _ALPHABET)
    revision = match["revision"] or ""
    if revision and full.parent.name != f"#{revision}#":
        raise by_hand(400, "detail", _ONE_REVISION)
    folder = f"{match['subject']}/{match['date']}/{match['number']}"
    return DatasetPath(folder, match["collection"] or "", revision, full.name)


def aggregate_path(root: str, name: str) -> DatasetPath:
    """Split the path of a dataset that belongs to no session.

    Raises
    ------
    RefusedError
        400; it does not say which file.
    """
    full = PurePosixPath(root, name)
    parent = full.parent.as_posix()
    match = _LOOSE_FOLDER.match("" if parent == "." else f"{parent}/")
    collection = (match and match["collection"]) or ""
    revision = (match and match["revision"]) or ""
    if len(full.parent.parts) != len(PurePosixPath(collection).parts) + bool(revision):
        raise by_hand(400, "detail", _ALPHABET)
    return DatasetPath("", collection, revision, full.name)


def dataset_type_of(name: str, types: list[Row]) -> str:
    """Return the one dataset type whose pattern matches a file name.

    Raises
    ------
    FailedError
        None or several match.
    """
    found = [row["name"] for row in types if _matches(name, row)]
    if not found:
        raise FailedError(f'No dataset type found for filename "{name}"')
    if len(found) > 1:
        shown = ", ".join(f"<DatasetType {type_}>" for type_ in found)
        raise FailedError(f'Multiple matching dataset types found for filename "{name}": \n{shown}')
    return str(found[0])


def _matches(name: str, row: Row) -> bool:
    pattern = str(row["filename_pattern"]).strip()
    if pattern:
        return fnmatchcase(name.casefold(), pattern.casefold())
    parts = _OBJECT_ATTRIBUTE.match(name)
    stem = f"{parts['object']}.{parts['attribute']}" if parts else posixpath.splitext(name)[0]
    return bool(row["name"] == stem)


def data_format_of(name: str, db: Database) -> str:
    """Return the one data format with a file name's last suffix, exact case.

    Raises
    ------
    FailedError
        None or several have it; the message does not say which file.
    """
    names = db.column("SELECT name FROM data_format WHERE file_extension = ?", posixpath.splitext(name)[1])
    if not names:
        raise FailedError("DataFormat matching query does not exist.")
    if len(names) > 1:
        raise FailedError(f"get() returned more than one DataFormat -- it returned {len(names)}!")
    return names[0]
