"""Becomes another module of Python, on a leash: the kernel ends it when the demo ends, however that happens.

Room: cli. Run as `python -m labferry.cli.demonstration.leash PARENT MODULE ARGUMENT…`; writes nothing.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, module: list[str]) -> None:
    """Ask for SIGTERM at the parent's death, then become `python -m MODULE …`."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:  # else it died before the leash was on
        os.execv(sys.executable, [sys.executable, "-m", *module])  # noqa: S606 - a shell would be one process more


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
