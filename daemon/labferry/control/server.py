"""The control lane: HTTP/1.1 over a Unix socket, one thread per connection, nobody waited for too long.

Room: control. Carries requests to `api` and answers back. Everything a client may do to it is bounded: the size of
what it sends, the time it takes, the number of connections and of streams.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import select
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer
from typing import Any, cast
from urllib.parse import parse_qsl

import structlog

from labferry import __version__
from labferry.control.api import Api
from labferry.control.listening import bind_socket
from labferry.control.messages import NDJSON, Reply, Request, Stream, failure
from labferry.control.peers import Peer, peer_of
from labferry.engine.context import Context
from labferry.engine.reports.live import LiveState
from labferry.errors import LabferryError

__all__ = ["ControlServer", "bind_socket"]

CONNECTIONS = 32
STREAMS = 16  # of these connections: who only listens must not keep others from asking
IDLE = 10.0  # seconds a client gets for each step of a request, and between two of them
HEAD_LIMIT = 128 * 1024  # bytes of a request's first line and headers
LINE_LIMIT = 64 * 1024
BODY_LIMIT = 64 * 1024
REST = 0.5  # seconds after a connection could not be taken
_GONE = select.POLLHUP | select.POLLERR | select.POLLRDHUP
_CLOSED = select.POLLHUP | select.POLLERR  # both ways: who has only nothing more to ask waits for the answer
_log = structlog.get_logger()


class ControlServer:
    """Serves the control interface on a socket that listens already.

    Parameters
    ----------
    listener : socket.socket
        From `bind_socket`; closed by `stop`. Its file stays the caller's.
    context : Context
    live : LiveState
    connections, streams : int
        How many at once; the next is told to come back later.
    idle : float
        Seconds after which a silent client is dropped.
    """

    def __init__(
        self,
        listener: socket.socket,
        context: Context,
        live: LiveState,
        *,
        connections: int = CONNECTIONS,
        streams: int = STREAMS,
        idle: float = IDLE,
    ) -> None:
        self.api = Api(context, live)
        self.idle = idle
        self._listener = listener
        self._context = context
        self._slots = threading.BoundedSemaphore(connections)
        self._streams = threading.BoundedSemaphore(streams)
        self._stopping = threading.Event()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)  # wakes the lane for the stop
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._thread = threading.Thread(target=self._accept, name="lane-control", daemon=True)

    def start(self) -> None:
        """Start answering."""
        self._thread.start()

    def stop(self, grace: float = 2.0) -> None:
        """Take no more requests, end the streams, give answers under way `grace` seconds."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        os.eventfd_write(self._bell, 1)
        if self._thread.is_alive():
            self._thread.join()
        self._listener.close()
        os.close(self._bell)
        with self._lock:
            connections = dict(self._open)
        for thread, connection in connections.items():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)  # wakes whoever waits for a next request
            thread.join(grace / len(connections))
        for connection in connections.values():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def alive(self) -> bool:
        """True while new connections are taken."""
        return self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """True once streams must end."""
        return self._stopping.is_set() or self._context.wakeup.stopping

    def begin_stream(self) -> bool:
        """Take a place among the streams; False when there is none."""
        return self._streams.acquire(blocking=False)

    def end_stream(self) -> None:
        """Give the place back."""
        self._streams.release()

    def _accept(self) -> None:
        self._listener.setblocking(False)
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        while not self._stopping.is_set():
            poll.poll()
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                continue  # the bell, or a client that left at once
            except OSError as error:  # out of descriptors, say
                _log.warning("control_accept", why=error.strerror)
                self._stopping.wait(REST)
                continue
            if self._slots.acquire(blocking=False):
                thread = threading.Thread(target=self._serve, args=(connection,), name="control", daemon=True)
                with self._lock:
                    self._open[thread] = connection
                thread.start()
            else:
                _turn_away(connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            _Conversation(connection, peer_of(connection), self)
        except (OSError, http.client.HTTPException):
            pass  # the client is gone, too slow, or speaks no HTTP
        except Exception:  # noqa: BLE001 - top of a connection: the next one is served all the same
            _log.exception("control_fault")
        finally:
            self._context.journal.forget_reader()
            connection.close()
            with self._lock:
                self._open.pop(threading.current_thread(), None)
            self._slots.release()


def _turn_away(connection: socket.socket) -> None:
    """Answer that there is no room; a client that is slow to hear it is not waited for."""
    reply = failure(LabferryError("busy", "Too many connections at once.", "Try again in a moment."))
    head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: {reply.content_type}\r\nRetry-After: 1\r\n"
    head += f"Content-Length: {len(reply.body)}\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError), connection:
        connection.settimeout(0.1)
        with contextlib.suppress(TimeoutError):
            connection.recv(HEAD_LIMIT)  # unread bytes would reset the connection before the answer is read
        connection.sendall(head.encode() + reply.body)


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


class _Conversation(BaseHTTPRequestHandler):
    """One connection: requests one after the other until either side has enough."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.0"  # of a first line without one: it gets an answer with a head all the same
    wbufsize = -1  # an answer leaves in one piece

    def __init__(self, connection: socket.socket, peer: Peer, control: ControlServer) -> None:
        self._peer = peer
        self._control = control
        super().__init__(connection, ("", 0), cast("BaseServer", control))  # of which nothing is asked here

    def setup(self) -> None:
        """Bound what is read, and how long it takes."""
        super().setup()
        self.connection.settimeout(self._control.idle)
        self._head = _Bounded(self.rfile)
        self.rfile = self._head

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
        if self._control.stopping:
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
        answer = self._control.api.answer(request)
        if isinstance(answer, Reply):
            self._send(answer)
        elif not answer.endless:
            self._stream(answer)
        elif self._control.begin_stream():
            try:
                self._stream(answer)
            finally:
                self._control.end_stream()
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
            if self._control.stopping or any(event & _GONE for _, event in poll.poll(0)):
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
