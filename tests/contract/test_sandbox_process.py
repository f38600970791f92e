"""`labferry sandbox` as a process: what it prints, what it leaves in its directory, how it ends and goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from labferry.config import load
from labferry.config.model import DirectoryArchive, GlobusArchive
from labferry.sandbox.rig_session import DEFAULT_SUBJECTS
from labferry.sandbox.run import Sandbox
from labferry.sandbox.seed import LOCAL_ENDPOINT, SERVER_ENDPOINT


@contextlib.contextmanager
def running(root: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Run a sandbox and wait for its line."""
    command = [sys.executable, "-m", "labferry", "sandbox", "--dir", str(root), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def ended(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a sandbox that does not get far."""
    command = [sys.executable, "-m", "labferry", "sandbox", "--dir", str(root), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


@contextlib.contextmanager
def client(said: dict[str, Any]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=said["alyx_url"], timeout=30) as http:
        password = Path(said["password_file"]).read_text("utf-8").strip()
        login = http.post("/auth-token", json={"username": said["alyx_user"], "password": password})
        http.headers["Authorization"] = f"Token {login.json()['token']}"
        yield http


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_sandbox_prints_one_line_when_it_is_up_and_ends_when_told(tmp_path: Path, number: int) -> None:
    with running(tmp_path / "box", "--subject", "NYU-11:cortexlab") as (process, said):
        assert list(said) == [
            "alyx_url", "alyx_user", "password_file", "globus_transfer_url", "globus_auth_url", "data_url", "config",
            "env",
        ]  # fmt: skip
        with client(said) as http:
            found = http.get("/subjects", params={"nickname": "NYU-11"}).json()["results"]
        assert [row["lab"] for row in found] == ["cortexlab"]
        assert httpx.get(said["data_url"]).status_code == 404
        assert httpx.get(f"{said['globus_transfer_url']}/v0.10/submission_id").status_code == 401
        assert said["env"] == {
            "LABFERRY_CONFIG": said["config"],
            "GLOBUS_SDK_SERVICE_URL_TRANSFER": said["globus_transfer_url"],
            "GLOBUS_SDK_SERVICE_URL_AUTH": said["globus_auth_url"],
        }
        process.send_signal(number)
        rest, _ = process.communicate(timeout=20)
        assert (process.returncode, rest) == (0, "")


def test_the_configuration_is_ready_for_the_daemon(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "a box") as sandbox:
        config = load(str(sandbox.config), {})
        assert config.server_name == "sandbox"
        assert config.alyx.url == sandbox.alyx_url
        assert [(root.name, root.archive) for root in config.roots] == [("rig", ("server",))]
        server = config.archive["server"]
        assert isinstance(server, GlobusArchive)
        assert (server.endpoint, server.path) == (SERVER_ENDPOINT, "auto")
        assert (config.globus.endpoint, config.globus.client_id) == (LOCAL_ENDPOINT, sandbox.client_id)
        assert (config.globus.transfer_url, config.globus.auth_url) == (sandbox.globus_transfer_url,) * 2
        assert config.globus.client_secret_file == str(sandbox.client_secret_file)
        for file in (sandbox.password_file, sandbox.client_secret_file):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert file.read_text("utf-8").strip() not in sandbox.config.read_text("utf-8")


def test_the_archive_can_be_a_directory(tmp_path: Path) -> None:
    with running(tmp_path / "box", "--archive", "directory") as (_, said):
        config = load(said["config"], {})
        server = config.archive["server"]
        assert isinstance(server, DirectoryArchive)
        assert server.path == str(tmp_path / "box" / "archive" / "{lab}" / "Subjects")
        assert (config.globus.endpoint, config.globus.transfer_url) == (LOCAL_ENDPOINT, "")


def test_globus_keeps_its_port_unless_somebody_else_has_it(tmp_path: Path) -> None:
    with Sandbox(tmp_path) as first:
        url = first.globus_transfer_url
    with Sandbox(tmp_path) as second:
        assert second.globus_transfer_url == url
        assert second.globus_auth_url == url
    with socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))), Sandbox(tmp_path) as third:
        assert third.globus_transfer_url != url
        assert third.globus_transfer_url in third.config.read_text("utf-8")


def test_started_again_it_goes_on_where_it_was_at_new_addresses(tmp_path: Path) -> None:
    root = tmp_path / "box"
    with Sandbox(root) as first, client(first.description()) as http:
        eid = http.post("/sessions", json={"subject": "KS005", "number": 1}).json()["id"]
        token = http.headers["Authorization"]
        before = http.get("/_sandbox/state").json()
    with Sandbox(root) as second, client(second.description()) as http:
        assert second.alyx_url != first.alyx_url
        assert http.headers["Authorization"] == token
        assert http.get(f"/sessions/{eid}").json()["url"] == f"{second.alyx_url}/sessions/{eid}"
        (server,) = http.get("/data-repository?name=flatiron_cortexlab").json()["results"]
        assert server["data_url"] == f"{second.data_url}/cortexlab/Subjects/"
        assert second.alyx_url in second.config.read_text("utf-8")
        after = http.get("/_sandbox/state").json()
        numbers = [json.loads(line)["n"] for line in http.get("/_sandbox/requests").text.splitlines()]
    for state in (before, after):
        del state["repositories"]
    assert after == before
    assert numbers == list(range(1, len(numbers) + 1))


def test_killed_in_the_middle_it_goes_on_too(tmp_path: Path) -> None:
    root = tmp_path / "box"
    with running(root) as (process, said):
        with client(said) as http:
            eid = http.post("/sessions", json={"subject": "KS005", "number": 1}).json()["id"]
        process.kill()
        process.wait(20)
    with Sandbox(root) as again, client(again.description()) as http:
        assert http.get(f"/sessions/{eid}").status_code == 200


def test_the_seeds_know_everybody_a_rig_records(tmp_path: Path) -> None:
    with Sandbox(tmp_path) as sandbox:
        state = httpx.get(f"{sandbox.alyx_url}/_sandbox/state").json()
    known = {(subject["nickname"], subject["lab"]) for subject in state["subjects"]}
    assert set(DEFAULT_SUBJECTS.items()) <= known
    assert {("DUP_001", "cortexlab"), ("DUP_001", "mainenlab")} <= known
    assert "rig_user" in {user["username"] for user in state["users"]}


# --- what goes wrong --------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = ended(tmp_path, "--port", str(port))
    assert process.returncode == 1
    assert f"port {port}" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--subject", "KS005"], 2, "NAME:LAB"),
        (["--subject", "KS005:nolab"], 1, "cortexlab, mainenlab"),
        (["--port", "-1"], 2, "--port"),
        (["--throttle", "often"], 2, "--throttle"),
        (["--archive", "tape"], 2, "--archive"),
    ],
)
def test_bad_options_end_with_a_sentence(tmp_path: Path, options: list[str], code: int, text: str) -> None:
    process = ended(tmp_path / "box", *options)
    assert process.returncode == code
    assert text in process.stderr
    assert "Traceback" not in process.stderr


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    process = ended(tmp_path / "file" / "box")
    assert process.returncode == 1
    assert str(tmp_path / "file") in process.stderr


def test_a_second_sandbox_in_one_directory_is_refused(tmp_path: Path) -> None:
    with Sandbox(tmp_path):
        process = ended(tmp_path, "--json")
    assert process.returncode == 1
    assert json.loads(process.stdout)["error"]["code"] == "sandbox_running"
    with Sandbox(tmp_path) as again:
        assert os.path.exists(again.config)
