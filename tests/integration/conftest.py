"""What the tests of the whole daemon share: one sandbox for a module, and a new daemon on it for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.lab import Lab, fresh


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def lab(shared_lab: Lab) -> Iterator[Lab]:
    with fresh(shared_lab) as lab:
        yield lab
