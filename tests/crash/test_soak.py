"""WIN-02, at length: a lab in a storm of faults, kills, outages and wrong clocks ends as if there had been none.

    SOAK=30m pytest tests/crash/test_soak.py -s     # as long as one likes; SOAK_SEED=… brings a storm back

The matrix kills at every request of one session; here many sessions are everywhere at once, on their way to a Globus
collection and to a directory, while more arrive and others change.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from labferry.config.values import parse_duration
from support.lab import Lab
from support.storm import Storm

SHORT = 60.0  # seconds of storm where nobody asks for more
CALM = 60.0  # seconds that the end may take …
CALM_EACH = 2.0  # … and so much more for each session
SOAK = os.environ.get("SOAK", "")


@pytest.mark.slow
@pytest.mark.timeout(0 if SOAK else 240)
def test_win_02_after_any_storm_source_and_destination_are_identical_and_nothing_is_there_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    length = parse_duration(SOAK) if SOAK else SHORT
    seed = int(os.environ.get("SOAK_SEED") or (random.SystemRandom().randrange(10**8) if SOAK else 20260302))
    with capsys.disabled():
        print(f"\nstorm of {length:.0f} s, SOAK_SEED={seed}", flush=True)
    with Lab(tmp_path, archive="globus") as lab:
        storm = Storm(lab, seed)
        over = time.monotonic() + length
        while time.monotonic() < over:
            storm.live(longest=4.0, most=int(8 + length / 6))
        storm.calm(CALM + CALM_EACH * len(storm.sessions))
        assert "Traceback" not in lab.log, lab.log[-5000:]
        storm.require_identical()
        storm.require_nothing_twice()
        with capsys.disabled():
            print(f"{storm.lives} lives, {len(storm.sessions)} sessions, {len(storm.story)} events", flush=True)
