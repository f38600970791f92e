"""Secrets come from files and from nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labferry.config import load, read_secret
from labferry.config.credentials import LARGEST_SECRET
from labferry.errors import ConfigError
from support.config_file import VALID, ConfigFile, config_file


@pytest.fixture
def file(tmp_path: Path) -> ConfigFile:
    return config_file(tmp_path)


def test_a_relative_name_is_found_beside_the_configuration(file: ConfigFile) -> None:
    assert file.load().alyx.password_file == str(file.directory / "alyx-password")


def test_a_whole_path_stays(file: ConfigFile, tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere"
    secret.write_text("x", encoding="utf-8")
    secret.chmod(0o600)
    assert file.load(VALID.replace("alyx-password", str(secret))).alyx.password_file == str(secret)


def test_systemd_credentials_come_first_and_may_be_readable(file: ConfigFile) -> None:
    credentials = file.directory / "credentials"
    credentials.mkdir()
    (credentials / "alyx-password").write_text("from systemd\n", encoding="utf-8")
    (credentials / "alyx-password").chmod(0o444)
    config = file.load(VALID, CREDENTIALS_DIRECTORY=str(credentials))
    assert read_secret(config.alyx.password_file) == "from systemd"
    assert config.warnings == ()


def test_without_a_credential_the_file_beside_is_taken(file: ConfigFile) -> None:
    config = file.load(VALID, CREDENTIALS_DIRECTORY=str(file.directory / "home"))
    assert config.alyx.password_file == str(file.directory / "alyx-password")


def test_a_missing_secret_names_both_places(file: ConfigFile) -> None:
    (line,) = file.errors(VALID.replace("alyx-password", "other"), CREDENTIALS_DIRECTORY="/run/credentials/x")
    assert '[alyx] password_file = "other" cannot be used: ' in line
    assert "/run/credentials/x/other" in line
    assert str(file.directory / "other") in line


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"\xff\n", "not UTF-8"), (b"x" * (LARGEST_SECRET + 1), "too large")],
    ids=["empty", "newline", "bytes", "large"],
)
def test_an_unusable_secret_is_an_error_with_its_path(file: ConfigFile, content: bytes, says: str) -> None:
    secret = file.directory / "alyx-password"
    secret.write_bytes(content)
    (line,) = file.errors(VALID)
    assert "[alyx] password_file" in line
    assert str(secret) in line
    assert says in line
    with pytest.raises(ConfigError, match=says):
        read_secret(str(secret))


def test_a_directory_or_pipe_is_no_secret(file: ConfigFile) -> None:
    os.mkfifo(file.directory / "pipe")
    for name, says in [("home", "is a directory"), ("pipe", "is not a regular file")]:
        (line,) = file.errors(VALID.replace("alyx-password", name))
        assert says in line
        assert "name a file that holds the secret" in line


def test_a_name_no_file_can_have_is_refused(file: ConfigFile) -> None:
    lines = file.errors(VALID.replace("alyx-password", "a\\u0000b") + '[globus]\nconfig_dir = "/a\\u0000b"\n')
    assert len(lines) == 2
    assert "no file name" in lines[0]
    assert "control character" in lines[1]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_secret_names_the_ways_out(file: ConfigFile) -> None:
    (file.directory / "alyx-password").chmod(0)
    (line,) = file.errors(VALID)
    assert "cannot be read" in line
    assert "give it to the service user" in line


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_secret_that_others_can_read_is_a_warning(file: ConfigFile, mode: int) -> None:
    (file.directory / "alyx-password").chmod(mode)
    (warning,) = file.load().warnings
    assert "[alyx] password_file" in warning
    assert f"mode {mode:04o}" in warning
    assert "chmod 600" in warning


def test_every_secret_is_looked_for(file: ConfigFile) -> None:
    lines = file.errors(
        VALID.replace("password_file", "token_file").replace("alyx-password", "no-token")
        + '[globus]\nclient_id = "x"\nclient_secret_file = "no-secret"\n'
        + '[alerts]\nurls_file = "no-urls"\ndead_man_url_file = "no-url"\n'
    )
    assert [line.split(" = ")[0].split(": ")[1] for line in lines] == [
        "[alyx] token_file",
        "[globus] client_secret_file",
        "[alerts] urls_file",
        "[alerts] dead_man_url_file",
    ]


def test_whoever_only_looks_does_not_need_the_secrets(file: ConfigFile) -> None:
    file.load()
    (file.directory / "alyx-password").unlink()
    config = load(str(file.path), file.environ, check_secrets=False)
    assert config.alyx.password_file == str(file.directory / "alyx-password")


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"a b\n", "a b"), (b"a\r\n", "a"), (b"a\n\n", "a\n"), (b" a", " a"), (b"one\ntwo\n", "one\ntwo")],
)
def test_one_newline_at_the_end_is_not_part_of_the_secret(tmp_path: Path, content: bytes, secret: str) -> None:
    (tmp_path / "s").write_bytes(content)
    assert read_secret(str(tmp_path / "s")) == secret


def test_reading_a_missing_secret_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not there") as caught:
        read_secret(str(tmp_path / "none"))
    assert caught.value.hint
