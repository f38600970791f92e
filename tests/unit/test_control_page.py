"""The page on the control socket names what there is, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.control.api import Api
from labferry.engine.reports.health import CONDITIONS
from labferry.engine.reports.verdicts import Verdict
from support.world import World

PAGE = (Path(__file__).parents[2] / "docs" / "control.md").read_text(encoding="utf-8")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    world = World(tmp_path)
    yield Api(world.context, world.live)
    world.close()


def first_cells(heading: str) -> set[str]:
    """Return what stands in code in the first cells of the table below a heading."""
    part = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_route_is_on_the_page(api: Api) -> None:
    looks = {route.partition("?")[0] for route in first_cells("Looking")}
    assert looks == {*api._looks, "/v1/sessions/{key}"} - {"/v1/session"}
    assert first_cells("Changing") == set(api._changes)


def test_ruling_26_every_verdict_is_on_the_page() -> None:
    assert first_cells("Verdicts of explain") == {verdict.value for verdict in Verdict}


def test_every_condition_is_on_the_page_with_its_severity() -> None:
    assert first_cells("Health conditions") == set(CONDITIONS)
    for code, (severity, _) in CONDITIONS.items():
        assert f"| `{code}` | {severity} |" in PAGE
