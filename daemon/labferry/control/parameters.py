"""Reading what a request says: one value of its query or body each, or `bad_request` with what is wrong with it."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from typing import Any

from labferry.control.messages import Request
from labferry.errors import LabferryError


def path_of(request: Request) -> str:
    """Return the path in a question; `path_b64` carries one that is not UTF-8."""
    encoded = request.query.get("path_b64")
    if encoded is None:
        return needed(request.query, "path")
    try:
        return usable(os.fsdecode(base64.b64decode(encoded, validate=True)), "path_b64")
    except ValueError:
        raise LabferryError("bad_request", "path_b64 is not base64.") from None


def usable(text: str, name: str) -> str:
    """Return a text; one that no path can hold, with a NUL or half a character in it, is refused here for everybody."""
    try:
        if b"\0" not in os.fsencode(text):
            return text
    except UnicodeEncodeError:
        pass
    raise LabferryError("bad_request", f"{name} holds a character that no path can hold.")


def needed(query: Mapping[str, str], name: str) -> str:
    """Return a parameter that must not be missing."""
    if not query.get(name):
        raise LabferryError("bad_request", f"The parameter {name} is missing.")
    return usable(query[name], name)


def number(query: Mapping[str, str], name: str, default: int) -> int:
    """Return a parameter that is a whole number."""
    text = query.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"\d{1,18}", text):
        raise LabferryError("bad_request", f"The parameter {name} is not a whole number: {text}.")
    return int(text)


def is_set(query: Mapping[str, str], name: str) -> bool:
    """Say whether a parameter is given, and is not a no."""
    return query.get(name, "") not in {"", "0", "false"}


def text_of(body: Mapping[str, Any], name: str) -> str:
    """Return a text of an order, empty without one."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise LabferryError("bad_request", f'"{name}" is not a text.')
    return usable(value or "", name)


def texts_of(body: Mapping[str, Any], name: str) -> list[str]:
    """Return a list of texts of an order, empty without one."""
    value = body.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise LabferryError("bad_request", f'"{name}" is not a list of texts.')
    return [usable(item, name) for item in value]


def needed_text(body: Mapping[str, Any], name: str) -> str:
    """Return a text of an order that must not be missing."""
    if value := text_of(body, name):
        return value
    raise LabferryError("bad_request", f'"{name}" is missing.')
