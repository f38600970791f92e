"""Files of a session that cannot be sent while all others are: counted, the first of them kept by name."""

from __future__ import annotations

from labferry.errors import BlockedError

KEPT = 20  # reasons: enough to find the cause; a session may have more files than fit into memory


class Refusals:
    """Why files were left out; the job is blocked for them when everything else is done."""

    def __init__(self) -> None:
        self._kept: list[BlockedError] = []
        self._count = 0
        self._ids: set[int] = set()

    def __bool__(self) -> bool:
        return self._count > 0

    def __contains__(self, file_id: int) -> bool:
        return file_id in self._ids

    def add(self, error: BlockedError, *file_ids: int) -> None:
        """Leave files out for a reason."""
        self._ids.update(file_ids)
        self._count += 1
        if len(self._kept) < KEPT:
            self._kept.append(error)

    def errors(self) -> list[BlockedError]:
        """Return the reasons, the last one saying how many more there are."""
        more = self._count - len(self._kept)
        last = [BlockedError(self._kept[0].code, f"{more} more file{'' if more == 1 else 's'}")] if more else []
        return self._kept + last
