"""Who may do what, and how often: tokens, the public user, the rate limit.

Room: sandbox. The real server says 403 where others say 401, and its token never changes.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import threading
from collections import deque

from labferry.model import Clock
from labferry.sandbox.alyx.answers import detail, invalid
from labferry.sandbox.alyx.api import Call, Route, User
from labferry.sandbox.alyx.fields import Field, check, text
from labferry.sandbox.alyx.store import Database, Value, new_id
from labferry.sandbox.http import Request, Response, json_response

_ROUNDS = 1000  # the real server spends 265 ms on this; here logins are frequent and nothing is at stake


def add_user(
    db: Database, username: str, password: str, *, superuser: bool = False, public: bool = False, email: str = ""
) -> None:
    """Create a user, or give an existing one this password."""
    salt = secrets.token_hex(8)
    digest = _digest(password, salt)
    if db.one("SELECT 1 FROM user WHERE username = ?", username):
        db.update("user", ("username", username), {"salt": salt, "digest": digest})
        return
    db.insert(
        "user",
        {
            "username": username,
            "id": new_id(),
            "email": email,
            "salt": salt,
            "digest": digest,
            "token": secrets.token_hex(20),
            "is_superuser": superuser,
            "is_public": public,
            "is_stock_manager": superuser,
        },
    )


def without_password(_: Call) -> dict[str, Value]:
    """Return what a user created over REST gets by itself: an id and a token, but no password that works."""
    return {"id": new_id(), "salt": "", "digest": "", "token": secrets.token_hex(20)}


def _digest(password: str, salt: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), _ROUNDS).hex()


def log_in(call: Call) -> Response:
    """Answer POST /auth-token: the same token at every login."""
    values = check(_CREDENTIALS, call.db, call.data)
    row = call.db.one("SELECT * FROM user WHERE username = ?", str(values["username"]))
    if row is None or not secrets.compare_digest(row["digest"], _digest(str(values["password"]), row["salt"])):
        raise invalid({"non_field_errors": ["Unable to log in with provided credentials."]})
    return json_response(200, {"token": row["token"]})


_CREDENTIALS = (
    Field("username", text(blank=False), required=True),
    Field("password", text(blank=False), required=True),
)

ROUTES = (Route("/auth-token", {"POST": log_in}, open=True, throttled=False, fields=_CREDENTIALS),)


def identify(request: Request, db: Database) -> User | None:
    """Return the owner of the request's token, None if there is no token.

    Raises
    ------
    RefusedError
        403 for a malformed or unknown token, on every endpoint.
    """
    words = request.headers.get("authorization", "").split()
    if not words or words[0].lower() != "token":
        return None
    if len(words) == 1:
        raise detail(403, "Invalid token header. No credentials provided.")
    if len(words) > 2:
        raise detail(403, "Invalid token header. Token string should not contain spaces.")
    row = db.one("SELECT username, is_public FROM user WHERE token = ?", words[1])
    if row is None:
        raise detail(403, "Invalid token.")
    return User(row["username"], bool(row["is_public"]))


def permit(user: User | None, request: Request) -> None:
    """Let users read and all but the public user write.

    Raises
    ------
    RefusedError
        403 otherwise.
    """
    if user is None:
        raise detail(403, "Authentication credentials were not provided.")
    if user.is_public and request.method not in ("GET", "HEAD", "OPTIONS"):
        raise detail(403, "You do not have permission to perform this action.")


class Throttle:
    """So many requests in so many seconds for each user; refused ones do not count.

    Parameters
    ----------
    limit : int
        0 means no limit.
    period : float
        Seconds.
    clock : Clock
        Its monotonic time counts.
    """

    def __init__(self, limit: int, period: float, clock: Clock) -> None:
        self._limit = limit
        self._period = period
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, deque[float]] = {}

    def admit(self, user: User | None) -> None:
        """Count a request.

        Raises
        ------
        RefusedError
            429 with Retry-After in whole seconds.
        """
        if not self._limit:
            return
        with self._lock:
            now = self._clock.monotonic()
            seen = self._seen.setdefault(user.username if user else "", deque())
            while seen and seen[0] <= now - self._period:
                seen.popleft()
            if len(seen) < self._limit:
                seen.append(now)
                return
            wait = math.ceil(self._period - (now - seen[0]))
        message = f"Request was throttled. Expected available in {wait} second{'' if wait == 1 else 's'}."
        raise detail(429, message, Retry_After=str(wait))
