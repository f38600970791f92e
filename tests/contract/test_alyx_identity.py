"""Who we are for Alyx, and whether it would let us write: asked without changing anything."""

from __future__ import annotations

import httpx
import pytest

from labferry.alyx.identity import NO_SESSION, who_we_are
from labferry.errors import UnavailableError
from support.tested_alyx import TestedAlyx as Alyx


def test_one_06_alyx_tells_who_we_are_and_that_we_may_write(alyx: Alyx) -> None:
    identity = who_we_are(alyx.connect())
    assert (identity.username, identity.known, identity.may_write) == (alyx.user, True, True)


def test_one_06_a_session_that_does_not_exist_is_never_made(alyx: Alyx) -> None:
    who_we_are(alyx.connect())
    response = httpx.get(f"{alyx.url}{NO_SESSION}", headers={"Authorization": f"Token {token_of(alyx)}"})
    assert response.status_code == 404


def test_one_06_a_token_alone_has_no_name(alyx: Alyx) -> None:
    token = token_of(alyx)
    identity = who_we_are(alyx.connect(username="", password=None, token=lambda: token))
    assert (identity.username, identity.known, identity.labs, identity.may_write) == ("", True, (), True)


def test_one_06_a_name_that_alyx_does_not_have_is_not_known(alyx: Alyx) -> None:
    token = token_of(alyx)
    identity = who_we_are(alyx.connect(username="no/body here", password=None, token=lambda: token))
    assert (identity.known, identity.labs) == (False, ())


def test_one_06_the_public_user_may_only_look(alyx: Alyx) -> None:
    if not alyx.is_sandbox:
        pytest.skip("a public user can only be made in the sandbox")
    user = {"username": "lf_public", "password": "lf-public-password", "public": True}
    httpx.post(f"{alyx.url}/_sandbox/state", json={"users": [user]}).raise_for_status()
    identity = who_we_are(alyx.connect(username=user["username"], password=lambda: user["password"]))
    assert (identity.known, identity.may_write) == (True, False)


def test_one_06_a_wrong_password_is_said_and_not_taken_for_a_missing_right(alyx: Alyx) -> None:
    with pytest.raises(UnavailableError) as caught:
        who_we_are(alyx.connect(password=lambda: "wrong"))
    assert caught.value.code == "alyx_login"


def test_one_06_an_answer_that_is_lost_means_try_later(alyx: Alyx) -> None:
    alyx.fault(match=f"PATCH {NO_SESSION}", action="drop")
    with pytest.raises(UnavailableError) as caught:
        who_we_are(alyx.connect())
    assert caught.value.code == "alyx_down"


def token_of(alyx: Alyx) -> str:
    answer = httpx.post(f"{alyx.url}/auth-token", json={"username": alyx.user, "password": alyx.password})
    return str(answer.json()["token"])
