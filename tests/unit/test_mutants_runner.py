"""`make mutants`: breaks a scratch copy, never the tree; tells a test that fails from tools that do not work."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).resolve().parents[1] / "mutants" / "run.py"

ADD = "def add(a, b):\n    return a + b\n"
TESTS = """\
import subprocess
import sys

import pytest


def test_adds_here():
    from labferry.sums import add

    assert add(2, 3) == 5


def test_adds_in_a_process_of_its_own():
    code = "from labferry.sums import add; print(add(2, 3))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "5\\n"


def test_cannot_notice():
    assert True


def test_fails():
    assert False


@pytest.mark.skip(reason="its tool is missing")
def test_skipped():
    assert False
"""


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants_run", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path, runner: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a project of one function whose package has the name of the installed one."""
    for variable in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(variable, raising=False)
    root = tmp_path / "project"
    for name, text in {
        "pyproject.toml": "[tool.pytest.ini_options]\n",
        "daemon/labferry/__init__.py": "",
        "daemon/labferry/sums.py": ADD,
        "tests/test_sums.py": TESTS,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / runner.MUTANTS).mkdir()
    subprocess.run(["git", "init", "--quiet", root], check=True)
    return root


def write_mutant(
    tree: Path, row: str, test: str, new: str = "    return a - b", old: str = "    return a + b", name: str = ""
) -> None:
    (tree / "tests" / "mutants" / f"{name or row}.patch").write_text(
        f"# row: {row}\n# test: tests/test_sums.py::{test}\n# breaks: sums are wrong\n"
        "--- a/daemon/labferry/sums.py\n+++ b/daemon/labferry/sums.py\n"
        f"@@ -1,2 +1,2 @@\n def add(a, b):\n-{old}\n+{new}\n"
    )


def words(printed: str) -> list[str]:
    """Return what became of each mutant."""
    return re.findall(r"^(killed|SURVIVED|error) +SUM-", printed, re.MULTILINE)


def test_ruling_31_a_mutant_that_its_test_notices_is_killed_in_processes_too(
    runner: ModuleType, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mutant(tree, "SUM-01", "test_adds_here")
    write_mutant(tree, "SUM-02", "test_adds_in_a_process_of_its_own", new="    return a * b")
    assert runner.main([], tree) == 0
    printed = capsys.readouterr().out
    assert words(printed) == ["killed", "killed"]
    assert printed.endswith("2 passed, 0 failed\n")
    assert (tree / "daemon/labferry/sums.py").read_text() == ADD, "the tree itself is only read"


def test_ruling_31_what_no_test_notices_or_breaks_the_tools_fails(
    runner: ModuleType, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "tests/test_top.py").write_text("from labferry.sums import add\n\n\ndef test_top():\n    assert add\n")
    write_mutant(tree, "SUM-01", "test_cannot_notice")
    write_mutant(tree, "SUM-02", "test_adds_here", old="    return a / b")
    write_mutant(tree, "SUM-03", "x", new="    return (")
    (tree / "tests/mutants/SUM-03.patch").write_text(
        (tree / "tests/mutants/SUM-03.patch").read_text().replace("test_sums.py::x", "test_top.py::test_top")
    )
    write_mutant(tree, "SUM-04", "test_adds_here")
    assert runner.main(["-j", "1"], tree) == 1
    printed = capsys.readouterr().out
    assert words(printed) == ["SURVIVED", "error", "error", "killed"], "an error leaves the copy as it was"
    assert "SUM-02.patch does not apply" in printed
    assert "broke the tools" in printed
    assert printed.endswith("1 passed, 3 failed\n")


@pytest.mark.parametrize(
    ("test", "complaint"),
    [
        ("test_fails", "must pass before"),
        ("test_skipped", "skipped here"),
        ("test_that_is_not_there", "must pass before"),
    ],
)
def test_ruling_31_a_test_that_does_not_pass_unbroken_proves_nothing(
    runner: ModuleType, tree: Path, capsys: pytest.CaptureFixture[str], test: str, complaint: str
) -> None:
    write_mutant(tree, "SUM-01", test)
    assert runner.main([], tree) == 1
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert captured.out == ""


def test_ruling_31_a_row_or_one_mutant_can_be_chosen(
    runner: ModuleType, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mutant(tree, "SUM-01", "test_cannot_notice")
    write_mutant(tree, "SUM-02", "test_adds_here")
    write_mutant(tree, "SUM-02", "test_adds_here", new="    return b", name="SUM-02-second")
    assert runner.main(["sum-02"], tree) == 0
    assert words(capsys.readouterr().out) == ["killed", "killed"]
    assert runner.main(["sum-02-second"], tree) == 0
    assert words(capsys.readouterr().out) == ["killed"]
    assert runner.main(["SUM-9"], tree) == 2
    assert "There are: SUM-01, SUM-02." in capsys.readouterr().err


def test_ruling_31_a_header_must_be_complete(
    runner: ModuleType, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runner.main([], tree) == 1, "no mutants prove nothing"
    (tree / "tests/mutants/SUM-01.patch").write_text("# row: SUM-01\n# breaks: nothing\n--- a/x\n")
    assert runner.main([], tree) == 1
    assert "SUM-01.patch: its header needs" in capsys.readouterr().err


@pytest.mark.parametrize("patch", sorted(PROGRAM.parent.glob("*.patch")), ids=lambda patch: patch.stem)
def test_ruling_31_the_tests_that_mutants_name_are_there(runner: ModuleType, patch: Path) -> None:
    for test in runner.Mutant.read(patch).tests:
        file, *_, function = test.partition("[")[0].split("::")
        assert f"def {function}(" in (runner.ROOT / file).read_text()
