"""The daemon that dies as soon as it has done one thing: `python dying.py MODULE:FUNCTION run --config …`."""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
from typing import Any


def main(last: str, *arguments: str) -> None:
    """Run labferry until the first call of `last` has returned."""
    from labferry.__main__ import main as labferry

    module, _, path = last.partition(":")
    owner: Any = importlib.import_module(module)
    *way, name = path.split(".")
    for part in way:
        owner = getattr(owner, part)
    function = getattr(owner, name)

    @functools.wraps(function)
    def dying(*args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, dying)
    sys.argv = ["labferry", *arguments]
    labferry()


if __name__ == "__main__":
    main(*sys.argv[1:])
