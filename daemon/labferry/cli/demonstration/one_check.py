"""Every dataset through the real ONE-api client, which a process of its own runs.

Room: cli. ONE itself is not imported here: it takes seconds, prints, and writes below the home directory.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from labferry.cli.demonstration import children
from labferry.cli.demonstration.comparison import Compared, blocks, content_of, differences
from labferry.errors import LabferryError
from labferry.sandbox.rig import RigFile, RigSession

CACHE, HOME, LOG = "one-cache", "one-home", "one.log"
# ONE knows public servers; a proxy that nobody listens at keeps every request on this machine.
_OFFLINE = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "no_proxy": "127.0.0.1"}
_GRACE = 3.0  # seconds
_TAIL = 5  # lines of its log that an error shows


def require_one() -> None:
    """Make sure that ONE is installed, before anything else is done.

    Raises
    ------
    LabferryError
        `one_missing`.
    """
    if importlib.util.find_spec("one") is None or importlib.util.find_spec("one.api") is None:
        raise LabferryError(
            "one_missing",
            "--one loads the data with the ONE-api client, which is not installed.",
            "`pip install 'labferry[one]'` installs it (600 MB with all it needs); without --one the data are "
            "downloaded over HTTP.",
        )


def compare(
    directory: Path,
    alyx_url: str,
    data_url: str,
    username: str,
    password: str,
    watch_root: Path,
    sessions: Sequence[RigSession],
) -> Iterator[Compared]:
    """Search, list and load every dataset that the rig wrote, and compare it with its source.

    Parameters
    ----------
    directory : Path
        The demo's; ONE's cache, settings and log go there.

    Raises
    ------
    LabferryError
        `demo_one`: ONE ended before it was through.
    """
    (directory / HOME).mkdir(exist_ok=True)
    task = {
        "url": alyx_url,
        "data_url": data_url,
        "username": username,
        "password": password,
        "cache": str(directory / CACHE),
        "watch_root": str(watch_root),
        "sessions": [_asked(session) for session in sessions],
    }
    with open(directory / LOG, "ab") as log:
        process = children.start(
            ["labferry.cli.demonstration.one_client"],
            children.environment(HOME=str(directory / HOME), TQDM_DISABLE="1", **_OFFLINE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        yield from _answers(process, task, watch_root, sessions)
        if process.wait() != 0:
            raise _failed(directory / LOG, process.returncode)
    finally:
        children.end(process, _GRACE)


def _asked(session: RigSession) -> dict[str, Any]:
    return {
        "subject": session.subject,
        "date": session.date.isoformat(),
        "number": session.number,
        "folder": session.relative,
        "paths": [file.path for file in session.files if file.registrable],
    }


def _answers(
    process: subprocess.Popen[bytes], task: dict[str, Any], watch_root: Path, sessions: Sequence[RigSession]
) -> Iterator[Compared]:
    by_folder = {session.relative: session for session in sessions}
    files = {(session.relative, file.path): file for session in sessions for file in session.files}
    assert process.stdin is not None, "a pipe, as asked"
    assert process.stdout is not None, "a pipe, as asked"
    with process.stdin, process.stdout:
        with contextlib.suppress(BrokenPipeError):  # it died at once: its exit code says more
            process.stdin.write(json.dumps(task).encode())
            process.stdin.close()
        for line in process.stdout:
            answer = json.loads(line)
            folder, path = answer["session"], answer["path"]
            problem = answer.get("problem") or _problem(answer["file"], watch_root / folder, files[folder, path])
            yield Compared(by_folder[folder], path, problem)


def _problem(got: str, session: Path, written: RigFile) -> str:
    try:
        with open(got, "rb") as file:
            content = content_of(blocks(file))
    except OSError as error:
        return f"lost: ONE's copy cannot be read: {error.strerror}"
    return differences(content, session / written.path, written)


def _failed(log: Path, code: int) -> LabferryError:
    last = log.read_text("utf-8", "backslashreplace").splitlines()[-_TAIL:]
    return LabferryError(
        "demo_one",
        "\n".join([f"the ONE-api client ended with exit code {code}:", *last]),
        f"All of it is in {LOG} in the demo's directory; `--keep DIR` keeps that.",
    )
