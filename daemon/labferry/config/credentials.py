"""Secret files, and who this machine is in Globus.

Looks at files named by the configuration and reads the few that hold secrets; a secret's content never
appears in a message.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from labferry.errors import ConfigError

# Every key that names a secret file, by section.
SECRET_FILES: Final = (
    ("alyx", "password_file"),
    ("alyx", "token_file"),
    ("globus", "client_secret_file"),
    ("alerts", "urls_file"),
    ("alerts", "dead_man_url_file"),
)
LARGEST_SECRET = 64 * 1024  # bytes; anything larger is a wrong file

_WRONG_FILE = "name a file that holds the secret and nothing else"
_READABLE_BY_OTHERS = stat.S_IRGRP | stat.S_IROTH


@dataclass(frozen=True)
class Found:
    """A file that was looked for.

    Attributes
    ----------
    path : str
        Where it is, or would be.
    problem, warning : str
        The end of a sentence that begins with the key; empty when there is none.
    hidden : bool
        What was written may itself be the secret and must not be repeated.
    """

    path: str
    problem: str = ""
    warning: str = ""
    hidden: bool = False


def find_secret(name: str, beside: str, environ: Mapping[str, str]) -> Found:
    """Find a secret file: whole paths as they are, others in $CREDENTIALS_DIRECTORY, then in `beside`."""
    if "://" in name:
        return Found("", "takes a file's name; write the address into a file and name that", hidden=True)
    credentials = environ.get("CREDENTIALS_DIRECTORY", "")
    places = [os.path.join(place, name) for place in (credentials, beside) if place]
    path = next((place for place in places if os.path.lexists(place)), places[-1])
    try:
        _, mode = _read(path)
    except ConfigError as error:
        elsewhere = [place for place in dict.fromkeys(places) if place != path and not os.path.lexists(path)]
        also = "".join(f", nor is {place}" for place in elsewhere)
        return Found(path, f"cannot be used: {error.message}{also}; {error.hint}")
    provided = credentials and path.startswith(os.path.join(credentials, ""))
    if mode & _READABLE_BY_OTHERS and not provided:
        return Found(path, warning=f"can be read by other users (mode {mode:04o}); run chmod 600 {path}")
    return Found(path)


def find_file(name: str, beside: str) -> Found:
    """Find a file that is no secret: whole paths as they are, others in `beside`."""
    path = os.path.join(beside, name)
    if not os.path.isfile(path):
        return Found(path, f"names a file that is not there ({path}); correct the name or remove the key")
    return Found(path)


def read_secret(path: str) -> str:
    """Return the content of a secret file without one newline at its end.

    Raises
    ------
    ConfigError
        The file is missing, not a regular file, unreadable, empty, not UTF-8 or far too large.
    """
    secret, _ = _read(path)
    return secret


def _read(path: str) -> tuple[str, int]:
    """Return a secret and the permission bits of its file."""
    try:
        # without O_NONBLOCK a pipe in the secret's place would hold us up for ever
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            data = file.read(LARGEST_SECRET + 1) if stat.S_ISREG(mode) else b""
    except FileNotFoundError:
        raise ConfigError(f"{path} is not there", "create it, readable by the service user only") from None
    except ValueError:
        raise ConfigError("it is no file name", _WRONG_FILE) from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a directory", _WRONG_FILE) from None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read by user {os.geteuid()}: {error.strerror}",
            "give it to the service user, or run this command as that user",
        ) from None
    if not stat.S_ISREG(mode) or len(data) > LARGEST_SECRET:
        raise ConfigError(f"{path} is not a regular file or too large for a secret", _WRONG_FILE)
    return _secret(path, data), stat.S_IMODE(mode)


def _secret(path: str, data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text", "write the secret into it as plain text") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret.strip():
        raise ConfigError(f"{path} is empty", "write the secret into it")
    return secret


def globus_tokens(state_dir: str) -> str:
    """Return where the login of the person is kept who lets this server into Globus."""
    return os.path.join(state_dir, "globus", "tokens.json")


def personal_endpoint_file(config_dir: str, environ: Mapping[str, str]) -> str:
    """Return where Globus Connect Personal keeps this machine's id."""
    home = environ.get("HOME") or os.path.expanduser("~")
    return os.path.join(config_dir or os.path.join(home, ".globusonline"), "lta", "client-id.txt")


def personal_endpoint(path: str) -> str:
    """Return the id that Globus Connect Personal wrote, or nothing when it is not installed or not set up.

    Raises
    ------
    ConfigError
        The file is there and cannot be read.
    """
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read(1024).strip()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return ""
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}",
            "give the service user read permission, or set endpoint to this machine's collection",
        ) from None
