"""Reason codes: a closed list, and its page for operators says the same."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.engine.reports.verdicts import Verdict
from labferry.errors import CODES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "codes.md"


def page_lines() -> list[str]:
    return [f"| `{name}` | {code.title} | {code.hint} |" for name, code in CODES.items()]


def test_the_page_lists_every_code_with_its_way_out_and_no_other() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert sorted(lines) == sorted(page_lines())


def test_ruling_26_the_page_has_every_verdict() -> None:
    section = PAGE.read_text().partition("## Verdicts of `labferry explain`")[2].partition("\n## ")[0]
    assert {verdict for verdict in Verdict if f"`{verdict}`" not in section} == set()


def raised_codes() -> Iterator[tuple[str, str]]:
    """Yield every code that the daemon's rooms raise with one of our own errors."""
    kinds = {"BlockedError": 0, "NotYetError": 0, "UnavailableError": 1, "UnexplainedError": 0, "RefusedError": 0}
    for file in sorted((ROOT / "daemon" / "labferry").rglob("*.py")):
        if "sandbox" in file.parts or "cli" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            name = getattr(getattr(node, "func", None), "id", "")
            if isinstance(node, ast.Call) and name in kinds and len(node.args) > kinds[name]:
                argument = node.args[kinds[name]]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield file.name, argument.value


@pytest.mark.parametrize(("file", "code"), sorted(set(raised_codes())))
def test_every_code_that_is_raised_is_on_the_list(file: str, code: str) -> None:
    assert code in CODES, f"{file} raises {code}"
