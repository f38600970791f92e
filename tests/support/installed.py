"""The installed service in its container, as an administrator uses it: systemctl, journalctl, labferry."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.lab import Lab
from support.machine import Machine
from support.wait import wait_until

LAB = "/srv/lab"  # where the container has the lab's folder …
SOURCE = "/srv/source"  # … and this checkout
UNIT = "labferry.service"
CONFIG = "/etc/labferry/config.toml"
DROP_IN = "/etc/systemd/system/labferry.service.d/test.conf"
ROOT = f"{LAB}/Subjects"
ARCHIVE = f"{LAB}/archive"

_CONFIG = """\
server_name = "lab-server-1"

[alyx]
url = "{alyx_url}"
username = "{alyx_user}"
password_file = "alyx-password"

[[roots]]
name = "s0"
path = "{root}"
archive = ["nas"]

[detection]
quiet = "0.2s"
scan_every = "0.2s"

[registration]
resend_after = "0.3s"
resend_look_every = "0.2s"

[worker]
backoff_max = "1s"

[archive.nas]
kind = "directory"
path = "{archive}/{{lab}}/Subjects"

[globus]
endpoint = "{endpoint}"
"""

# Goes on in the last table of the above.
_GLOBUS = """\
client_id = "{client_id}"
client_secret_file = "globus-secret"
local_path = "{root}"
endpoint_subdir = "{root_there}"
transfer_url = "{transfer_url}"
auth_url = "{auth_url}"
poll_every = "0.2s"

[archive.hpc]
kind = "globus"
endpoint = "{destination}"
"""


class Installed:
    """labferry installed in a machine, with a lab outside that both see.

    Parameters
    ----------
    machine : Machine
    lab : Lab
        Its daemon is not used.
    """

    def __init__(self, machine: Machine, lab: Lab) -> None:
        self.machine = machine
        self.lab = lab
        self.said = self.make("install").stdout
        ready = tomllib.loads(Path(lab.config).read_text())
        endpoint, destination = ready["globus"]["endpoint"], ready["archive"]["server"]["endpoint"]
        self.config = _CONFIG.format(**lab.up, root=ROOT, archive=ARCHIVE, endpoint=endpoint)
        self.globus = _GLOBUS.format(**ready["globus"], root=ROOT, root_there=lab.root, destination=destination)
        self.password = Path(lab.up["password_file"]).read_text().strip()
        self.globus_secret = Path(ready["globus"]["client_secret_file"]).read_text().strip()
        for name in ("cortexlab", "mainenlab"):
            (lab.archive / name / "Subjects").mkdir(parents=True, exist_ok=True)
        machine.do("chown", "-R", "labferry", ARCHIVE)

    # --- what an administrator types ----------------------------------------------------------------------

    def make(self, target: str, *settings: str) -> subprocess.CompletedProcess[str]:
        """Run a target of the Makefile as root."""
        done = self.machine.run("make", "--no-print-directory", "-C", SOURCE, target, *settings)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def configure(self, *changes: tuple[str, str], drop_in: Sequence[str] = (), over_globus: bool = False) -> None:
        """Write configuration, secrets and drop-in; the service is not told."""
        text = self.config.replace('["nas"]', '["hpc"]') + self.globus if over_globus else self.config
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        self.machine.write(CONFIG, text)
        self.machine.do("install", "--mode=600", "/dev/null", "/etc/labferry/globus-secret")
        self.machine.write("/etc/labferry/globus-secret", f"{self.globus_secret}\n")
        self.machine.do("install", "--mode=600", "/dev/null", "/etc/labferry/alyx-password")
        self.machine.write("/etc/labferry/alyx-password", f"{self.password}\n")
        lines = ["[Service]", f"ReadWritePaths=-{ARCHIVE}", "RestartSec=200ms", *drop_in]
        self.machine.write(DROP_IN, "\n".join([*lines, ""]))
        self.machine.do("systemctl", "daemon-reload")

    def systemctl(self, verb: str) -> subprocess.CompletedProcess[str]:
        """Ask systemd to do something with the service."""
        return self.machine.run("systemctl", verb, UNIT)

    def start(self, *changes: tuple[str, str], drop_in: Sequence[str] = (), over_globus: bool = False) -> None:
        """Configure and start it; it is ready after that."""
        self.configure(*changes, drop_in=drop_in, over_globus=over_globus)
        self.machine.do("systemctl", "start", UNIT)

    def labferry(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command as root."""
        return self.machine.run("labferry", *words)

    # --- what is seen -------------------------------------------------------------------------------------

    def fact(self, name: str) -> str:
        """Return a property of the service."""
        return self.machine.do("systemctl", "show", UNIT, f"--property={name}", "--value").strip()

    @property
    def pid(self) -> int:
        """The daemon's process, as the container numbers it; 0 while there is none."""
        return int(self.fact("MainPID"))

    def status(self) -> dict[str, Any]:
        """Return `status.data`."""
        data: dict[str, Any] = json.loads(self.labferry("status", "--json").stdout)["data"]
        return data

    def wait_for(self, state: str, sessions: int = 1) -> None:
        """Wait until so many sessions are in a state."""

        def reached() -> bool:
            answer = json.loads(self.labferry("status", "--json").stdout or "{}")
            return bool(answer.get("ok")) and int(answer["data"]["sessions"][state]) >= sessions

        wait_until(reached, 30, lambda: f"{sessions} sessions {state}\n{self.tail()}")

    def wait_for_status_text(self, *parts: str) -> str:
        """Wait until `systemctl status` shows a line with these parts; return it."""

        def found() -> str:
            text = self.fact("StatusText")
            return text if all(part in text for part in parts) else ""

        return wait_until(found, 30, lambda: f"{parts} in {self.fact('StatusText')!r}\n{self.tail()}")

    def records(self, *filters: str) -> list[dict[str, Any]]:
        """Return the service's records in the journal, with all their fields."""
        lines = self.machine.do("journalctl", "--unit", UNIT, "--output=json", "--no-pager", "--all", *filters)
        return [json.loads(line) for line in lines.splitlines()]

    def messages(self) -> str:
        """Return what the journal has of the service, as text."""
        return self.machine.do("journalctl", "--unit", UNIT, "--output=cat", "--no-pager", "--all")

    def tail(self) -> str:
        """Return the end of that."""
        return self.messages()[-3000:]
