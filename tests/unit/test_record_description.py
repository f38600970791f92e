"""The experiment description: what each odd form of it comes to (REG-04)."""

from __future__ import annotations

from pathlib import Path

import pytest

from labferry.errors import BlockedError
from labferry.sessions.record import Device, SessionFolder, Sync, Task, parse_description, read_description
from support.records import DESCRIPTION, describe, new_settings, record_of, trial, write_task
from support.trees import SHARED, needs_shared

REAL = """
devices:
  cameras:
    left: {collection: raw_video_data, sync_label: audio}
  mesoscope:
    mesoscope: {collection: raw_imaging_data*}
  neuropixel:
    probe00: null
procedures:
- Behavior training/tasks
projects:
- ibl_mainenlab
sync:
  nidq: {acquisition_software: spikeglx, collection: raw_ephys_data, extension: bin}
tasks:
- _iblrig_tasks_trainingChoiceWorld: {collection: raw_task_data_00, sync_label: bpod}
- _iblrig_tasks_passiveChoiceWorld: {collection: raw_task_data_01}
version: 1.0.0
"""


def test_reg_04_tasks_devices_and_sync_are_read() -> None:
    description = parse_description(REAL.encode())
    assert description.tasks == (
        Task("_iblrig_tasks_trainingChoiceWorld", "raw_task_data_00"),
        Task("_iblrig_tasks_passiveChoiceWorld", "raw_task_data_01"),
    )
    assert description.devices == (
        Device("cameras", "left", "raw_video_data"),
        Device("mesoscope", "mesoscope", "raw_imaging_data*"),
        Device("neuropixel", "probe00", None),
    )
    assert description.sync == Sync("nidq", "raw_ephys_data")
    assert description.projects == ("ibl_mainenlab",)
    assert description.procedures == ("Behavior training/tasks",)
    assert description.version == "1.0.0"
    assert description.collections == (
        "raw_task_data_00",
        "raw_task_data_01",
        "raw_video_data",
        "raw_imaging_data*",
        "raw_ephys_data",
    )
    assert description.remarks == ()


@needs_shared
def test_reg_04_a_real_description_is_read() -> None:
    description = parse_description((SHARED / "data" / "ibl" / DESCRIPTION).read_bytes())
    assert description.task_collections == ("raw_passive_data", "raw_behavior_data")
    assert description.projects == ("ibl_neuropixel_brainwide_01", "ibl_cortexlab")
    assert [device.label for device in description.devices] == ["widefield", "microphone", "probe00", "probe01"]
    assert description.remarks == ()


def test_reg_04_without_a_description_the_behaviour_folder_is_the_task(tmp_path: Path) -> None:
    write_task(tmp_path, new_settings(), [trial(0)])
    record = record_of(tmp_path)
    assert [run.collection for run in record.runs] == ["raw_behavior_data"]
    assert (record.described, record.passive, record.projects) == (False, False, ())


def test_reg_04_without_a_description_chained_tasks_are_found_too(tmp_path: Path) -> None:
    write_task(tmp_path, new_settings(), collection="raw_task_data_00")
    (tmp_path / "raw_task_data_01").mkdir()  # the rig made the folder and never started
    assert [run.collection for run in record_of(tmp_path).runs] == ["raw_task_data_00"]


@pytest.mark.parametrize("content", [b"", b"\n# nothing yet\n", b"null\n", b"{}\n"])
def test_reg_04_an_empty_description_is_as_none_with_a_remark(tmp_path: Path, content: bytes) -> None:
    write_task(tmp_path, new_settings())
    (tmp_path / DESCRIPTION).write_bytes(content)
    record = record_of(tmp_path)
    assert [run.collection for run in record.runs] == ["raw_behavior_data"]
    assert [remark.code for remark in record.description.remarks] == ["odd_description"]
    assert not record.described


@pytest.mark.parametrize("tasks", ["tasks: null", "tasks: []", "tasks: {}", "projects: [a]"])
def test_reg_04_no_tasks_is_a_session_without_a_task(tmp_path: Path, tasks: str) -> None:
    describe(tmp_path, f"{tasks}\n")
    (tmp_path / "raw_ephys_data").mkdir()
    (tmp_path / "raw_ephys_data" / "_spikeglx_ephysData_g0.imec0.ap.bin").touch()
    record = record_of(tmp_path)
    assert record.passive
    assert record.described


def test_reg_04_settings_on_disk_are_read_even_if_no_task_is_described(tmp_path: Path) -> None:
    describe(tmp_path, "tasks: null\n")
    write_task(tmp_path, new_settings())
    assert not record_of(tmp_path).passive


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"tasks: [unclosed\n", "not YAML"),
        (b"a: b: c\n", "not YAML"),
        (b"--- a\n--- b\n", "not YAML"),
        (b"a: &x [*x]\n", "not YAML"),
        (b"a: *nowhere\n", "not YAML"),
        (b"\0\0\0\0", "not YAML"),
        (b"projects: [Universit\xe9]\n", "UTF-8"),
        (b"- tasks\n- devices\n", "a list"),
        (b"just words\n", "just words"),
        (b"[" * 5000, "nested"),
        (b"tasks: {a: {collection: x}}\ntasks: {b: {collection: y}}\n", "more than once"),
        (b"tasks: [{a: raw_behavior_data}]\n", "details"),
        (b"tasks: [{a: {collection: ../../etc}}]\n", "folder of the session"),
        (b"tasks: [{a: {collection: /etc}}]\n", "folder of the session"),
        (b"tasks: [{a: {collection: [x]}}]\n", "folder of the session"),
        (b"tasks: [{a: {collection: raw_task_data*}}]\n", "folder of the session"),
        (b"tasks: [[a]]\n", "name"),
        (b"projects: {a: b}\n", "name"),
        (b"projects: [" + b"x" * 300 + b"]\n", "name"),
        (b"projects: [" + b",".join(b"p%d" % i for i in range(300)) + b"]\n", "300 projects"),
        (b"x: " + b"y" * 300_000, "larger"),
    ],
)
def test_reg_04_what_is_no_description_is_blocked_by_name(tmp_path: Path, content: bytes, word: str) -> None:
    (tmp_path / DESCRIPTION).write_bytes(content)
    (tmp_path / "data.bin").touch()
    with pytest.raises(BlockedError) as error:
        record_of(tmp_path)
    assert error.value.code == "bad_description"
    assert word in error.value.message
    assert DESCRIPTION in error.value.message
    assert len(error.value.message) < 400
    assert error.value.message.isprintable()


