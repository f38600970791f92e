"""The configuration: one TOML file, the environment over it, secrets only from files.

Above `errors` and `model`; every other room may read a `Config`, none changes one. Nothing here talks to the
network or writes a file. Importing this package costs a fifth of a second (pydantic): commands of the CLI
import it inside the function that needs it.

* `values`: durations, times of day, paths, addresses.
* `model`: every key with its default.
* `source`: where a value comes from (file and line, or environment variable).
* `rules`: what has to hold between keys.
* `credentials`: secret files and this machine's Globus id.
* `problems`: errors as sentences.
* `checks`: whether the places it names can be used.
* `loading` puts these together; `render` shows the result.
"""

from labferry.config.credentials import read_secret
from labferry.config.loading import load
from labferry.config.model import (
    Alerts,
    Alyx,
    ArchiveTarget,
    Config,
    Control,
    Detection,
    DirectoryArchive,
    Globus,
    GlobusArchive,
    Journal,
    Log,
    Metrics,
    ObserveArchive,
    Registration,
    Root,
    Worker,
)
from labferry.config.render import effective, show
from labferry.config.source import DEFAULT_PATH, config_path
from labferry.config.values import Duration, duration_text, parse_duration

__all__ = [
    "DEFAULT_PATH",
    "Alerts",
    "Alyx",
    "ArchiveTarget",
    "Config",
    "Control",
    "Detection",
    "DirectoryArchive",
    "Duration",
    "Globus",
    "GlobusArchive",
    "Journal",
    "Log",
    "Metrics",
    "ObserveArchive",
    "Registration",
    "Root",
    "Worker",
    "config_path",
    "duration_text",
    "effective",
    "load",
    "parse_duration",
    "read_secret",
    "show",
]
