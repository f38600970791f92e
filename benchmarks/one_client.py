"""Registers sessions with the users' own client, and says how long that took.

    one_client.py < TASK

The task is a JSON object with `url`, `user`, `password`, `cache` (a folder) and `sessions` (folders); printed are
the seconds of all `register_session` calls together. Its imports, its login and the types it fetches at its start are
not counted. It reaches nothing but that one server.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


def only(host: str) -> None:
    """Let this process look up one host and no other."""
    look_up = socket.getaddrinfo

    def guarded(name: Any, *arguments: Any, **named: Any) -> Any:
        if name not in (host, "localhost", "127.0.0.1", "::1"):
            raise OSError(f"{name!r} is not to be reached from here")
        return look_up(name, *arguments, **named)

    setattr(socket, "getaddrinfo", guarded)  # noqa: B010 - a function may not be assigned by its name


def main(task: dict[str, Any]) -> float:
    only(urlsplit(task["url"]).hostname or "")
    from one import params  # noqa: PLC0415 - after the guard
    from one.api import ONE  # noqa: PLC0415
    from one.registration import RegistrationClient  # noqa: PLC0415

    cache = Path(task["cache"])
    params.setup(client=task["url"], silent=True, username=task["user"], cache_dir=str(cache))
    one = ONE(
        base_url=task["url"],
        username=task["user"],
        password=task["password"],
        silent=True,
        cache_dir=cache,
        cache_rest=None,
    )
    client = RegistrationClient(one)
    began = time.perf_counter()
    registered = [client.register_session(folder, file_list=True)[1] for folder in task["sessions"]]
    seconds = time.perf_counter() - began
    for folder, records in zip(task["sessions"], registered, strict=True):
        there = sum(path.suffix == ".npy" for path in Path(folder).rglob("*"))
        assert len([one for one in records or () if one]) == there, f"not all of {folder} was registered"
    return seconds


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))))
