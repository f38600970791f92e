"""Whether the places that a configuration names can be used by whoever looks: secrets, state directory, roots.

The daemon looks with its own rights; `labferry doctor` does where no daemon runs. Nothing is read but what must be,
and nothing is written.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from labferry.config.credentials import SECRET_FILES, find_secret, globus_tokens
from labferry.config.model import Config, GlobusArchive

_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO
LEAST_ROOM = 200 * 10**6  # bytes that the journal and its backups should find on their disk


class Result(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One precondition.

    Attributes
    ----------
    name : str
        Short and stable; what it is about follows a colon: `root:s0`.
    result : Result
    text : str
        One sentence: what was found.
    hint : str
        The remedy, where there is something to remedy.
    """

    name: str
    result: Result
    text: str
    hint: str = ""

    def fields(self) -> dict[str, str]:
        """Return the check as JSON."""
        return {**asdict(self), "result": self.result.value}


def places(config: Config, environ: Mapping[str, str]) -> Iterator[Check]:
    """Check every place that a configuration names."""
    yield from secret_files(config, environ)
    yield state_directory(config)
    yield from tokens(config)
    yield from (root(config, one.name) for one in config.roots)


def secret_files(config: Config, environ: Mapping[str, str]) -> Iterator[Check]:
    """Check the files with secrets: there, readable by us, and by nobody else."""
    for section, key in SECRET_FILES:
        path = getattr(getattr(config, section), key)
        if not path:
            continue
        name = f"secret:{section}.{key}"
        found = find_secret(path, os.path.dirname(path), environ)
        if found.problem and _is_somebody_elses(config, path):
            yield Check(name, Result.SKIPPED, f"{path} is not for user {_me()} to look at", _AS_ITS_OWNER)
        elif found.problem:
            yield Check(name, Result.ERROR, f"[{section}] {key} {found.problem}", _OF_SECRETS)
        elif found.warning:
            yield Check(name, Result.WARNING, f"{path} {found.warning}", f"chmod 600 {path}")
        else:
            yield Check(name, Result.OK, f"{path} can be read")


def tokens(config: Config) -> Iterator[Check]:
    """Check the login of the person who lets us into Globus, where one does: there, and for our eyes only."""
    used = {name for one in config.roots for name in one.archive}
    through_globus = any(isinstance(config.archive[name], GlobusArchive) for name in used)
    if not through_globus or config.globus.client_secret_file:
        return
    name, path = "globus_tokens", globus_tokens(config.state_dir)
    try:
        modes = [(one, stat.S_IMODE(os.stat(one).st_mode)) for one in (path, os.path.dirname(path))]
    except FileNotFoundError:
        yield Check(name, Result.WARNING, "nobody is logged in to Globus", "`labferry login globus` logs in.")
        return
    except OSError:
        yield Check(name, Result.SKIPPED, f"{path} is not for user {_me()} to look at", _AS_ITS_OWNER)
        return
    for place, mode in modes:
        if mode & _OF_OTHERS:
            text = f"{place} can be used by other users (mode {mode:04o})"
            hint = f"chmod go= {place}; `labferry login globus --replace` makes what they may have read useless."
            yield Check(name, Result.WARNING, text, hint)
            return
    yield Check(name, Result.OK, f"{path} is there, for its owner only")


def state_directory(config: Config) -> Check:
    """Check the directory of the journal: ours, and with room."""
    path, name = config.state_dir, "state_dir"
    if not os.path.lexists(path):
        text = f"{path} is not there yet: the daemon makes it at its first start"
        return Check(name, Result.WARNING, text, "Start the daemon, or make it for the service user (mode 0700).")
    if not os.path.isdir(path):
        return Check(name, Result.ERROR, f"{path} is no directory", "Move it away, or set another `state_dir`.")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        return _not_for_us(config, name, path, "write", "Give it to the service user: `chown labferry:` and mode 0700.")
    room = os.statvfs(path)
    free = room.f_bavail * room.f_frsize
    if room.f_blocks and free < LEAST_ROOM:
        text = f"{path}: only {free / 1e6:.0f} MB are free on its file system"
        return Check(name, Result.WARNING, text, "Make room: nothing is done while the journal cannot be written.")
    holder = lock_holder(os.path.join(path, "lock"))
    used = f", in use by process {holder}" if holder else ""
    return Check(name, Result.OK, f"{path} can be used{used}; {free / 1e9:.1f} GB are free")


def root(config: Config, name: str) -> Check:
    """Check a watched directory: there and readable."""
    path, check = config.root(name).path, f"root:{name}"
    try:
        with os.scandir(path) as entries:
            empty = next(entries, None) is None
    except PermissionError:
        return _not_for_us(config, check, path, "read", f"Give the service user read permission in {path}.")
    except OSError as error:
        hint = "Mount it, or correct `path` of the root."
        return Check(check, Result.ERROR, f"{path} cannot be read: {error.strerror}", hint)
    if empty:
        return Check(check, Result.WARNING, f"{path} is empty", "If it should not be: is its disk mounted?")
    return Check(check, Result.OK, f"{path} can be read")


def lock_holder(path: str, locks: str = "/proc/locks") -> str:
    """Return the process that holds a lock (flock) on a file, empty for none; asks the kernel, takes no lock itself."""
    try:
        there = os.stat(path)
        with open(locks, encoding="ascii") as file:
            rows = [line.split() for line in file]
    except OSError:
        return ""
    wanted = f"{os.major(there.st_dev):02x}:{os.minor(there.st_dev):02x}:{there.st_ino}"
    return next((row[4] for row in rows if len(row) > 5 and row[1] == "FLOCK" and row[5] == wanted), "")


# --- whose it is ------------------------------------------------------------------------------------------

_AS_ITS_OWNER = "Ask as root or as the service user; a running daemon looks for itself."
_OF_SECRETS = (
    "Make the file, readable by the service user only (mode 0600); `labferry login` helps. What systemd's "
    "LoadCredential= gives to the service is seen by the service only."
)


def _not_for_us(config: Config, name: str, path: str, verb: str, hint: str) -> Check:
    if _is_somebody_elses(config, path):
        return Check(name, Result.SKIPPED, f"user {_me()} may not {verb} {path}", _AS_ITS_OWNER)
    return Check(name, Result.ERROR, f"user {_me()} may not {verb} {path}", hint)


def _is_somebody_elses(config: Config, path: str) -> bool:
    """Tell whether it is no wonder that we may not: we are neither the superuser nor the service's user."""
    if os.geteuid() == 0:
        return False
    owners = []
    for place in (config.state_dir, path):
        try:
            owners.append(os.stat(place).st_uid)
        except PermissionError:
            return True
        except OSError:
            continue
    return bool(owners) and os.geteuid() != owners[0]


def _me() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
