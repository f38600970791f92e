"""Writing a secret into its file: whole or not at all, and readable by its owner only.

Room: cli. Only `labferry login` writes one.
"""

from __future__ import annotations

import contextlib
import os
import secrets

from labferry.control.diagnosis import ControlError
from labferry.errors import ExitCode

MODE = 0o600


def write_secret(path: str, secret: str, like: str) -> None:
    """Replace the file at `path`, or create it.

    Parameters
    ----------
    path : str
        A link is followed; its folder must exist.
    like : str
        A file or folder of the service user. The superuser gives the secret to the owner of the file it replaces,
        else to the owner of this, where it is there.

    Raises
    ------
    ControlError
        `not_permitted` or `secret_file`.
    """
    path = os.path.realpath(path)
    new = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{secrets.token_hex(4)}")
    try:
        try:
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "w", encoding="utf-8") as file:
                if os.geteuid() == 0:
                    _give_away(file.fileno(), path, like)
                file.write(f"{secret}\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new)
            raise
    except PermissionError:
        raise ControlError(
            "not_permitted",
            f"{path} cannot be written by this user.",
            "Run the command as root, or as the service user.",
            ExitCode.NOT_PERMITTED,
        ) from None
    except OSError as error:
        raise ControlError(
            "secret_file",
            f"{path} cannot be written: {error.strerror}.",
            "Correct the name of the file in the configuration, or make its folder.",
            ExitCode.FAILURE,
        ) from None


def _give_away(descriptor: int, *owned: str) -> None:
    """Give an open file to the owner of the first of these that is there."""
    for path in owned:
        with contextlib.suppress(OSError):
            there = os.stat(path)
            os.fchown(descriptor, there.st_uid, there.st_gid)
            return
