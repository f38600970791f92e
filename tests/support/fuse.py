"""A folder seen through FUSE, read-only: `python fuse.py SOURCE MOUNTPOINT` serves until the mount is gone.

The few requests that listing and reading need, spoken to /dev/fuse itself, so that no package has to be installed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
from collections.abc import Callable

TYPE = "fuse.labferry-test"
_HEADER = struct.Struct("=IIQQIIIHH")  # length, opcode, unique, node, uid, gid, pid, …
_ANSWER = struct.Struct("=IiQ")  # length, error, unique
_ATTR = struct.Struct("=6Q10I")
_VERSION = (7, 22)  # of the protocol: the last one whose first answer is short
_LARGEST = 1 << 17  # bytes of a request
_ROOT = 1


class _Files:
    """Answers requests about the files below a folder."""

    def __init__(self, source: bytes) -> None:
        self._paths = {_ROOT: source}
        self._nodes = {source: _ROOT}
        self._requests: dict[int, Callable[[int, bytes], bytes]] = {
            1: self._look_up,
            3: self._attributes,
            14: self._open,
            15: self._read,
            17: lambda node, body: struct.pack("=5Q4I24x", 0, 0, 0, 0, 0, 4096, 255, 4096, 0),
            18: lambda node, body: b"",  # RELEASE
            25: lambda node, body: b"",  # FLUSH
            26: self._begin,
            27: self._open,
            28: self._list,
            29: lambda node, body: b"",  # RELEASEDIR
            34: lambda node, body: b"",  # ACCESS
        }

    def answer(self, opcode: int, node: int, body: bytes) -> tuple[int, bytes]:
        """Return the error number, 0 for none, and the answer."""
        if opcode not in self._requests:
            return errno.ENOSYS, b""
        try:
            return 0, self._requests[opcode](node, body)
        except OSError as error:
            return error.errno or errno.EIO, b""

    def _begin(self, node: int, body: bytes) -> bytes:
        return struct.pack("=4I2HI", *_VERSION, 0, 0, 0, 0, 4096)

    def _stat(self, path: bytes) -> bytes:
        found = os.lstat(path)
        times = (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)
        node = self._nodes.setdefault(path, len(self._nodes) + 1)
        self._paths[node] = path
        return _ATTR.pack(
            *(found.st_ino, found.st_size, found.st_blocks),
            *(time // 10**9 for time in times),
            *(time % 10**9 for time in times),
            *(found.st_mode, found.st_nlink, found.st_uid, found.st_gid, 0, 4096, 0),
        )

    def _look_up(self, node: int, body: bytes) -> bytes:
        path = os.path.join(self._paths[node], body.rstrip(b"\0"))
        attributes = self._stat(path)
        return struct.pack("=4Q2I", self._nodes[path], 0, 0, 0, 0, 0) + attributes

    def _attributes(self, node: int, body: bytes) -> bytes:
        return struct.pack("=QII", 0, 0, 0) + self._stat(self._paths[node])

    def _open(self, node: int, body: bytes) -> bytes:
        os.lstat(self._paths[node])
        return struct.pack("=QII", 0, 0, 0)

    def _read(self, node: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("=QQI", body)
        with open(self._paths[node], "rb") as file:
            file.seek(offset)
            return file.read(size)

    def _list(self, node: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("=QQI", body)
        found = b""
        names = sorted(os.listdir(self._paths[node]))
        for number, name in enumerate(names[offset:], offset + 1):
            kind = stat.S_IFMT(os.lstat(os.path.join(self._paths[node], name)).st_mode) >> 12
            entry = struct.pack("=QQII", number, number, len(name), kind) + name
            entry += bytes(-len(entry) % 8)
            if len(found) + len(entry) > size:
                break
            found += entry
        return found


def serve(source: str, mountpoint: str) -> None:
    """Mount, and answer until the mount is gone."""
    device = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
    if libc.mount(b"labferry-test", os.fsencode(mountpoint), TYPE.encode(), 0, options.encode()) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    files = _Files(os.fsencode(source))
    while True:
        try:
            request = os.read(device, _LARGEST)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            if error.errno in {errno.EINTR, errno.ENOENT}:
                continue
            raise
        _, opcode, unique, node, *_ = _HEADER.unpack_from(request)
        if opcode in {2, 36, 42}:  # FORGET, INTERRUPT and BATCH_FORGET want no answer
            continue
        error, body = files.answer(opcode, node, request[_HEADER.size :])
        os.write(device, _ANSWER.pack(_ANSWER.size + len(body), -error, unique) + body)


if __name__ == "__main__":
    serve(*sys.argv[1:])
