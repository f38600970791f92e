"""Archive room: the SDK's Transfer client with a token of our own application. Belongs to one thread.

Client credentials need no person: the token is got with the secret, which is read anew each time, so that a
corrected file heals by itself. Only what this needs of the SDK is imported, and only when it is needed: its own
classes for this grant bring a cryptography library along that would double what Globus costs in memory.
From here only the network is touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from labferry.archive.globus.faults import login_needed, translate
from labferry.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from globus_sdk import GlobusAPIError, TransferClient
    from globus_sdk.transport import RetryConfig

_RENEW_BEFORE = 60.0  # seconds before its end in which a token is not used any more
_LOG_IN = "log in"

T = TypeVar("T")


class Connection:
    """Sends requests with a valid token.

    Parameters
    ----------
    client_id : str
        UUID of the application.
    secret : callable
        Returns the application's secret.
    transfer_url, auth_url : str
        Other places than the real services; empty for those.
    user_agent : str
        Who we are.
    """

    def __init__(
        self, client_id: str, secret: Callable[[], str], *, transfer_url: str, auth_url: str, user_agent: str
    ) -> None:
        self._client_id = client_id
        self._secret = secret
        self._transfer_url = transfer_url
        self._auth_url = auth_url
        self._user_agent = user_agent
        self._client: TransferClient | None = None
        self._token_ends = 0.0
        self._consents: tuple[str, ...] = ()

    def ask(self, request: Callable[[TransferClient], T], what: str, blame: str = "") -> T:
        """Return what `request` returns; it is called again, with a new token, if the first one was not enough.

        Parameters
        ----------
        request : callable
            Makes one request.
        what : str
            What it does, for messages.
        blame : str
            The dependency that is down when a collection cannot do it; empty where it concerns none.

        Raises
        ------
        LabferryError
            As `faults.translate` says.
        """
        from globus_sdk import GlobusError

        try:
            return self._ask(request)
        except (GlobusError, OSError, ValueError) as error:
            raise translate(error, what, collection=blame) from error

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def _ask(self, request: Callable[[TransferClient], T]) -> T:
        from globus_sdk import GlobusAPIError

        client = self._transfer()
        if time.monotonic() >= self._token_ends:
            self._log_in(client)
        try:
            return request(client)
        except GlobusAPIError as error:
            if error.http_status != 401 and not error.info.consent_required:
                raise
            self._remember_consents(error)
        self._log_in(client)
        return request(client)

    def _transfer(self) -> TransferClient:
        from globus_sdk import TransferClient

        if self._client is None:
            self._client = TransferClient(
                base_url=self._transfer_url or None, app_name=self._user_agent, retry_config=_no_retries()
            )
        return self._client

    def _remember_consents(self, error: GlobusAPIError) -> None:
        """Ask for what a collection missed from now on: for an application, asking is all that a consent takes."""
        wanted = error.info.consent_required.required_scopes or ()
        self._consents = tuple(dict.fromkeys((*self._consents, *wanted)))

    def _log_in(self, client: TransferClient) -> None:
        from globus_sdk import GlobusError
        from globus_sdk.authorizers import AccessTokenAuthorizer

        self._token_ends = 0.0
        try:
            token, seconds = self._grant()
        except (GlobusError, ValueError) as error:
            self._consents = ()  # a wrong one must not keep us out for ever; the others are learned again
            failure = translate(error, _LOG_IN)
            if isinstance(failure, UnavailableError):
                raise failure from error
            raise login_needed(_LOG_IN, failure.message) from error
        client.authorizer = AccessTokenAuthorizer(token)
        self._token_ends = time.monotonic() + seconds - _RENEW_BEFORE

    def _grant(self) -> tuple[str, float]:
        """Ask Globus Auth for a token, and return it with the seconds it lives."""
        from globus_sdk import BaseClient
        from globus_sdk.authorizers import BasicAuthorizer
        from globus_sdk.config import get_service_url

        with BaseClient(
            base_url=self._auth_url or get_service_url("auth"),
            authorizer=BasicAuthorizer(self._client_id, self._read_secret()),
            app_name=self._user_agent,
            retry_config=_no_retries(),
        ) as auth:
            answer = auth.post(
                "/v2/oauth2/token",
                data={"grant_type": "client_credentials", "scope": self._scopes()},
                encoding="form",
            )
            return _token(answer.data)

    def _scopes(self) -> str:
        from globus_sdk.scopes import ScopeParser, TransferScopes

        return ScopeParser.serialize(ScopeParser.parse(" ".join((str(TransferScopes.all), *self._consents))))

    def _read_secret(self) -> str:
        try:
            return self._secret().strip("\r\n")
        except (OSError, ConfigError) as error:
            reason = f"the client secret cannot be read: {getattr(error, 'strerror', None) or error}"
            raise login_needed(_LOG_IN, reason) from error


def _no_retries() -> RetryConfig:
    """Let every error surface at once: waiting is the daemon's own matter, which it does where it can be stopped.

    Without the status codes the SDK does not look into error documents either, where it expects more than every
    proxy delivers.
    """
    from globus_sdk.transport import RetryConfig

    return RetryConfig(max_retries=0, retry_after_status_codes=(), transient_error_status_codes=())


def _token(answer: object) -> tuple[str, float]:
    """Find the Transfer token among those that were granted.

    Raises
    ------
    ValueError
        There is none, or it is not one word; the message never repeats it.
    """
    from globus_sdk.scopes import TransferScopes

    for granted in _granted(answer):
        if granted.get("resource_server") == TransferScopes.resource_server:
            token, seconds = granted.get("access_token"), granted.get("expires_in")
            if isinstance(token, str) and token.isascii() and token.isprintable() and token and " " not in token:
                return token, float(seconds) if isinstance(seconds, int | float) else 0.0
    raise ValueError("no token for the Transfer service in it")


def _granted(answer: object) -> list[Mapping[str, Any]]:
    if not isinstance(answer, Mapping):
        return []
    others = answer.get("other_tokens")
    return [granted for granted in (answer, *(others or ())) if isinstance(granted, Mapping)]
