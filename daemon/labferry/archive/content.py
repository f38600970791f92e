"""Archive room: the bytes of an open file, written completely or read back for their checksum.

Everything raises OSError; callers translate.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

BLOCK = 1 << 20


def write_all(fd: int, block: bytes) -> None:
    """Write a whole block at the current position; the kernel may take it in parts."""
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(fd, rest) :]


def checksum(fd: int, after_block: Callable[[int], None]) -> str:
    """Return the MD5 of an open file, read from the disk and not from memory where that is possible.

    `after_block` is told the length of each block.
    """
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    md5 = hashlib.md5(usedforsecurity=False)
    position = 0
    while block := os.pread(fd, BLOCK, position):
        position += len(block)
        md5.update(block)
        after_block(len(block))
    return md5.hexdigest()
