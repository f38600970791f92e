"""Reading below a session's folder: nothing but regular files, no link, no more than asked for."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from labferry.errors import BlockedError, NotYetError
from labferry.sessions.record import SessionFolder, read_record
from support.records import SESSION, SETTINGS, new_settings, record_of, write_task
from support.rights import folder_for_everyone, without_rights


def folder_of(path: Path) -> SessionFolder:
    return SessionFolder(os.fsencode(path))


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(b"12345")
    folder = folder_of(tmp_path)
    assert folder.read(b"below/file", 5, "corrupt_settings") == b"12345"
    with pytest.raises(BlockedError, match="below/file is larger than 4 bytes") as error:
        folder.read(b"below/file", 4, "corrupt_settings")
    assert error.value.code == "corrupt_settings"


@pytest.mark.parametrize("path", [b"nothing", b"no/folder/file", b"file/below"])
def test_what_is_not_there_is_none(tmp_path: Path, path: bytes) -> None:
    (tmp_path / "file").touch()
    assert folder_of(tmp_path).read(path, 10, "corrupt_settings") is None
    assert folder_of(tmp_path).names(path) == []


def test_names_are_sorted_bytes(tmp_path: Path) -> None:
    for name in (b"b", b"a\xff", b"a"):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).touch()
    assert folder_of(tmp_path).names() == [b"a", b"a\xff", b"b"]


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(BlockedError, match="link is not a regular file") as error:
        folder_of(tmp_path).read(b"link", 10, "corrupt_settings")
    assert error.value.code == "unreadable"


def test_a_link_in_the_place_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    session, outside = tmp_path / "session", tmp_path / "outside"
    write_task(outside, new_settings())
    session.mkdir()
    (session / "raw_behavior_data").symlink_to(outside / "raw_behavior_data")
    assert folder_of(session).names(b"raw_behavior_data") == []
    assert folder_of(session).read(b"raw_behavior_data/" + SETTINGS.encode(), 10_000, "corrupt_settings") is None


def test_a_link_in_the_place_of_the_session_is_not_followed(tmp_path: Path) -> None:
    write_task(tmp_path / "real", new_settings())
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises((BlockedError, NotYetError)):
        read_record(os.fsencode(tmp_path / "link"), SESSION)


def test_pipes_sockets_and_folders_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    listening = socket.socket(socket.AF_UNIX)
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        listening.bind(f"/proc/self/fd/{here}/socket")
        for name in (b"pipe", b"folder", b"socket"):
            with pytest.raises(BlockedError) as error:
                folder_of(tmp_path).read(name, 10, "corrupt_settings")
            assert error.value.code == "unreadable"
    finally:
        listening.close()
        os.close(here)


def test_a_session_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(NotYetError) as error:
        record_of(tmp_path / "gone")
    assert error.value.code == "source_missing"


def test_a_file_without_permission_is_named() -> None:
    with folder_for_everyone() as folder:
        write_task(folder, new_settings())
        (folder / "raw_behavior_data" / SETTINGS).chmod(0)
        with without_rights(), pytest.raises(BlockedError, match=r"raw_behavior_data/_iblrig_taskSettings") as error:
            record_of(folder)
    assert error.value.code == "unreadable"


def test_a_folder_without_permission_is_named() -> None:
    with folder_for_everyone() as folder:
        write_task(folder, new_settings())
        (folder / "raw_behavior_data").chmod(0)
        with without_rights(), pytest.raises(BlockedError, match="raw_behavior_data") as error:
            record_of(folder)
    assert error.value.code == "unreadable"
