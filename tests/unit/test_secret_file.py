"""Writing a secret: whole or not at all, for its owner only."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.cli.secret_file import write_secret
from labferry.errors import ExitCode, LabferryError
from support.rights import folder_for_everyone, without_rights

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    old = os.umask(0)
    yield
    os.umask(old)


@pytest.mark.parametrize("existing", [None, "old and longer than the new one\n"])
def test_one_06_a_secret_is_its_owners_alone(tmp_path: Path, existing: str | None) -> None:
    file = tmp_path / "secret"
    if existing is not None:
        file.write_text(existing)
        file.chmod(0o644)
    write_secret(str(file), "s3cret", str(tmp_path))
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("s3cret\n", 0o600)
    assert os.listdir(tmp_path) == ["secret"]


def test_a_link_keeps_its_place(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old\n")
    (tmp_path / "link").symlink_to("real")
    write_secret(str(tmp_path / "link"), "new", str(tmp_path))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new\n"


@needs_root
@pytest.mark.parametrize("existing", [False, True])
def test_the_superuser_gives_it_to_the_service_user(tmp_path: Path, existing: bool) -> None:
    file, state = tmp_path / "secret", tmp_path / "state"
    state.mkdir()
    os.chown(state, 4711, 4712)
    if existing:
        file.write_text("old\n")
        os.chown(file, 4713, 4714)
    write_secret(str(file), "new", str(state))
    there = file.stat()
    assert (there.st_uid, there.st_gid) == ((4713, 4714) if existing else (4711, 4712))


@needs_root
def test_without_a_state_directory_it_stays_ours(tmp_path: Path) -> None:
    write_secret(str(tmp_path / "secret"), "new", str(tmp_path / "none"))
    assert (tmp_path / "secret").stat().st_uid == 0


def test_who_may_not_write_hears_how() -> None:
    with folder_for_everyone() as folder:
        folder.chmod(0o555)
        with without_rights(), pytest.raises(LabferryError) as caught:
            write_secret(str(folder / "secret"), "new", str(folder))
        folder.chmod(0o755)
    assert (caught.value.code, caught.value.exit_code) == ("not_permitted", ExitCode.NOT_PERMITTED)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabferryError) as caught:
        write_secret(str(tmp_path / "none" / "secret"), "new", str(tmp_path))
    assert caught.value.code == "secret_file"
    assert str(tmp_path / "none") in caught.value.message
