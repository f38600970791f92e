"""A small valid configuration for tests to bend, written where nothing of this machine is found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labferry.config import Config, load
from labferry.errors import ConfigError

TOP = 'server_name = "lab-server-1"\n'
ALYX = '[alyx]\nurl = "https://alyx.example.org"\nusername = "lab_server"\npassword_file = "alyx-password"\n'
ROOT = '[[roots]]\nname = "s0"\npath = "/mnt/s0/Data/Subjects"\nrepository = "mylab_server"\n'
VALID = TOP + ALYX + ROOT


@dataclass
class ConfigFile:
    """A configuration file in a directory of its own, with a password beside it."""

    directory: Path
    environ: dict[str, str]

    @property
    def path(self) -> Path:
        return self.directory / "config.toml"

    def load(self, text: str = VALID, **environ: str) -> Config:
        self.path.write_text(text, encoding="utf-8")
        return load(str(self.path), {**self.environ, **environ})

    def errors(self, text: str, **environ: str) -> list[str]:
        """Return the lines of the error this text is answered with; none when it is accepted."""
        try:
            self.load(text, **environ)
        except ConfigError as error:
            return error.message.split("\n")
        return []


def config_file(directory: Path) -> ConfigFile:
    """Prepare a directory; HOME is an empty one, so that there is no Globus Connect Personal."""
    secret = directory / "alyx-password"
    secret.write_text("not-a-real-one\n", encoding="utf-8")
    secret.chmod(0o600)
    home = directory / "home"
    home.mkdir()
    return ConfigFile(directory, {"HOME": str(home)})
