"""`labferry demo`: the real daemon on a sandbox, from the rig to a user who gets every dataset back.

The demo runs as its users run it, as a process; what it keeps is looked at from outside, without its own help.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from labferry.cli.demonstration.comparison import Content, content_of, differences, doubled
from labferry.control.client import ControlClient
from labferry.errors import LabferryError
from labferry.sandbox.rig import RigFile
from labferry.sandbox.run import Sandbox
from support.wait import wait_until

QUICKLY = "20"  # times the demo's own pace
DEMO = [sys.executable, "-m", "labferry", "demo"]
SESSIONS = {"KS005", "ZFM-01935"}  # the first two that the rig records, of two labs


def start(place: Path, *options: str, **more: Any) -> subprocess.Popen[str]:
    """Start a demo whose temporary files and home directory are in `place`."""
    (place / "tmp").mkdir(parents=True, exist_ok=True)
    (place / "home").mkdir(exist_ok=True)
    environ = {**os.environ, "TMPDIR": str(place / "tmp"), "HOME": str(place / "home"), **more.pop("environ", {})}
    return subprocess.Popen([*DEMO, *options], text=True, env=environ, **more)


def run(place: Path, *options: str, **more: Any) -> tuple[int, str, str]:
    """Run a demo to its end; return exit code, output and errors."""
    with start(place, *options, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more) as demo:
        output, errors = demo.communicate(timeout=50)
    return demo.returncode, output, errors


def answer(output: str) -> dict[str, Any]:
    """Return the one envelope that may be on stdout."""
    assert output.count("\n") == 1, output
    envelope: dict[str, Any] = json.loads(output)
    assert set(envelope) == {"schema", "ok", "data", "error"}
    return envelope


def assert_all_went_well(data: dict[str, Any], verified_by: str) -> None:
    assert data["lost"] == data["doubled"] == 0
    assert data["sessions"] == data["registered"] == data["archived"] == data["verified"] == 2
    assert (data["verified_by"], data["files"], data["problems"]) == (verified_by, 40, [])
    assert data["duration_s"] > 2


def left_behind(place: Path) -> list[str]:
    """Name what of a demo still runs with files of `place`, and what it left among the temporary files."""
    running = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if os.fsencode(place) in entry.read_bytes() and entry.parent.name != str(os.getpid()):
                running.append(entry.parent.name)
    return running + os.listdir(place / "tmp")


def daemon_pid(keep: Path, accept: Callable[[dict[str, Any]], bool]) -> int:
    """Return the daemon's process when it is in a state that is accepted."""
    client = ControlClient(str(keep / "control.sock"), 5)

    def ask() -> int:
        try:
            status = client.get("/v1/status")
        except LabferryError:
            return 0
        return int(status["pid"]) if accept(status) else 0

    return wait_until(ask, 25, "the daemon getting that far")


@contextlib.contextmanager
def stored(keep: Path) -> Iterator[dict[str, Any]]:
    """Give what the sandbox of a kept demo holds."""
    with Sandbox(keep) as sandbox, urllib.request.urlopen(f"{sandbox.alyx_url}/_sandbox/state") as reply:
        yield json.load(reply)


# --- the whole way ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_json_is_one_envelope_and_nothing_is_lost(tmp_path: Path) -> None:
    code, output, errors = run(tmp_path, "--sessions", "2", "--speed", QUICKLY, "--json")
    envelope = answer(output)
    assert (code, envelope["ok"], envelope["error"], errors) == (0, True, None, "")
    assert_all_went_well(envelope["data"], "download")
    assert envelope["data"]["daemon_restarts"] == 0
    assert left_behind(tmp_path) == []


@pytest.mark.slow
def test_plain_output_has_one_line_per_transition(tmp_path: Path) -> None:
    code, output, errors = run(tmp_path, "--sessions", "2", "--speed", QUICKLY)
    assert (code, errors) == (0, "")
    told = re.findall(r"^ *\d+\.\d s  (\S+)/\d{4}-\d\d-\d\d/001 +(\w+): ", output, re.MULTILINE)
    transitions = ("recorded", "settling", "complete", "registered", "submitted", "copied", "archived", "verified")
    assert Counter(told) == {(subject, word): 1 for subject in SESSIONS for word in transitions}
    for subject in SESSIONS:
        order = [word for name, word in told if name == subject and word != "recorded"]
        assert order == list(transitions[1:]), "each session goes through its states in order"
    assert re.search(r"^  lost +nothing$", output, re.MULTILINE)
    assert max(len(line) for line in output.splitlines() if str(tmp_path) not in line) <= 80
    assert "\x1b" not in output
    assert left_behind(tmp_path) == []


