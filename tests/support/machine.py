"""A machine of its own for tests of the service: a real systemd in a container over this machine's root.

What is written there goes into memory and is gone with it; this machine sees nothing of it. The network is this
machine's, so a server on 127.0.0.1 is reachable.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from support.wait import wait_until

NEEDED = ("systemd-nspawn", "nsenter", "unshare", "mount")
BOOT_LIMIT = 30.0  # seconds
POWER_OFF_LIMIT = 20.0

# $1: the cgroup to live in, $2: an empty folder to mount on, $3: the name; the rest is for systemd-nspawn.
# The container gets a view of the control groups in which only version 2 exists, and boots no further than
# basic.target: journal, bus and sockets, none of this machine's services.
_BOOT = """
set -e
echo $$ > "$1/cgroup.procs"
here=$2 name=$3
shift 3
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs "$here"
mkdir "$here/above" "$here/work" "$here/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$here/above,workdir=$here/work" "$here/root"
rm -rf "$here"/root/etc/systemd/system/* "$here"/root/var/log/journal
rm -f "$here/root/etc/fstab"
: > "$here/root/etc/machine-id"
exec systemd-nspawn --boot --directory="$here/root" --machine="$name" --register=no --keep-unit --console=pipe \
    --resolv-conf=off --timezone=off --link-journal=no "$@" systemd.unit=basic.target
"""


class CannotBootError(Exception):
    """This machine cannot run such a container; the text says why."""


class Machine:
    """A booted container.

    Parameters
    ----------
    folder : Path
        For its log and its mount point; empty.
    shared : mapping of str to Path
        Folders of this machine by the path under which the container has them, to write to.
    read_only : mapping of str to Path
        The same, to read only.

    Raises
    ------
    CannotBootError
    """

    def __init__(self, folder: Path, *, shared: Mapping[str, Path], read_only: Mapping[str, Path]) -> None:
        require_means()
        self._log = folder / "boot.log"
        (folder / "mount").mkdir()
        name = f"labferry-test-{os.getpid()}"
        self._cgroup = _cgroup_of_version_2() / name
        self._cgroup.mkdir()
        binds = [f"--bind={place}:{path}" for path, place in shared.items()]
        binds += [f"--bind-ro={place}:{path}" for path, place in read_only.items()]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *("unshare", "--mount", "--propagation", "private", "bash", "-c", _BOOT, "boot"),
                    *(str(self._cgroup), str(folder / "mount"), name, *binds),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(self._is_up, BOOT_LIMIT, "the container's systemd to come up")
        except AssertionError as error:
            self._end()
            lines = self._log.read_text(errors="replace").splitlines() or [str(error)]
            raise CannotBootError(f"the container did not boot: {lines[-1]}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command there as root, to its end."""
        return subprocess.run(
            ["nsenter", "--target", str(self._leader()), "--all", "--", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**_environment(), **environment},
        )

    def do(self, *words: str, **environment: str) -> str:
        """Run a command that must succeed; return what it printed."""
        done = self.run(*words, **environment)
        assert done.returncode == 0, f"{words} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, text: str) -> None:
        """Replace the content of a file there; its folder is made, an existing file keeps owner and mode."""
        self.do("sh", "-c", 'mkdir -p "$(dirname "$1")" && printf %s "$2" > "$1"', "write", path, text)

    def pid_here(self, pid: int) -> int:
        """Return the number that a process of the container has on this machine."""
        for entry in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                fields = dict(line.split(":", 1) for line in entry.read_text().splitlines() if ":" in line)
                if fields["NSpid"].split()[1:] == [str(pid)] and self._is_ours(int(entry.parent.name)):
                    return int(entry.parent.name)
        raise AssertionError(f"no process {pid} in the container")

    def close(self) -> None:
        """Power it off."""
        self.run("systemctl", "poweroff")
        self._end()

    def _is_up(self) -> bool:
        assert self._process.poll() is None, "it ended"
        return bool(self._leader()) and self.run("systemctl", "is-system-running").stdout.strip() in {
            "running",
            "degraded",
        }

    def _leader(self) -> int:
        """Return the number of its first process, 0 while there is none."""
        with contextlib.suppress(OSError):
            for child in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split():
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    return int(child)
        return 0

    def _is_ours(self, pid: int) -> bool:
        return os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{self._leader()}/ns/pid")

    def _end(self) -> None:
        try:
            self._process.wait(POWER_OFF_LIMIT if self._leader() else 1)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        for folder, _, _ in os.walk(self._cgroup, topdown=False):
            with contextlib.suppress(OSError):  # something ends there still: an empty group is no harm
                os.rmdir(folder)


def require_means() -> None:
    """Raise `CannotBootError` where this machine lacks what a container takes."""
    if os.geteuid() != 0:
        raise CannotBootError("needs root")
    missing = [command for command in NEEDED if shutil.which(command) is None]
    if missing:
        raise CannotBootError(f"needs {', '.join(missing)} (Debian: systemd-container)")
    if not _cgroup_of_version_2().joinpath("cgroup.procs").exists():
        raise CannotBootError("needs control groups of version 2")


def _cgroup_of_version_2() -> Path:
    unified = Path("/sys/fs/cgroup")
    return unified if (unified / "cgroup.controllers").exists() else unified / "unified"


def _environment() -> dict[str, str]:
    """Return what a login of root has, and what pip needs here to find packages."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("PIP_", "SSL_")) or name.lower().endswith("_proxy")
    }
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {**kept, "PATH": path, "HOME": "/root", "LANG": "C.UTF-8", "LOGNAME": "root", "USER": "root"}
