"""A daemon in front of a lab's whole past."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from big_journal import big_journal
from big_tree import SUBJECTS, big_tree
from memory import memory
from support.lab import Lab

READY_LIMIT = 120.0  # seconds
EVERY_HALF_MINUTE = {"LABFERRY_DETECTION__SCAN_EVERY": "30", "LABFERRY_DETECTION__QUIET": "60"}  # the daemon's defaults


class BigLab:
    """A lab whose root is a given tree.

    Parameters
    ----------
    folder : Path
        Empty.
    tree : Path
        The root.
    journal : Path or None
        The journal to begin with.
    environment : mapping
        Of the daemon.
    """

    def __init__(
        self,
        folder: Path,
        tree: Path,
        journal: Path | None = None,
        environment: Mapping[str, str] = EVERY_HALF_MINUTE,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.tree = tree
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(folder / "notify"))
        self._ready_at = queue.SimpleQueue[float]()
        threading.Thread(target=self._hear, daemon=True).start()
        self.lab = Lab(folder, environment={**environment, "NOTIFY_SOCKET": str(folder / "notify")})
        config = Path(self.lab.config)
        config.write_text(config.read_text().replace(str(self.lab.root), str(tree)))
        if journal is not None:
            self.lab.state_dir.mkdir(exist_ok=True)
            shutil.copy(journal, self.lab.state_dir / "journal.sqlite")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lab.close()
        self._notify.shutdown(socket.SHUT_RDWR)  # ends the thread that listens
        self._notify.close()

    def start(self) -> float:
        """Start the daemon; return the seconds until it said that it is ready."""
        began = time.perf_counter()
        self.lab.start()
        while True:
            with contextlib.suppress(queue.Empty):
                return self._ready_at.get(timeout=1.0) - began
            self.lab.require_running()
            assert time.perf_counter() - began < READY_LIMIT, self.lab.log[-3000:]

    def _hear(self) -> None:
        """Take what the daemon says, as systemd does; note when it is ready."""
        while message := self._notify.recv(4096):
            if b"READY=1" in message.splitlines():
                self._ready_at.put(time.perf_counter())

    @property
    def pid(self) -> int:
        """The daemon's process."""
        assert self.lab.daemon is not None
        return self.lab.daemon.process.pid

    def cpu(self) -> float:
        """Return the seconds of processor time that the daemon's threads have had."""
        threads = Path(f"/proc/{self.pid}/task")
        return sum(int((threads / one / "schedstat").read_text().split()[0]) for one in os.listdir(threads)) / 1e9

    def memory(self, field: str) -> float:
        """Return a field of the kernel's account of the daemon's memory (VmRSS, VmHWM), in MiB."""
        return memory(self.pid)[field]


def known_past(
    workdir: Path,
    folder: str = "lab",
    environment: Mapping[str, str] = EVERY_HALF_MINUTE,
    *,
    subjects: int = SUBJECTS,
    unsettled: int = 0,
    bare: bool = False,
) -> BigLab:
    """Return a lab in front of `big_tree` with a journal that knows it, as `big_journal` makes it."""
    tree = big_tree(workdir, subjects, bare=bare)
    journal = big_journal(workdir, tree, subjects, unsettled=unsettled, bare=bare)
    return BigLab(workdir / folder, tree, journal, environment)