def test_reg_04_anchors_cannot_make_a_small_file_large() -> None:
    levels = [b"a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    levels += [b"a%d: &a%d [%s]" % (i, i, b",".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 12)]
    description = parse_description(b"\n".join([*levels, b"<<: *a3", b"projects: [a]", b""]))
    assert description.projects == ("a",)


def test_reg_04_two_files_the_proper_one_counts(tmp_path: Path) -> None:
    describe(tmp_path, "projects: [right]\n")
    (tmp_path / "_ibl_experiment.description_behavior.yaml").write_text("projects: [wrong]\n")
    description = read_description(SessionFolder(str(tmp_path).encode()))
    assert description.projects == ("right",)
    assert [remark.code for remark in description.remarks] == ["odd_description"]
    assert "_behavior" in description.remarks[0].text


def test_reg_04_a_single_file_of_another_name_is_read(tmp_path: Path) -> None:
    (tmp_path / "_ibl_experiment.description_behavior.yaml").write_text("projects: [stub]\n")
    assert read_description(SessionFolder(str(tmp_path).encode())).projects == ("stub",)


def test_reg_04_several_files_without_the_proper_one_are_blocked(tmp_path: Path) -> None:
    for device in ("behavior", "ephys"):
        (tmp_path / f"_ibl_experiment.description_{device}.yaml").write_text("projects: [a]\n")
    with pytest.raises(BlockedError, match=r"_behavior.*_ephys") as error:
        read_description(SessionFolder(str(tmp_path).encode()))
    assert error.value.code == "bad_description"


@pytest.mark.parametrize(("version", "kept"), [("9.9.9", "9.9.9"), ("1.0.1", "1.0.1"), ("soon", ""), ("[1]", "")])
def test_reg_04_another_version_is_read_as_the_known_one(version: str, kept: str) -> None:
    description = parse_description(f"version: {version}\nprojects: [a]\n".encode())
    assert (description.version, description.projects) == (kept, ("a",))
    assert [remark.code for remark in description.remarks] == ["odd_description"]


@pytest.mark.parametrize("version", ["1.0.0", "0.1.0", "1.0", "null"])
def test_reg_04_known_versions_need_no_remark(version: str) -> None:
    assert parse_description(f"version: {version}\nprojects: [a]\n".encode()).remarks == ()


def test_reg_04_of_two_syncs_the_first_counts() -> None:
    description = parse_description(b"sync:\n  nidq: {collection: raw_ephys_data}\n  bpod: {collection: x}\n")
    assert description.sync == Sync("nidq", "raw_ephys_data")
    assert [remark.code for remark in description.remarks] == ["odd_description"]
    assert "nidq, bpod" in description.remarks[0].text


@pytest.mark.parametrize("part", ["devices: [left]", "devices: {cameras: left}", "sync: nidq", "sync: {nidq: [x]}"])
def test_reg_04_odd_devices_do_not_hold_up_a_session(part: str) -> None:
    description = parse_description(f"{part}\nprojects: [a]\n".encode())
    assert (description.devices, description.sync, description.projects) == ((), None, ("a",))
    assert [remark.code for remark in description.remarks] == ["odd_description"]


@pytest.mark.parametrize(
    "tasks",
    ["tasks: {a: {collection: x}, b: {collection: y}}", "tasks: [{a: {collection: x}, b: {collection: y}}]"],
)
def test_reg_04_older_forms_of_tasks_are_read_in_their_order(tasks: str) -> None:
    assert parse_description(tasks.encode()).tasks == (Task("a", "x"), Task("b", "y"))


@pytest.mark.parametrize("tasks", ["tasks: a", "tasks: [a]", "tasks: [{a: null}]", "tasks: [{a: {collection: null}}]"])
def test_reg_04_a_task_may_have_no_collection(tasks: str) -> None:
    description = parse_description(tasks.encode())
    assert (description.tasks, description.task_collections) == ((Task("a", None),), ())


def test_reg_04_projects_are_the_ordered_union(tmp_path: Path) -> None:
    describe(tmp_path, "projects: [zebra, apple]\nprocedures: Behavior training/tasks\n")
    (tmp_path / "data.bin").touch()
    record = record_of(tmp_path, projects=["apple", "banana"], procedures=["Imaging"])
    assert record.projects == ("zebra", "apple", "banana")
    assert record.procedures == ("Behavior training/tasks", "Imaging")


def test_reg_04_one_project_as_text_is_one_project(tmp_path: Path) -> None:
    describe(tmp_path, "projects: ibl\n")
    (tmp_path / "data.bin").touch()
    assert record_of(tmp_path, projects="other").projects == ("ibl", "other")
    assert parse_description(b"projects: null\n").projects == ()
    assert parse_description(b"projects: [2023-01-01, 17, yes]\n").projects == ("2023-01-01", "17", "yes")
