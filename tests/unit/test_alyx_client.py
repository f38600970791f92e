"""The transport: what is certain after each way in which a request can fail."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from labferry.alyx.answers import RefusedError
from labferry.alyx.client import AlyxClient
from labferry.alyx.login import LOGIN_PAUSE
from labferry.errors import ConfigError, LabferryError, UnavailableError, UnknownOutcomeError
from labferry.model import SystemClock

PASSWORD = "correct-horse-battery"
TOKEN = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Seen:
    """One request as the server read it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Reply = Callable[["Wire"], None]


@dataclass
class Wire:
    """A server's end of one connection, with the request that was read from it."""

    connection: socket.socket
    request: Seen
    stopped: threading.Event

    def send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        payload = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        kind = "text/html" if isinstance(body, str) else "application/json"
        lines = [f"HTTP/1.1 {status} Some Reason", f"Content-Type: {kind}", f"Content-Length: {len(payload)}"]
        lines += [f"{key}: {value}" for key, value in (headers or {}).items()]
        self.connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode() + payload)

    def dribble(self, data: bytes) -> None:
        """Send a byte now and then, for as long as anybody listens."""
        for byte in data:
            if self.stopped.wait(0.02):
                return
            try:
                self.connection.sendall(bytes([byte]))
            except OSError:
                return


def reply(status: int, body: Any, headers: dict[str, str] | None = None) -> Reply:
    return lambda wire: wire.send(status, body, headers)


def drop(wire: Wire) -> None:
    """Close without an answer."""


def by_path(**replies: Reply) -> Reply:
    """Answer by the last part of the path; `/auth-token` logs in unless given."""

    def answer(wire: Wire) -> None:
        name = wire.request.target.partition("?")[0].strip("/").replace("-", "_")
        replies.get(name, log_in if name == "auth_token" else reply(404, "<html>nothing</html>"))(wire)

    return answer


def log_in(wire: Wire) -> None:
    given = json.loads(wire.request.body)
    if given.get("password") == PASSWORD:
        wire.send(200, {"token": TOKEN})
    else:
        body = {"non_field_errors": ["Unable to log in with provided credentials."], "status_code": 400}
        wire.send(400, body)


@dataclass
class Server:
    """A server on loopback that answers every request by the next reply, the last one for ever."""

    port: int
    replies: list[Reply] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def will(self, *replies: Reply) -> None:
        self.replies = list(replies)

    def targets(self) -> list[str]:
        return [f"{request.method} {request.target}" for request in self.seen]

    def count(self, target: str) -> int:
        return sum(found.startswith(target) for found in self.targets())


@pytest.fixture
def server() -> Iterator[Server]:
    yield from serve(None)


