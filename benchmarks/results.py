"""What a benchmark hands to the runner."""

from __future__ import annotations

from collections.abc import Sequence


def result(
    name: str,
    value: float,
    unit: str,
    goal: float,
    runs: Sequence[float] | int,
    *,
    reference: float = 1,
    at_least: bool = False,
    note: str = "",
) -> dict[str, object]:
    """Hold what was measured to its goal: at most, or at least, so many times the reference.

    The reference is 1 where the goal is in the value's own unit. `runs` are the measured values, or their number.
    """
    ratio = value / reference
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "reference": reference,
        "ratio": ratio,
        "goal": goal,
        "ok": ratio >= goal if at_least else ratio <= goal,
        "runs": runs,
        "note": note,
    }
