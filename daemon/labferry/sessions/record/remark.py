"""What is worth knowing about a session although nothing keeps it from being registered.

Room: sessions. A pure value.
"""

from __future__ import annotations

from typing import NamedTuple


class Remark(NamedTuple):
    """One thing an operator may want to know.

    Attributes
    ----------
    code : str
        One of the codes of kind `remark`.
    text : str
        One sentence that names the file and what was done about it.
    """

    code: str
    text: str
