"""The signature of a session folder: what changes it, what does not, and what it names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from labferry.detect.signature import (
    is_about_transfer,
    is_temporary,
    signal_present,
    take_signature,
)
from labferry.sessions.walk import walk_session
from support.rights import folder_for_everyone, without_rights


@pytest.fixture
def session(tmp_path: Path) -> Path:
    folder = tmp_path / "KS005" / "2019-04-02" / "001"
    for name in ("raw_behavior_data/_iblrig_taskData.raw.jsonable", "raw_video_data/_iblrig_leftCamera.raw.mp4"):
        file = folder / name
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x" * 100)
    return folder


def digest(session: Path) -> bytes:
    return take_signature(os.fsencode(session)).digest


def test_the_signature_counts_what_the_walk_finds(session: Path) -> None:
    os.utime(session / "raw_behavior_data/_iblrig_taskData.raw.jsonable", ns=(7, 4_000_000_000 * 10**9))

    signature = take_signature(os.fsencode(session))

    assert signature.files == len([walked for walked in walk_session(os.fsencode(session)) if walked.version])
    assert (signature.files, signature.size) == (2, 200)
    assert signature.newest_mtime_ns == 4_000_000_000 * 10**9
    assert signature.temporary == ()
    assert signature.unreadable == ()


def test_two_looks_at_an_untouched_folder_are_equal(session: Path) -> None:
    first = take_signature(os.fsencode(session))
    for file in session.rglob("*.*"):
        assert file.read_bytes()  # reading is no change
    assert take_signature(os.fsencode(session)) == first


def grow(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"y")


def rename(file: Path) -> None:
    file.rename(file.with_name("other.npy"))


def replace_with_equal_size_and_time(file: Path) -> None:
    status = file.stat()
    other = file.with_name("other")
    other.write_bytes(b"z" * status.st_size)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(file)


def become_a_link(file: Path) -> None:
    file.rename(file.parents[2] / "elsewhere")
    file.symlink_to(file.parents[2] / "elsewhere")


@pytest.mark.parametrize(
    "change",
    [
        grow,
        lambda file: os.utime(file, ns=(1, 1)),
        rename,
        Path.unlink,
        lambda file: file.with_name("new").touch(),
        replace_with_equal_size_and_time,
        become_a_link,
    ],
)
def test_ruling_05_every_change_of_name_size_time_or_inode_shows(
    session: Path, change: Callable[[Path], object]
) -> None:
    before = digest(session)
    change(session / "raw_behavior_data" / "_iblrig_taskData.raw.jsonable")
    assert digest(session) != before


def test_files_that_trade_their_names_are_a_change(session: Path) -> None:
    one = session / "raw_behavior_data" / "_iblrig_taskData.raw.jsonable"
    two = session / "raw_video_data" / "_iblrig_leftCamera.raw.mp4"
    two.write_bytes(b"y" * 101)
    before = digest(session)
    aside = session / "aside"
    one.rename(aside)
    two.rename(one)
    aside.rename(two)
    assert digest(session) != before


def test_the_order_of_the_file_system_does_not_matter(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(session)
    listed = list(walk_session(os.fsencode(session)))
    monkeypatch.setattr("labferry.detect.signature.walk_session", lambda _: iter(listed[::-1]))
    assert digest(session) == before


def test_ruling_04_flags_and_device_status_are_not_part_of_it(session: Path) -> None:
    devices = session / "_devices"
    devices.mkdir()
    (devices / "2019-04-02_1_KS005@behavior.yaml").touch()
    before = take_signature(os.fsencode(session))

    (session / "raw_session.flag").touch()
    (session / "raw_video_data" / "compress_video.flag").write_text("left")
    (devices / "2019-04-02_1_KS005@behavior.status_pending").touch()
    with_flags = take_signature(os.fsencode(session))
    (session / "raw_session.flag").unlink()
    (devices / "2019-04-02_1_KS005@behavior.status_pending").rename(
        devices / "2019-04-02_1_KS005@behavior.status_complete"
    )

    assert before == with_flags == take_signature(os.fsencode(session))
    assert before.files == 3  # the description of the device belongs to the session


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"raw_session.flag", True),
        (b"raw_ephys_data/probe00/extract.flag", True),
        (b"_devices/2023-01-01_1_S@ephys.status_final", True),
        (b"_devices/2023-01-01_1_S@ephys.yaml", False),
        (b"alf/x.status_final", False),
        (b"raw_session.flags", False),
        (b"flag", False),
    ],
)
def test_what_speaks_about_the_session_only(path: bytes, expected: bool) -> None:
    assert is_about_transfer(path) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b".x.AbC123", True),
        (b"._iblrig_leftCamera.raw.mp4.q7XbT2", True),
        (b".line\nbreak.AbC123", True),
        (b"left.mp4.part", True),
        (b"left.mp4.filepart", True),
        (b"left.mp4.tmp", True),
        (b"LEFT.MP4.TMP", True),
        (b".x.AbC1234", False),
        (b".x.AbC-12", False),
        (b"x.AbC123", False),
        (b".settings.backup", False),
        (b".DS_Store", False),
        (b"tmp", False),
        (b"part.npy", False),
    ],
)
def test_done_03_names_of_unfinished_copies(name: bytes, expected: bool) -> None:
    assert is_temporary(b"raw_video_data/" + name) is expected


def test_done_03_unfinished_copies_are_named(session: Path) -> None:
    for name in (".x.AbC123", "b.part"):
        (session / "raw_video_data" / name).touch()
    assert take_signature(os.fsencode(session)).temporary == (b"raw_video_data/.x.AbC123", b"raw_video_data/b.part")


def test_done_10_odd_entries_are_looked_at_and_never_followed(session: Path) -> None:
    folder = os.fsencode(session)
    with open(os.path.join(folder, b"caf\xe9.npy"), "wb") as file:
        file.write(b"1")
    with open(os.path.join(folder, b"n" * 255), "wb") as file:
        file.write(b"22")
    (session / "loop").symlink_to(session)
    os.mkfifo(session / "pipe")

    signature = take_signature(folder)

    assert (signature.files, signature.size) == (4, 203)
    assert signature.unreadable == ()
    (session / "pipe").unlink()
    without_pipe = digest(session)
    (session / "pipe").symlink_to("anything")
    assert len({signature.digest, without_pipe, digest(session)}) == 3


def test_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    (gone,) = take_signature(os.fsencode(tmp_path / "gone")).unreadable
    assert gone.path == b""
    assert gone.why == "No such file or directory"


def test_done_10_a_folder_that_cannot_be_read_is_named_and_the_rest_is_seen() -> None:
    with folder_for_everyone() as session:
        (session / "open").mkdir()
        (session / "open" / "file").touch()
        (session / "closed").mkdir(mode=0o000)
        with without_rights():
            signature = take_signature(os.fsencode(session))
    (closed,) = signature.unreadable
    assert (closed.path, closed.why) == (b"closed", "Permission denied")
    assert signature.files == 1


def test_a_signal_is_a_regular_file_of_that_name(session: Path) -> None:
    folder = os.fsencode(session)
    names = (b"raw_session.flag", b"done")
    assert not signal_present(folder, names)
    (session / "raw_session.flag").mkdir()
    assert not signal_present(folder, names)
    (session / "done").touch()
    assert signal_present(folder, names)
    assert not signal_present(folder + b"/gone", names)
