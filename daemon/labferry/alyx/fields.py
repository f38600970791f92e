"""The registry room's reading glasses: fields of JSON objects, with a clear word when one is not as expected.

Pure: nothing is touched from here.
"""

from __future__ import annotations

from collections.abc import Mapping

from labferry.errors import UnavailableError, UnknownOutcomeError

DEPENDENCY = "alyx"

Json = Mapping[str, object]


def not_alyx(request: str, what: str) -> UnavailableError:
    """Say that what answers at the configured address does not speak like Alyx."""
    return UnavailableError(DEPENDENCY, "not_alyx", f"{request} was answered with {what}: is `[alyx] url` right?")


def as_object(value: object, request: str) -> Json:
    """Return a JSON object as one; raises `UnavailableError` for anything else."""
    if not isinstance(value, Mapping):
        raise not_alyx(request, "something that is not an object")
    return value


def as_objects(value: object, request: str) -> list[Json]:
    """Return a JSON list of objects as one; raises `UnavailableError` for anything else."""
    if not isinstance(value, list):
        raise not_alyx(request, "something that is not a list")
    return [as_object(item, request) for item in value]


def as_created(value: object, request: str) -> Json:
    """Return what a request created; raises `UnknownOutcomeError` when the answer names nothing of the kind."""
    if not isinstance(value, Mapping) or not identity(value):
        raise UnknownOutcomeError(f"{request} succeeded, and the answer does not say what was created")
    return value


def text(row: Json, key: str) -> str:
    """Return a text; missing and null are empty, as Alyx uses both for the same thing."""
    value = row.get(key)
    return "" if value is None else str(value)


def number(row: Json, key: str) -> int | None:
    """Return an integer, or None where there is none."""
    value = row.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def flag(row: Json, key: str) -> bool:
    """Return a truth value; Alyx writes some as 0 and 1."""
    return row.get(key) in (True, 1)


def texts(row: Json, key: str) -> tuple[str, ...]:
    """Return a list of texts; missing and null are empty."""
    value = row.get(key)
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def identity(row: Json) -> str:
    """Return a record's UUID: its `id`, or the end of its `url` where Alyx gives only that."""
    return text(row, "id") or text(row, "url").rstrip("/").rpartition("/")[2]