@pytest.mark.slow
def test_a_killed_daemon_changes_nothing_in_the_result(tmp_path: Path) -> None:
    keep = tmp_path / "kept"
    with start(
        tmp_path, "--sessions", "2", "--speed", "4", "--keep", str(keep), "--json", stdout=subprocess.PIPE
    ) as demo:
        first = daemon_pid(keep, lambda status: status["sessions"]["settling"] > 0)
        os.kill(first, signal.SIGKILL)
        second = daemon_pid(keep, lambda status: status["pid"] != first and status["jobs"]["running"] > 0)
        os.kill(second, signal.SIGKILL)
        output, _ = demo.communicate(timeout=50)
    data = answer(output)["data"]
    assert demo.returncode == 0
    assert_all_went_well(data, "download")
    assert (data["daemon_restarts"], data["directory"]) == (2, str(keep))
    requests = [json.loads(line) for line in (keep / "requests.ndjson").read_text().splitlines()]
    creations = [one for one in requests if (one["method"], one["path"]) == ("POST", "/sessions") and one["applied"]]
    assert len(creations) == 2
    with stored(keep) as state:
        carried = Counter(item["destination_path"] for one in state["globus"]["tasks"] for item in one["items"])
        assert (len(carried), set(carried.values())) == (40, {1})
        assert {one["subject"] for one in state["sessions"]} == SESSIONS
        assert len(state["sessions"]) == 2
        names = Counter((one["session"], one["collection"], one["revision"], one["name"]) for one in state["datasets"])
        assert len(names) == 40
        assert set(names.values()) == {1}
        for one in state["datasets"]:
            repositories = [record["data_repository"] for record in one["file_records"] if record["exists"]]
            assert sorted(name.partition("_")[0] == "flatiron" for name in repositories) == [False, True]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("one") is None, reason="needs ONE-api (the extra `one`)")
def test_one_01_the_real_client_gets_every_dataset(tmp_path: Path) -> None:
    code, output, errors = run(tmp_path, "--sessions", "2", "--speed", QUICKLY, "--one", "--json")
    assert (code, errors) == (0, "")
    assert_all_went_well(answer(output)["data"], "ONE")
    assert os.listdir(tmp_path / "home") == [], "ONE's settings belong into the demo's directory"
    assert left_behind(tmp_path) == []


@pytest.mark.slow
def test_a_kept_demo_can_be_done_again_in_its_directory(tmp_path: Path) -> None:
    keep = tmp_path / "kept"
    options = ("--sessions", "1", "--speed", QUICKLY, "--keep", str(keep), "--json")
    for _ in range(2):
        code, output, _ = run(tmp_path, *options)
        assert (code, answer(output)["data"]["verified"]) == (0, 1)
    with stored(keep) as state:
        assert [one["number"] for one in state["sessions"]] == [1, 2]


