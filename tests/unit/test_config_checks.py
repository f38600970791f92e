"""Whether the places that a configuration names can be used, as whoever looks sees it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.config import Config
from labferry.config.checks import Check, Result, lock_holder, places
from support.config_file import VALID, config_file
from support.rights import folder_for_everyone, without_rights


def config(folder: Path, root: Path | None = None, state: Path | None = None) -> Config:
    """Return a configuration with a root that has something in it and a state directory, or with other ones."""
    written = config_file(folder)
    if root is None:
        root = folder / "Subjects"
        (root / "KS005").mkdir(parents=True)
    if state is None:
        state = folder / "state"
        state.mkdir()
    return written.load(f'state_dir = "{state}"\n{VALID.replace("/mnt/s0/Data/Subjects", str(root))}')


def found(config: Config) -> dict[str, Check]:
    return {check.name: check for check in places(config, {})}


def test_all_is_well(tmp_path: Path) -> None:
    checks = found(config(tmp_path))
    assert {name: check.result for name, check in checks.items()} == {
        "secret:alyx.password_file": Result.OK,
        "state_dir": Result.OK,
        "root:s0": Result.OK,
    }
    assert checks["root:s0"].fields() == {
        "name": "root:s0",
        "result": "ok",
        "text": f"{tmp_path}/Subjects can be read",
        "hint": "",
    }


@pytest.mark.parametrize(("mode", "result"), [(0o600, Result.OK), (0o400, Result.OK), (0o640, Result.WARNING)])
def test_a_secret_that_others_can_read_is_a_warning(tmp_path: Path, mode: int, result: Result) -> None:
    checked = config(tmp_path)
    (tmp_path / "alyx-password").chmod(mode)
    check = found(checked)["secret:alyx.password_file"]
    assert (check.result, check.hint) == (result, "" if result is Result.OK else f"chmod 600 {tmp_path}/alyx-password")


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"x" * 100_000])
def test_a_secret_that_is_none_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    checked, file = config(tmp_path), tmp_path / "alyx-password"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    check = found(checked)["secret:alyx.password_file"]
    assert check.result is Result.ERROR
    assert check.hint


def test_places_that_are_not_there(tmp_path: Path) -> None:
    checks = found(config(tmp_path, root=tmp_path / "unmounted", state=tmp_path / "new"))
    assert checks["state_dir"].result is Result.WARNING  # made at the first start
    assert checks["root:s0"].result is Result.ERROR
    for name in ("state", "root"):
        (tmp_path / f"{name}-file").touch()
    (tmp_path / "other").mkdir()
    checks = found(config(tmp_path / "other", root=tmp_path / "root-file", state=tmp_path / "state-file"))
    assert (checks["state_dir"].result, checks["root:s0"].result) == (Result.ERROR, Result.ERROR)


def test_an_empty_root_may_be_a_disk_that_is_not_mounted(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert found(config(tmp_path, root=tmp_path / "empty"))["root:s0"].result is Result.WARNING


@pytest.fixture
def closed() -> Iterator[Path]:
    with folder_for_everyone() as folder:
        for name in ("state", "root"):
            (folder / name).mkdir()
        yield folder


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_what_is_somebody_elses_is_skipped_with_a_word(closed: Path) -> None:
    checked = config(closed, root=closed / "root", state=closed / "state")
    for name in ("state", "root", "alyx-password"):
        (closed / name).chmod(0o700)
    with without_rights():
        checks = found(checked)
    assert {check.result for check in checks.values()} == {Result.SKIPPED}
    assert all("root or as the service user" in check.hint for check in checks.values())


def test_what_the_service_user_may_not_read_is_an_error(closed: Path) -> None:
    checked = config(closed, root=closed / "root", state=closed / "state")
    (closed / "root").chmod(0)
    os.chown(closed / "state", 65534 if os.geteuid() == 0 else -1, -1)
    with without_rights():
        check = found(checked)["root:s0"]
    (closed / "root").chmod(0o755)
    assert check.result is Result.ERROR
    assert str(closed / "root") in check.hint


def test_a_lock_is_seen_without_taking_it(tmp_path: Path) -> None:
    checked, file = config(tmp_path), tmp_path / "state" / "lock"
    with file.open("w") as held:
        assert lock_holder(str(file)) == ""
        fcntl.flock(held, fcntl.LOCK_EX)
        if lock_holder(str(file)) == "":
            pytest.skip("the kernel's table of locks is not to be seen here")
        assert lock_holder(str(file)) == str(os.getpid())
        assert f"in use by process {os.getpid()}" in found(checked)["state_dir"].text
    assert lock_holder(str(file)) == ""


@pytest.mark.parametrize(
    ("table", "holder"),
    [
        ("1: FLOCK  ADVISORY  WRITE 4711 {device} 0 EOF\n", "4711"),
        ("1: POSIX  ADVISORY  WRITE 4711 {device} 0 EOF\n", ""),
        ("1: FLOCK  ADVISORY  WRITE 4711 00:00:1 0 EOF\n", ""),
        ("1: -> FLOCK\nnonsense\n\n", ""),
    ],
)
def test_the_kernels_table_is_read_line_by_line(tmp_path: Path, table: str, holder: str) -> None:
    file = tmp_path / "lock"
    file.touch()
    there = file.stat()
    device = f"{os.major(there.st_dev):02x}:{os.minor(there.st_dev):02x}:{there.st_ino}"
    (tmp_path / "locks").write_text(table.format(device=device))
    assert lock_holder(str(file), str(tmp_path / "locks")) == holder
    assert lock_holder(str(tmp_path / "none"), str(tmp_path / "locks")) == ""
