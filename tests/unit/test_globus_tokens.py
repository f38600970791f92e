"""A person's login on disk: private, whole or not there at all, and never a reason to stop."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from labferry.archive.globus.tokens import PENDING_LIFE, NoLoginError, PendingLogin, StoredLogin, TokenStore
from labferry.errors import UnavailableError

ADA = StoredLogin("client", "8a1c", "ada@lab.example", "r3fresh", ("one", "two"), 1000.0)


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return TokenStore(str(tmp_path))


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_map_08_what_is_written_is_read_and_private(store: TokenStore) -> None:
    previous = os.umask(0)
    try:
        assert store.write(ADA)
    finally:
        os.umask(previous)
    assert store.read() == ADA
    assert (mode(store.folder), mode(store.path)) == (0o700, 0o600)
    assert os.listdir(store.folder) == ["tokens.json"], "nothing temporary is left"


def test_map_08_a_folder_that_others_may_enter_is_closed(store: TokenStore) -> None:
    os.mkdir(store.folder, 0o755)
    store.write(ADA)
    assert mode(store.folder) == 0o700


def test_map_08_a_file_that_others_could_read_is_closed_and_told(store: TokenStore) -> None:
    store.write(ADA)
    os.chmod(store.path, 0o644)
    with capture_logs() as logs:
        assert store.read() == ADA
    assert mode(store.path) == 0o600
    assert f"{store.path} could be read by others (mode 0644)" == store.exposed
    (line,) = [one for one in logs if one["event"] == "globus_tokens_exposed"]
    assert "labferry login globus" in line["hint"]
    assert ADA.refresh_token not in str(line)
    store.write(ADA)
    assert store.exposed == "", "a new login is nobody else's"


def test_map_08_a_write_replaces_the_file_instead_of_changing_it(store: TokenStore) -> None:
    store.write(ADA)
    with open(store.path) as old:
        before = store.stamp()
        store.write(replace(ADA, refresh_token="n3xt"))
        assert json.load(old)["refresh_token"] == ADA.refresh_token, "who reads meanwhile sees one or the other"
    assert store.stamp() != before


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b'{"client_id": 1}', b"[" * 10_000, b'"x"' + b" " * 100_000],
)
def test_map_08_what_is_no_login_is_one_that_is_needed(store: TokenStore, content: bytes) -> None:
    store.write(ADA)
    Path(store.path).write_bytes(content)
    with pytest.raises(NoLoginError, match=r"tokens\.json"):
        store.read()


def test_map_08_fields_of_the_wrong_kind_are_no_login(store: TokenStore) -> None:
    store.write(ADA)
    fields = json.loads(Path(store.path).read_text())
    for name, value in (("refresh_token", 7), ("identity", ""), ("data_access", None), ("more", "than we know")):
        Path(store.path).write_text(json.dumps({**fields, name: value}))
        with pytest.raises(NoLoginError, match="holds no login"):
            store.read()


@pytest.mark.parametrize("make", ["directory", "link", "pipe"])
def test_map_08_what_is_no_file_is_not_followed_and_holds_nobody_up(store: TokenStore, make: str) -> None:
    os.mkdir(store.folder, 0o700)
    elsewhere = Path(store.folder, "elsewhere")
    elsewhere.write_text(json.dumps({"client_id": "x"}))
    {
        "directory": lambda: os.mkdir(store.path),
        "link": lambda: os.symlink(elsewhere, store.path),
        "pipe": lambda: os.mkfifo(store.path, 0o600),
    }[make]()
    with pytest.raises(NoLoginError):
        store.read()


def test_map_08_nobody_is_logged_in_at_first(store: TokenStore) -> None:
    assert store.stamp() is None
    with pytest.raises(NoLoginError, match="nobody is logged in"):
        store.read()


def test_map_08_a_login_is_not_written_over_one_that_came_meanwhile(store: TokenStore) -> None:
    store.write(ADA)
    stamp = store.stamp()
    store.write(replace(ADA, name="ben@lab.example"))
    assert not store.write(ADA, over=stamp)
    assert store.read().name == "ben@lab.example"
    assert store.write(ADA, over=store.stamp())


def test_map_08_a_store_that_cannot_be_written_keeps_the_old_login(store: TokenStore) -> None:
    Path(store.folder).write_text("in the way")
    with pytest.raises(UnavailableError) as caught:
        store.write(ADA)
    assert (caught.value.dependency, caught.value.code) == ("globus", "globus_tokens")
    assert ADA.refresh_token not in caught.value.message


def test_map_08_a_login_that_was_begun_can_be_finished_for_an_hour_and_once(store: TokenStore) -> None:
    pending = PendingLogin("client", "v3rifier", ("one",), False, 1000.0)
    assert store.begun(1000.0) is None
    store.begin(pending)
    assert mode(os.path.join(store.folder, "pending.json")) == 0o600
    assert store.begun(1000.0 + PENDING_LIFE - 1) == pending
    assert store.begun(1000.0 + PENDING_LIFE) is None
    assert store.begun(999.0) is None, "a clock that was set back is no reason to trust it"
    store.forget_begun()
    assert store.begun(1000.0) is None


def test_map_08_nothing_shows_a_secret() -> None:
    pending = PendingLogin("client", "v3rifier", (), False, 1000.0)
    assert "r3fresh" not in repr(ADA)
    assert "v3rifier" not in repr(pending)
