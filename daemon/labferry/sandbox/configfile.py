"""The ready configuration that a sandbox writes for the daemon, and the secrets beside it.

Room: sandbox. Written from a template: the sandbox must not know the daemon's configuration room.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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

{archive}
[control]
socket = {socket}
"""

_DIRECTORY = """\
[archive.server]
kind = "directory"
path = {archive_path}
naming = "alyx"
repository = "auto"

[globus]
endpoint = {local}
"""

_GLOBUS = """\
[archive.server]
kind = "globus"
endpoint = {server}
path = "auto"
naming = "alyx"
repository = "auto"

[globus]
client_id = {client_id}
client_secret_file = {client_secret_file}
endpoint = {local}
transfer_url = {url}
auth_url = {url}
poll_every = "1s"
"""

ArchiveKind = Literal["globus", "directory"]


@dataclass(frozen=True)
class GlobusAccess:
    """What the daemon must know of the sandbox's Globus: collections, client, and the address."""

    url: str
    local: str
    server: str
    client_id: str


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
    def globus_database(self) -> Path:
        """Globus' state."""
        return self.root / "globus.sqlite"

    @property
    def globus_port(self) -> Path:
        """The port that Globus had last."""
        return self.root / "globus-port"

    @property
    def client_secret_file(self) -> Path:
        """The secret of the daemon's Globus client."""
        return self.root / "globus-client-secret"

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
        return _secret(self.password_file)

    def client_secret(self) -> str:
        """Return the secret of the Globus client, made up and stored (mode 0600) on the first call."""
        return _secret(self.client_secret_file)

    def last_globus_port(self) -> int:
        """Return the port that Globus had last; 0 if it had none."""
        try:
            return int(self.globus_port.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return 0

    def write_config(self, alyx_url: str, username: str, archive: ArchiveKind, globus: GlobusAccess) -> None:
        """Write the configuration; whoever reads meanwhile sees the old one or the new one."""
        archive_text = (_GLOBUS if archive == "globus" else _DIRECTORY).format(
            archive_path=_quoted(self.archive / "{lab}" / "Subjects"),
            client_id=_quoted(globus.client_id),
            client_secret_file=_quoted(self.client_secret_file),
            local=_quoted(globus.local),
            server=_quoted(globus.server),
            url=_quoted(globus.url),
        )
        text = _TEMPLATE.format(
            state_dir=_quoted(self.state),
            alyx_url=_quoted(alyx_url),
            username=_quoted(username),
            password_file=_quoted(self.password_file),
            watch_root=_quoted(self.watch_root),
            archive=archive_text,
            socket=_quoted(self.socket),
        )
        temporary = self.config.with_suffix(".new")
        temporary.write_text(text, "utf-8")
        temporary.replace(self.config)


def _secret(file: Path) -> str:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_text("utf-8").strip()
    value = secrets.token_urlsafe(24)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(value + "\n")
    return value


def _quoted(value: Path | str) -> str:
    """Return a TOML string; JSON's rules are a subset."""
    return json.dumps(str(value), ensure_ascii=False)
