"""One connection of the control interface: HTTP/1.1 read from it, answers written to it.

Room: control. Carries requests to `api` and answers back. What a client may send, and how long it may take for it, is
bounded here; how many there are at once, in `server`.
"""

from __future__ import annotations

import http.client
import io
import json
import select
import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer
from typing import Any, Protocol, cast
from urllib.parse import parse_qsl

from labferry import __version__
from labferry.control.api import Api
from labferry.control.messages import NDJSON, Reply, Request, Stream, failure
from labferry.control.peers import Peer
from labferry.errors import LabferryError

HEAD_LIMIT = 128 * 1024  # bytes of a request's first line and headers
LINE_LIMIT = 64 * 1024
BODY_LIMIT = 64 * 1024
_GONE = select.POLLHUP | select.POLLERR | select.POLLRDHUP
_CLOSED = select.POLLHUP | select.POLLERR  # both ways: who has only nothing more to ask waits for the answer


class Host(Protocol):
    """What a conversation needs of the server that it belongs to.

    Attributes
    ----------
    api : Api
        Answers.
    idle : float
        Seconds after which a silent client is dropped.
    """

    api: Api
    idle: float

    @property
    def stopping(self) -> bool:
        """True once streams must end."""

    def begin_stream(self) -> bool:
        """Take a place among the streams; False when there is none."""

    def end_stream(self) -> None:
        """Give the place back."""


class _Bounded(io.BufferedIOBase):
    """A reader that refuses a request's head beyond its limit."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._left = HEAD_LIMIT

    def renew(self) -> None:
        """Begin the next request."""
        self._left = HEAD_LIMIT

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read a line of the head."""
        line = self._stream.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise http.client.LineTooLong("header")
        return line

    def read(self, size: int | None = -1, /) -> bytes:
        """Read the body."""
        return self._stream.read(size)

    def close(self) -> None:
        """Close the stream too."""
        self._stream.close()
        super().close()


class Conversation(BaseHTTPRequestHandler):
    """One connection: requests one after the other until either side has enough.

    Parameters
    ----------
    connection : socket.socket
        Stays the caller's, who closes it.
    peer : Peer
        Who is behind it.
    host : Host
    """

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # of a first line without one: it gets an answer with a head all the same
    wbufsize = -1  # an answer leaves in one piece

    def __init__(self, connection: socket.socket, peer: Peer, host: Host) -> None:
        self._peer = peer
        self._host = host
        super().__init__(connection, ("", 0), cast("BaseServer", host))  # of which the base class asks nothing

    def setup(self) -> None:
        """Bound what is read, and how long it takes."""
        super().setup()
        self.connection.settimeout(self._host.idle)
        self._head = _Bounded(self.rfile)
        self.rfile = self._head

    def finish(self) -> None:
        """Let go of the connection; also of what was read from, where the client does not take its answer any more."""
        try:
            super().finish()
        finally:
            self.rfile.close()

    def handle_one_request(self) -> None:
        """Read a request and answer it; silence, and what is no HTTP, end the connection."""
        self._head.renew()
        self.requestline = self.request_version = self.command = ""
        try:
            self.raw_requestline = self.rfile.readline(LINE_LIMIT + 1)
            if not self.raw_requestline or len(self.raw_requestline) > LINE_LIMIT:
                self.close_connection = True
                if self.raw_requestline:
                    self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
            elif self.parse_request():
                self._answer()
            self.wfile.flush()
        except TimeoutError:
            self.close_connection = True
        if self._host.stopping:
            self.close_connection = True

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        try:
            body = self._body()
        except LabferryError as error:
            self.close_connection = True  # what follows may be the rest of the body
            self._send(failure(error))
            return
        request = Request(
            "GET" if self.command == "HEAD" else self.command,
            path,
            dict(parse_qsl(query, keep_blank_values=True, errors="surrogateescape")),
            body,
            self._peer,
            self._is_closed,
        )
        answer = self._host.api.answer(request)
        if isinstance(answer, Reply):
            self._send(answer)
        elif not answer.endless:
            self._stream(answer)
        elif self._host.begin_stream():
            try:
                self._stream(answer)
            finally:
                self._host.end_stream()
        else:
            self._send(failure(LabferryError("busy", "Too many listen already.", "Try again in a moment.")))

    def _is_closed(self) -> bool:
        """Say whether the client closed the connection while it was being answered."""
        poll = select.poll()
        poll.register(self.connection, 0)
        return any(event & _CLOSED for _, event in poll.poll(0))

    def _body(self) -> dict[str, Any]:
        """Read the JSON object that was sent, if any.

        Raises
        ------
        LabferryError
            `bad_request` or `too_large`.
        """
        if "Transfer-Encoding" in self.headers:
            raise LabferryError("bad_request", "A body needs a Content-Length.")
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit()):
            raise LabferryError("bad_request", "Content-Length is not a number.")
        if int(length) > BODY_LIMIT:
            raise LabferryError("too_large", f"The body is longer than {BODY_LIMIT} bytes.")
        content = self._head.read(int(length)).strip()
        if not content:
            return {}
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            raise LabferryError("bad_request", "The body is not JSON.") from None
        if not isinstance(body, dict):
            raise LabferryError("bad_request", "The body is not a JSON object.")
        return body

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Cache-Control", "no-store")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def _stream(self, stream: Stream) -> None:
        """Send line after line until all is said, the daemon stops, or the client is gone."""
        self.close_connection = True
        chunked = self.request_version == "HTTP/1.1"  # so that the client can tell an end from a break
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", NDJSON)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        if self.command == "HEAD":
            return
        poll = select.poll()
        poll.register(self.connection, select.POLLRDHUP)
        for step in stream.steps:
            lines = b"".join(json.dumps(one).encode() + b"\n" for one in step)
            if lines:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(lines), lines) if chunked else lines)
                self.wfile.flush()
            if self._host.stopping or any(event & _GONE for _, event in poll.poll(0)):
                break
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is not well-formed HTTP in the same envelope as everything else."""
        self.close_connection = True
        text = message or HTTPStatus(code).phrase
        self._send(failure(LabferryError("bad_request", f"{text}.", explain or ""), code))

    def version_string(self) -> str:
        """Return our name and version."""
        return f"labferry/{__version__}"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
        """Leave requests out of the log: watchers ask every second."""
