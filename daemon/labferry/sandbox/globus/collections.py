"""Collections: directories under an id, the paths below them, and what Globus tells of both.

Room: sandbox. A path in a collection is text that begins with `/`; nothing outside its directory is reachable.
"""

from __future__ import annotations

import grp
import os
import posixpath
import pwd
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from labferry.sandbox.faults import Faults
from labferry.sandbox.globus.answers import RefusedError, bad_request, moment

T = TypeVar("T")

OFFLINE, PAUSED, READ_ONLY = "offline", "paused", "read_only"
FULL, DENIED, UNSHARED, NO_MD5 = "full", "denied", "unshared", "no_md5"
"""What a rule with the action `collection` can make of one."""


@dataclass(frozen=True)
class Collection:
    """One collection.

    Attributes
    ----------
    root : Path
        What its `/` is.
    writable : Path
        Below this it can be written to.
    personal : bool
        Whether it is one of Globus Connect Personal, which can be offline by itself.
    """

    id: str
    name: str
    root: Path
    writable: Path
    personal: bool

    def locate(self, path: str) -> bytes:
        """Return where a path of the collection is on this machine.

        Raises
        ------
        RefusedError
            It is no path, or leads out of the collection.
        """
        text = path[2:] or "/" if path == "/~" or path.startswith("/~/") else path
        if not text.startswith("/") or "\0" in text:
            raise bad_request("InvalidPath", f"{path!r} is not an absolute path")
        found = os.path.join(os.fsencode(self.root), os.fsencode(posixpath.normpath(text)).lstrip(b"/"))
        if not _below(found, self.root):
            raise _denied(self, path)
        return found

    def locate_to_write(self, path: str) -> bytes:
        """Return the same for a path that is to be written to.

        Raises
        ------
        RefusedError
            As `locate`, or it cannot be written to there.
        """
        found = self.locate(path)
        if not _below(found, self.writable):
            raise _denied(self, path)
        return found


class Collections:
    """All collections, and what the rules make of them at the moment."""

    def __init__(self, collections: tuple[Collection, ...], faults: Faults) -> None:
        self._known: Mapping[str, Collection] = {one.id: one for one in collections}
        self._faults = faults

    def get(self, endpoint: object) -> Collection:
        """Return a collection by its id.

        Raises
        ------
        RefusedError
            There is none.
        """
        found = self._known.get(str(endpoint).lower())
        if found is None:
            raise RefusedError(404, "EndpointNotFound", f"No such endpoint '{endpoint}'")
        return found

    def condition(self, collection: Collection) -> str:
        """Return what a rule makes of it: `offline` and the like, or nothing."""
        return self._faults.collection(collection.id)

    # --- documents ----------------------------------------------------------------------------------------

    def document(self, collection: Collection) -> dict[str, object]:
        """Return what Globus tells of a collection."""
        condition = self.condition(collection)
        return {
            "DATA_TYPE": "endpoint",
            "id": collection.id,
            "display_name": collection.name,
            "organization": "labferry sandbox",
            "description": None,
            "entity_type": self._entity_type(collection),
            "is_globus_connect": collection.personal,
            "gcp_connected": condition != OFFLINE if collection.personal else None,
            "gcp_paused": condition == PAUSED if collection.personal else None,
            "default_directory": "/",
            "high_assurance": False,
            "disable_verify": False,
            "force_verify": False,
            "force_encryption": False,
            "non_functional": False,
            "public": False,
        }

    def listing(self, collection: Collection, path: str, limit: int, offset: int) -> dict[str, object]:
        """List a directory, by name.

        Raises
        ------
        RefusedError
            It cannot be listed.
        """
        self._require(collection, "DirListingFailed", path)
        place = collection.locate(path)
        names = sorted(_attempt(collection, path, lambda: os.listdir(place), "ClientError.NotFound"))
        page = [_entry(place, name) for name in names[offset : offset + limit]]
        entries = [entry for entry in page if entry is not None]
        return {
            "DATA_TYPE": "file_list",
            "endpoint": collection.id,
            "path": _directory(path),
            "absolute_path": _directory(path),
            "length": len(entries),
            "total": len(names),
            "limit": limit,
            "offset": offset,
            "DATA": entries,
        }

    def stat(self, collection: Collection, path: str) -> dict[str, object]:
        """Describe one file or directory.

        Raises
        ------
        RefusedError
            It is not there, or cannot be looked at.
        """
        self._require(collection, "StatFailed", path)
        place = collection.locate(path)
        status = _attempt(collection, path, lambda: os.stat(place), "NotFound")
        return _document(os.path.basename(place), status)

    def make_directory(self, collection: Collection, path: str) -> None:
        """Make a directory; its parent must exist.

        Raises
        ------
        RefusedError
            It exists already, or cannot be made.
        """
        self._require(collection, "MkdirFailed", path)
        place = collection.locate_to_write(path)
        if self.condition(collection) == READ_ONLY:
            raise _denied(collection, path)
        _attempt(collection, path, lambda: os.mkdir(place), "NotFound")

    def rename(self, collection: Collection, old: str, new: str) -> None:
        """Give a file or directory another name; nothing is replaced.

        Raises
        ------
        RefusedError
            It is not there, something has that name, or it cannot be done.
        """
        self._require(collection, "RenameFailed", old)
        before, after = collection.locate_to_write(old), collection.locate_to_write(new)
        if self.condition(collection) == READ_ONLY:
            raise _denied(collection, new)
        if os.path.lexists(after):
            where = f"Path: {new}\nEndpoint: {collection.name} ({collection.id})"
            raise RefusedError(502, "ExternalError.RenameFailed.Exists", f"Path already exists\n{where}")
        _attempt(collection, old, lambda: os.rename(before, after), "NotFound")

    def _entity_type(self, collection: Collection) -> str:
        """Return which kind of collection it is: only mapped ones of a server need a consent to their data."""
        rule = self._faults.admission(collection.id)
        if rule is not None and rule.becomes == "data_access":
            return "GCSv5_mapped_collection"
        return "GCP_mapped_collection" if collection.personal else "GCSv5_guest_collection"

    def remove_directory(self, collection: Collection, path: str) -> None:
        """Remove a directory with all that is in it; none is fine.

        Raises
        ------
        RefusedError
            Nothing may be written there.
        """
        shutil.rmtree(collection.locate_to_write(path), ignore_errors=True)

    def _require(self, collection: Collection, failure: str, path: str) -> None:
        condition = self.condition(collection)
        if condition == OFFLINE:
            message = f"The collection {collection.name} ({collection.id}) is not connected to Globus"
            raise RefusedError(502, f"ExternalError.{failure}.GCDisconnected", message)
        if condition == PAUSED:
            raise RefusedError(502, f"ExternalError.{failure}.GCPaused", f"{collection.name} is paused by its owner")
        if condition == DENIED or (condition == UNSHARED and posixpath.normpath(path) != "/"):
            raise _denied(collection, path)


