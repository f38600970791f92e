"""The control lane: takes connections on a Unix socket, a thread for each, nobody waited for too long.

Room: control. What is said on a connection is `conversation`'s; here is who may begin one, and how all of them end.
Everything a client may do is bounded: the size of what it sends, the time it takes, the number of connections and of
streams.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import socket
import threading
import time

import structlog

from labferry.control.api import Api
from labferry.control.conversation import HEAD_LIMIT, Conversation
from labferry.control.listening import bind_socket
from labferry.control.messages import failure
from labferry.control.peers import peer_of
from labferry.engine.context import Context
from labferry.engine.reports.live import LiveState
from labferry.errors import LabferryError

__all__ = ["ControlServer", "bind_socket"]

CONNECTIONS = 32
STREAMS = 16  # of these connections: who only listens must not keep others from asking
IDLE = 10.0  # seconds a client gets for each step of a request, and between two of them
REST = 0.5  # seconds after a connection could not be taken
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
        for connection in connections.values():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RD)  # wakes whoever waits for a next request
        until = time.monotonic() + grace
        for thread in connections:
            thread.join(max(0.0, until - time.monotonic()))
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
            Conversation(connection, peer_of(connection), self)
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
