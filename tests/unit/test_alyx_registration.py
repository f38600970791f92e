"""What is sent to `/register-file`, and what is made of the answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labferry.alyx.dataset_rows import RemoteDataset, SessionDatasets
from labferry.alyx.file_records import RemoteFileRecord
from labferry.alyx.registration import FileToRegister, RegisteredFile, compare_answer, files_body
from labferry.alyx.sessions import owner, ownership
from labferry.errors import BlockedError

PATH = "KS005/2019-04-02/001"
FILES = [
    FileToRegister("_ibl_experiment.description.yaml", "a" * 32, 187),
    FileToRegister("alf/probe00/#2023-01-01#/spikes.times.npy", "b" * 32, 0),
    FileToRegister("raw_behavior_data/_iblrig_taskData.raw.jsonable", "c" * 32, 2**40),
]


def body(files: list[FileToRegister] | None = None, **changes: str) -> dict[str, object]:
    words = {"lab": "cortexlab", "repository": "cortexlab_SR", "versions": "0.1.0", "created_by": "rig_user", **changes}
    return files_body(words.pop("alyx_path", PATH), FILES if files is None else files, **words)


def answered(relpath: str, collection: str, revision: str, name: str) -> RegisteredFile:
    records = (
        RemoteFileRecord("r1", "flatiron_cortexlab", f"{PATH}/{relpath}", exists=False),
        RemoteFileRecord("r2", "cortexlab_SR", f"{PATH}/{relpath}", exists=True),
    )
    return RegisteredFile("d", collection, revision, name, 1, records)


GOOD = [
    answered(FILES[0].relpath, "", "", "_ibl_experiment.description.yaml"),
    answered(FILES[1].relpath, "alf/probe00", "2023-01-01", "spikes.times.npy"),
    answered(FILES[2].relpath, "raw_behavior_data", "", "_iblrig_taskData.raw.jsonable"),
]


def test_reg_17_the_body_is_complete_and_explicit() -> None:
    assert body() == {
        "path": PATH,
        "filenames": [file.relpath for file in FILES],
        "hashes": ["a" * 32, "b" * 32, "c" * 32],
        "filesizes": [187, 0, 2**40],
        "versions": ["0.1.0"] * 3,
        "labs": "cortexlab",
        "name": "cortexlab_SR",
        "exists": True,
        "server_only": False,
        "check_protected": True,
        "created_by": "rig_user",
    }


def test_without_a_user_name_the_token_says_who_we_are() -> None:
    assert "created_by" not in body(created_by="")


@pytest.mark.parametrize(
    "path", ["KS005/2019-04-02/1", "KS005/2019-04-02", "lab/Subjects/KS005/2019-04-02/001", "K S/2019-04-02/001", ""]
)
def test_a_path_that_alyx_reads_differently_is_refused(path: str) -> None:
    with pytest.raises(BlockedError, match="no session path"):
        body(alyx_path=path)


@pytest.mark.parametrize(
    "relpath",
    [
        "alf/bad dir/spikes.amps.npy",
        "alf/pr\u00f8be/spikes.amps.npy",
        "alf/../spikes.amps.npy",
        "../002/alf/spikes.amps.npy",
        "/alf/spikes.amps.npy",
        "alf//spikes.amps.npy",
        "alf/#2023-01-01#/probe00/spikes.amps.npy",
        "alf\\spikes.amps.npy",
        "alf/\udcffspikes.amps.npy",
        "alf/",
        "",
        f"alf/{'x' * 260}.y.npy",
        f"{'x' * 260}/x.y.npy",
    ],
)
def test_a_file_that_alyx_would_change_silently_is_refused(relpath: str) -> None:
    with pytest.raises(BlockedError, match="as it is"):
        body([*FILES, FileToRegister(relpath, "d" * 32, 1)])


def test_an_answer_like_the_question_is_right() -> None:
    assert compare_answer(body(), GOOD) == []
    assert compare_answer(body([]), []) == []


def test_a_dropped_folder_is_noticed() -> None:
    dropped = [GOOD[0], replace(GOOD[1], collection="alf"), GOOD[2]]
    assert compare_answer(body(), dropped) == [
        "alf/probe00/#2023-01-01#/spikes.times.npy was registered as alf/#2023-01-01#/spikes.times.npy"
    ]


def test_a_short_answer_is_noticed() -> None:
    assert compare_answer(body(), GOOD[:2]) == ["3 files were sent, 2 were registered"]
    assert "3 files were sent, 4 were registered" in compare_answer(body(), [*GOOD, GOOD[0]])


def test_another_order_is_noticed() -> None:
    assert len(compare_answer(body(), [GOOD[1], GOOD[0], GOOD[2]])) == 2


def test_a_missing_file_record_is_noticed() -> None:
    wrong_place = replace(GOOD[0], file_records=GOOD[0].file_records[:1])
    assert compare_answer(body(), [wrong_place, *GOOD[1:]]) == [
        "_ibl_experiment.description.yaml has no file record in cortexlab_SR"
    ]
    unpadded = RemoteFileRecord("r", "cortexlab_SR", "KS005/2019-04-02/1/_ibl_experiment.description.yaml", exists=True)
    assert len(compare_answer(body(), [replace(GOOD[0], file_records=(unpadded,)), *GOOD[1:]])) == 1


# --- rows of a session ------------------------------------------------------------------------------------

RECORDS = GOOD[0].file_records
ROW = RemoteDataset("2", "alf", "", "x.y.npy", "a" * 32, 1, "0.1.0", False, True, "2023-01-01T00:00:00", RECORDS)


def test_one_row_per_file_is_no_orphan() -> None:
    other = replace(ROW, id="3", revision="2023-01-01")
    datasets = SessionDatasets([ROW, other, ROW])  # the first again, from an overlapping page
    assert dict(datasets) == {ROW.key: ROW, other.key: other}
    assert (len(datasets), datasets.doubled, datasets.orphans) == (2, {}, ())


@pytest.mark.parametrize("orphan_id", ["1", "3"])
def test_a_second_row_without_file_records_is_the_orphan(orphan_id: str) -> None:
    orphan = replace(ROW, id=orphan_id, file_records=())
    datasets = SessionDatasets([orphan, ROW])
    assert datasets[ROW.key] == ROW
    assert datasets.doubled == {ROW.key: (ROW, orphan)}
    assert datasets.orphans == (orphan,)


def test_a_lonely_row_without_file_records_is_no_orphan() -> None:
    """The next registration completes it; deleting it is not needed."""
    lonely = replace(ROW, file_records=())
    assert SessionDatasets([lonely]).orphans == ()
    both_empty = SessionDatasets([lonely, replace(lonely, id="3")])
    assert both_empty.orphans == ()
    assert list(both_empty.doubled) == [ROW.key]


def test_two_rows_with_file_records_are_doubled_and_none_may_go() -> None:
    datasets = SessionDatasets([ROW, replace(ROW, id="1")])
    assert list(datasets.doubled) == [ROW.key]
    assert datasets.orphans == ()


# --- sessions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("json", [None, "text", [], {}, {"labferry": None}, {"labferry": {}}, {"labferry": "x"}])
def test_ruling_08_a_session_without_our_mark_has_no_owner(json: object) -> None:
    assert owner(json) is None


def test_ruling_08_our_mark_names_the_server() -> None:
    assert owner(ownership("lab-server-1")) == "lab-server-1"
    assert owner({"IBLRIG_VERSION": "8", "labferry": {"server_name": "other"}}) == "other"
    assert owner({"labferry": {"server_name": 7}}) is None
    assert owner({"labferry": {"server_name": ""}}) is None
