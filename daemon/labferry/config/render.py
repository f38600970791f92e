"""The configuration that counts, as TOML and as JSON.

Pure. There are no secrets in a `Config`, only the names of their files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from labferry.config.model import Config


def effective(config: Config, mode: Literal["json", "python"] = "python") -> dict[str, Any]:
    """Return every key with the value that counts, defaults and fallbacks included.

    Durations are seconds; with `mode="json"` they are texts as in the file.
    """
    roots = tuple(
        root.model_copy(update={"quiet": config.quiet(root), "quiet_without_signal": config.quiet_without_signal(root)})
        for root in config.roots
    )
    return config.model_copy(update={"roots": roots}).model_dump(mode=mode, by_alias=True)


def show(config: Config) -> str:
    """Return the effective configuration as TOML that `load` reads back."""
    data = effective(config, mode="json")
    text = [f"# effective configuration, read from {config.path}"] if config.path else []
    text += [_pair(key, value) for key, value in data.items() if not isinstance(value, dict | list)]
    for key, value in data.items():
        if key == "roots":
            for root in value:
                text += _table("[[roots]]", root)
        elif key == "archive":
            for name, archive in value.items():
                text += _table(f"[archive.{_key(name)}]", archive)
        elif isinstance(value, dict):
            text += _table(f"[{key}]", value)
    return "\n".join(text) + "\n"


def _table(header: str, values: Mapping[str, object]) -> list[str]:
    return ["", header, *(_pair(key, value) for key, value in values.items())]


def _pair(key: str, value: object) -> str:
    return f"{key} = {_value(value)}"


def _key(name: str) -> str:
    return json.dumps(name) if "." in name else name


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    # JSON writes flags, whole numbers and texts as TOML does, except for one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
