"""A person's login at the sandbox's Globus Auth, driven by the real globus-sdk over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import globus_sdk
import httpx
import pytest
from globus_sdk.scopes import TransferScopes
from globus_sdk.transport import RetryConfig

from labferry.sandbox.globus.auth import NATIVE_CLIENT_ID
from labferry.sandbox.globus.browser import PEOPLE
from labferry.sandbox.run import Sandbox
from labferry.sandbox.seed import SERVER_ENDPOINT

NO_RETRIES = RetryConfig(max_retries=0)
TRANSFER = "transfer.api.globus.org"


class Person:
    """Somebody with a browser, and a native application."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.app = globus_sdk.NativeAppAuthClient(
            NATIVE_CLIENT_ID, base_url=sandbox.globus_auth_url, retry_config=NO_RETRIES
        )

    def code(self, *scopes: Any, **more: str) -> str:
        """Begin a flow, click, and return what the last page shows."""
        self.app.oauth2_start_flow(scopes or [TransferScopes.all], refresh_tokens=True)
        page = httpx.get(self.app.oauth2_get_authorize_url(query_params=more or None), follow_redirects=True)
        assert page.status_code == 200, page.text
        return page.text.partition("<pre>")[2].partition("</pre>")[0]

    def tokens(self, *scopes: Any, **more: str) -> Any:
        return self.app.oauth2_exchange_code_for_tokens(self.code(*scopes, **more)).by_resource_server

    def refreshed(self, refresh_token: str) -> Any:
        return self.app.oauth2_refresh_token(refresh_token)

    def transfer(self, access_token: str) -> globus_sdk.TransferClient:
        return globus_sdk.TransferClient(
            authorizer=globus_sdk.AccessTokenAuthorizer(access_token),
            base_url=self.sandbox.globus_transfer_url,
            retry_config=NO_RETRIES,
        )

    def own(self, method: str, path: str, body: object = None) -> None:
        httpx.request(method, f"{self.sandbox.alyx_url}/_sandbox/{path}", json=body).raise_for_status()


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    with Sandbox(tmp_path / "sandbox") as sandbox:
        yield Person(sandbox)


def test_a_code_is_exchanged_once_for_tokens_that_work(person: Person) -> None:
    code = person.code(TransferScopes.all, "openid")
    tokens = person.app.oauth2_exchange_code_for_tokens(code).by_resource_server
    assert set(tokens) == {TRANSFER, "auth.globus.org"}
    assert person.transfer(tokens[TRANSFER]["access_token"]).get_submission_id()["value"]
    with pytest.raises(globus_sdk.AuthAPIError) as caught:
        person.app.oauth2_exchange_code_for_tokens(code)
    assert caught.value.raw_json == {
        "error": "invalid_grant",
        "error_description": "the code is not known, used or expired",
    }
    assert caught.value.code is None


def test_a_code_is_of_no_use_without_the_verifier(person: Person) -> None:
    code = person.code()
    person.app.oauth2_start_flow([TransferScopes.all], refresh_tokens=True)
    with pytest.raises(globus_sdk.AuthAPIError, match="somebody else"):
        person.app.oauth2_exchange_code_for_tokens(code)


def test_who_logged_in_is_told(person: Person) -> None:
    for name, more in (("ada@lab.example", {}), ("ben@lab.example", {"_as": "ben@lab.example"})):
        token = person.tokens(TransferScopes.all, "openid", **more)["auth.globus.org"]["access_token"]
        auth = globus_sdk.AuthClient(
            authorizer=globus_sdk.AccessTokenAuthorizer(token), base_url=person.sandbox.globus_auth_url
        )
        assert auth.userinfo().data == {"sub": PEOPLE[name], "preferred_username": name, "email": name}


def test_who_says_no_gives_no_code(person: Person) -> None:
    assert person.code(_answer="denied") == "access_denied"


def test_a_refresh_token_is_replaced_and_the_old_one_ends_when_the_new_one_is_used(person: Person) -> None:
    first = person.tokens()[TRANSFER]["refresh_token"]
    lost = person.refreshed(first)
    again = person.refreshed(first)
    assert len({first, lost["refresh_token"], again["refresh_token"]}) == 3, "an answer that is lost costs nothing"
    assert person.transfer(again["access_token"]).get_submission_id()["value"]
    with pytest.raises(globus_sdk.AuthAPIError) as caught:
        person.refreshed(first)
    assert (caught.value.http_status, caught.value.raw_json["error"]) == (400, "invalid_grant")  # type: ignore[index]
    assert person.refreshed(again["refresh_token"])["access_token"]


def test_all_tokens_end_when_somebody_rescinds_the_consents(person: Person) -> None:
    tokens = person.tokens()[TRANSFER]
    person.own("POST", "state", {"globus": {"revoke": "all"}})
    with pytest.raises(globus_sdk.TransferAPIError) as caught:
        person.transfer(tokens["access_token"]).get_submission_id()
    assert caught.value.http_status == 401
    with pytest.raises(globus_sdk.AuthAPIError, match="revoked"):
        person.refreshed(tokens["refresh_token"])


def test_a_mapped_collection_wants_a_consent_to_its_data(person: Person) -> None:
    person.own("POST", "faults", {"match": SERVER_ENDPOINT, "action": "admission", "becomes": "data_access"})
    client = person.transfer(person.tokens()[TRANSFER]["access_token"])
    assert client.get_endpoint(SERVER_ENDPOINT)["entity_type"] == "GCSv5_mapped_collection"
    with pytest.raises(globus_sdk.TransferAPIError) as caught:
        client.operation_ls(SERVER_ENDPOINT, path="/")
    (scope,) = caught.value.info.consent_required.required_scopes or ()
    assert SERVER_ENDPOINT in scope
    client = person.transfer(person.tokens(scope)[TRANSFER]["access_token"])
    assert client.operation_ls(SERVER_ENDPOINT, path="/")["DATA"] is not None


def test_a_gateway_with_a_time_limit_wants_a_login_that_is_new(person: Person) -> None:
    old = person.transfer(person.tokens()[TRANSFER]["access_token"])
    person.own("POST", "faults", {"match": SERVER_ENDPOINT, "action": "admission", "becomes": "session"})
    reused = person.transfer(person.tokens()[TRANSFER]["access_token"])
    for client in (old, reused):
        with pytest.raises(globus_sdk.TransferAPIError, match="LOGIN_DENIED") as caught:
            client.operation_ls(SERVER_ENDPOINT, path="/")
        assert caught.value.http_status == 502
    new = person.transfer(person.tokens(prompt="login")[TRANSFER]["access_token"])
    assert new.operation_ls(SERVER_ENDPOINT, path="/")["DATA"] is not None
