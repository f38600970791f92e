"""The registry room's vocabulary: the words of one Alyx that change rarely, and their copy on disk.

Dataset types, data formats, labs and data repositories are fetched together, kept for an hour and, as a file,
across restarts and outages. From here Alyx and that one file are touched.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import structlog

from labferry.alyx.client import AlyxClient
from labferry.alyx.fields import DEPENDENCY, Json, as_object, as_objects, flag, text, texts
from labferry.datasets import DataFormat, DatasetType, Vocabulary
from labferry.errors import UnavailableError, UnexplainedError
from labferry.model import Clock

MAX_AGE = 3600.0  # seconds
REST = 60.0  # seconds between two attempts to fetch from an Alyx that does not answer
LISTS = ("dataset-types", "data-formats", "labs", "data-repository")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Repository:
    """A data repository.

    Attributes
    ----------
    name : str
        Unique in Alyx.
    globus_path : str
        The folder on its endpoint below which files lie.
    globus_endpoint_id : str
        UUID, empty without Globus.
    globus_is_personal : bool
        A lab's own machine, from which users load nothing.
    data_url : str
        Where users load from, empty where they do not.
    hostname : str
        Of the machine; not unique.
    """

    name: str
    globus_path: str
    globus_endpoint_id: str
    globus_is_personal: bool
    data_url: str
    hostname: str


@dataclass(frozen=True, slots=True)
class VocabularySnapshot:
    """The words of one Alyx at one time.

    Attributes
    ----------
    datasets : Vocabulary
        Dataset types and data formats.
    labs : mapping
        Name to the names of its data repositories.
    repositories : mapping
        Name to repository.
    fetched_at : float
        Epoch seconds.
    """

    datasets: Vocabulary
    labs: Mapping[str, tuple[str, ...]]
    repositories: Mapping[str, Repository]
    fetched_at: float

    def of_lab(self, lab: str) -> list[Repository]:
        """Return a lab's data repositories; none for a lab that Alyx does not know."""
        return [self.repositories[name] for name in self.labs.get(lab, ()) if name in self.repositories]

    def to_json(self) -> dict[str, object]:
        """Return what `from_json` reads: Alyx' lists, shortened to what is used here."""
        return {
            "fetched_at": self.fetched_at,
            "dataset-types": [asdict(dataset_type) for dataset_type in self.datasets.types],
            "data-formats": [{"name": f.name, "file_extension": f.extension} for f in self.datasets.formats],
            "labs": [{"name": lab, "repositories": list(names)} for lab, names in self.labs.items()],
            "data-repository": [asdict(repository) for repository in self.repositories.values()],
        }

    @classmethod
    def from_json(cls, data: Json) -> VocabularySnapshot:
        """Read Alyx' lists, fresh or kept.

        Raises
        ------
        UnavailableError
            They are something else.
        """
        types, formats, labs, repositories = (as_objects(data.get(name), f"GET /{name}") for name in LISTS)
        fetched_at = data.get("fetched_at")
        return cls(
            datasets=Vocabulary(
                (DatasetType(text(row, "name"), text(row, "filename_pattern")) for row in types),
                (DataFormat(text(row, "name"), text(row, "file_extension")) for row in formats),
            ),
            labs={text(row, "name"): texts(row, "repositories") for row in labs},
            repositories={text(row, "name"): _repository(row) for row in repositories},
            fetched_at=fetched_at if isinstance(fetched_at, float) else 0.0,
        )


def fetch_vocabulary(client: AlyxClient, now: float) -> VocabularySnapshot:
    """Look up all words: four requests, more where a list is longer than a page; `now` is noted as their time."""
    lists: dict[str, object] = {name: client.list_all(f"/{name}") for name in LISTS}
    return VocabularySnapshot.from_json({**lists, "fetched_at": now})


class CachedVocabulary:
    """The vocabulary, fetched when it is old, and as it was while Alyx is down; shared by threads.

    Parameters
    ----------
    path : path
        The file that keeps it; its folder exists. What cannot be read there is fetched anew.
    max_age : float
        Seconds after which it is fetched again.
    clock : Clock
        Wall time is noted, as the file outlives the process.
    """

    def __init__(self, path: str | os.PathLike[str], *, clock: Clock, max_age: float = MAX_AGE) -> None:
        self._path = os.fspath(path)
        self._max_age = max_age
        self._clock = clock
        self._lock = threading.Lock()
        self._url = ""
        self._snapshot: VocabularySnapshot | None = None
        self._rest_until = 0.0
        self._expired = False

    @property
    def age(self) -> float | None:
        """Seconds since the vocabulary in use was fetched; None before there is one."""
        return None if self._snapshot is None else self._age_of(self._snapshot)

    def get(self, client: AlyxClient, max_age: float | None = None) -> VocabularySnapshot:
        """Return the vocabulary.

        Parameters
        ----------
        max_age : float
            How old it may be; 0 where somebody has just changed something in Alyx.

        Raises
        ------
        UnavailableError
            There is none yet, and Alyx cannot be asked.
        """
        limit = self._max_age if max_age is None else max_age
        with self._lock:
            if self._snapshot is None or self._url != client.url:
                self._snapshot, self._url = self._load(client.url), client.url
            known = self._snapshot
            if known is not None and not self._expired and 0 <= self._age_of(known) < limit:
                return known
            if known is not None and self._clock.monotonic() < self._rest_until:
                return known
            self._expired = False
            try:
                self._snapshot = _fetched(client, self._clock.now())
            except UnavailableError as error:
                self._expired = True
                if known is None:
                    raise
                self._rest_until = self._clock.monotonic() + REST
                _log.warning("vocabulary_is_old", age_s=round(self._age_of(known)), reason=error.message)
                return known
            self._save(self._snapshot)
            return self._snapshot

    def expire(self) -> None:
        """Let the next `get` ask Alyx, whatever the age: a person has just changed something there.

        Never waits for one that is asking now; Alyx may be slow.
        """
        self._rest_until = 0.0
        self._expired = True

    def _age_of(self, snapshot: VocabularySnapshot) -> float:
        return self._clock.now() - snapshot.fetched_at

    def _load(self, url: str) -> VocabularySnapshot | None:
        """Read the file; None when it is missing, damaged, or of another Alyx."""
        try:
            with open(self._path, "rb") as stream:
                kept = as_object(json.load(stream), self._path)
            return VocabularySnapshot.from_json(kept) if kept.get("url") == url else None
        except (OSError, ValueError, UnavailableError):
            return None

    def _save(self, snapshot: VocabularySnapshot) -> None:
        """Replace the file as a whole; without it only the next start during an outage is worse."""
        content = json.dumps({"url": self._url, **snapshot.to_json()}).encode()
        new = f"{self._path}.new"
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
                stream.write(content)
            os.replace(new, self._path)
        except OSError as error:
            _log.warning("vocabulary_not_saved", path=self._path, reason=error.strerror)


def _repository(row: Json) -> Repository:
    return Repository(
        name=text(row, "name"),
        globus_path=text(row, "globus_path"),
        globus_endpoint_id=text(row, "globus_endpoint_id"),
        globus_is_personal=flag(row, "globus_is_personal"),
        data_url=text(row, "data_url"),
        hostname=text(row, "hostname"),
    )


def _fetched(client: AlyxClient, now: float) -> VocabularySnapshot:
    """Fetch the vocabulary; nothing can be done without it, so whatever Alyx fails on is an outage."""
    try:
        return fetch_vocabulary(client, now)
    except UnexplainedError as error:
        raise UnavailableError(DEPENDENCY, "alyx_down", error.message) from error
