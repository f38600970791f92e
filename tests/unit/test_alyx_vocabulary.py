"""Labs and repositories: what is decided, and what is kept on disk."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from labferry.alyx.client import AlyxClient
from labferry.alyx.resolve import local_repository, server_repository
from labferry.alyx.vocabulary import REST, CachedVocabulary, Repository, VocabularySnapshot
from labferry.datasets import DataFormat, DatasetType, Vocabulary
from labferry.errors import BlockedError, UnavailableError

SHARED = "2dc8ccc6-2f8e-11e9-9351-0e3d676669f4"
FLATIRON = "ab2d064c-413d-11eb-b188-0ee0d5d9299f"
ROOT = b"/mnt/s0/Data/Subjects"


def repository(name: str, path: str, endpoint: str = SHARED, *, personal: bool = True) -> Repository:
    return Repository(name, path, endpoint, personal, "" if personal else f"http://{name}/", "host")


CORTEX = repository("cortexlab_SR", "/mnt/s0/Data/Subjects/")
MAINEN = repository("mainenlab_SR", "/mnt/s0/Data/Subjects/")
CORTEX_SERVER = repository("flatiron_cortexlab", "/cortexlab/Subjects/", FLATIRON, personal=False)
MAINEN_SERVER = repository("flatiron_mainenlab", "/mainenlab/Subjects/", FLATIRON, personal=False)


def snapshot(labs: Mapping[str, tuple[Repository, ...]] | None = None) -> VocabularySnapshot:
    labs = labs or {"cortexlab": (CORTEX, CORTEX_SERVER), "mainenlab": (MAINEN_SERVER, MAINEN)}
    return VocabularySnapshot(
        datasets=Vocabulary([DatasetType("spikes.times", "*spikes.times*.npy")], [DataFormat("npy", ".npy")]),
        labs={lab: (*(r.name for r in repositories), "gone") for lab, repositories in labs.items()},
        repositories={r.name: r for repositories in labs.values() for r in repositories},
        fetched_at=1000.0,
    )


# --- where our files are ----------------------------------------------------------------------------------


def test_reg_16_on_a_shared_endpoint_each_lab_has_its_own_repository() -> None:
    assert local_repository(snapshot(), "cortexlab", SHARED, ROOT) == "cortexlab_SR"
    assert local_repository(snapshot(), "mainenlab", SHARED.upper() + " ", ROOT) == "mainenlab_SR"


@pytest.mark.parametrize(
    ("root", "name"),
    [
        (b"/mnt/s0/Data/Subjects", "inner"),
        (b"/mnt/s0/Data/Subjects/deeper", "inner"),
        (b"/mnt/s0/Data/Subjects2", "outer"),
        (b"/mnt/s0/Data", "outer"),
    ],
)
def test_reg_16_of_several_the_longest_path_that_contains_the_root(root: bytes, name: str) -> None:
    inner, outer = repository("inner", "/mnt/s0/Data/Subjects/"), repository("outer", "/mnt/s0")
    for order in ((inner, outer), (outer, inner)):
        assert local_repository(snapshot({"lab": order}), "lab", SHARED, root) == name


def test_ruling_14_of_several_repositories_the_longest_path_around_the_root() -> None:
    paths = {"whole": "/", "outer": "/mnt/s0", "inner": "/mnt/s0/Data", "beside": "/mnt/s0/Data/Subjects2"}
    labs = {"lab": tuple(repository(name, path) for name, path in paths.items())}
    assert local_repository(snapshot(labs), "lab", SHARED, ROOT) == "inner"


def test_reg_16_the_only_one_is_right_whatever_its_path() -> None:
    assert local_repository(snapshot({"lab": (repository("a", "/~/x/"),)}), "lab", SHARED, ROOT) == "a"


@pytest.mark.parametrize("paths", [("/mnt/s0", "/mnt/s0/"), ("/other", "/elsewhere"), ("", "")])
def test_reg_16_what_stays_ambiguous_is_blocked_and_named(paths: tuple[str, str]) -> None:
    two = (repository("b", paths[0]), repository("a", paths[1]))
    with pytest.raises(BlockedError, match=r"fit .*: a, b$") as blocked:
        local_repository(snapshot({"lab": two}), "lab", SHARED, ROOT)
    assert blocked.value.code == "ambiguous_repository"


@pytest.mark.parametrize(
    ("lab", "endpoint"), [("cortexlab", "0" * 36), ("cortexlab", ""), ("nolab", SHARED), ("", SHARED)]
)
def test_reg_16_none_is_blocked(lab: str, endpoint: str) -> None:
    with pytest.raises(BlockedError) as blocked:
        local_repository(snapshot(), lab, endpoint, ROOT)
    assert blocked.value.code == "lab_without_repository"


def test_reg_16_an_empty_endpoint_is_no_wildcard_for_repositories_without_one() -> None:
    without = {"lab": (repository("a", "/x", ""),)}
    with pytest.raises(BlockedError):
        local_repository(snapshot(without), "lab", "", ROOT)


def test_reg_16_the_configured_one_must_exist() -> None:
    assert local_repository(snapshot(), "cortexlab", "", ROOT, "mainenlab_SR") == "mainenlab_SR"
    with pytest.raises(BlockedError, match="nope") as blocked:
        local_repository(snapshot(), "cortexlab", SHARED, ROOT, "nope")
    assert blocked.value.code == "unknown_repository"


def test_ruling_16_the_server_repository_is_the_labs_own() -> None:
    assert server_repository(snapshot(), "cortexlab") == "flatiron_cortexlab"
    assert server_repository(snapshot(), "mainenlab", "auto", FLATIRON) == "flatiron_mainenlab"
    assert server_repository(snapshot(), "mainenlab", "flatiron_cortexlab") == "flatiron_cortexlab"
    assert server_repository(snapshot(), "mainenlab", "") == ""


def test_ruling_16_not_exactly_one_server_repository_is_blocked() -> None:
    second = repository("aws", "/b", "1" * 36, personal=False)
    two = snapshot({"lab": (CORTEX, CORTEX_SERVER, second)})
    with pytest.raises(BlockedError, match="aws, flatiron_cortexlab") as blocked:
        server_repository(two, "lab")
    assert blocked.value.code == "ambiguous_repository"
    assert server_repository(two, "lab", endpoint=FLATIRON) == "flatiron_cortexlab"
    for words, lab, endpoint in ((snapshot({"lab": (CORTEX,)}), "lab", ""), (two, "lab", "2" * 36), (two, "no", "")):
        with pytest.raises(BlockedError) as blocked:
            server_repository(words, lab, endpoint=endpoint)
        assert blocked.value.code == "lab_without_repository"
    with pytest.raises(BlockedError) as blocked:
        server_repository(two, "lab", "nope")
    assert blocked.value.code == "unknown_repository"


# --- what is kept on disk ---------------------------------------------------------------------------------


class SetClock:
    """A clock that only moves when told."""

    def __init__(self) -> None:
        self.wall = 2000.0
        self.steady = 10.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady


@pytest.fixture
def down() -> AlyxClient:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return connect(port, SetClock())


def connect(port: int, clock: SetClock) -> AlyxClient:
    url = f"http://127.0.0.1:{port}"
    return AlyxClient(url, username="u", token=lambda: "t", timeout=5.0, clock=clock, user_agent="test")


def keep(path: Path, client: AlyxClient, **changes: object) -> None:
    path.write_text(json.dumps({"url": client.url, **snapshot().to_json(), **changes}))


def same(one: VocabularySnapshot, other: VocabularySnapshot) -> bool:
    words = (one.datasets.types, one.datasets.formats) == (other.datasets.types, other.datasets.formats)
    return words and replace(one, datasets=other.datasets) == other


def test_a_snapshot_survives_json() -> None:
    assert same(VocabularySnapshot.from_json(json.loads(json.dumps(snapshot().to_json()))), snapshot())


def test_reg_02_the_kept_vocabulary_serves_while_alyx_is_down(tmp_path: Path, down: AlyxClient) -> None:
    clock, path = SetClock(), tmp_path / "vocabulary.json"
    keep(path, down)
    vocabulary = CachedVocabulary(path, clock=clock)
    assert vocabulary.age is None
    assert same(vocabulary.get(down), snapshot())
    assert vocabulary.age == 1000.0
    clock.wall += 10_000
    assert same(vocabulary.get(down), snapshot())  # older than it should be, and better than nothing
    assert vocabulary.age == 11_000.0


def test_an_expired_vocabulary_serves_too_while_alyx_is_down(tmp_path: Path, down: AlyxClient) -> None:
    clock, path = SetClock(), tmp_path / "vocabulary.json"
    keep(path, down)
    vocabulary = CachedVocabulary(path, clock=clock)
    for _ in range(2):
        vocabulary.expire()
        assert same(vocabulary.get(down), snapshot())
    assert vocabulary.age == 1000.0


def test_a_vocabulary_that_is_old_is_not_asked_for_again_at_once(tmp_path: Path) -> None:
    clock, path = SetClock(), tmp_path / "vocabulary.json"
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        asked: list[int] = []

        def hang_up() -> None:
            while True:
                connection, _ = listener.accept()
                if asked and asked[-1] < 0:
                    return
                asked.append(1)
                connection.close()

        pool.submit(hang_up)
        broken = connect(listener.getsockname()[1], clock)
        keep(path, broken)
        vocabulary = CachedVocabulary(path, clock=clock, max_age=100.0)
        assert same(vocabulary.get(broken), snapshot())
        first = len(asked)
        assert first > 0
        for max_age in (None, 0.0):
            vocabulary.get(broken, max_age)
        assert len(asked) == first
        clock.steady += REST
        assert same(vocabulary.get(broken), snapshot())
        assert len(asked) > first
        asked.append(-1)
        socket.create_connection(listener.getsockname()).close()


@pytest.mark.parametrize(
    "changes", [{"url": "http://other"}, {"labs": None}, {"dataset-types": [1]}, {"data-repository": "x"}]
)
def test_a_file_of_another_alyx_or_shape_is_not_believed(
    tmp_path: Path, down: AlyxClient, changes: dict[str, object]
) -> None:
    path = tmp_path / "vocabulary.json"
    keep(path, down, **changes)
    with pytest.raises(UnavailableError):
        CachedVocabulary(path, clock=SetClock()).get(down)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff\xfe"])
def test_a_damaged_file_is_not_believed(tmp_path: Path, down: AlyxClient, content: bytes | None) -> None:
    path = tmp_path / "vocabulary.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnavailableError):
        CachedVocabulary(path, clock=SetClock()).get(down)
