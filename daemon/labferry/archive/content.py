"""Archive room: the bytes of an open file, written completely or read back for their checksum.

Everything raises OSError; callers translate.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

BLOCK = 1 << 20


def room_for(size: int) -> memoryview:
    """Return memory for the blocks of a file of `size` bytes, used for one after the other.

    Fresh memory for every block would cost two threads more than the copy itself: the kernel has to clear it.
    """
    return memoryview(bytearray(max(1, min(BLOCK, size))))


def write_all(fd: int, block: memoryview) -> None:
    """Write a whole block at the current position; the kernel may take it in parts."""
    while block:
        block = block[os.write(fd, block) :]


def checksum(fd: int, after_block: Callable[[int], None]) -> str:
    """Return the MD5 of an open file, read from the disk and not from memory where that is possible.

    What was just written is still in memory, and reading that would prove nothing. Once synced, POSIX_FADV_DONTNEED
    lets it go, on local file systems and on mounts. O_DIRECT would go around the memory too, but wants alignment,
    and some file systems refuse it.

    Parameters
    ----------
    fd : int
        Of a file whose content was synced.
    after_block : callable
        Told the length of each block.
    """
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    md5 = hashlib.md5(usedforsecurity=False)
    room = room_for(os.fstat(fd).st_size)
    position = 0
    while count := os.preadv(fd, [room], position):
        position += count
        md5.update(room[:count])
        after_block(count)
    return md5.hexdigest()
