"""The sandbox's Alyx reads paths, dataset types and formats as the real one does (`reference/alyx.md` §1, §3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from labferry.sandbox.alyx.answers import FailedError, RefusedError
from labferry.sandbox.alyx.datasets import data_url
from labferry.sandbox.alyx.paths import aggregate_path, data_format_of, dataset_path, dataset_type_of, session_path
from labferry.sandbox.alyx.store import Database, Store
from labferry.sandbox.seed import plant, world

SESSION = "KS005/2023-03-01/001"
DATASET = "4ddddd0e-3437-4519-81b1-9d5fb5435ce9"


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    store = Store(tmp_path_factory.mktemp("store") / "alyx.sqlite")
    with store.database() as db:
        plant(db, world())
        yield db
    store.close()


@pytest.mark.parametrize(
    ("name", "collection", "revision"),
    [
        ("licks.times.npy", "", ""),
        ("alf/licks.times.npy", "alf", ""),
        ("alf/probe.00/licks.times.npy", "alf/probe.00", ""),
        ("alf/prøbe/licks.times.npy", "alf/prøbe", ""),
        ("alf//licks.times.npy", "alf", ""),
        ("../001/alf/licks.times.npy", "../001/alf", ""),
        ("alf/#2023-05-01#/licks.times.npy", "alf", "2023-05-01"),
        ("#r1#/licks.times.npy", "", "r1"),
        ("alf/bad dir/licks.times.npy", "alf", ""),
        ("bad dir/alf/licks.times.npy", "", ""),
        ("alf/bad dir/probe00/licks.times.npy", "alf", ""),
    ],
)
def test_a_collection_ends_at_the_first_folder_outside_the_alphabet(name: str, collection: str, revision: str) -> None:
    found = dataset_path(SESSION, name)
    assert (found.folder, found.collection, found.revision, found.name) == (
        SESSION,
        collection,
        revision,
        "licks.times.npy",
    )


def test_the_number_is_kept_as_it_was_written() -> None:
    assert dataset_path("KS005/2023-03-01/1", "alf/x.y.npy").relative_path == "KS005/2023-03-01/1/alf/x.y.npy"


@pytest.mark.parametrize("name", ["alf/#r1#/more/licks.times.npy", "alf/#r1#/#r2#/licks.times.npy"])
def test_a_revision_must_be_the_last_folder(name: str) -> None:
    with pytest.raises(RefusedError) as refused:
        dataset_path(SESSION, name)
    assert refused.value.status == 400
    assert "only 1 revision" in str(refused.value.body)


@pytest.mark.parametrize("path", ["KS005/2023-03-01", "cortexlab/Subjects/KS005/2023-03-01/001", " KS005/2023-03-01/1"])
def test_what_does_not_begin_with_a_session_is_none(path: str) -> None:
    with pytest.raises(ValueError, match="should be `nickname/YYYY-MM-DD/n/"):
        session_path(path)


def test_a_session_number_is_a_number() -> None:
    assert session_path(f"{SESSION}/alf").number == 1


def test_datasets_of_no_session_keep_their_whole_path() -> None:
    found = aggregate_path("Subjects/cortexlab/KS005", "#r1#/trials.table.pqt")
    assert found.relative_path == "Subjects/cortexlab/KS005/#r1#/trials.table.pqt"
    with pytest.raises(RefusedError):
        aggregate_path("Subjects/cortex lab", "trials.table.pqt")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("spikes.times.npy", "spikes.times"),
        ("_ibl_trials.table.pqt", "trials.table"),
        ("_iblrig_taskData.raw.jsonable", "_iblrig_taskData.raw"),
        ("_ibl_leftCamera.times.dlc.pqt", "camera.times"),
    ],
)
def test_exactly_one_type_matches(db: Database, name: str, expected: str) -> None:
    types = db.all("SELECT name, filename_pattern FROM dataset_type")
    assert dataset_type_of(name, types) == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("notes.txt", 'No dataset type found for filename "notes.txt"'),
        (
            "wheel.position.wheel.timestamps.npy",
            'Multiple matching dataset types found for filename "wheel.position.wheel.timestamps.npy": \n'
            "<DatasetType wheel.position>, <DatasetType wheel.timestamps>",
        ),
    ],
)
def test_no_type_or_several_are_an_error_of_the_server(db: Database, name: str, message: str) -> None:
    with pytest.raises(FailedError) as failed:
        dataset_type_of(name, db.all("SELECT name, filename_pattern FROM dataset_type"))
    assert str(failed.value) == message


def test_the_format_is_the_last_suffix_in_its_exact_case(db: Database) -> None:
    assert data_format_of("a.b.npy", db) == "npy"
    for name in ("a.b.NPY", "a.b.docx"):
        with pytest.raises(FailedError, match="DataFormat matching query does not exist"):
            data_format_of(name, db)


def test_the_seeds_keep_two_formats_without_suffix(db: Database) -> None:
    with pytest.raises(FailedError, match="returned more than one DataFormat -- it returned 2"):
        data_format_of("README", db)


def test_a_download_address_has_the_id_before_the_suffix() -> None:
    root = "http://127.0.0.1/cortexlab/Subjects/"
    path = f"{SESSION}/alf/licks.times.npy"
    assert data_url(root, path, DATASET) == f"{root}{SESSION}/alf/licks.times.{DATASET}.npy"
    assert data_url(None, path, DATASET) is None


def test_seeds_have_exactly_the_fields_of_alyx() -> None:
    facts: dict[str, Any] = world()
    assert {tuple(fact) for fact in facts["dataset_types"]} == {
        ("id", "name", "created_by", "description", "filename_pattern")
    }
    assert {tuple(fact) for fact in facts["data_formats"]} == {
        (
            "id",
            "json",
            "name",
            "description",
            "file_extension",
            "matlab_loader_function",
            "python_loader_function",
        )
    }