# --- what goes wrong --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_not_archived_is_explained(tmp_path: Path) -> None:
    keep = tmp_path / "kept"
    options = ("--sessions", "1", "--speed", QUICKLY, "--keep", str(keep))
    with start(tmp_path, *options, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as demo:
        daemon_pid(keep, lambda _: True)
        url = re.search(r'^url = "(.*)"', (keep / "labferry.toml").read_text(), re.MULTILINE)
        assert url
        fault = {"match": "POST /register-file", "action": "status", "when": "before", "status": 400, "times": None}
        body = json.dumps({**fault, "body": {"status_code": 400, "detail": "not today"}}).encode()
        with urllib.request.urlopen(f"{url[1]}/_sandbox/faults", data=body):
            output, errors = demo.communicate(timeout=50)
    assert demo.returncode == 1
    assert "needs a person: Alyx refused the request" in output
    assert re.search(r"blocked: .*not today", output), "what `labferry explain` says"
    assert "1 session not archived, 20 datasets lost" in errors


def test_a_directory_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").touch()
    code, output, _ = run(tmp_path, "--keep", str(tmp_path / "theirs"), "--json")
    assert (code, answer(output)["error"]["code"]) == (1, "demo_directory")
    assert os.listdir(tmp_path / "theirs") == ["thesis.tex"]


def test_a_path_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    code, output, _ = run(tmp_path, "--keep", str(tmp_path / ("a" * 100)), "--json")
    assert (code, answer(output)["error"]["code"]) == (1, "demo_directory")
    assert not (tmp_path / ("a" * 100)).exists()


def test_without_one_it_says_how_to_install_it(tmp_path: Path) -> None:
    other = tmp_path / "packages" / "one"  # another package of this name hides the client
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    path = os.pathsep.join([str(other.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    code, output, _ = run(tmp_path, "--one", "--json", environ={"PYTHONPATH": path})
    error = answer(output)["error"]
    assert (code, error["code"]) == (1, "one_missing")
    assert "pip install 'labferry[one]'" in error["hint"]
    assert left_behind(tmp_path) == []


@pytest.mark.slow
def test_a_daemon_that_cannot_start_is_reported_with_its_own_words(tmp_path: Path) -> None:
    keep = tmp_path / "kept"
    (keep / "state").mkdir(parents=True)
    (keep / "labferry-demo").touch()
    with open(keep / "state" / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, output, _ = run(tmp_path, "--sessions", "1", "--keep", str(keep), "--json")
    error = answer(output)["error"]
    assert (code, error["code"]) == (1, "demo_daemon")
    assert "Another labferry" in error["message"]
    assert left_behind(tmp_path) == []


@pytest.mark.slow
def test_ctrl_c_on_a_terminal_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TMPDIR=str(tmp_path / "tmp"), TERM="xterm-256color", COLUMNS="80", LINES="30")
        os.execv(DEMO[0], [*DEMO, "--sessions", "2"])
    screen = read_until(terminal, b"waits for")
    assert b"ARCHIVE" in screen
    assert left_behind(tmp_path) != []
    os.write(terminal, b"\x03")
    rest = read_until(terminal, b"Interrupted")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130
    assert b"Traceback" not in rest
    assert left_behind(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_daemon_ends_with_the_demo(tmp_path: Path, number: signal.Signals) -> None:
    keep = tmp_path / "kept"
    with start(tmp_path, "--keep", str(keep), "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as demo:
        daemon = daemon_pid(keep, lambda _: True)
        demo.send_signal(number)
        demo.communicate(timeout=30)
    wait_until(lambda: not Path(f"/proc/{daemon}").exists(), 15, "the end of the daemon")
    assert demo.returncode == (130 if number == signal.SIGTERM else -number)


def read_until(terminal: int, wanted: bytes) -> bytes:
    """Read from a terminal until something appears; the test's time limit is the deadline."""
    seen = b""
    while wanted not in seen:
        try:
            seen += os.read(terminal, 65536)
        except OSError:
            break  # the other side has closed
    assert wanted in seen, seen[-2000:].decode(errors="replace")
    return seen


# --- comparing --------------------------------------------------------------------------------------------


def written(path: Path, content: bytes) -> RigFile:
    """Write a file as the rig does, and say what was written."""
    path.write_bytes(content)
    return RigFile(path.name, len(content), content_of([content]).md5, True, content)


def test_every_difference_has_a_name(tmp_path: Path) -> None:
    source = tmp_path / "spikes.times.npy"
    file = written(source, b"spikes")
    assert differences(content_of([b"spi", b"kes"]), source, file) == ""
    assert "differs from its source" in differences(content_of([b"spikeS"]), source, file)
    assert "differs from its source" in differences(Content(5, file.md5), source, file)
    source.write_bytes(b"SPIKES")
    assert "not what the rig wrote" in differences(content_of([b"SPIKES"]), source, file)
    source.unlink()
    assert "cannot be read" in differences(content_of([b"spikes"]), source, file)


def test_everything_doubled_is_named() -> None:
    session = {"subject": "KS005", "start_time": "2019-04-02T10:00:00", "number": 1}
    records = [{"data_repository": "cortexlab_SR"}, {"data_repository": "flatiron_cortexlab"}]
    dataset = {"session": "e1", "collection": "alf", "revision": None, "name": "spikes.times.npy"}
    first, second = {**dataset, "id": "d1", "file_records": records}, {**dataset, "id": "d2", "file_records": []}
    task = {"status": "SUCCEEDED", "items": [{"source_path": "/rig/a", "destination_path": "/archive/a"}]}
    empty = {"sessions": [], "datasets": [], "globus": {"tasks": []}}
    good = {"sessions": [session, {**session, "number": 2}], "datasets": [first], "globus": {"tasks": [task]}}
    assert doubled(good) == []
    assert doubled({**empty, "sessions": [session, session]}) == ["session KS005/2019-04-02/1 is in Alyx 2 times"]
    assert doubled({**empty, "datasets": [first, second]}) == [
        "dataset alf/spikes.times.npy of session e1 is in Alyx 2 times"
    ]
    assert doubled({**empty, "datasets": [{**first, "file_records": records * 2}]}) == [
        "dataset d1 has 2 file records in cortexlab_SR",
        "dataset d1 has 2 file records in flatiron_cortexlab",
    ]
    assert doubled({**empty, "globus": {"tasks": [task, task]}}) == ["/archive/a was carried by Globus 2 times"]
    assert doubled({**empty, "globus": {"tasks": [{**task, "status": "FAILED"}, task]}}) == []
