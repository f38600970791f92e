"""Running `labferry` as an operator does: in this process for speed, as a process where that matters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from labferry.cli.main import cli


@contextmanager
def socket_folder() -> Iterator[Path]:
    """Give a folder with a short path: a socket's address has room for 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="lf") as folder:
        yield Path(folder)


def labferry(*arguments: str, environ: Mapping[str, str] | None = None) -> Result:
    """Run a command in this process, far from this machine's own configuration."""
    return CliRunner(env=_environ(environ or {})).invoke(cli, list(arguments), prog_name="labferry")


def labferry_process(
    *arguments: str | bytes,
    environ: Mapping[str, str] | None = None,
    stdout: int = subprocess.PIPE,
) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "labferry", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
        env=_without_none({**os.environ, **_environ(environ or {})}),
    )


def envelope_of(result: Result | subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the one envelope on stdout; fail when there is more, or less, or something on stderr."""
    assert result.stderr == ""
    assert result.stdout.endswith("\n")
    (line,) = result.stdout.splitlines()
    envelope: dict[str, Any] = json.loads(line)
    assert list(envelope) == ["schema", "ok", "data", "error"]
    assert envelope["schema"] == 1
    assert envelope["ok"] is (envelope["error"] is None)
    if envelope["error"] is not None:
        assert list(envelope["error"]) == ["code", "message", "hint"]
    return envelope


def _environ(changes: Mapping[str, str]) -> dict[str, str | None]:
    mine = dict.fromkeys((name for name in os.environ if name.startswith("LABFERRY_")), None)
    return {**mine, "NO_COLOR": None, "COLUMNS": None, "TZ": "UTC", **changes}


def _without_none(environ: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if value is not None}
