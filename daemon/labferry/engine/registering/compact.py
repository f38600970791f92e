"""Sets and numbers by file id in little memory: a giant session has hundreds of thousands of files.

Ids of one session lie close together, so they are kept as bits and machine words in pages. A set and a dictionary of
integers take twenty times as much.
"""

from __future__ import annotations

from array import array

PAGE = 1024  # ids


class Ids:
    """A set of ids, which are not negative."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def __contains__(self, one: int) -> bool:
        page = self._pages.get(one // PAGE)
        return page is not None and bool(page[one % PAGE >> 3] & 1 << (one & 7))

    def add(self, one: int) -> None:
        """Put an id in."""
        page = self._pages.setdefault(one // PAGE, bytearray(PAGE >> 3))
        page[one % PAGE >> 3] |= 1 << (one & 7)

    def discard(self, one: int) -> None:
        """Take an id out, if it is in."""
        if one in self:
            self._pages[one // PAGE][one % PAGE >> 3] &= ~(1 << (one & 7))


class Numbers:
    """A number of 64 bits with a sign for each of some ids."""

    def __init__(self) -> None:
        self._known = Ids()
        self._pages: dict[int, array[int]] = {}

    def get(self, one: int) -> int | None:
        """Return the number of an id; None where there is none."""
        return self._pages[one // PAGE][one % PAGE] if one in self._known else None

    def __setitem__(self, one: int, number: int) -> None:
        page = self._pages.get(one // PAGE)
        if page is None:
            page = self._pages[one // PAGE] = array("q", bytes(8 * PAGE))
        page[one % PAGE] = number
        self._known.add(one)
