from __future__ import annotations

import os

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from labferry.archive.globus.paths import CollectionMap, join, split
from labferry.errors import BlockedError

# Names as Globus can carry them: text without what cannot be in a name; some that look like something else.
NAMES = st.one_of(
    st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=6),
    st.sampled_from(["data", "data2", "...", " ", "~", "%2F"]),
).filter(lambda name: name not in {".", ".."})
FOLDERS = st.lists(NAMES, max_size=3).map(lambda names: "/" + "/".join(names))
RELATIVE = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


def local(folder: str, relative: str) -> bytes:
    return os.fsencode(folder.rstrip("/") + "/" + relative)


@given(FOLDERS, FOLDERS, RELATIVE, RELATIVE)
@example("/mnt/data", "/", "a", "data/a")
def test_map_02_two_files_never_get_one_path(folder: str, subdir: str, one: str, other: str) -> None:
    mapping = CollectionMap(folder, subdir)
    same = mapping.to_collection(local(folder, one)) == mapping.to_collection(local(folder, other))
    assert same == (one == other)


@given(FOLDERS, FOLDERS, RELATIVE)
def test_map_02_a_file_stays_below_the_folder_in_the_collection(folder: str, subdir: str, relative: str) -> None:
    there = CollectionMap(folder, subdir).to_collection(local(folder, relative))
    assert there == join(subdir, relative)
    assert there.removeprefix(subdir.rstrip("/")) == "/" + relative
    assert join(*split(there)) == there


@given(FOLDERS, FOLDERS, FOLDERS, RELATIVE)
@example("/mnt/data", "/", "/mnt/data2", "x")
def test_map_02_a_file_elsewhere_has_no_path(folder: str, subdir: str, elsewhere: str, relative: str) -> None:
    inside = folder.strip("/").split("/") if folder != "/" else []
    path = local(elsewhere, relative)
    assume(path.decode().strip("/").split("/")[: len(inside)] != inside)
    with pytest.raises(BlockedError, match="is not below") as caught:
        CollectionMap(folder, subdir).to_collection(path)
    assert caught.value.code == "outside_local_path"
