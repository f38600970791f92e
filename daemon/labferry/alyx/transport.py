"""The registry room's wire: HTTP/1.1 with one deadline for the whole request, and TLS that is always verified.

httpx limits single waits (connect, each read, each write), so a server that sends a byte now and then keeps a
request alive for ever. Here every wait on the socket gets what is left of the request's deadline, headers and
TLS handshake included. From here only the network is touched.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from labferry.errors import ConfigError
from labferry.model import Clock

DEADLINE = "deadline"  # the request extension with the monotonic second at which it must have ended
CONNECT_LIMIT = 10.0  # seconds; a host that is off should not cost the whole deadline
KEEP_ALIVE = 2.0  # seconds; well below the usual 5 s of web servers, so that they do not close under our feet
ANSWER_LIMIT = 64 * 2**20  # bytes; a page of 1,000 datasets is about 2 MB
WRITE_PIECE = 16 * 1024  # bytes handed to the kernel between two looks at the deadline


class NotSentError(Exception):
    """The request certainly did not reach the server."""


class AnswerLostError(Exception):
    """The request was sent, at least in part, and no whole answer came back."""


class DeadlineTransport(httpx.BaseTransport):
    """Carries requests whose extension `deadline` limits their total time.

    Thread-safe; looking up the host's address is the one wait that only the system's resolver limits.

    Parameters
    ----------
    ssl_context : ssl.SSLContext
        Decides which servers are believed.
    clock : Clock
        Its monotonic time is what deadlines are given in.
    """

    def __init__(self, ssl_context: ssl.SSLContext, clock: Clock) -> None:
        self._clock = clock
        self._deadline = _Deadline()
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context,
            keepalive_expiry=KEEP_ALIVE,
            network_backend=_Backend(self._deadline, clock),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and read its whole answer.

        Raises
        ------
        NotSentError
            No connection.
        AnswerLostError
            The connection broke or the deadline passed after the request, or a part of it, was sent.
        """
        self._deadline.ends = request.extensions[DEADLINE]
        left = max(self._deadline.ends - self._clock.monotonic(), 0.0)
        waits = {"pool": left, "connect": min(left, CONNECT_LIMIT), "read": left, "write": left}
        try:
            with self._pool.stream(
                request.method,
                httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.read(),
                extensions={"timeout": waits},
            ) as answer:
                body = _whole(answer.iter_stream())
            return httpx.Response(answer.status, headers=answer.headers, content=body)
        except (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout) as error:
            raise NotSentError(_sentence(error)) from error
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            raise AnswerLostError(_sentence(error)) from error
        except httpx.DecodingError as error:
            raise AnswerLostError("the answer cannot be decompressed") from error

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


def tls_context(ca_file: str) -> ssl.SSLContext:
    """Build the context that verifies Alyx' certificate and name.

    Parameters
    ----------
    ca_file : str
        The only certificates to believe; empty for those of the system and of the `certifi` collection.

    Raises
    ------
    ConfigError
        `ca_file` cannot be read or holds no certificate.
    """
    if not ca_file:
        context = httpx.create_ssl_context(trust_env=False)
        context.load_default_certs()
        return context
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # SSLError is one
        raise ConfigError(
            f"[alyx] ca_file = {ca_file!r} cannot be used: {error.strerror or error}",
            "Name a readable file with certificates in PEM form, or leave `ca_file` empty.",
        ) from error


class _Deadline(threading.local):
    """The deadline of the request that the current thread works on."""

    ends: float = 0.0


class _Stream(httpcore.NetworkStream):
    """A connection whose waits never outlast the deadline of the thread that waits."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline, clock: Clock) -> None:
        self._stream = stream
        self._deadline = deadline
        self._clock = clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), WRITE_PIECE):
            self._stream.write(buffer[start : start + WRITE_PIECE], self._left(timeout, httpcore.WriteTimeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline, self._clock)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def _left(self, timeout: float | None, late: type[httpcore.TimeoutException]) -> float:
        left = self._deadline.ends - self._clock.monotonic()
        if left <= 0:
            raise late("timed out")
        return left if timeout is None else min(left, timeout)


class _Backend(httpcore.NetworkBackend):
    """Opens connections that know the deadline."""

    def __init__(self, deadline: _Deadline, clock: Clock) -> None:
        self._plain = httpcore.SyncBackend()
        self._deadline = deadline
        self._clock = clock

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._plain.connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, self._deadline, self._clock)


def _whole(pieces: Iterable[bytes]) -> bytes:
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > ANSWER_LIMIT:
            raise httpcore.RemoteProtocolError(f"the answer is longer than {ANSWER_LIMIT // 2**20} MiB")
    return bytes(body)


def _sentence(error: Exception) -> str:
    """Say what happened; time-outs come from httpcore without a word."""
    if isinstance(error, httpcore.TimeoutException):
        return "timed out"
    return str(error) or type(error).__name__
