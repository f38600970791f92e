"""The experiment description (`_ibl_experiment.description.yaml`): which tasks, devices and projects a session has.

Room: sessions. The file comes from rigs and people. It is read without YAML's types, so that nothing in it can be more
than text, and only the parts that are asked for are looked at.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import yaml

from labferry.errors import BlockedError
from labferry.model import show_path
from labferry.sessions.record.fields import is_name, shown
from labferry.sessions.record.reading import SessionFolder
from labferry.sessions.record.remark import Remark

FILE_NAME = b"_ibl_experiment.description.yaml"
DESCRIPTION_LIMIT = 256 * 1024  # bytes; real ones have two or three thousand
KNOWN_VERSION = (1, 0, 0)
FILE_NAMES = re.compile(rb"_ibl_experiment\.description.*\.yaml")
_COLLECTION = re.compile(r"[\w.#-]+(?:/[\w.#-]+)*", re.ASCII)
_GLOB = re.compile(r"[*?\[\]!]")  # devices may name several folders at once: `raw_imaging_data_*`
_VERSION = re.compile(r"\d{1,6}(?:\.\d{1,6}){0,3}", re.ASCII)
_NOTHING = ("", "~", "null", "Null", "NULL")  # how YAML spells that there is no value
_MOST = 200  # tasks, devices, projects: more of one kind is not a description


class Task(NamedTuple):
    """A task that was run: its protocol, and the folder of its raw data."""

    protocol: str
    collection: str | None


class Device(NamedTuple):
    """A recording device: `neuropixel`, `probe00`, and the folder of its data, maybe with wildcards."""

    kind: str
    label: str
    collection: str | None


class Sync(NamedTuple):
    """What the session's clocks are aligned to, and the folder of its data."""

    name: str
    collection: str | None


@dataclass(frozen=True, slots=True)
class Description:
    """What an experiment description says.

    Attributes
    ----------
    path : bytes or None
        Of the file, relative to the session; None when there is none or nothing in it, and then all else is empty.
    tasks, devices : tuple
        In the order of the file.
    sync : Sync or None
        The first one; a session has one.
    projects, procedures : tuple of str
        Names as Alyx should know them.
    version : str
        Of the file's own format; empty when it is missing.
    remarks : tuple of Remark
        What was read otherwise than it is written.
    """

    path: bytes | None = None
    tasks: tuple[Task, ...] = ()
    devices: tuple[Device, ...] = ()
    sync: Sync | None = None
    projects: tuple[str, ...] = ()
    procedures: tuple[str, ...] = ()
    version: str = ""
    remarks: tuple[Remark, ...] = ()

    @property
    def task_collections(self) -> tuple[str, ...]:
        """The folders of the tasks' raw data, each once."""
        return unique(task.collection for task in self.tasks)

    @property
    def collections(self) -> tuple[str, ...]:
        """Every folder that is named, of tasks, devices and the sync; those of devices may hold wildcards."""
        named: list[Task | Device | Sync] = [*self.tasks, *self.devices]
        if self.sync is not None:
            named.append(self.sync)
        return unique(part.collection for part in named)


def unique(names: Iterable[str | None]) -> tuple[str, ...]:
    """Return the names in their order, each once, without the missing ones."""
    return tuple(dict.fromkeys(name for name in names if name))


def as_names(names: Sequence[str] | str | None) -> tuple[str, ...]:
    """Return one name, or several, as several; a text is one name, not its letters."""
    return (names,) if isinstance(names, str) else tuple(names or ())


def read_description(folder: SessionFolder) -> Description:
    """Read the description of a session; an empty one when there is no file.

    Raises
    ------
    BlockedError
        `bad_description`, `unreadable`.
    """
    found = [name for name in folder.names() if FILE_NAMES.fullmatch(name)]
    if not found:
        return Description()
    if FILE_NAME not in found and len(found) > 1:
        several = ", ".join(show_path(name) for name in found)
        raise BlockedError("bad_description", f"{several}: none of them is {FILE_NAME.decode()}")
    path = FILE_NAME if FILE_NAME in found else found[0]
    content = folder.read(path, DESCRIPTION_LIMIT, "bad_description")
    if content is None:  # it vanished meanwhile
        return Description()
    description = parse_description(content, path)
    others = [show_path(name) for name in found if name != path]
    if not others:
        return description
    remark = Remark("odd_description", f"{show_path(path)} is read; {', '.join(others)} is not")
    return replace(description, remarks=(*description.remarks, remark))


def parse_description(content: bytes, path: bytes = FILE_NAME) -> Description:
    """Read the content of a description file.

    Raises
    ------
    BlockedError
        `bad_description`: not YAML, not a mapping, or a part that cannot be what it should be.
    """
    reader = _Reader(path)
    values = reader.load(content)
    if values is None:
        reader.odd("it is empty, as if there were none")
        return Description(remarks=tuple(reader.remarks))
    return Description(
        path=path,
        tasks=tuple(reader.tasks(values.get("tasks"))),
        devices=reader.devices(values.get("devices")),
        sync=reader.sync(values.get("sync")),
        projects=reader.names("projects", values.get("projects")),
        procedures=reader.names("procedures", values.get("procedures")),
        version=reader.version(values.get("version")),
        remarks=tuple(reader.remarks),
    )