def _attempt(collection: Collection, path: str, work: Callable[[], T], missing: str) -> T:
    """Do something in a collection; say as Globus does why it cannot be done."""
    where = f"Path: {path}\nEndpoint: {collection.name} ({collection.id})"
    try:
        return work()
    except FileNotFoundError as error:
        raise RefusedError(404, missing, f"Path not found, Error\n{where}\nMessage: {error.strerror}") from error
    except FileExistsError as error:
        raise RefusedError(502, "ExternalError.MkdirFailed.Exists", f"Path already exists\n{where}") from error
    except NotADirectoryError as error:
        raise RefusedError(502, "ExternalError.DirListingFailed.NotDirectory", f"Not a directory\n{where}") from error
    except PermissionError as error:
        raise _denied(collection, path) from error
    except OSError as error:
        raise RefusedError(502, "ExternalError.Failed", f"{error.strerror}\n{where}") from error


def _denied(collection: Collection, path: str) -> RefusedError:
    message = (
        f"Denied by endpoint, Error\nPath: {path}\nEndpoint: {collection.name} ({collection.id})\nPath not allowed"
    )
    return RefusedError(403, "EndpointPermissionDenied", message)


def _below(place: bytes, folder: Path) -> bool:
    root = os.path.realpath(os.fsencode(folder))
    return os.path.commonpath([root, os.path.realpath(place)]) == root


def _directory(path: str) -> str:
    return posixpath.normpath(path).rstrip("/") + "/"


def _entry(folder: bytes, name: bytes) -> dict[str, object] | None:
    """Describe an entry of a directory; None if it is gone."""
    try:
        return _document(name, os.stat(os.path.join(folder, name)))
    except OSError:
        return None


def _document(name: bytes, status: os.stat_result) -> dict[str, object]:
    return {
        "DATA_TYPE": "file",
        "name": name.decode("utf-8", "backslashreplace"),
        "type": "dir" if stat.S_ISDIR(status.st_mode) else "file",
        "size": status.st_size,
        "last_modified": (moment(status.st_mtime) or "").replace("T", " "),
        "permissions": f"{stat.S_IMODE(status.st_mode):04o}",
        "user": _name(lambda: pwd.getpwuid(status.st_uid).pw_name, status.st_uid),
        "group": _name(lambda: grp.getgrgid(status.st_gid).gr_name, status.st_gid),
        "link_target": None,
        "link_size": None,
        "link_last_modified": None,
        "link_user": None,
        "link_group": None,
    }


def _name(look_up: Callable[[], str], number: int) -> str:
    try:
        return look_up()
    except KeyError:
        return str(number)
