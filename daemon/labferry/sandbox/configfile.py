"""The ready configuration that a sandbox writes for the daemon, and the password beside it.

Room: sandbox. Written from a template: the sandbox must not know the daemon's configuration room.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from labferry.errors import LabferryError

_TEMPLATE = """\
# Written by `labferry sandbox`; written again at every start, because ports change.

server_name = "sandbox"
state_dir = {state_dir}

[alyx]
url = {alyx_url}
username = {username}
password_file = {password_file}

[[roots]]
name = "rig"
path = {watch_root}
layout = "ibl"
archive = ["server"]

[detection]
quiet = "2s"
scan_every = "1s"

[registration]
resend_after = "2s"             # a real Alyx may work on a request much longer
resend_look_every = "1s"

[archive.server]
kind = "directory"
path = {archive_path}
naming = "alyx"
repository = "auto"

[globus]
endpoint = {endpoint}

[control]
socket = {socket}
"""


@dataclass(frozen=True)
class Places:
    """Where a sandbox keeps what, below its one directory."""

    root: Path

    @property
    def lock(self) -> Path:
        """Held by the sandbox that runs here."""
        return self.root / "lock"

    @property
    def database(self) -> Path:
        """Alyx's state."""
        return self.root / "alyx.sqlite"

    @property
    def requests(self) -> Path:
        """The log of requests."""
        return self.root / "requests.ndjson"

    @property
    def config(self) -> Path:
        """The daemon's configuration."""
        return self.root / "labferry.toml"

    @property
    def password_file(self) -> Path:
        """The password of the daemon's Alyx user."""
        return self.root / "alyx-password"

    @property
    def watch_root(self) -> Path:
        """Where a rig's sessions arrive."""
        return self.root / "Subjects"

    @property
    def archive(self) -> Path:
        """What the data server serves; a lab's data is below `LAB/Subjects`."""
        return self.root / "archive"

    @property
    def state(self) -> Path:
        """The daemon's state directory."""
        return self.root / "state"

    @property
    def socket(self) -> Path:
        """The daemon's control socket."""
        return self.root / "control.sock"

    def create(self) -> None:
        """Make the directories.

        Raises
        ------
        LabferryError
            They cannot be made.
        """
        try:
            for directory in (self.root, self.watch_root, self.archive, self.state):
                directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"the sandbox cannot live in {self.root}: {error.strerror}"
            raise LabferryError("sandbox_directory", message, "Give another directory with --dir.") from error

    def take(self) -> int:
        """Lock the directory; return the descriptor that holds the lock until it is closed.

        Raises
        ------
        LabferryError
            Another sandbox runs here.
        """
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            message = f"another sandbox runs in {self.root}"
            raise LabferryError("sandbox_running", message, "Stop it, or give another --dir.") from error
        return descriptor

    def password(self) -> str:
        """Return the password, made up and stored (mode 0600) on the first call."""
        try:
            descriptor = os.open(self.password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return self.password_file.read_text("utf-8").strip()
        password = secrets.token_urlsafe(24)
        with os.fdopen(descriptor, "w") as file:
            file.write(password + "\n")
        return password

    def write_config(self, alyx_url: str, username: str, endpoint: str) -> None:
        """Write the configuration; whoever reads meanwhile sees the old one or the new one."""
        text = _TEMPLATE.format(
            state_dir=_quoted(self.state),
            alyx_url=_quoted(alyx_url),
            username=_quoted(username),
            password_file=_quoted(self.password_file),
            watch_root=_quoted(self.watch_root),
            archive_path=_quoted(self.archive / "{lab}" / "Subjects"),
            endpoint=_quoted(endpoint),
            socket=_quoted(self.socket),
        )
        temporary = self.config.with_suffix(".new")
        temporary.write_text(text, "utf-8")
        temporary.replace(self.config)


def _quoted(value: Path | str) -> str:
    """Return a TOML string; JSON's rules are a subset."""
    return json.dumps(str(value), ensure_ascii=False)
