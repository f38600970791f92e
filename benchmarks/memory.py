"""What the kernel says of a process's memory."""

from __future__ import annotations

import re
from pathlib import Path


def memory(pid: int, account: str = "status") -> dict[str, float]:
    """Return the fields of one of the kernel's accounts (`status`: VmRSS, VmHWM, …; `smaps_rollup`: Pss, …), in MiB."""
    text = Path(f"/proc/{pid}/{account}").read_text(encoding="ascii")
    return {name: int(size) / 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}
