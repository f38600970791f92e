"""What the integration tests share: a new daemon for each test on a sandbox of its module; a lane of Globus alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from support.globus import GlobusBench, Make
from support.lab import Lab, fresh
from support.trouble import Logs


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def lab(shared_lab: Lab) -> Iterator[Lab]:
    with fresh(shared_lab) as lab:
        yield lab


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[GlobusBench] = []

    def open_bench(**options: Any) -> GlobusBench:
        made.append(GlobusBench(tmp_path, **options))
        return made[-1]

    yield open_bench
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make: Make) -> GlobusBench:
    return make()


@pytest.fixture
def logs() -> Iterator[Logs]:
    with capture_logs() as records:
        yield records
