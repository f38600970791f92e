"""Archive room: what is asked of Globus Auth, for an application with a secret and for a person's login.

The SDK's own classes for these grants bring a cryptography library along that would double what Globus costs in
memory; its plain client is enough. Runs in the thread of whoever asks. From here only the network is touched.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from globus_sdk import BaseClient
    from globus_sdk.authorizers import GlobusAuthorizer
    from globus_sdk.transport import RetryConfig

_TRANSFER = "transfer.api.globus.org"
_AUTH = "auth.globus.org"
_TRANSFER_ALL = f"urn:globus:auth:scope:{_TRANSFER}:all"
_TOKEN, _REVOKE, _USERINFO = "/v2/oauth2/token", "/v2/oauth2/token/revoke", "/v2/oauth2/userinfo"
_CODE_PAGE = "/v2/web/auth-code"  # shows the code, so that neither a browser nor a port is needed on this machine


@dataclass(frozen=True, slots=True)
class Token:
    """A token for Transfer; never shown.

    Attributes
    ----------
    access, refresh : str
        `refresh` is empty where none was granted.
    seconds : float
        How long `access` lives.
    """

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    seconds: float


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody at Globus: a UUID and a name such as `ada@lab.example`."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Consented:
    """What a person's login brought: the token for Transfer, who it was, and the tokens that are of no use to us."""

    token: Token
    identity: Identity
    spare: tuple[str, ...] = field(repr=False)


def new_verifier() -> str:
    """Return the secret that proves that who exchanges a code is who asked for it (PKCE)."""
    return secrets.token_urlsafe(48)


def transfer_scope(collections: Iterable[str] = ()) -> str:
    """Return the scope of Transfer with the consent to reach the data of mapped collections."""
    wanted = [f"*https://auth.globus.org/scopes/{one}/data_access" for one in collections]
    return f"{_TRANSFER_ALL}[{' '.join(wanted)}]" if wanted else _TRANSFER_ALL


