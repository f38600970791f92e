from __future__ import annotations

import pytest

from labferry.archive.globus.paths import CollectionMap, join, split
from labferry.errors import CODES, BlockedError

MAP = CollectionMap("/mnt/data", "/rig/data")


@pytest.mark.parametrize(
    ("local", "there"),
    [
        (b"/mnt/data/Subjects/KS005/a.npy", "/rig/data/Subjects/KS005/a.npy"),
        (b"/mnt/data//Subjects/./a.npy", "/rig/data/Subjects/a.npy"),
        ("/mnt/data/mäuse/a b.npy".encode(), "/rig/data/mäuse/a b.npy"),
        (b"/mnt/data", "/rig/data"),
        (b"/mnt/data/", "/rig/data"),
    ],
)
def test_map_02_a_file_keeps_its_path_below_the_folder_that_is_shown(local: bytes, there: str) -> None:
    assert MAP.to_collection(local) == there


@pytest.mark.parametrize(
    "local", [b"/mnt/data2/x", b"/mnt/dat", b"/mnt", b"/", b"/other/mnt/data/x", b"/mnt/data/../x"]
)
def test_map_02_a_file_outside_is_refused_with_both_ways_out(local: bytes) -> None:
    with pytest.raises(BlockedError) as caught:
        MAP.to_collection(local)
    assert caught.value.code == "outside_local_path"
    assert local.decode() in caught.value.message
    assert "/mnt/data," in caught.value.message
    assert "local_path" in caught.value.hint
    assert "share" in caught.value.hint
    assert CODES["outside_local_path"].kind == "blocked"


@pytest.mark.parametrize("subdir", ["/", ""])
def test_a_collection_that_shows_everything_has_the_same_paths(subdir: str) -> None:
    assert CollectionMap("/", subdir).to_collection(b"/mnt/data/a.npy") == "/mnt/data/a.npy"


@pytest.mark.parametrize("local_path", ["/mnt/data/", "/mnt//data"])
def test_how_the_folder_is_written_does_not_matter(local_path: str) -> None:
    assert CollectionMap(local_path, "/rig/data/").to_collection(b"/mnt/data/a.npy") == "/rig/data/a.npy"


def test_a_name_that_is_not_utf8_is_refused_by_name() -> None:
    with pytest.raises(BlockedError) as caught:
        MAP.to_collection(b"/mnt/data/\xff.npy")
    assert caught.value.code == "not_transferable_name"
    assert r"\xff.npy" in caught.value.message


@pytest.mark.parametrize(
    ("base", "parts", "path"),
    [
        ("/lab/Subjects", (b"KS005/2019-04-02/001", "alf/a.npy"), "/lab/Subjects/KS005/2019-04-02/001/alf/a.npy"),
        ("/lab/Subjects/", (b"a.npy",), "/lab/Subjects/a.npy"),
        ("/", ("a.npy",), "/a.npy"),
        ("", (b"a.npy",), "/a.npy"),
        ("/", (), "/"),
    ],
)
def test_parts_are_joined_with_one_slash_each(base: str, parts: tuple[bytes | str, ...], path: str) -> None:
    assert join(base, *parts) == path


@pytest.mark.parametrize(("path", "halves"), [("/a/b.npy", ("/a", "b.npy")), ("/b.npy", ("/", "b.npy"))])
def test_a_path_is_split_into_directory_and_name(path: str, halves: tuple[str, str]) -> None:
    assert split(path) == halves
