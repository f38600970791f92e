"""The unit file as systemd reads it, and the script that installs it; without a service."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.rights import folder_for_everyone

REPOSITORY = Path(__file__).resolve().parents[2]
UNIT = REPOSITORY / "etc" / "systemd" / "labferry.service"
INSTALLED = "/opt/labferry/"
MOST_EXPOSED = 2.0
NOBODY = 65534


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with programs that are there: it names those that `make install` brings."""
    programs = {f"{INSTALLED}venv/bin/labferry": "/bin/true", f"{INSTALLED}reload": "/bin/true"}
    text = UNIT.read_text(encoding="utf-8")
    for installed, stand_in in programs.items():
        assert installed in text
        text = text.replace(installed, stand_in)
    file = tmp_path / "labferry.service"
    file.write_text(text, encoding="utf-8")
    return file


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=30, check=False)


def test_systemd_has_nothing_to_say_about_the_unit(unit: Path) -> None:
    done = analyze("verify", str(unit))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_unknown_key_would_be_noticed(unit: Path) -> None:
    unit.write_text(unit.read_text(encoding="utf-8").replace("WatchdogSec", "WatchdogSecs"), encoding="utf-8")
    assert "WatchdogSecs" in analyze("verify", str(unit)).stderr


def test_the_unit_is_hardened() -> None:
    done = analyze("security", "--offline=true", f"--threshold={round(MOST_EXPOSED * 10)}", "--no-pager", str(UNIT))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_only_root_installs_and_others_are_told(target: str) -> None:
    with folder_for_everyone() as folder:
        script = folder / "etc" / "install.sh"
        script.parent.mkdir()
        shutil.copy(REPOSITORY / "etc" / "install.sh", script)
        folder.joinpath("etc").chmod(0o755)
        done = as_nobody(str(script), target)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"Only root can {target} the service: sudo make {target}\n"


def as_nobody(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as an ordinary user for good: a shell would take back rights that are only put aside."""
    who: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False, **who)
