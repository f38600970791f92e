from __future__ import annotations

import json

import pytest

from labferry.archive.naming import before_lab, dataset_id, destination, with_dataset_id, with_lab
from labferry.errors import ConfigError
from support.trees import SHARED

SESSION = b"KS005/2019-04-02/001"
UUID = "7f0619de-a0dd-40d1-a804-55e7d8b8a80f"
EXCHANGES = SHARED / "data" / "alyx" / "exchanges.jsonl"


@pytest.mark.parametrize(
    ("relpath", "expected"),
    [
        (b"alf/probe00/spikes.times.npy", b"alf/probe00/spikes.times.%s.npy"),
        (b"alf/#2023-05-01#/_ibl_trials.table.pqt", b"alf/#2023-05-01#/_ibl_trials.table.%s.pqt"),
        (b"raw_ephys_data/probe00/x_g0_t0.imec0.ap.cbin", b"raw_ephys_data/probe00/x_g0_t0.imec0.ap.%s.cbin"),
        (b"raw_session.flag", b"raw_session.%s.flag"),
        (b"alf/probe.00/README", b"alf/probe.00/README.%s"),
        (b".hidden", b".hidden.%s"),
        (b"odd.", b"odd.%s."),
    ],
)
def test_map_14_alyx_names_have_the_dataset_before_the_extension(relpath: bytes, expected: bytes) -> None:
    name = destination("alyx", SESSION, relpath, UUID)
    assert name == SESSION + b"/" + expected % UUID.encode()
    assert dataset_id(name) == (UUID, SESSION + b"/" + relpath)


@pytest.mark.skipif(not EXCHANGES.is_file(), reason="needs the reference data in ../shared")
def test_map_14_alyx_names_are_those_of_recorded_data_urls() -> None:
    seen = 0
    for line in EXCHANGES.read_text(encoding="utf-8").splitlines():
        for record in file_records(json.loads(line)["response_body"]):
            url, plain = record["data_url"].encode(), record["relative_path"].encode()
            inserted = dataset_id(url)
            assert inserted is not None, url
            uuid, url_without = inserted
            assert url_without.endswith(plain)
            assert url.endswith(b"/Subjects/" + with_dataset_id(plain, uuid))
            seen += 1
    assert seen > 0


def file_records(body: object) -> list[dict[str, str]]:
    if isinstance(body, list):
        return [record for part in body for record in file_records(part)]
    if not isinstance(body, dict):
        return []
    here = [body] if body.get("data_url") and "relative_path" in body else []
    return here + [record for part in body.values() for record in file_records(part)]


def test_ruling_15_plain_keeps_the_name_also_one_that_is_not_utf8() -> None:
    assert destination("plain", SESSION, b"raw/\xff\xfe.bin") == SESSION + b"/raw/\xff\xfe.bin"


def test_map_naming_is_refused_with_a_way_out() -> None:
    with pytest.raises(ConfigError) as caught:
        destination("map", SESSION, b"x.npy")
    assert "map" in caught.value.message
    assert "plain" in caught.value.hint


def test_alyx_names_need_a_dataset() -> None:
    with pytest.raises(ValueError, match="no dataset"):
        destination("alyx", SESSION, b"x.npy", None)
    with pytest.raises(ValueError, match="UUID"):
        destination("alyx", SESSION, b"x.npy", "../../etc/passwd")


@pytest.mark.parametrize("bad", [b"", b"/etc/passwd", b"../x", b"a/../x", b"a//x", b"a/.", b"x\0y", b"a/"])
def test_no_name_leaves_its_folder(bad: bytes) -> None:
    with pytest.raises(ValueError, match="below its folder"):
        destination("plain", SESSION, bad)
    with pytest.raises(ValueError, match="below its folder"):
        destination("plain", bad, b"x.npy")


@pytest.mark.parametrize(
    "name",
    [b"spikes.times.npy", b"README", b"", UUID.encode(), b"." + UUID.encode(), b"a." + UUID.upper().encode() + b".npy"],
)
def test_names_without_a_dataset_are_left_alone(name: bytes) -> None:
    assert dataset_id(name) is None


@pytest.mark.parametrize(
    ("path", "filled", "above"),
    [
        (b"/mnt/nas/{lab}/Subjects", b"/mnt/nas/cortexlab/Subjects", b"/mnt/nas"),
        (b"/mnt/nas/lab-{lab}", b"/mnt/nas/lab-cortexlab", b"/mnt/nas"),
        (b"/{lab}", b"/cortexlab", b"/"),
        (b"/mnt/nas", b"/mnt/nas", None),
    ],
)
def test_ruling_16_the_lab_is_filled_into_the_path(path: bytes, filled: bytes, above: bytes | None) -> None:
    assert with_lab(path, "cortexlab") == filled
    assert before_lab(path) == above


@pytest.mark.parametrize("lab", ["", ".", "..", "a/b", "a\0b"])
def test_a_lab_that_is_no_folder_name_is_refused(lab: str) -> None:
    with pytest.raises(ValueError, match="name of a folder"):
        with_lab(b"/mnt/nas/{lab}", lab)
