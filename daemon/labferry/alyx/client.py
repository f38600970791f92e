"""The registry room's voice: one authenticated HTTP client for one Alyx.

Each call either returns what Alyx said or raises an error that says what is certain: refused, not sent, or sent
with its answer lost. From here only the network is touched, and only the configured host.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial

import httpx
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random

from labferry.alyx.answers import Answer, FailedLookError, classify, is_invalid_token, retry_after
from labferry.alyx.fields import DEPENDENCY, Json, as_object, as_objects, not_alyx, text
from labferry.alyx.login import Login, Secret, WrongPasswordError
from labferry.alyx.transport import DEADLINE, AnswerLostError, DeadlineTransport, NotSentError, tls_context
from labferry.errors import ConfigError, UnavailableError, UnexplainedError, UnknownOutcomeError
from labferry.model import Clock

ATTEMPTS = 3  # of a request that changes nothing, inside one call
PAUSE = (0.1, 0.5)  # seconds between them
PAGE = 1000  # Alyx caps `limit` at this, silently

Params = Mapping[str, str | int] | httpx.QueryParams


class _AgainError(Exception):
    """A request that changes nothing failed in a way that may pass at once; holds what to raise otherwise."""

    def __init__(self, failure: UnavailableError) -> None:
        super().__init__(failure.message)
        self.failure = failure


class AlyxClient:
    """Speaks to one Alyx as one user; may be shared by threads.

    Parameters
    ----------
    url : str
        Where Alyx is; a path in it is kept as a prefix.
    username : str
        The Alyx user; may be empty with `token`.
    password, token : callable returning str
        Read the secret when it is needed; exactly one of the two is given. With `password` the token is asked
        for once and kept in memory. A token that Alyx no longer takes is asked for, or read, again once.
    timeout : float
        Seconds; no call takes longer, its repetitions and a login included.
    ca_file : str
        The only certificates to believe; empty for the system's.
    clock : Clock
        For deadlines and `Retry-After` dates.
    user_agent : str
        What we call ourselves.

    Raises
    ------
    ConfigError
        `url` is no http(s) address, `ca_file` cannot be used, or not exactly one secret is given.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str,
        timeout: float,
        clock: Clock,
        user_agent: str,
        password: Secret | None = None,
        token: Secret | None = None,
        ca_file: str = "",
    ) -> None:
        self._alike = partial(
            AlyxClient, url, username=username, timeout=timeout, clock=clock, user_agent=user_agent, ca_file=ca_file
        )
        self._secrets = password, token
        self.url = _base(url)
        self.username = username
        self._timeout = timeout
        self._clock = clock
        self._login = Login(username, password, token, clock)
        self._http = httpx.Client(
            transport=DeadlineTransport(tls_context(ca_file), clock),
            headers={"User-Agent": user_agent, "Accept": "application/json"},
            follow_redirects=False,
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"AlyxClient({self.url!r}, username={self.username!r})"

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def another(self, password: Secret | None = None) -> AlyxClient:
        """Return a client of the same Alyx that is not logged in: with the same secret, read anew, or a password."""
        kept, token = self._secrets
        return self._alike(password=password) if password else self._alike(password=kept, token=token)

    # --- what can be said to Alyx ---------------------------------------------------------------------------

    def get(self, path: str, params: Params | None = None) -> object:
        """Look at something.

        Raises
        ------
        RefusedError
            Alyx understood and said no.
        UnavailableError
            Alyx cannot be asked now, also after short repetitions.
        UnexplainedError
            `alyx_error`: Alyx fails on what is asked for, and on nothing else.
        """
        return self._call("GET", path, params=params)

    def list_all(self, path: str, params: Params | None = None) -> list[Json]:
        """Look at a list, page by page, to its end; raises as `get` does."""
        return [row for page in self.pages(path, params) for row in page]

    def pages(self, path: str, params: Params | None = None) -> Iterator[list[Json]]:
        """Yield a list page by page, each a call with a time limit of its own; raises as `get` does.

        The link to the next page is followed on the configured host whatever host it names, since an Alyx
        behind a proxy may not know its own name.
        """
        request = f"GET {path}"
        query = httpx.QueryParams(params).set("limit", PAGE)
        while True:
            page = as_object(self._call("GET", path, params=query), request)
            yield as_objects(page.get("results"), request)
            if not (link := text(page, "next")):
                return
            following = httpx.QueryParams(link.partition("?")[2])
            if following == query:
                raise not_alyx(request, "a list without end")
            query = following

    def post(self, path: str, body: Json) -> object:
        """Create or register something; one request, never repeated.

        Raises
        ------
        RefusedError
            Alyx understood and said no; parts of a batch may have been carried out all the same.
        UnavailableError
            It was not sent, or Alyx said that it cannot work now.
        UnknownOutcomeError
            It was sent and its answer was lost.
        """
        return self._call("POST", path, body=body)

    def patch(self, path: str, body: Json) -> object:
        """Change fields of something; one request, raises as `post` does."""
        return self._call("PATCH", path, body=body)

    def delete(self, path: str) -> None:
        """Delete something; one request, raises as `post` does."""
        self._call("DELETE", path)

    def log_in(self) -> None:
        """Make sure that there is a token; asks Alyx for one if need be.

        Raises
        ------
        UnavailableError
            Alyx does not accept the login (`alyx_login`), or does not answer.
        """
        self._token(self._clock.monotonic() + self._timeout)

    def hurry(self) -> None:
        """Offer a password that was refused again at the next call: a person says that it is right now."""
        self._login.hurry()

    # --- one call -------------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, *, params: Params | None = None, body: Json | None = None) -> object:
        deadline = self._clock.monotonic() + self._timeout
        token = self._token(deadline)
        answer = self._send(method, path, deadline, token=token, params=params, body=body)
        if is_invalid_token(answer.status, answer.body):
            token = self._token(deadline, refused=token)
            answer = self._send(method, path, deadline, token=token, params=params, body=body)
        try:
            return self._accepted(method, path, answer)
        except FailedLookError as failure:
            if not self._answers(deadline, token):
                raise
            # It fails on what this question is about: no reason to keep everything else from Alyx.
            raise UnexplainedError("alyx_error", failure.message) from failure

    def _answers(self, deadline: float, token: str) -> bool:
        """Say whether Alyx answers a question that is about nothing in particular."""
        try:
            return self._send("GET", "/users", deadline, token=token, params={"limit": 1}).status < 300
        except UnavailableError:
            return False

    def _token(self, deadline: float, refused: str = "") -> str:
        def ask(credentials: Json) -> str:
            answer = self._send("POST", "/auth-token", deadline, body=credentials, harmless=True)
            if answer.status == 400 and answer.is_json:
                raise WrongPasswordError
            granted = as_object(self._accepted("POST", "/auth-token", answer), "POST /auth-token")
            return text(granted, "token")

        return self._login.token(ask, refused)

    def _accepted(self, method: str, path: str, answer: Answer) -> object:
        """Return the body of a success, raise what the answer means otherwise."""
        request = f"{method} {path}"
        if answer.status < 300:
            if answer.is_json or answer.body is None:
                return answer.body
            if method == "GET":
                raise not_alyx(request, "something that is not JSON")
            raise UnknownOutcomeError(f"{request} was answered with {answer.status} and something that is not JSON")
        if answer.status < 400:
            target = answer.headers.get("Location", "nowhere").partition("?")[0]
            raise not_alyx(request, f"a redirect to {target}")
        failure = classify(method, path, answer.status, answer.body)
        if isinstance(failure, UnavailableError):
            failure.retry_after = self._retry_after(answer)
        raise failure

    def _retry_after(self, answer: Answer) -> float:
        return retry_after(answer.headers.get("Retry-After"), answer.body, self._clock.now())

    # --- one or more requests on the wire --------------------------------------------------------------------

    def _send(
        self,
        method: str,
        path: str,
        deadline: float,
        *,
        token: str = "",
        params: Params | None = None,
        body: Json | None = None,
        harmless: bool = False,
    ) -> Answer:
        assert path.startswith("/"), path
        request = self._http.build_request(
            method,
            self.url + path,
            params=params,
            content=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"} if body is not None else {},
            extensions={DEADLINE: deadline},
        )
        if token:
            request.headers["Authorization"] = f"Token {token}"
        name = f"{method} {path}"
        if method != "GET" and not harmless:
            return self._change(request, name)

        def worth_it(error: BaseException) -> bool:
            return isinstance(error, _AgainError) and self._clock.monotonic() < deadline

        tries = Retrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random(*PAUSE),
            retry=retry_if_exception(worth_it),
            reraise=True,
        )
        try:
            return tries(self._look, request, name)
        except _AgainError as last:
            raise last.failure from last.__cause__

    def _change(self, request: httpx.Request, name: str) -> Answer:
        """Send a request that changes something; a lost answer leaves open whether it did."""
        try:
            answer = self._wire(request)
        except AnswerLostError as error:
            raise UnknownOutcomeError(f"the answer to {name} was lost: {error}") from error
        if answer.status in (502, 504) or (answer.status == 503 and "Retry-After" not in answer.headers):
            raise UnknownOutcomeError(f"{name} was answered with {answer.status} by what stands before Alyx")
        return answer

    def _look(self, request: httpx.Request, name: str) -> Answer:
        """Send a request that changes nothing; what may pass at once is worth another try."""
        try:
            answer = self._wire(request)
        except AnswerLostError as error:
            message = f"Alyx does not answer {name}: {error}"
            raise _AgainError(UnavailableError(DEPENDENCY, "alyx_down", message)) from error
        if answer.status in (502, 503, 504):
            pause = self._retry_after(answer)
            failure = UnavailableError(DEPENDENCY, "alyx_down", f"{name} failed with {answer.status}", pause)
            raise failure if pause > max(PAUSE) else _AgainError(failure)
        return answer

    def _wire(self, request: httpx.Request) -> Answer:
        try:
            response = self._http.send(request)
        except NotSentError as error:
            message = f"Alyx at {self.url} cannot be reached: {error}"
            raise UnavailableError(DEPENDENCY, "alyx_down", message) from error
        if not response.content:
            return Answer(response.status_code, response.headers, None, is_json=False)
        try:
            return Answer(response.status_code, response.headers, json.loads(response.content), is_json=True)
        except ValueError:
            return Answer(response.status_code, response.headers, response.text, is_json=False)


def _base(url: str) -> str:
    """Return the address without a slash at its end.

    Raises
    ------
    ConfigError
        It is no http(s) address of a host, or has a user name in it.
    """
    try:
        parsed = httpx.URL(url)
        parsed.raw_host.decode("ascii").encode("idna")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ConfigError(f"[alyx] url cannot be read: {error}") from error
    if parsed.userinfo:
        raise ConfigError("[alyx] url has a user name in it", "Use `username` and `password_file` instead.")
    is_address = parsed.scheme in ("http", "https") and parsed.host and (parsed.port or 0) < 2**16
    if not is_address or parsed.query or parsed.fragment:
        raise ConfigError(f"[alyx] url = {url!r} is not the address of a web server", "Give it as https://HOST[:PORT].")
    return str(parsed).rstrip("/")
