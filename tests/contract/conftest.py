"""An Alyx to hold our client against: the sandbox, or a real one where ALYX_URL, ALYX_USER and ALYX_PASSWORD say so.

Whatever a test needs is created over REST under a prefix of its own, and deleted at the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.sandbox.run import Sandbox
from support.tested_alyx import TestedAlyx


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestedAlyx]:
    url = os.environ.get("ALYX_URL")
    if url:
        tested = TestedAlyx(url, os.environ["ALYX_USER"], os.environ["ALYX_PASSWORD"], is_sandbox=False)
        tested.settle()
        yield tested
        tested.leave()
        return
    place = Path(tmp_path_factory.mktemp("sandbox"))
    with Sandbox(place) as sandbox:
        password = sandbox.password_file.read_text().strip()
        tested = TestedAlyx(sandbox.alyx_url, sandbox.alyx_user, password, is_sandbox=True)
        tested.settle()
        yield tested
        tested.leave()


@pytest.fixture
def alyx(_server: TestedAlyx) -> Iterator[TestedAlyx]:
    """The Alyx to test against, without faults."""
    _server.clear_faults()
    yield _server
    _server.clear_faults()
