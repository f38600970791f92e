"""The service as it is installed: one container for the module, `make install` in it, a sandbox outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.installed import LAB, SOURCE, Installed
from support.lab import Lab
from support.machine import CannotBootError, Machine, require_means

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    try:
        require_means()
    except CannotBootError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("lab")
    folder.chmod(0o755)  # in the container it stands alone, and others than root go in
    with Lab(folder, archive="globus") as lab:
        try:
            machine = Machine(tmp_path_factory.mktemp("machine"), shared={LAB: folder}, read_only={SOURCE: REPOSITORY})
        except CannotBootError as error:
            pytest.skip(str(error))
        with machine:
            yield Installed(machine, lab)