class Grants:
    """Requests to Globus Auth for one application.

    Errors of the SDK pass through; an answer that lacks what makes it one is a `ValueError` that never repeats it.

    Parameters
    ----------
    client_id : str
        UUID of the application.
    auth_url : str
        Another place than the real service; empty for that.
    user_agent : str
        Who we are.
    """

    def __init__(self, client_id: str, *, auth_url: str, user_agent: str) -> None:
        self.client_id = client_id
        self._auth_url = auth_url
        self._user_agent = user_agent

    # --- an application -----------------------------------------------------------------------------------

    def for_application(self, secret: str, scope: str) -> Token:
        """Return a token for the application itself."""
        from globus_sdk.authorizers import BasicAuthorizer

        form = {"grant_type": "client_credentials", "scope": scope}
        return _transfer_token(self._posted(_TOKEN, form, BasicAuthorizer(self.client_id, secret)))

    # --- a person -----------------------------------------------------------------------------------------

    def address(self, verifier: str, collections: Iterable[str], policy: Mapping[str, str]) -> str:
        """Return where a person logs in and consents; asks nobody.

        Parameters
        ----------
        verifier : str
            From `new_verifier`; kept for `for_code`.
        collections : iterable of str
            Mapped collections whose data we want to reach.
        policy : Mapping
            What a collection demands of the login, `session_required_…`.
        """
        digest = hashlib.sha256(verifier.encode()).digest()
        query = {
            "client_id": self.client_id,
            "redirect_uri": self._base() + _CODE_PAGE,
            "scope": f"openid email {transfer_scope(collections)}",
            "state": "labferry",
            "response_type": "code",
            "access_type": "offline",
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
            "prompt": "login",  # a browser that is logged in already does not count where a collection wants a new one
            **policy,
        }
        return f"{self._base()}/v2/oauth2/authorize?{urlencode(query)}"

    def for_code(self, code: str, verifier: str) -> Consented:
        """Exchange the code that a person was shown; it is used up by that, whatever comes of it."""
        form = {
            "grant_type": "authorization_code",
            "client_id": self.client_id,
            "code": code,
            "code_verifier": verifier,
            "redirect_uri": self._base() + _CODE_PAGE,
        }
        answer = self._posted(_TOKEN, form)
        granted = {one.get("resource_server"): one for one in _granted(answer)}
        auth = granted.get(_AUTH, {})
        token = _transfer_token(answer)
        if not token.refresh:
            raise ValueError("no refresh token in it")
        spare = [auth.get(name) for name in ("access_token", "refresh_token")]
        identity = self._identity(_word(auth.get("access_token"), "token for Auth"))
        return Consented(token, identity, tuple(one for one in spare if isinstance(one, str)))

    def refreshed(self, refresh_token: str) -> Token:
        """Return a new token, perhaps with another refresh token, which must then be kept before anything is done."""
        form = {"grant_type": "refresh_token", "client_id": self.client_id, "refresh_token": refresh_token}
        return _transfer_token(self._posted(_TOKEN, form))

    def revoke(self, *tokens: str) -> None:
        """End tokens; one that could not be reached ends by itself, unused."""
        from globus_sdk import GlobusError

        for token in filter(None, tokens):
            with suppress(GlobusError, OSError):
                self._posted(_REVOKE, {"client_id": self.client_id, "token": token})

    def _identity(self, access_token: str) -> Identity:
        from globus_sdk.authorizers import AccessTokenAuthorizer

        with self._client(AccessTokenAuthorizer(access_token)) as auth:
            answer = auth.get(_USERINFO).data
        if not isinstance(answer, Mapping):
            raise ValueError("it does not say who logged in")  # noqa: TRY004 - an answer, not an argument
        who = _word(answer.get("sub"), "identity")
        return Identity(who, str(answer.get("preferred_username") or who))

    # --- requests -----------------------------------------------------------------------------------------

    def _posted(self, path: str, form: Mapping[str, str], authorizer: GlobusAuthorizer | None = None) -> object:
        with self._client(authorizer) as auth:
            return auth.post(path, data=dict(form), encoding="form").data

    def _client(self, authorizer: GlobusAuthorizer | None) -> BaseClient:
        from globus_sdk import BaseClient

        return BaseClient(
            base_url=self._base(), authorizer=authorizer, app_name=self._user_agent, retry_config=no_retries()
        )

    def _base(self) -> str:
        from globus_sdk.config import get_service_url

        return (self._auth_url or get_service_url("auth")).rstrip("/")


def no_retries() -> RetryConfig:
    """Let every error surface at once: waiting is the daemon's own matter, which it does where it can be stopped.

    Without the status codes the SDK does not look into error documents either, where it expects more than every
    proxy delivers.
    """
    from globus_sdk.transport import RetryConfig

    return RetryConfig(max_retries=0, retry_after_status_codes=(), transient_error_status_codes=())


def _transfer_token(answer: object) -> Token:
    """Find the Transfer token among those that were granted."""
    for granted in _granted(answer):
        if granted.get("resource_server") == _TRANSFER:
            seconds, refresh = granted.get("expires_in"), granted.get("refresh_token")
            return Token(
                _word(granted.get("access_token"), "token"),
                _word(refresh, "refresh token") if refresh else "",
                float(seconds) if isinstance(seconds, int | float) else 0.0,
            )
    raise ValueError("no token for the Transfer service in it")


def _granted(answer: object) -> list[Mapping[str, Any]]:
    if not isinstance(answer, Mapping):
        return []
    others = answer.get("other_tokens")
    return [granted for granted in (answer, *(others or ())) if isinstance(granted, Mapping)]


def _word(value: object, what: str) -> str:
    """Return what can stand in a header; it is never repeated in a message."""
    if isinstance(value, str) and value.isascii() and value.isprintable() and value and " " not in value:
        return value
    raise ValueError(f"the {what} in it is none")
