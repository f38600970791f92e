"""Sandbox: NumPy's array file format, written without NumPy.

The rig's `alf/` files must be arrays that a user can load, and the default install must not pull in NumPy.
Pure functions from numbers to bytes; nothing is touched from here.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence

_MAGIC = b"\x93NUMPY\x01\x00"  # format version 1.0
_ALIGN = 64  # the data starts at a multiple of this, so that it can be memory-mapped


def npy_bytes(values: Sequence[int] | Sequence[float], columns: int = 0) -> bytes:
    """Return `values` as the content of a `.npy` file.

    Parameters
    ----------
    values : sequence of int or float
        Only integers become int64; as soon as one is a float, or there is none, all become float64.
    columns : int
        0 makes a vector; otherwise a matrix with this many columns, filled row by row.

    Raises
    ------
    ValueError
        `values` does not fill whole rows.
    OverflowError
        An integer does not fit into 64 bits.
    """
    if columns and len(values) % columns:
        raise ValueError(f"{len(values)} values do not fill rows of {columns}")
    integers = bool(values) and all(isinstance(value, int) for value in values)
    data = array("q" if integers else "d", values)
    if sys.byteorder == "big":
        data.byteswap()
    shape = (len(values) // columns, columns) if columns else (len(values),)
    return _header("<i8" if integers else "<f8", shape) + data.tobytes()


def _header(descr: str, shape: tuple[int, ...]) -> bytes:
    text = repr({"descr": descr, "fortran_order": False, "shape": shape})
    unpadded = len(_MAGIC) + 2 + len(text) + 1  # two bytes of length before, a newline after
    text += " " * (-unpadded % _ALIGN) + "\n"
    return _MAGIC + len(text).to_bytes(2, "little") + text.encode("latin-1")
