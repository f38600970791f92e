"""What an operator can type as it stands here: paths in quotes where a shell needs them, remedies with the folder."""

from __future__ import annotations

import re
import shlex

from labferry.model import show_path

_COMMAND = re.compile(r"`(?:labferry|touch) [^`]*`")


def addressed(hint: str, folder: bytes) -> str:
    """Return a hint whose commands name the session with this folder.

    Parameters
    ----------
    hint : str
        As the codes have it: commands stand between backticks, and SESSION for any session.
    folder : bytes
        Absolute.
    """
    return _COMMAND.sub(lambda command: command[0].replace("SESSION", typed(folder)), hint)


def typed(path: bytes) -> str:
    """Return a path as one word of a command, which every command that takes a path understands."""
    return shlex.quote(show_path(path))
