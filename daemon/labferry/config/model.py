"""Every key of the configuration with its type and default.

Pure values: nothing is read, resolved or created here. What has to hold between keys is in `rules`, so a
`Config` built by hand (in a test, say) obeys only the checks of single keys; `load` obeys all of them.
`docs/configuration.md` explains the keys; a test keeps it complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

from labferry.config.values import (
    AbsolutePath,
    ArchivePath,
    AutoCollectionPath,
    CollectionPath,
    Duration,
    Flag,
    Interval,
    Name,
    OptionalDuration,
    OptionalListen,
    OptionalPath,
    OptionalUrl,
    OptionalUuid,
    SocketPath,
    Texts,
    TimeOfDay,
    TimeZone,
    Url,
    Uuid,
    from_json,
    whole,
)

LayoutName = Literal["ibl", "aind", "map"]
Completion = Literal["auto", "flag", "manifest", "metadata", "spikeglx", "quiet"]
Naming = Literal["alyx", "plain", "map"]

# The way into Alyx is IBL's; the other layouts are archived without it unless a root asks for it.
LAYOUT_DEFAULTS: Mapping[str, Mapping[str, bool]] = {
    "ibl": {"register": True},
    "aind": {"register": False},
    "map": {"register": False},
}


class Section(BaseModel):
    """A table of the file: frozen, and an unknown key in it is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Alyx(Section):
    """The registry. Secret file names are whole paths after `load`, or empty."""

    url: Url
    username: str = ""
    password_file: str = ""
    token_file: str = ""
    timeout: Interval = 60.0
    timezone: TimeZone = ""
    ca_file: str = ""


class Root(Section):
    """A watched directory and the grammar of the session folders below it.

    Attributes
    ----------
    registers : bool
        The key `register`; its default depends on the layout.
    quiet, quiet_without_signal : float or None
        As written; ask `Config.quiet(root)` for the value that counts.
    """

    name: Name
    path: AbsolutePath
    layout: LayoutName = "ibl"
    # pydantic's classes have a method named `register` of their own
    registers: Flag = Field(default=True, alias="register")
    archive: Texts = ()
    lab: str = ""
    repository: str = ""
    completion: Completion = "auto"
    quiet: OptionalDuration = None
    quiet_without_signal: OptionalDuration = None
    manifest_dir: OptionalPath = ""
    events: Literal["auto", "off"] = "auto"
    exclude_subjects: Texts = ("test", "test_subject")
    writable: Flag = False

    @model_validator(mode="before")
    @classmethod
    def _layout_decides(cls, data: object) -> object:
        layout = data.get("layout") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(layout, str):
            return data
        return {**LAYOUT_DEFAULTS.get(layout, {}), **data}


class Detection(Section):
    """When a session is finished, and what to make of history."""

    quiet: Duration = 60.0
    quiet_without_signal: Duration = 600.0
    scan_every: Interval = 30.0
    stale_after: Interval = 86400.0
    history: Literal["adopt", "ignore", "process"] = "adopt"
    history_age: Duration = 7 * 86400.0
    consume_flag: Flag = False


def _later(value: object) -> object:
    if value in ("revision", "force"):
        raise ValueError('is not available yet; "block" is the only value for now')
    return value


class Registration(Section):
    """What is registered in Alyx, and how.

    Attributes
    ----------
    resend_after, resend_look_every : float
        Seconds that Alyx gets to finish an unanswered request before it is looked for, and between the two
        looks that must agree before it is sent again.
    """

    patterns: Texts = ()
    exclude_suffixes: Texts = (".flag", ".error", ".avi")
    scope: Literal["all", "raw"] = "all"
    chunk: Annotated[int, whole(1, 1000)] = 50
    create_sessions: Flag = True
    on_registered: Texts = ()
    on_protected: Annotated[Literal["block"], BeforeValidator(_later)] = "block"
    weights: Flag = True
    water: Flag = True
    compat_renames: Flag = False
    ibl_strict_patterns: Flag = False
    versions: str = ""
    resend_after: Duration = 30.0
    resend_look_every: Interval = 15.0


class ObserveArchive(Section):
    """Alyx moves the data itself; we wait for its file records and check them."""

    kind: Literal["observe"]
    repository: str = "auto"


class _Copying(Section):
    """What the two archives have in common that we fill ourselves."""

    kind: str
    naming: Naming = "alyx"
    repository: str = "auto"
    include: Texts = ()
    exclude: Texts = ()
    on_change: Literal["block", "replace"] = "block"


