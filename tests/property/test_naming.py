from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labferry.archive.naming import dataset_id, destination, with_dataset_id

UUIDS = st.uuids().map(str)
SESSION = b"KS005/2019-04-02/001"

# Names as disks have them: any bytes but the two that cannot be in a name, dots and UUIDs more often than by chance.
PIECES = st.one_of(
    st.binary(max_size=6).map(lambda raw: raw.replace(b"/", b"").replace(b"\0", b"")),
    st.sampled_from([b".", b"..", b"npy", b"spikes", b"#2020-01-01#"]),
    UUIDS.map(str.encode),
)
NAMES = st.lists(PIECES, min_size=1, max_size=5).map(b".".join).filter(lambda name: name not in {b"", b".", b".."})
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(b"/".join)


@given(PATHS, UUIDS)
@example(b"a.7f0619de-a0dd-40d1-a804-55e7d8b8a80f", "7055aab3-28ca-410d-be58-5872925c0fea")
@example(b"7f0619de-a0dd-40d1-a804-55e7d8b8a80f", "7055aab3-28ca-410d-be58-5872925c0fea")
@example(b"a.7f0619de-a0dd-40d1-a804-55e7d8b8a80f.npy", "7055aab3-28ca-410d-be58-5872925c0fea")
def test_the_dataset_can_be_read_back_from_the_name(path: bytes, uuid: str) -> None:
    assert dataset_id(with_dataset_id(path, uuid)) == (uuid, path)


@given(PATHS)
def test_a_name_that_says_it_has_a_dataset_is_the_name_of_that_dataset(path: bytes) -> None:
    found = dataset_id(path)
    if found is not None:
        uuid, plain = found
        assert with_dataset_id(plain, uuid) == path


@given(PATHS, UUIDS, st.sampled_from(["alyx", "plain"]))
def test_a_destination_stays_in_the_folder_of_its_session(path: bytes, uuid: str, naming: str) -> None:
    name = destination(naming, SESSION, path, uuid)
    assert os.path.normpath(b"/base/" + name) == b"/base/" + name
    assert name.startswith(SESSION + b"/")
    assert os.path.dirname(name) == os.path.dirname(SESSION + b"/" + path)


@given(st.lists(st.one_of(NAMES, st.sampled_from([b"", b".", b".."])), max_size=4).map(b"/".join), UUIDS)
def test_whatever_the_path_nothing_escapes(path: bytes, uuid: str) -> None:
    if {b"", b".", b".."}.isdisjoint(path.split(b"/")):
        assert destination("alyx", SESSION, path, uuid).startswith(SESSION + b"/")
    else:
        with pytest.raises(ValueError, match="below its folder"):
            destination("alyx", SESSION, path, uuid)