def serve(context: ssl.SSLContext | None) -> Iterator[Server]:
    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(8) as pool:
        server = Server(listener.getsockname()[1])

        def accept() -> None:
            while not stopped.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                pool.submit(handle, connection)

        def handle(raw: socket.socket) -> None:
            try:
                connection = context.wrap_socket(raw, server_side=True) if context else raw
            except (OSError, ssl.SSLError):
                raw.close()
                return
            with connection:
                try:
                    request = read_request(connection)
                except OSError:
                    return
                if request is None:
                    return
                server.seen.append(request)
                answer = server.replies.pop(0) if len(server.replies) > 1 else server.replies[0]
                answer(Wire(connection, request, stopped))

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def read_request(connection: socket.socket) -> Seen | None:
    stream = connection.makefile("rb")
    first = stream.readline().decode().split()
    if not first:
        return None
    headers = {}
    while (line := stream.readline().decode().strip()) != "":
        key, _, value = line.partition(":")
        headers[key.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", "0")))
    return Seen(first[0], first[1], headers, body)


class SetClock:
    """A clock that only moves when told."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.wall = now
        self.steady = 50_000.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady


def client(url: str, **changes: Any) -> AlyxClient:
    settings: dict[str, Any] = {
        "username": "rig",
        "password": lambda: PASSWORD,
        "timeout": 5.0,
        "clock": SystemClock(),
        "user_agent": "labferry-test",
    }
    return AlyxClient(url, **{**settings, **changes})


SUBJECTS = {"count": 0, "next": None, "previous": None, "results": []}


# --- the deadline -----------------------------------------------------------------------------------------


def dribbled_headers(wire: Wire) -> None:
    wire.dribble(b"HTTP/1.1 200 OK\r\n" + b"X-Pad: " + b"x" * 4000 + b"\r\n\r\n")


def dribbled_body(wire: Wire) -> None:
    wire.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n")
    wire.dribble(b"x" * 4000)


def silent(wire: Wire) -> None:
    wire.stopped.wait(30)


@pytest.mark.parametrize("slow", [dribbled_headers, dribbled_body, silent])
@pytest.mark.parametrize("method", ["get", "post"])
def test_no_request_outlasts_its_deadline(server: Server, slow: Reply, method: str) -> None:
    server.will(by_path(sessions=slow))
    alyx = client(server.url, timeout=0.5)
    alyx.log_in()
    begun = time.monotonic()
    if method == "get":
        with pytest.raises(UnavailableError) as unavailable:
            alyx.get("/sessions")
        assert unavailable.value.code == "alyx_down"
    else:
        with pytest.raises(UnknownOutcomeError):
            alyx.post("/sessions", {"subject": "KS005"})
    assert 0.4 < time.monotonic() - begun < 2.0
    assert server.count(f"{method.upper()} /sessions") == 1


def test_the_deadline_counts_repetitions_and_login(server: Server) -> None:
    server.will(by_path(auth_token=dribbled_body))
    begun = time.monotonic()
    with pytest.raises(UnavailableError):
        client(server.url, timeout=0.5).get("/sessions")
    assert time.monotonic() - begun < 2.0


def test_an_endless_answer_is_cut_off(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labferry.alyx.transport.ANSWER_LIMIT", 2**20)
    server.will(by_path(labs=reply(200, "x" * 2**21)))
    with pytest.raises(UnavailableError, match="longer than 1 MiB"):
        client(server.url).get("/labs")


# --- sent or not ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["get", "post"])
def test_a_refused_connection_means_not_sent(call: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    alyx = client(f"http://127.0.0.1:{port}", password=None, token=lambda: TOKEN)
    with pytest.raises(UnavailableError, match=f"127.0.0.1:{port} cannot be reached") as unavailable:
        alyx.get("/labs") if call == "get" else alyx.post("/sessions", {})
    assert (unavailable.value.dependency, unavailable.value.code) == ("alyx", "alyx_down")


def test_a_look_is_repeated_when_the_answer_is_lost(server: Server) -> None:
    server.will(log_in, drop, drop, reply(200, SUBJECTS))
    assert client(server.url).get("/subjects") == SUBJECTS
    assert server.count("GET /subjects") == 3


def test_a_look_is_repeated_three_times_at_most(server: Server) -> None:
    server.will(log_in, drop)
    with pytest.raises(UnavailableError) as unavailable:
        client(server.url).get("/subjects")
    assert unavailable.value.code == "alyx_down"
    assert server.count("GET /subjects") == 3


@pytest.mark.parametrize("method", ["post", "patch", "delete"])
def test_a_change_is_never_repeated_when_the_answer_is_lost(server: Server, method: str) -> None:
    server.will(log_in, drop)
    alyx = client(server.url)
    with pytest.raises(UnknownOutcomeError, match="/sessions was lost"):
        alyx.delete("/sessions") if method == "delete" else getattr(alyx, method)("/sessions", {})
    assert server.count(method.upper()) == (2 if method == "post" else 1)  # with the login


def test_half_an_answer_is_a_lost_one(server: Server) -> None:
    def half(wire: Wire) -> None:
        wire.connection.sendall(b'HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{"id": ')

    server.will(log_in, half)
    with pytest.raises(UnknownOutcomeError):
        client(server.url).post("/sessions", {})


# --- statuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_look_is_repeated_when_the_web_server_has_no_alyx(server: Server, status: int) -> None:
    server.will(log_in, reply(status, "<html>proxy</html>"), reply(200, SUBJECTS))
    assert client(server.url).get("/subjects") == SUBJECTS
    server.will(reply(status, "<html>proxy</html>"))
    with pytest.raises(UnavailableError, match=str(status)) as unavailable:
        client(server.url, password=None, token=lambda: TOKEN).get("/subjects")
    assert unavailable.value.code == "alyx_down"


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_change_may_have_happened_when_the_web_server_lost_alyx(server: Server, status: int) -> None:
    server.will(log_in, reply(status, "<html>proxy</html>"))
    with pytest.raises(UnknownOutcomeError, match=str(status)):
        client(server.url).post("/sessions", {})


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_503_that_says_when_was_not_carried_out(server: Server, method: str) -> None:
    server.will(log_in, reply(503, "<html>maintenance</html>", {"Retry-After": "120"}))
    alyx = client(server.url)
    with pytest.raises(UnavailableError) as unavailable:
        alyx.get("/labs") if method == "get" else alyx.post("/sessions", {})
    assert unavailable.value.retry_after == 120
    assert len(server.seen) == 2


THROTTLED = {"detail": "Request was throttled. Expected available in 60 seconds.", "status_code": 429}


@pytest.mark.parametrize(
    ("header", "body", "seconds"),
    [
        ({"Retry-After": "17"}, THROTTLED, 17.0),
        ({"Retry-After": formatdate(1_700_000_042, usegmt=True)}, THROTTLED, 42.0),
        ({"Retry-After": formatdate(1_699_999_000, usegmt=True)}, THROTTLED, 0.0),
        ({"Retry-After": "soon"}, THROTTLED, 60.0),
        ({}, THROTTLED, 60.0),
        ({}, {"detail": "Request was throttled.", "status_code": 429}, 0.0),
        ({"Retry-After": "9"}, "<html>slow down</html>", 9.0),
    ],
)
def test_a_throttled_request_says_how_long(server: Server, header: dict[str, str], body: Any, seconds: float) -> None:
    server.will(log_in, reply(429, body, header))
    alyx = client(server.url, clock=SetClock())
    with pytest.raises(UnavailableError) as unavailable:
        alyx.post("/register-file", {})
    assert (unavailable.value.code, unavailable.value.retry_after) == ("alyx_throttled", seconds)
    assert server.count("POST /register-file") == 1


def test_a_web_page_instead_of_json_asks_for_the_url(server: Server) -> None:
    server.will(reply(200, "<html>Welcome to the lab</html>"))
    alyx = client(server.url, password=None, token=lambda: TOKEN)
    with pytest.raises(UnavailableError, match=r"is `\[alyx\] url` right"):
        alyx.get("/subjects")
    with pytest.raises(UnknownOutcomeError, match="not JSON"):
        alyx.post("/sessions", {})
    server.will(reply(404, "<html>Not Found</html>"))
    with pytest.raises(UnavailableError, match=r"404 and a web page.*url` right"):
        client(server.url).get("/subjects")


def test_a_redirect_is_named_and_not_followed(server: Server) -> None:
    elsewhere = serve(None)
    other = next(elsewhere)
    other.will(reply(200, SUBJECTS))
    server.will(reply(301, "", {"Location": f"{other.url}/subjects?nickname=secret"}))
    with pytest.raises(UnavailableError, match=f"redirect to {other.url}/subjects:"):
        client(server.url, password=None, token=lambda: TOKEN).get("/subjects")
    assert other.seen == []
    next(elsewhere, None)


def test_a_list_is_followed_to_its_end_and_only_on_this_host(server: Server) -> None:
    pages = [
        {
            "count": 3,
            "next": "http://elsewhere.invalid/labs?limit=1000&offset=2",
            "results": [{"name": "a"}, {"name": "b"}],
        },
        {"next": None, "results": [{"name": "c"}]},
    ]
    server.will(log_in, reply(200, pages[0]), reply(200, pages[1]))
    rows = client(server.url).list_all("/labs", {"django": "a,b"})
    assert [row["name"] for row in rows] == ["a", "b", "c"]
    assert server.targets()[1:] == ["GET /labs?django=a%2Cb&limit=1000", "GET /labs?limit=1000&offset=2"]


@pytest.mark.parametrize("page", [[], {"results": {}}, {"results": [1]}, 7, {"detail": "?"}])
def test_a_list_that_is_none_is_said_so(server: Server, page: object) -> None:
    server.will(log_in, reply(200, page))
    with pytest.raises(UnavailableError, match="GET /labs was answered with"):
        client(server.url).list_all("/labs")


def test_a_list_without_end_is_left(server: Server) -> None:
    server.will(log_in, reply(200, {"results": [], "next": "http://x/labs?limit=1000"}))
    with pytest.raises(UnavailableError, match="without end"):
        client(server.url).list_all("/labs")


def test_a_prefix_of_the_url_is_kept(server: Server) -> None:
    server.will(reply(200, SUBJECTS))
    client(f"{server.url}/alyx/", password=None, token=lambda: TOKEN).get("/subjects", {"nickname": "a b&c"})
    assert server.targets() == ["GET /alyx/subjects?nickname=a+b%26c"]


# --- the login --------------------------------------------------------------------------------------------


def test_one_06_the_token_is_asked_for_once_by_all_threads(server: Server) -> None:
    server.will(by_path(subjects=reply(200, SUBJECTS)))
    alyx = client(server.url)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: alyx.get("/subjects"), range(12)))
    assert answers == [SUBJECTS] * 12
    assert server.count("POST /auth-token") == 1
    assert {seen.headers.get("authorization") for seen in server.seen} == {None, f"Token {TOKEN}"}
    assert {seen.headers["user-agent"] for seen in server.seen} == {"labferry-test"}


def test_one_06_a_wrong_password_is_no_storm(server: Server) -> None:
    server.will(by_path())
    clock = SetClock()
    secret = ["wrong"]
    alyx = client(server.url, password=lambda: secret[0], clock=clock)
    for _ in range(5):
        with pytest.raises(UnavailableError, match="password of user 'rig'") as unavailable:
            alyx.get("/subjects")
        assert unavailable.value.code == "alyx_login"
        assert unavailable.value.retry_after == 0, "the file may be looked into again at any time"
    assert len(server.seen) == 1
    clock.steady += LOGIN_PAUSE + 1
    with pytest.raises(UnavailableError):
        alyx.get("/subjects")
    assert len(server.seen) == 2
    secret[0] = PASSWORD
    alyx.log_in()
    assert len(server.seen) == 3


INVALID = {"detail": "Invalid token.", "status_code": 403}


def test_one_06_an_invalid_token_means_one_new_login(server: Server) -> None:
    server.will(log_in, reply(403, INVALID), log_in, reply(201, {"id": "x"}))
    assert client(server.url).post("/sessions", {}) == {"id": "x"}
    assert server.targets() == ["POST /auth-token", "POST /sessions"] * 2


def test_one_06_a_token_that_stays_invalid_is_not_tried_for_ever(server: Server) -> None:
    server.will(by_path(sessions=reply(403, INVALID)))
    with pytest.raises(UnavailableError) as unavailable:
        client(server.url).get("/sessions")
    assert unavailable.value.code == "alyx_login"
    assert server.targets() == ["POST /auth-token", "GET /sessions"] * 2


def test_one_06_a_token_file_is_read_again_once(server: Server) -> None:
    tokens = iter(["old-token\n", "new-token\n"])
    server.will(reply(403, INVALID), reply(200, SUBJECTS))
    client(server.url, password=None, token=lambda: next(tokens)).get("/subjects")
    assert [seen.headers["authorization"] for seen in server.seen] == ["Token old-token", "Token new-token"]


def test_a_user_without_permission_is_no_login_problem(server: Server) -> None:
    said = {"detail": "You do not have permission to perform this action.", "status_code": 403}
    server.will(log_in, reply(403, said))
    with pytest.raises(UnavailableError) as unavailable:
        client(server.url).post("/sessions", {})
    assert unavailable.value.code == "alyx_permission"
    assert server.count("POST /auth-token") == 1


@pytest.mark.parametrize("broken", ["", "\n", "two words", "two\nlines", "caf\u00e9"])
def test_a_token_that_is_none_is_refused_before_it_is_sent(server: Server, broken: str) -> None:
    server.will(reply(200, SUBJECTS))
    with pytest.raises(UnavailableError) as unavailable:
        client(server.url, password=None, token=lambda: broken).get("/subjects")
    assert unavailable.value.code == "alyx_login"
    assert server.seen == []
    assert not broken.strip() or broken not in unavailable.value.message


def test_an_unreadable_secret_is_a_login_problem(server: Server) -> None:
    def missing() -> str:
        raise PermissionError(13, "Permission denied", "/etc/secret")

    with pytest.raises(UnavailableError, match="cannot be read: Permission denied") as unavailable:
        client(server.url, password=missing).get("/subjects")
    assert unavailable.value.code == "alyx_login"


def test_secrets_appear_nowhere(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.will(log_in, reply(403, INVALID), log_in, drop)
    alyx = client(server.url)
    with caplog.at_level(logging.DEBUG), pytest.raises(LabferryError) as failed:
        alyx.post("/sessions", {})
    causes = [failed.value, failed.value.__cause__, failed.value.__context__]
    everything = "\n".join([caplog.text, repr(alyx), *(f"{cause!s} {cause!r}" for cause in causes)])
    assert "httpcore" in everything  # the chattiest library is heard
    assert PASSWORD not in everything
    assert TOKEN not in everything


# --- addresses and TLS ------------------------------------------------------------------------------------


NO_ADDRESSES = [
    "alyx.example.org",
    "ftp://alyx.example.org",
    "https://",
    "http://a:b@host",
    "http://h/?x=1",
    "http://h:99999",
    "http://a..b",
]


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_an_address_that_is_none_is_a_config_error(url: str) -> None:
    with pytest.raises(ConfigError, match=r"\[alyx\] url"):
        client(url)


@pytest.mark.parametrize("secrets", [{"password": None}, {"token": lambda: TOKEN}])
def test_exactly_one_secret_is_needed(secrets: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="password_file"):
        client("http://127.0.0.1", **secrets)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    x509 = pytest.importorskip("cryptography.x509")
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "alyx of a test")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    pem, secret = folder / "ca.pem", folder / "key.pem"
    pem.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    return pem, context


def test_tls_is_always_verified(certificate: tuple[Path, ssl.SSLContext]) -> None:
    ca_file, context = certificate
    running = serve(context)
    server = next(running)
    server.will(by_path(subjects=reply(200, SUBJECTS)))
    url = server.url.replace("http:", "https:")
    with pytest.raises(UnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
        client(url).get("/subjects")
    with pytest.raises(UnavailableError, match=r"(?i)hostname mismatch"):
        client(url.replace("127.0.0.1", "localhost"), ca_file=str(ca_file)).get("/subjects")
    assert server.seen == []
    assert client(url, ca_file=str(ca_file)).get("/subjects") == SUBJECTS
    next(running, None)


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_useless_ca_file_is_a_config_error(tmp_path: Path, content: str | None) -> None:
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content)
    with pytest.raises(ConfigError, match="ca_file"):
        client("https://127.0.0.1", ca_file=str(ca_file))


def test_a_refusal_is_a_blocked_error_with_alyx_own_words(server: Server) -> None:
    server.will(log_in, reply(400, {"weight": ["A valid number is required."], "status_code": 400}))
    with pytest.raises(RefusedError, match="weight: A valid number is required") as refused:
        client(server.url).post("/sessions", {})
    assert (refused.value.code, refused.value.status) == ("alyx_refused", 400)
