"""What an endpoint is and what it is given: routes, calls, and the reading of request bodies.

Room: sandbox.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import parse_qs, quote

from labferry.model import Clock
from labferry.sandbox.alyx.answers import detail
from labferry.sandbox.alyx.fields import Field
from labferry.sandbox.alyx.moments import moment_text
from labferry.sandbox.alyx.store import Database
from labferry.sandbox.http import Request, Response

_PLACEHOLDERS = {"id": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "name": r"[^/]+"}


@dataclass(frozen=True)
class User:
    """Who is calling."""

    username: str
    is_public: bool = False


class FormData(dict[str, object]):
    """A form's fields: every value is a string, the last of a repeated name."""


@dataclass
class Call:
    """One request to one endpoint.

    Attributes
    ----------
    key : str
        The id or name in the URL; empty for a list.
    user : User or None
        None without token, where the endpoint allows that.
    race_window : float
        Seconds between "does this dataset exist" and its creation: what makes the orphan race real.
    """

    request: Request
    db: Database
    clock: Clock
    key: str = ""
    user: User | None = None
    race_window: float = 0.0

    @property
    def now(self) -> str:
        """The server's time, in its own form."""
        return moment_text(self.clock.now())

    @property
    def username(self) -> str | None:
        """The caller's name."""
        return self.user.username if self.user else None

    def url(self, collection: str, key: str | None) -> str | None:
        """Return the address of a record, None for none."""
        return None if key is None else f"{self.request.origin}/{collection}/{quote(key)}"

    @cached_property
    def data(self) -> object:
        """The body: JSON of any kind, or a form's fields.

        Raises
        ------
        RefusedError
            400 for broken JSON, 415 for another media type.
        """
        if not self.request.body:
            return {}
        media_type = self.request.headers.get("content-type", "")
        kind = media_type.partition(";")[0].strip()
        if kind == "application/json":
            try:
                return json.loads(self.request.body)
            except ValueError as error:
                raise detail(400, f"JSON parse error - {error}") from error
        if kind == "application/x-www-form-urlencoded":
            pairs = parse_qs(self.request.body.decode(), keep_blank_values=True)
            return FormData({name: values[-1] for name, values in pairs.items()})
        raise detail(415, f'Unsupported media type "{media_type}" in request.')


Endpoint = Callable[[Call], Response]


@dataclass(frozen=True)
class Route:
    """One URL and what can be done with it.

    Attributes
    ----------
    path : str
        With at most one placeholder: `{id}` matches a UUID, `{name}` anything but a slash.
    methods : Mapping
        HTTP method to endpoint.
    open : bool
        No permission is asked for (a bad token is refused all the same).
    throttled : bool
        Whether requests count against the rate limit.
    parameters : Sequence
        Names of the query parameters of GET.
    fields : Sequence
        What POST, PUT and PATCH take.
    """

    path: str
    methods: Mapping[str, Endpoint]
    open: bool = False
    throttled: bool = True
    parameters: Sequence[str] = ()
    fields: Sequence[Field] = field(default=())

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The path as a regular expression; its one group is the key."""
        return re.compile(re.sub(r"\{(\w+)\}", lambda placeholder: f"({_PLACEHOLDERS[placeholder[1]]})", self.path))

    @property
    def allow(self) -> str:
        """The Allow header."""
        order = ("GET", "POST", "PUT", "PATCH", "DELETE")
        also = ["HEAD", "OPTIONS"] if "GET" in self.methods else ["OPTIONS"]
        return ", ".join([method for method in order if method in self.methods] + also)
