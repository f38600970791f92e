"""Sealing: the right checksum for every file version, and no checksum at all for one that is not that version."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labferry.detect.seal import BUFFER, Sealed, SealInterruptedError, seal
from labferry.errors import ChangedError, LabferryError
from labferry.model import FileVersion
from labferry.sessions.walk import walk_session
from support.rights import folder_for_everyone, without_rights


def nothing_known(version: FileVersion) -> str | None:
    return None


def never() -> bool:
    return False


class Bytes:
    """Counts the bytes that were read; on demand, does something when the first of them were."""

    def __init__(self, then: Callable[[], object] | None = None) -> None:
        self.read = 0
        self._then = then

    def __call__(self, count: int) -> None:
        self.read += count
        then, self._then = self._then, None
        if then is not None:
            then()


def manifest(folder: Path) -> list[FileVersion]:
    return sorted(walked.version for walked in walk_session(os.fsencode(folder)) if walked.version)


def sealing(
    folder: Path,
    wanted: list[FileVersion] | None = None,
    known: Callable[[FileVersion], str | None] = nothing_known,
    stop: Callable[[], bool] = never,
    on_bytes: Callable[[int], None] | None = None,
) -> list[Sealed]:
    versions = manifest(folder) if wanted is None else wanted
    return list(seal(os.fsencode(folder), versions, known, stop=stop, on_bytes=on_bytes or Bytes()))


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """A session with one file, of three buffers and a bit."""
    folder = tmp_path / "001"
    (folder / "raw_video_data").mkdir(parents=True)
    (folder / "raw_video_data" / "left.mp4").write_bytes(os.urandom(3 * BUFFER + 7))
    return folder


@pytest.fixture(autouse=True)
def no_descriptor_is_left_open() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("size", [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 2 * BUFFER])
def test_a_checksum_is_the_md5_of_the_whole_file(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    on_bytes = Bytes()
    (sealed,) = sealing(tmp_path, on_bytes=on_bytes)
    assert sealed.md5 == hashlib.md5(content).hexdigest()
    assert sealed.version.size == on_bytes.read == size


def test_files_come_in_the_order_that_was_asked_for(tmp_path: Path) -> None:
    for name in ("b/2", "a/b/c/1", "3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    wanted = manifest(tmp_path)[::-1]
    assert [(sealed.version, sealed.md5) for sealed in sealing(tmp_path, wanted)] == [
        (version, hashlib.md5(version.path).hexdigest()) for version in wanted
    ]


def test_done_10_names_are_bytes_of_any_length_the_disk_allows(tmp_path: Path) -> None:
    names = [b"n" * 255, b"caf\xe9\xff", b"line\nbreak", b" ", b"d" * 255 + b"/" + b"f" * 255]
    os.mkdir(os.fsencode(tmp_path) + b"/" + b"d" * 255)
    for name in names:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(name)
    sealed = {one.version.path: one.md5 for one in sealing(tmp_path)}
    assert sealed == {name: hashlib.md5(name).hexdigest() for name in names}


def test_a_sparse_file_is_its_zeros(tmp_path: Path) -> None:
    size = 8 * BUFFER
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(size)
        file.seek(5 * BUFFER + 3)
        file.write(b"data")
    content = bytearray(size)
    content[5 * BUFFER + 3 : 5 * BUFFER + 7] = b"data"
    assert sealing(tmp_path)[0].md5 == hashlib.md5(content).hexdigest()


def test_ruling_06_a_known_version_is_not_read_again(session: Path) -> None:
    (session / "new").write_bytes(b"12345")
    known = {b"raw_video_data/left.mp4": "0" * 32}
    on_bytes = Bytes()
    sealed = sealing(session, known=lambda version: known.get(version.path), on_bytes=on_bytes)
    assert [one.md5 for one in sealed] == [hashlib.md5(b"12345").hexdigest(), "0" * 32]
    assert on_bytes.read == 5


def test_a_known_version_must_still_be_the_one_on_disk(session: Path) -> None:
    wanted = manifest(session)
    (session / "raw_video_data" / "left.mp4").write_bytes(b"other")
    with pytest.raises(ChangedError):
        sealing(session, wanted, known=lambda version: "0" * 32)


def append(file: Path) -> None:
    with file.open("ab") as stream:
        stream.write(b"more")


def truncate(file: Path) -> None:
    os.truncate(file, BUFFER + 1)


def overwrite_and_set_the_time_back(file: Path) -> None:
    status = file.stat()
    with file.open("r+b") as stream:
        stream.seek(10)
        stream.write(b"changed")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_by_a_copy(file: Path) -> None:
    status = file.stat()
    copy = file.with_name("copy")
    copy.write_bytes(file.read_bytes())
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    copy.replace(file)


def replace_by_a_link(file: Path) -> None:
    outside = file.parents[2] / "outside"
    file.rename(outside)
    file.symlink_to(outside)


def replace_by_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def replace_by_a_socket(file: Path) -> None:
    file.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{(folder := os.open(file.parent, os.O_PATH))}/{file.name}")
        os.close(folder)


def replace_by_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def replace_the_folder_by_a_link(file: Path) -> None:
    outside = file.parents[2] / "outside"
    file.parent.rename(outside)
    file.parent.symlink_to(outside)


def remove_the_session(file: Path) -> None:
    file.parents[1].rename(file.parents[2] / "moved away")


CHANGES = [
    append,
    truncate,
    overwrite_and_set_the_time_back,
    replace_by_a_copy,
    replace_by_a_link,
    replace_by_a_pipe,
    replace_by_a_socket,
    replace_by_a_folder,
    Path.unlink,
    replace_the_folder_by_a_link,
    remove_the_session,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changed_since_it_was_listed_is_never_read(session: Path, change: Callable[[Path], object]) -> None:
    wanted = manifest(session)
    change(session / "raw_video_data" / "left.mp4")
    on_bytes = Bytes()
    with pytest.raises(ChangedError, match=r"raw_video_data/left\.mp4") as caught:
        sealing(session, wanted, on_bytes=on_bytes)
    assert caught.value.path == b"raw_video_data/left.mp4"
    assert on_bytes.read == 0


IN_THE_FOLDER = [change for change in CHANGES if change not in {replace_the_folder_by_a_link, remove_the_session}]


@pytest.mark.parametrize("change", IN_THE_FOLDER)
def test_a_file_that_changes_just_before_it_is_opened_gets_no_checksum(
    session: Path, change: Callable[[Path], object]
) -> None:
    def known(version: FileVersion) -> str | None:
        change(session / "raw_video_data" / "left.mp4")
        return None

    on_bytes = Bytes()
    with pytest.raises(ChangedError):
        sealing(session, known=known, on_bytes=on_bytes)
    assert on_bytes.read == 0


@pytest.mark.parametrize(
    "change", [append, truncate, overwrite_and_set_the_time_back, replace_by_a_copy, replace_by_a_link, Path.unlink]
)
def test_a_file_that_changes_while_it_is_read_gets_no_checksum(session: Path, change: Callable[[Path], object]) -> None:
    file = session / "raw_video_data" / "left.mp4"
    with pytest.raises(ChangedError):
        sealing(session, on_bytes=Bytes(lambda: change(file)))


def test_a_file_that_grows_faster_than_it_is_read_is_given_up(session: Path) -> None:
    file = session / "raw_video_data" / "left.mp4"
    read = 0

    def grow(count: int) -> None:
        nonlocal read
        read += count
        with file.open("ab") as stream:
            stream.write(bytes(2 * count))

    with pytest.raises(ChangedError):
        sealing(session, on_bytes=grow)
    assert read <= 3 * BUFFER + 7 + BUFFER


def test_a_link_is_not_followed_even_when_it_was_listed(session: Path) -> None:
    file = session / "raw_video_data" / "left.mp4"
    link = session / "link"
    link.symlink_to(file)
    status = link.stat()
    listed = FileVersion(b"link", status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    for known in (nothing_known, lambda _: "0" * 32):
        with pytest.raises(ChangedError):
            sealing(session, [listed], known=known)


def test_what_was_sealed_before_a_change_stays_valid(session: Path) -> None:
    (session / "a").write_text("a")
    wanted = manifest(session)
    append(session / "raw_video_data" / "left.mp4")
    sealed = seal(os.fsencode(session), wanted, nothing_known, stop=never, on_bytes=Bytes())
    assert next(sealed).version.path == b"a"
    with pytest.raises(ChangedError):
        next(sealed)


@pytest.mark.parametrize("closed", ["file", "folder"])
def test_what_cannot_be_read_is_named_with_its_code(closed: str) -> None:
    with folder_for_everyone() as session:
        folder = session / "raw_video_data"
        folder.mkdir()
        (folder / "left.mp4").write_bytes(b"x")
        if closed == "file":
            (folder / "left.mp4").chmod(0o000)
        wanted = manifest(session)
        folder.chmod(0o600 if closed == "folder" else 0o755)
        with without_rights(), pytest.raises(LabferryError, match=r"left\.mp4 cannot be read") as caught:
            sealing(session, wanted)
    assert caught.value.code == "file_unreadable"
    assert not isinstance(caught.value, ChangedError)


def test_stop_is_asked_between_buffers(session: Path) -> None:
    on_bytes = Bytes()
    with pytest.raises(SealInterruptedError):
        sealing(session, stop=lambda: on_bytes.read >= 2 * BUFFER, on_bytes=on_bytes)
    assert on_bytes.read == 2 * BUFFER


def test_stop_is_asked_before_every_file(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).touch()
    answers = iter([False, False, True])
    sealed = seal(
        os.fsencode(tmp_path), manifest(tmp_path), nothing_known, stop=lambda: next(answers), on_bytes=Bytes()
    )
    assert [next(sealed).version.path, next(sealed).version.path] == [b"a", b"b"]
    with pytest.raises(SealInterruptedError):
        next(sealed)


def test_the_page_cache_is_left_to_others(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(os.urandom(8 * BUFFER))
    with file.open("rb") as stream:
        os.fsync(stream.fileno())  # only what is on disk can be dropped
    before = cached(file)
    if not before:
        pytest.skip("this file system keeps nothing in the page cache")
    sealing(tmp_path)
    assert cached(file) < before / 2


def cached(file: Path) -> int:
    """Return how many bytes of a file are in the page cache, by reading without waiting for the disk."""
    found = 0
    with file.open("rb", buffering=0) as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # no read-ahead behind our back
        for at in range(0, file.stat().st_size, 4096):
            try:
                found += os.preadv(stream.fileno(), [bytearray(4096)], at, os.RWF_NOWAIT)
            except BlockingIOError:
                continue
            except OSError:
                pytest.skip("this file system cannot tell what is in the page cache")
    return found
