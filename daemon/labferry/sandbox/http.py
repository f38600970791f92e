"""The sandbox's web server: requests and responses as values, one thread per connection, loopback only.

Room: sandbox. Knows nothing of Alyx; an application is any callable from `Request` to `Response`.
"""

from __future__ import annotations

import json
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit

LOOPBACK = "127.0.0.1"
_COPY_CHUNK = 1 << 20


@dataclass(frozen=True)
class Request:
    """One request as it arrived.

    Attributes
    ----------
    method : str
        Upper case.
    target : str
        Path and query as sent, still percent-encoded.
    headers : Mapping
        Names in lower case.
    body : bytes
        Empty if there was none.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @cached_property
    def path(self) -> str:
        """The decoded path."""
        return unquote(urlsplit(self.target).path)

    @cached_property
    def query(self) -> Mapping[str, str]:
        """The decoded query; of a repeated name the last value counts."""
        pairs = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return {name: values[-1] for name, values in pairs.items()}

    @property
    def origin(self) -> str:
        """Scheme, host and port as the client addressed them."""
        return "http://" + self.headers.get("host", LOOPBACK)

    @property
    def line(self) -> str:
        """`METHOD /path?query`: what fault rules match."""
        return f"{self.method} {self.target}"


@dataclass
class Response:
    """One answer. `stream`, if given, is sent after `body` and closed; `length` is then its size in bytes."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    stream: BinaryIO | None = None
    length: int = 0


Application = Callable[[Request], Response]


class ConnectionDroppedError(Exception):
    """Raised by an application: close the connection without any answer."""


def json_response(status: int, data: object, **headers: str) -> Response:
    """Return `data` as compact UTF-8 JSON."""
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(status, body, headers=dict(headers))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_any(self) -> None:
        self.close_connection = True  # as the real server's workers do after each answer
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(
            self.command,
            self.path,
            {name.lower(): value for name, value in self.headers.items()},
            self.rfile.read(length) if length else b"",
        )
        try:
            response = self.server.application(request)
        except ConnectionDroppedError:
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._send(response)

    def _send(self, response: Response) -> None:
        reason = HTTPStatus(response.status).phrase
        size = len(response.body) + response.length
        lines = [f"HTTP/1.1 {response.status} {reason}", "Connection: close", f"Content-Length: {size}"]
        if size or response.status != HTTPStatus.NO_CONTENT:
            lines.append(f"Content-Type: {response.content_type}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in response.headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        with_body = self.command != "HEAD"
        self.wfile.write(head + response.body if with_body else head)
        if response.stream is not None:
            with response.stream as stream:
                while with_body and (chunk := stream.read(_COPY_CHUNK)):
                    self.wfile.write(chunk)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = handle_any


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, application: Application) -> None:
        self.application = application
        super().__init__((LOOPBACK, port), _Handler)

    def server_bind(self) -> None:
        """Bind without looking the host's name up."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report a handler's failure, unless it is only that the client went away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class WebServer:
    """An application served on a loopback port, from `start` to `stop`.

    Parameters
    ----------
    application : Application
        Answers every request; called from many threads at once.
    port : int
        0 takes a free one.
    """

    def __init__(self, application: Application, port: int = 0) -> None:
        self._server = _Server(port, application)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="sandbox-http", daemon=True
        )

    @property
    def port(self) -> int:
        """Its port."""
        return int(self._server.server_port)

    @property
    def url(self) -> str:
        """Where the server listens, without trailing slash."""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Answer requests from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; requests in flight are left to their daemon threads."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
