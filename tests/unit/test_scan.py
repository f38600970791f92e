"""The shallow scan and the walk over one session, on trees as bad as they come."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from labferry.detect.scan import LINK_RULE, NearMiss, RootState, Unreadable, scan
from labferry.model import FileVersion
from labferry.sessions.registry import layout
from labferry.sessions.walk import FileKind, WalkedFile, walk_session
from support.rights import folder_for_everyone, without_rights

IBL = layout("ibl")


@pytest.fixture
def root(tmp_path: Path) -> bytes:
    for session in ("KS005/2019-04-02/001", "KS005/2019-04-02/2", "lab/Subjects/ZM_001/2024-02-29/012"):
        (tmp_path / session / "alf").mkdir(parents=True)
    return os.fsencode(tmp_path)


def test_finds_every_session_and_nothing_else(root: bytes) -> None:
    result = scan(root, IBL)
    assert {s.path for s in result.found} == {
        b"KS005/2019-04-02/001",
        b"KS005/2019-04-02/2",
        b"lab/Subjects/ZM_001/2024-02-29/012",
    }
    assert {s.alyx_path for s in result.found} == {
        "KS005/2019-04-02/001",
        "KS005/2019-04-02/002",
        "ZM_001/2024-02-29/012",
    }
    assert (result.state, result.problem, result.near_misses, result.unreadable) == (RootState.OK, "", [], [])
    assert result.seconds > 0


def test_never_looks_into_a_session(root: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[bytes] = []
    real = os.scandir

    def scandir(path: bytes) -> object:
        listed.append(path)
        return real(path)

    monkeypatch.setattr("labferry.detect.scan.os.scandir", scandir)
    assert len(scan(root, IBL).found) == 3
    assert len(listed) == 7  # the root, two of its folders, `Subjects`, its subject, two days
    assert not [path for path in listed if path.endswith((b"/001", b"/2", b"/012"))]


def test_folders_that_almost_match_are_reported_with_part_and_rule(root: bytes) -> None:
    for folder in ("KS005/2023-02-29/001", "KS005/2019-04-02/001a", "KS 006/2020-01-01/001"):
        os.makedirs(root + b"/" + folder.encode())
    result = scan(root, IBL)
    assert len(result.found) == 3
    assert sorted(result.near_misses) == [
        NearMiss(b"KS 006", "KS 006", "subject: 1 to 64 letters, digits, `_`, `.` or `-`"),
        NearMiss(b"KS005/2019-04-02/001a", "001a", "session number: one to three digits"),
        NearMiss(b"KS005/2023-02-29", "2023-02-29", "no such day in the calendar"),
    ]
    assert (result.problem, result.unreadable) == ("", [])


def test_near_misses_are_counted_and_only_the_first_kept(root: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labferry.detect.scan.NEAR_MISSES_KEPT", 5)
    for i in range(12):
        os.makedirs(root + b"/KS005/2019-04-02/bad%d" % i)
    result = scan(root, IBL)
    assert result.near_miss_count == 12
    assert len(result.near_misses) == 5


def test_files_where_folders_are_expected_are_passed_over(root: bytes) -> None:
    for name in (b"/notes 1.txt", b"/KS005/readme", b"/KS005/2019-04-02/003"):
        os.close(os.open(root + name, os.O_CREAT))
    os.symlink(b"readme", root + b"/KS005/link to a file")
    result = scan(root, IBL)
    assert len(result.found) == 3
    assert result.near_misses == []


def test_done_10_symbolic_links_are_reported_and_not_entered(root: bytes, tmp_path: Path) -> None:
    (tmp_path / "outside/2020-01-01/001").mkdir(parents=True)
    inside = root + b"/KS005/2019-04-02"
    os.symlink(b"/", root + b"/KS007")
    os.symlink(b"001", inside + b"/004")
    os.symlink(b"005", inside + b"/005")  # a loop
    os.symlink(b"gone", inside + b"/006")
    os.symlink(b"001", inside + b"/bad name")
    result = scan(root, IBL)
    assert {s.path for s in result.found if s.subject == "KS005"} == {b"KS005/2019-04-02/001", b"KS005/2019-04-02/2"}
    assert sorted(result.near_misses) == [
        NearMiss(b"KS005/2019-04-02/004", "004", LINK_RULE),
        NearMiss(b"KS005/2019-04-02/005", "005", LINK_RULE),
        NearMiss(b"KS005/2019-04-02/006", "006", LINK_RULE),
        NearMiss(b"KS005/2019-04-02/bad name", "bad name", "session number: one to three digits"),
        NearMiss(b"KS007", "KS007", LINK_RULE),
    ]


def test_done_10_a_folder_name_that_is_not_utf8_is_reported(root: bytes) -> None:
    os.makedirs(root + b"/KS\xff5/2020-01-01/001")
    result = scan(root, IBL)
    assert len(result.found) == 3
    assert [(miss.path, miss.part) for miss in result.near_misses] == [(b"KS\xff5", r"KS\xff5")]


def test_done_10_an_unreadable_folder_is_reported_and_the_rest_found() -> None:
    with folder_for_everyone() as root:
        (root / "KS005/2019-04-02/001").mkdir(parents=True)
        (root / "lab/Subjects/ZM_001/2024-02-29/012").mkdir(parents=True)
        (root / "lab").chmod(0)
        with without_rights():
            result = scan(os.fsencode(root), IBL)
    assert {s.subject for s in result.found} == {"KS005"}
    assert result.unreadable == [Unreadable(b"lab", os.strerror(errno.EACCES))]
    assert result.state is RootState.OK


@pytest.mark.parametrize(
    ("make", "state"),
    [("nothing", RootState.MISSING), ("file", RootState.NOT_A_DIRECTORY), ("closed folder", RootState.UNREADABLE)],
)
def test_a_root_that_cannot_be_scanned_is_an_answer(make: str, state: RootState) -> None:
    with folder_for_everyone() as folder:
        root = folder / "root"
        if make == "file":
            root.touch()
        if make == "closed folder":
            root.mkdir(mode=0)
        with without_rights():
            result = scan(os.fsencode(root), IBL)
    assert result.state is state
    assert result.problem.startswith(f"{root}: ")
    assert result.found == []


def test_the_root_itself_may_be_a_link(root: bytes, tmp_path: Path) -> None:
    link = os.fsencode(tmp_path) + b"/KS005/link"
    os.symlink(root, link)
    assert len(scan(link, IBL).found) == 3


def test_folders_that_vanish_during_the_scan_are_not_unreadable(root: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(path: bytes) -> object:
        if path.endswith(b"2024-02-29"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return real(path)

    monkeypatch.setattr("labferry.detect.scan.os.scandir", scandir)
    result = scan(root, IBL)
    assert len(result.found) == 2
    assert (result.problem, result.unreadable) == ("", [])


# --- the walk over one session ---------------------------------------------------------------------------------------


def walk(session: Path, *, versions: bool = True) -> dict[bytes, WalkedFile]:
    walked = list(walk_session(os.fsencode(session), versions=versions))
    assert len({file.path for file in walked}) == len(walked)
    return {file.path: file for file in walked}


def test_walk_gives_every_file_with_its_version(tmp_path: Path) -> None:
    (tmp_path / "alf/probe00").mkdir(parents=True)
    (tmp_path / "alf/probe00/spikes.times.npy").write_bytes(b"12345")
    (tmp_path / "raw_session.flag").touch()
    walked = walk(tmp_path)
    assert set(walked) == {b"alf/probe00/spikes.times.npy", b"raw_session.flag"}
    status = os.stat(tmp_path / "alf/probe00/spikes.times.npy")
    path = b"alf/probe00/spikes.times.npy"
    assert walked[path].version == FileVersion(path, 5, status.st_mtime_ns, status.st_ctime_ns)
    assert {file.kind for file in walked.values()} == {FileKind.REGULAR}


def test_walk_of_names_alone_gives_the_same_files(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    for name in ("a/x", "a/b/y", "z"):
        (tmp_path / name).touch()
    os.symlink("z", tmp_path / "link")
    names = walk(tmp_path, versions=False)
    assert {path: file.kind for path, file in names.items()} == {path: f.kind for path, f in walk(tmp_path).items()}
    assert {file.version for file in names.values()} == {None}


@pytest.mark.parametrize("versions", [True, False])
def test_done_10_walk_reports_what_is_not_a_regular_file(tmp_path: Path, versions: bool) -> None:
    (tmp_path / "real").touch()
    os.symlink("real", tmp_path / "link")
    os.symlink("/", tmp_path / "out of the root")
    os.symlink("..", tmp_path / "up")
    os.symlink("self", tmp_path / "self")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        kinds = {path: file.kind for path, file in walk(tmp_path, versions=versions).items()}
    assert kinds == {
        b"real": FileKind.REGULAR,
        b"link": FileKind.SYMLINK,
        b"out of the root": FileKind.SYMLINK,
        b"up": FileKind.SYMLINK,
        b"self": FileKind.SYMLINK,
        b"pipe": FileKind.FIFO,
        b"socket": FileKind.SOCKET,
    }


def test_done_10_walk_gives_names_that_are_not_utf8_and_long_ones(tmp_path: Path) -> None:
    top = os.fsencode(tmp_path)
    names = {b"caf\xe9", b"x" * 255, b"new\nline"}
    for name in names:
        os.close(os.open(top + b"/" + name, os.O_CREAT))
    assert set(walk(tmp_path)) == names


def test_done_10_walk_reports_an_unreadable_folder_and_goes_on() -> None:
    with folder_for_everyone() as session:
        (session / "closed").mkdir()
        (session / "closed/x").touch()
        (session / "y").touch()
        (session / "closed").chmod(0)
        with without_rights():
            walked = walk(session)
    assert walked[b"closed"] == WalkedFile(b"closed", None, FileKind.DIRECTORY, os.strerror(errno.EACCES))
    assert walked[b"y"].version is not None
    assert len(walked) == 2


def test_done_10_walk_reports_files_whose_status_cannot_be_asked() -> None:
    with folder_for_everyone() as session:
        (session / "listed only").mkdir()
        (session / "listed only/x").touch()
        (session / "listed only").chmod(0o444)
        with without_rights():
            walked = walk(session)
    error = os.strerror(errno.EACCES)
    assert walked == {b"listed only/x": WalkedFile(b"listed only/x", None, FileKind.UNKNOWN, error)}


def test_done_10_walk_of_a_path_beyond_the_systems_limit_is_reported(tmp_path: Path) -> None:
    (tmp_path / "y").touch()
    here = os.open(tmp_path, os.O_RDONLY)
    depth = 0
    try:
        while depth < 30:  # made step by step, for no call takes such a path
            os.mkdir("d" * 200, dir_fd=here)
            below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here, depth = below, depth + 1
        walked = walk(tmp_path)
        too_deep = [file for file in walked.values() if file.error]
        assert [(file.kind, file.error) for file in too_deep] == [(FileKind.DIRECTORY, os.strerror(errno.ENAMETOOLONG))]
        assert b"y" in walked
    finally:
        for _ in range(depth):  # upwards again, so that the temporary folder can be removed
            above = os.open("..", os.O_RDONLY, dir_fd=here)
            os.rmdir("d" * 200, dir_fd=above)
            os.close(here)
            here = above
        os.close(here)


def test_walk_is_not_limited_by_the_interpreters_stack(tmp_path: Path) -> None:
    folders = [os.fsencode(tmp_path) + b"/d" * depth for depth in range(1, 1_501)]
    for folder in folders:
        os.mkdir(folder)
    file = folders[-1] + b"/x"
    os.close(os.open(file, os.O_CREAT))
    try:
        assert set(walk(tmp_path)) == {b"d/" * 1_500 + b"x"}
    finally:  # the temporary folder's own removal is limited by it
        os.remove(file)
        for folder in reversed(folders):
            os.rmdir(folder)


@pytest.mark.parametrize(
    ("make", "kind"), [("nothing", FileKind.DIRECTORY), ("file", FileKind.DIRECTORY), ("link", FileKind.SYMLINK)]
)
def test_walk_of_what_is_no_folder_says_so(tmp_path: Path, make: str, kind: FileKind) -> None:
    if make == "file":
        (tmp_path / "session").touch()
    if make == "link":
        os.symlink(tmp_path, tmp_path / "session")
    (only,) = walk(tmp_path / "session").values()
    assert (only.path, only.version, only.kind) == (b"", None, kind)
    assert only.error
