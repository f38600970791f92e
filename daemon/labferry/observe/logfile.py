"""The log as a file: one JSON object per line, a few files of bounded size.

Room: observe. `labferry logs` reads it through the daemon, and by itself when none runs.
"""

from __future__ import annotations

import os
import threading

LARGEST = 16 * 1024 * 1024  # bytes of one file
KEPT = 4  # older files beside the newest: PATH.1 is the youngest of them


class LogFile:
    """A file that lines are appended to, from any thread; full, it becomes `PATH.1` and a new one begins.

    Parameters
    ----------
    path : str
        Its folder is created when missing, for the owner only.
    largest : int
        Bytes after which a new file begins.
    kept : int
        Older files that are kept.
    """

    def __init__(self, path: str, largest: int = LARGEST, kept: int = KEPT) -> None:
        self._path = path
        self._largest = largest
        self._kept = kept
        self._lock = threading.Lock()
        self._descriptor: int | None = None

    def write(self, line: str) -> None:
        """Append one line.

        Raises
        ------
        OSError
            It cannot be written; the next line tries again.
        """
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        with self._lock:
            descriptor = self._open()
            size = os.fstat(descriptor).st_size
            if size and size + len(data) > self._largest:
                self._rotate()
                descriptor = self._open()
            try:
                while data:  # a disk that fills up takes a part, and refuses the rest
                    data = data[os.write(descriptor, data) :]
            except OSError:
                self._close()  # opened again, the part is made a line of its own
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._close()

    def _open(self) -> int:
        if self._descriptor is None:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            self._finish_last_line(self._descriptor)
        return self._descriptor

    @staticmethod
    def _finish_last_line(descriptor: int) -> None:
        """End a line that a crash or a full disk cut off, so that the next one stands alone."""
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")

    def _rotate(self) -> None:
        self._close()
        for number in range(self._kept, 1, -1):
            older = f"{self._path}.{number - 1}"
            if os.path.exists(older):
                os.replace(older, f"{self._path}.{number}")
        os.replace(self._path, f"{self._path}.1")

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
