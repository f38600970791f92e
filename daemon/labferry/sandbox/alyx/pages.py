"""Pages of lists: `limit`, silently capped, and `offset`.

Room: sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

from labferry.sandbox.alyx.api import Call

DEFAULT_LIMIT = 250
MAX_LIMIT = 1000


@dataclass(frozen=True)
class Page:
    """A window onto a list."""

    limit: int
    offset: int

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Page:
        """Read `limit` (silently capped) and `offset`; nonsense means the defaults."""
        limit = min(_positive(query.get("limit")) or DEFAULT_LIMIT, MAX_LIMIT)
        return cls(limit, _positive(query.get("offset")))

    def next(self, call: Call, count: int) -> str | None:
        """Return the address of the next page."""
        following = self.offset + self.limit
        return None if following >= count else self._link(call, following)

    def previous(self, call: Call) -> str | None:
        """Return the address of the page before."""
        return None if self.offset <= 0 else self._link(call, self.offset - self.limit)

    def _link(self, call: Call, offset: int) -> str:
        query = dict(parse_qs(urlsplit(call.request.target).query, keep_blank_values=True))
        query["limit"] = [str(self.limit)]
        query.pop("offset", None)
        if offset > 0:
            query["offset"] = [str(offset)]
        return f"{call.request.origin}{call.request.path}?{urlencode(sorted(query.items()), doseq=True)}"


def _positive(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0