class GlobusArchive(_Copying):
    """A Globus collection."""

    kind: Literal["globus"]
    endpoint: Uuid
    path: AutoCollectionPath = "auto"


class DirectoryArchive(_Copying):
    """A directory of this machine: a mounted server, an external disk."""

    kind: Literal["directory"]
    path: ArchivePath


ArchiveTarget = Annotated[ObserveArchive | GlobusArchive | DirectoryArchive, Field(discriminator="kind")]
ARCHIVE_KINDS: Mapping[str, type[Section]] = {
    "observe": ObserveArchive,
    "globus": GlobusArchive,
    "directory": DirectoryArchive,
}


class Globus(Section):
    """The local side of Globus. `endpoint` is empty after `load` only where this machine has no Globus."""

    client_id: str = ""
    client_secret_file: str = ""
    endpoint: OptionalUuid = ""
    config_dir: OptionalPath = ""
    endpoint_subdir: CollectionPath = "/"
    local_path: AbsolutePath = "/"
    transfer_url: OptionalUrl = ""
    auth_url: OptionalUrl = ""
    poll_every: Interval = 60.0
    max_active: Annotated[int, whole(1, 100)] = 2
    max_items: Annotated[int, whole(1, 100_000)] = 5000
    stall_after: Interval = 1800.0


class Worker(Section):
    """How much is done at once, and how patiently."""

    register_workers: Annotated[int, whole(1, 32)] = 2
    seal_workers: Annotated[int, whole(1, 32)] = 2
    max_attempts: Annotated[int, whole(1, 100)] = 10
    backoff_max: Interval = 900.0


class Journal(Section):
    """What is kept of the past."""

    keep_events: Duration = 400 * 86400.0
    backups: Annotated[int, whole(0, 1000)] = 7


class Control(Section):
    """Who may speak with the daemon, and where."""

    socket: SocketPath = "/run/labferry/control.sock"
    group: str = "labferry"
    operators: Texts = ()


class Metrics(Section):
    """Where Prometheus may fetch, beside the control socket."""

    listen: OptionalListen = ""


class Alerts(Section):
    """Whom to tell."""

    urls_file: str = ""
    dead_man_url_file: str = ""
    digest: TimeOfDay = None


class Log(Section):
    """What is logged, and in which form."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json", "journal"] = "auto"


class Config(Section):
    """The whole configuration, frozen.

    `Config.model_validate(table)` checks single keys; use `labferry.config.load` for everything else.
    """

    layout_defaults: ClassVar[Mapping[str, Mapping[str, bool]]] = LAYOUT_DEFAULTS

    server_name: Name
    state_dir: AbsolutePath = "/var/lib/labferry"
    alyx: Alyx
    roots: Annotated[tuple[Root, ...], BeforeValidator(from_json)] = ()
    detection: Detection = Detection()
    registration: Registration = Registration()
    archive: dict[Name, ArchiveTarget] = Field(default_factory=dict)
    globus: Globus = Globus()
    worker: Worker = Worker()
    journal: Journal = Journal()
    control: Control = Control()
    metrics: Metrics = Metrics()
    alerts: Alerts = Alerts()
    log: Log = Log()

    _path: str = PrivateAttr(default="")
    _warnings: tuple[str, ...] = PrivateAttr(default=())

    @property
    def path(self) -> str:
        """The file this configuration was read from; empty when it was built by hand."""
        return self._path

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed and still deserves a look, one sentence each."""
        return self._warnings

    def loaded(self, path: str, warnings: tuple[str, ...]) -> Config:
        """Return a copy that knows its file and what deserves a look."""
        copy = self.model_copy()
        copy._path = path
        copy._warnings = warnings
        return copy

    def root(self, name: str) -> Root:
        """Return the root of this name.

        Raises
        ------
        KeyError
            There is none.
        """
        for root in self.roots:
            if root.name == name:
                return root
        raise KeyError(name)

    def quiet(self, root: Root) -> float:
        """Return the seconds without change after which a session with a completion signal is finished."""
        return self.detection.quiet if root.quiet is None else root.quiet

    def quiet_without_signal(self, root: Root) -> float:
        """Return the seconds without change where the layout needs no completion signal."""
        return self.detection.quiet_without_signal if root.quiet_without_signal is None else root.quiet_without_signal
