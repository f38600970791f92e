from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.archive.content import BLOCK, checksum, write_all
from labferry.archive.folders import FOLDER, give_name, open_folder, owning, rename_without_replacing


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    with owning(os.open(tmp_path, FOLDER)) as fd:
        yield fd


def test_folders_are_made_part_by_part(folder: int, tmp_path: Path) -> None:
    with owning(open_folder(folder, b"a/b\xff/c", make=True)) as made:
        assert os.path.samestat(os.fstat(made), os.stat(os.fsencode(tmp_path) + b"/a/b\xff/c"))
    with pytest.raises(FileNotFoundError):
        open_folder(folder, b"a/x")


def test_links_are_no_folders_unless_asked_for(folder: int, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    for make in (False, True):
        with pytest.raises(OSError, match=r".") as caught:
            open_folder(folder, b"link/below", make=make)
        assert caught.value.errno in {errno.ELOOP, errno.ENOTDIR}
    with owning(open_folder(folder, b"link/below", make=True, follow=True)):
        assert (tmp_path / "elsewhere" / "below").is_dir()


def test_a_dangling_link_is_never_filled(folder: int, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("unmounted")
    with pytest.raises(FileNotFoundError):
        open_folder(folder, b"link", make=True, follow=True)
    assert sorted(os.listdir(tmp_path)) == ["link"]


def test_no_descriptor_is_left_open(folder: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for path in (b"a/b/c", b"a/b/c/d"):
        with owning(open_folder(folder, path, make=True)):
            pass
    with pytest.raises(FileNotFoundError):
        open_folder(folder, b"a/x/c")
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("give", [give_name, rename_without_replacing])
def test_ruling_18_a_name_is_given_once(give: object, folder: int, tmp_path: Path) -> None:
    assert callable(give)
    (tmp_path / ".part").write_bytes(b"new")
    give(folder, b".part", b"final")
    assert (tmp_path / "final").read_bytes() == b"new"
    (tmp_path / ".part").unlink(missing_ok=True)
    (tmp_path / ".part").write_bytes(b"newer")
    with pytest.raises(FileExistsError):
        give(folder, b".part", b"final")
    assert (tmp_path / "final").read_bytes() == b"new"
    assert (tmp_path / ".part").read_bytes() == b"newer"


def test_ruling_18_a_link_in_the_way_is_not_followed_and_not_replaced(folder: int, tmp_path: Path) -> None:
    (tmp_path / ".part").write_bytes(b"new")
    (tmp_path / "final").symlink_to("nowhere")
    for give in (give_name, rename_without_replacing):
        with pytest.raises(FileExistsError):
            give(folder, b".part", b"final")
    assert sorted(os.listdir(tmp_path)) == [".part", "final"]


def test_a_long_file_is_written_and_read_in_blocks(tmp_path: Path) -> None:
    content = os.urandom(2 * BLOCK + 3)
    seen: list[int] = []
    with owning(os.open(tmp_path / "x", os.O_RDWR | os.O_CREAT, 0o600)) as fd:
        write_all(fd, content)
        assert len(checksum(fd, seen.append)) == 32
    assert (tmp_path / "x").read_bytes() == content
    assert seen == [BLOCK, BLOCK, 3]


def test_a_block_that_the_kernel_takes_in_parts_is_written_whole() -> None:
    reader, writer = os.pipe()
    content = os.urandom(300_000)  # more than a pipe holds
    child = os.fork()
    if child == 0:
        os.close(reader)
        write_all(writer, content)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        assert stream.read() == content
    assert os.waitpid(child, 0)[1] == 0
