"""A session, an archive and the troubles between them, on real file systems."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labferry.archive.base import Carried
from labferry.archive.directory import DirectoryArchive
from labferry.archive.naming import Naming, destination
from labferry.archive.plan import Item, Plan, Progress
from labferry.errors import LabferryError

SESSION = b"KS005/2019-04-02/001"
MIB = 1 << 20
FIRST = b"raw_behavior_data/_iblrig_taskData.raw.jsonable"
BIG = b"raw_ephys_data/probe00/x_g0_t0.imec0.ap.cbin"
EMPTY = b"empty.flag"
FILES = {FIRST: b'{"trial": 1}\n' * 40, BIG: bytes(range(256)) * (5 * MIB // 512), EMPTY: b""}

_NOBODY = 65534
_FAILED = 3


class Rig:
    """A session folder, an archive folder and the plan from one to the other."""

    def __init__(self, place: Path, files: dict[bytes, bytes], archive: Path | None = None) -> None:
        self.session_dir = os.fsencode(place / "Subjects") + b"/" + SESSION
        self.base = archive or place / "nas"
        self.base.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            full = os.path.join(self.session_dir, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as stream:
                stream.write(content)
            os.utime(full, ns=(1_500_000_000_123_456_789, 1_500_000_000_123_456_789))
        self.archive = DirectoryArchive("nas", os.fsencode(self.base))
        self.plan = self.sealed(files)

    def one_by_one(self) -> None:
        """Let files be carried in the plan's order, each after the one before: for what happens in between."""
        self.archive = DirectoryArchive("nas", os.fsencode(self.base), copiers=1)

    def sealed(self, files: dict[bytes, bytes], naming: Naming = "plain") -> Plan:
        items = []
        for path, content in files.items():
            now = os.stat(self.source(path))
            items.append(
                Item(
                    path,
                    destination(naming, SESSION, path),
                    now.st_size,
                    hashlib.md5(content).hexdigest(),
                    now.st_mtime_ns,
                    now.st_ctime_ns,
                )
            )
        return Plan("41-1", self.session_dir, os.fsencode(self.base), tuple(items))

    def source(self, path: bytes) -> bytes:
        return os.path.join(self.session_dir, path)

    def target(self, path: bytes) -> bytes:
        return os.path.join(os.fsencode(self.base), SESSION, path)

    def put(self, path: bytes, content: bytes) -> None:
        os.makedirs(os.path.dirname(self.target(path)), exist_ok=True)
        with open(self.target(path), "wb") as stream:
            stream.write(content)

    def carry(
        self,
        report: Callable[[Progress], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
        **more: Any,
    ) -> Carried:
        return self.archive.advance(self.plan, report, stop, **more)

    def archived(self) -> dict[bytes, bytes]:
        return tree(os.path.join(os.fsencode(self.base), SESSION))


def tree(top: bytes) -> dict[bytes, bytes]:
    """Every file below a folder with its content; what is no regular file as what it is."""
    found = {}
    for folder, names, files in os.walk(top):
        for name in (*files, *(name for name in names if os.path.islink(os.path.join(folder, name)))):
            full = os.path.join(folder, name)
            if os.path.islink(full):
                found[os.path.relpath(full, top)] = b"-> " + os.readlink(full)
            else:
                with open(full, "rb") as stream:
                    found[os.path.relpath(full, top)] = stream.read()
    return found


class SmallDisk:
    """A tmpfs in a mount namespace of its own, seen through /proc; gone with the process that holds it."""

    def __init__(self, place: Path, size: str) -> None:
        place.mkdir()
        self._shell = subprocess.Popen(
            ["unshare", "-Urm", "sh", "-c", 'while read -r line; do eval "$line"; echo $?; done'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.path = Path(f"/proc/{self._shell.pid}/root{place}")
        self._place = place
        self.usable = self.run(f"mount -t tmpfs -o size={size} disk '{place}'")

    def run(self, command: str) -> bool:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        try:
            self._shell.stdin.write(command + "\n")
            self._shell.stdin.flush()
        except BrokenPipeError:
            return False
        return self._shell.stdout.readline() == "0\n"

    def read_only(self) -> None:
        assert self.run(f"mount -o remount,bind,ro '{self._place}'")

    def unmount(self) -> None:
        """Take the disk away, whoever still works on it."""
        assert self.run(f"umount --lazy '{self._place}'")

    def mount(self, size: str) -> None:
        """Put an empty disk in its place."""
        assert self.run(f"mount -t tmpfs -o size={size} disk '{self._place}'")

    def close(self) -> None:
        self._shell.communicate()


# --- in a process of its own, for what cannot be undone in this one -------------------------------------------


def in_child(work: Callable[[], Any], *, without_rights: bool = False) -> Any:
    """Run `work` in a child process, on demand as a user without rights; pass on its result or error."""

    def answer() -> bytes:
        if without_rights and os.geteuid() == 0:
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
        try:
            return pickle.dumps((True, work()))
        except LabferryError as error:
            return pickle.dumps((False, (type(error), dict(vars(error)))))

    raw, status = _forked(answer)
    assert status == 0, "the child failed: its own words are above"
    fine, value = pickle.loads(raw)
    if fine:
        return value
    kind, fields = value
    error = kind.__new__(kind)
    vars(error).update(fields)
    raise error


_WATCHED = frozenset({"open", "os.mkdir", "os.utime", "os.link", "os.remove"})


def killed_at(rig: Rig, point: int) -> int:
    """Carry in a child that is killed before its `point`-th call or report; return how many it came to."""
    seen = 0

    def pass_by(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def carry() -> bytes:
        sys.addaudithook(lambda event, _: pass_by() if event in _WATCHED else None)
        rig.carry(pass_by, keep=pass_by)
        return str(seen).encode()

    raw, status = _forked(carry)
    if status == 0:
        return int(raw)
    assert os.WTERMSIG(status) == signal.SIGKILL
    return point


def _forked(answer: Callable[[], bytes]) -> tuple[bytes, int]:
    """Return what `answer` returned in a child process, and the child's status."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = _FAILED
        try:
            os.close(reader)
            with os.fdopen(writer, "wb") as stream:
                stream.write(answer())
            code = 0
        finally:
            # Whatever happened, the child must never go on as a second test runner.
            if code:
                traceback.print_exc()
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        raw = stream.read()
    return raw, os.waitpid(child, 0)[1]


@contextmanager
def open_to_everybody() -> Iterator[Path]:
    """Make a folder that other users can enter, unlike the ones pytest makes."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o777)
        yield place


# --- what other programs do to files --------------------------------------------------------------------------


def append(path: bytes) -> None:
    """Add to the end of a file."""
    with open(path, "ab") as stream:
        stream.write(b"more")


def rewrite(path: bytes) -> None:
    """Change the end of a file and put its mtime back, as some tools do."""
    now = os.stat(path)
    with open(path, "r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"!")
    os.utime(path, ns=(now.st_atime_ns, now.st_mtime_ns))