class _TextLoader(yaml.BaseLoader):
    """YAML whose scalars are all text, and whose mappings have every key once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        mapping: dict[object, object] = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(node.value):
            (twice, _), *_ = Counter(key.value for key, _ in node.value).most_common(1)
            raise yaml.constructor.ConstructorError(
                None, None, f"{shown(twice)} is there more than once", node.start_mark
            )
        return mapping


class _Reader:
    """Takes the parts of one file apart and collects the remarks."""

    def __init__(self, path: bytes) -> None:
        self._path = show_path(path)
        self.remarks: list[Remark] = []

    def load(self, content: bytes) -> Mapping[object, object] | None:
        try:
            loader = _TextLoader(content.decode("utf-8-sig"))
            try:
                values = loader.get_single_data()
            finally:
                loader.dispose()
        except UnicodeDecodeError:
            raise self._bad("is not UTF-8") from None
        except RecursionError:
            raise self._bad("is nested too deeply") from None
        except yaml.YAMLError as error:
            raise self._bad(f"is not YAML: {_problem(error)}") from None
        if _is_nothing(values):
            return None
        if not isinstance(values, dict):
            raise self._bad(f"holds {shown(values)} where a mapping is expected")
        return values or None

    def tasks(self, value: object) -> Iterator[Task]:
        """Read a list of `protocol: details`; files of version 0 have one mapping instead of the list."""
        for item in self._items("tasks", value):
            entries = item.items() if isinstance(item, dict) else ((item, None),)
            for protocol, details in entries:
                yield Task(self._name("tasks", protocol), self._collection("tasks", details))

    def devices(self, value: object) -> tuple[Device, ...]:
        """Read `kind: {label: details}`; what cannot be read is left out, since nothing registered depends on it."""
        try:
            return tuple(self._devices(value))
        except BlockedError as error:
            self.remarks.append(Remark("odd_description", f"{error.message}; no device is taken from it"))
            return ()

    def _devices(self, value: object) -> Iterator[Device]:
        for kind, labels in self._mapping("devices", value).items():
            name = self._name("devices", kind)
            entries = self._mapping(f"devices of kind {name}", labels)
            if isinstance(entries.get("collection"), str):  # a kind without labels
                yield Device(name, name, self._collection("devices", entries, wildcards=True))
                continue
            for label, details in entries.items():
                collection = self._collection("devices", details, wildcards=True)
                yield Device(name, self._name("devices", label), collection)

    def sync(self, value: object) -> Sync | None:
        """Read `name: details`; what cannot be read is left out, as with devices."""
        try:
            entries = self._mapping("sync", value)
            found = [Sync(self._name("sync", key), self._collection("sync", entries[key])) for key in entries]
        except BlockedError as error:
            self.remarks.append(Remark("odd_description", f"{error.message}; no sync is taken from it"))
            return None
        if len(found) > 1:
            self.odd(f"sync names {', '.join(sync.name for sync in found)}; the first one is taken")
        return found[0] if found else None

    def names(self, part: str, value: object) -> tuple[str, ...]:
        return unique(self._name(part, item) for item in self._items(part, value))

    def version(self, value: object) -> str:
        if _is_nothing(value):
            return ""
        if not isinstance(value, str) or not _VERSION.fullmatch(value):
            self.odd(f"version is {shown(value)}; it is read as {_dotted(KNOWN_VERSION)}")
            return ""
        if tuple(int(part) for part in value.split(".")) > KNOWN_VERSION:
            self.odd(f"version {value} is newer than {_dotted(KNOWN_VERSION)}; it is read as that")
        return value

    def odd(self, text: str) -> None:
        self.remarks.append(Remark("odd_description", f"{self._path}: {text}"))

    def _bad(self, text: str) -> BlockedError:
        return BlockedError("bad_description", f"{self._path} {text}")

    def _items(self, part: str, value: object) -> list[object]:
        """Return a list as it is, anything single as a list of one, and nothing as an empty one."""
        items = value if isinstance(value, list) else [] if _is_nothing(value) else [value]
        if len(items) > _MOST:
            raise self._bad(f"has {len(items)} {part}")
        return [item for item in items if not _is_nothing(item)]

    def _mapping(self, part: str, value: object) -> Mapping[object, object]:
        if _is_nothing(value):
            return {}
        if not isinstance(value, dict):
            raise self._bad(f"holds {shown(value)} as {part} where a mapping is expected")
        if len(value) > _MOST:
            raise self._bad(f"has {len(value)} {part}")
        return value

    def _name(self, part: str, value: object) -> str:
        if not isinstance(value, str) or not is_name(value):
            raise self._bad(f"holds {shown(value)} in {part} where a name is expected")
        return value.strip()

    def _collection(self, part: str, details: object, *, wildcards: bool = False) -> str | None:
        if _is_nothing(details):
            return None
        if not isinstance(details, dict):
            raise self._bad(f"holds {shown(details)} in {part} where details are expected")
        collection = details.get("collection")
        if _is_nothing(collection):
            return None
        if isinstance(collection, str) and _is_folder(_GLOB.sub("x", collection) if wildcards else collection):
            return collection
        raise self._bad(f"holds {shown(collection)} in {part} where a folder of the session is expected")


def _is_nothing(value: object) -> bool:
    return value is None or value in ([], {}) or (isinstance(value, str) and value in _NOTHING)


def _is_folder(path: str) -> bool:
    is_inside = not {".", ".."} & set(path.split("/"))
    return is_inside and is_name(path) and _COLLECTION.fullmatch(path) is not None


def _problem(error: yaml.YAMLError) -> str:
    """Return what is wrong and where, without the lines of the file."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = f" in line {mark.line + 1}" if mark is not None else ""
        return f"{error.problem or error.context}{where}"
    return shown(str(error))


def _dotted(version: Iterable[int]) -> str:
    return ".".join(str(part) for part in version)
