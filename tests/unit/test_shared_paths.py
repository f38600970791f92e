"""MAP-02: `config-paths` of Globus Connect Personal, as people and its installer write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from labferry.config.shared_paths import SharedPath, read_shared_paths, shared_paths
from labferry.errors import ConfigError


def paths(*lines: str) -> list[tuple[str, bool, bool]]:
    return [(one.path, one.shareable, one.writable) for one in shared_paths(lines, "/home/lab")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("~/,0,1", [("/home/lab", False, True)]),
        ("~,1,0", [("/home/lab", True, False)]),
        ("~/data,1,1\n", [("/home/lab/data", True, True)]),
        ("/mnt/s0/Data/Subjects/,0,1\r\n", [("/mnt/s0/Data/Subjects", False, True)]),
        ("/mnt/s0", [("/mnt/s0", False, True)]),
        ("/mnt/s0,1", [("/mnt/s0", True, True)]),
        ('"/mnt/a, b",0,0', [("/mnt/a, b", False, False)]),
        (" /mnt/s0 , 1 , 0 ", [("/mnt/s0", True, False)]),
        ("/,0,0", [("/", False, False)]),
        ("", []),
        ("data,0,1", []),
        ("~other/data,0,1", []),
        (",,", []),
        ("\x00\x01garbage", []),
    ],
)
def test_map_02_a_line_names_a_folder_or_nothing(line: str, expected: list[tuple[str, bool, bool]]) -> None:
    assert paths(line) == expected


def test_map_02_every_line_counts() -> None:
    """A whole file split at commas would make one path of the end of a line and the beginning of the next."""
    assert [path for path, _, _ in paths("~/,0,1\n", "/mnt/s0/Data/Subjects,0,1\n")] == [
        "/home/lab",
        "/mnt/s0/Data/Subjects",
    ]


@pytest.mark.parametrize(
    ("path", "inside"),
    [("/mnt/data", True), ("/mnt/data/x", True), ("/mnt/data2/x", False), ("/mnt", False), ("/mnt/data/../x", True)],
)
def test_map_02_below_is_a_matter_of_parts(path: str, inside: bool) -> None:
    assert SharedPath("/mnt/data", shareable=False, writable=True).holds(path) is inside


def place(tmp_path: Path) -> Path:
    file = tmp_path / ".globusonline" / "lta" / "client-id.txt"
    file.parent.mkdir(parents=True)
    return file


def test_map_02_without_the_file_it_is_the_home_of_whoever_runs_it(tmp_path: Path) -> None:
    assert [one.path for one in read_shared_paths(str(place(tmp_path)))] == [str(tmp_path)]


def test_bad_input_what_is_no_text_names_what_can_be_read(tmp_path: Path) -> None:
    file = place(tmp_path)
    (file.parent / "config-paths").write_bytes(b"\xff\xfe,0,1\n/mnt/\xe4,0,1\n/mnt/s0,0,1\n")
    assert [one.path for one in read_shared_paths(str(file))][-1] == "/mnt/s0"


def test_bad_input_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    file = place(tmp_path)
    (file.parent / "config-paths").mkdir()
    with pytest.raises(ConfigError) as caught:
        read_shared_paths(str(file))
    assert "config-paths cannot be read: Is a directory" in caught.value.message
