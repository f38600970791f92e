"""Archive room: the SDK's Transfer client with a token of our own login. Belongs to one thread.

From here only the network is touched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from labferry.archive.globus.faults import translate
from labferry.archive.globus.grants import no_retries
from labferry.archive.globus.login import Login

if TYPE_CHECKING:
    from globus_sdk import TransferClient

T = TypeVar("T")


class Connection:
    """Sends requests with a valid token.

    Parameters
    ----------
    login : Login
        Who we are.
    transfer_url : str
        Another place than the real service; empty for that.
    user_agent : str
        What we are.
    """

    def __init__(self, login: Login, *, transfer_url: str, user_agent: str) -> None:
        self._login = login
        self._transfer_url = transfer_url
        self._user_agent = user_agent
        self._client: TransferClient | None = None
        self._token = ""

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
        self._authorize(client)
        try:
            return request(client)
        except GlobusAPIError as error:
            has_another = self._login.learn(error)
            if error.http_status != 401 and not has_another:
                raise
        self._authorize(client, refused=self._token)
        return request(client)

    def _authorize(self, client: TransferClient, refused: str = "") -> None:
        from globus_sdk.authorizers import AccessTokenAuthorizer

        token = self._login.token(refused)
        if token != self._token:
            client.authorizer = AccessTokenAuthorizer(token)
            self._token = token

    def _transfer(self) -> TransferClient:
        from globus_sdk import TransferClient

        if self._client is None:
            self._client = TransferClient(
                base_url=self._transfer_url or None, app_name=self._user_agent, retry_config=no_retries()
            )
        return self._client
