"""REG-14: which names are old, judged by the version of the rig."""

from __future__ import annotations

from pathlib import Path

import pytest

from labferry.errors import BlockedError
from labferry.sessions.record import new_name, release, rig_version
from support.records import old_settings, write_task

ITI, CODE = b"_ibl_trials.iti_duration.npy", b"_iblrig_taskCodeFiles.raw.zip"


@pytest.mark.parametrize(
    ("version", "numbers"),
    [
        ("3.2.3", (3, 2, 3)),
        ("v3.2.3", (3, 2, 3)),
        ("3.2.3.0", (3, 2, 3)),
        (" 6.4 ", (6, 4)),
        ("8.12.5.dev3+g12ab", (8, 12, 5)),
        ("7.0.0rc1", (7,)),
        ("0", ()),
        ("3.2.x", None),
        ("8.12.5-dirty", None),
        ("master", None),
        ("", None),
        ("3..2", None),
    ],
)
def test_reg_14_a_version_is_read_as_python_does_or_not_at_all(version: str, numbers: tuple[int, ...] | None) -> None:
    assert release(version) == numbers


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        (ITI, "3.2.3", b"_ibl_trials.itiDuration.npy"),
        (ITI, "3.2", b"_ibl_trials.itiDuration.npy"),
        (ITI, "3.2.4", None),
        (ITI, "3.10", None),
        (CODE, "3.2.3", b"_iblrig_codeFiles.raw.zip"),
        (CODE, "8.24.4", b"_iblrig_codeFiles.raw.zip"),
        (b"_iblrig_codeFiles.raw.zip", "3.2.3", None),
    ],
)
def test_reg_14_which_names_are_old(name: bytes, version: str, expected: bytes | None) -> None:
    numbers = release(version)
    assert numbers is not None
    assert new_name(name, numbers) == expected


def test_reg_14_the_first_task_says_which_rig_it_was(tmp_path: Path) -> None:
    assert rig_version(bytes(tmp_path)) == ""
    day = old_settings()["SESSION_DATE"]
    write_task(tmp_path, old_settings("6.4.2", SESSION_DATETIME=f"{day}T11:00:00"), collection="raw_task_data_00")
    write_task(tmp_path, old_settings("6.4.1", SESSION_DATETIME=f"{day}T10:00:00"), collection="raw_task_data_01")
    assert rig_version(bytes(tmp_path)) == "6.4.1"
    write_task(tmp_path, b"{", collection="raw_task_data_01")
    with pytest.raises(BlockedError) as refused:
        rig_version(bytes(tmp_path))
    assert refused.value.code == "corrupt_settings"
