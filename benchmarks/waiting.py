"""Runs the daemon and writes down how long each of its requests to Alyx waited on the connection.

    waiting.py FILE PYTHON -m labferry ARGUMENT …

Only what the daemon spends inside the system's calls on the connection counts as waiting: making the request,
reading and understanding the answer are its own time.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from labferry.__main__ import main
from labferry.alyx import transport


class _Waited(threading.local):
    """Seconds that the current request of this thread has waited."""

    seconds = 0.0


def measure(file: str) -> None:
    """Let every request of this process leave a line."""
    waited, log = _Waited(), open(file, "a", encoding="utf-8", buffering=1)  # noqa: SIM115 - open until the end

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                waited.seconds += time.perf_counter() - began

        return call

    def noted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, request: Any) -> Any:
            waited.seconds = 0.0
            try:
                return function(self, request)
            finally:
                entry = {"at": time.time(), "method": request.method, "path": request.url.path}
                log.write(json.dumps({**entry, "waited": waited.seconds}) + "\n")

        return call

    stream, backend, whole = transport._Stream, transport._Backend, transport.DeadlineTransport
    stream.read, stream.write = timed(stream.read), timed(stream.write)  # type: ignore[method-assign]
    backend.connect_tcp = timed(backend.connect_tcp)  # type: ignore[method-assign]
    whole.handle_request = noted(whole.handle_request)  # type: ignore[method-assign]


if __name__ == "__main__":
    measure(sys.argv[1])
    sys.argv = ["labferry", *sys.argv[5:]]
    main()
