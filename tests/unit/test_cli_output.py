"""Numbers, moments and tables as people read them."""

from __future__ import annotations

import time

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labferry.cli import human
from labferry.cli.output import bad, printable, table
from labferry.model import utc_seconds

NOW = utc_seconds("2024-05-31T12:00:00Z")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (9_994, "9.99 kB"),
        (9_996, "10.0 kB"),
        (99_960, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (45_245_152_454, "45.2 GB"),
        (10**18, "1000 PB"),
    ],
)
def test_sizes_have_three_digits(count: int, text: str) -> None:
    assert human.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.31, "0.3 s"),
        (9, "9 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (86_400, "1 day"),
        (200_000, "2 days"),
        (86_400_000, "1,000 days"),
    ],
)
def test_durations_are_in_their_largest_unit(seconds: float, text: str) -> None:
    assert human.duration(seconds) == text


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        ("2024-05-31T11:57:00.000Z", "3 min ago"),
        ("2024-05-31T11:59:59.500Z", "now"),
        ("2024-05-31T12:00:00.900Z", "now"),
        ("2024-05-31T12:05:00.000Z", "in 5 min"),
        (None, "never"),
        ("yesterday", "yesterday"),
    ],
)
def test_moments_are_told_from_now(moment: str | None, text: str) -> None:
    assert human.ago(moment, NOW) == text


def test_moments_are_shown_in_the_operators_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Lisbon")
    time.tzset()
    try:
        assert human.local_time("2024-05-31T11:00:00.000Z") == "2024-05-31 12:00:00"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_columns_without_a_value_are_left_out_and_colours_take_no_room() -> None:
    lines = table(["n", "name", "empty"], [["7", bad("x"), ""], ["12", "longer", ""]], right=(0,))
    assert [click.unstyle(line) for line in lines] == [" N  NAME", " 7  x", "12  longer"]
    assert table(["", ""], [["a", "b"]]) == ["a  b"]
    assert table(["", ""], []) == []


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_nothing_that_is_printed_steers_the_terminal(data: object) -> None:
    def texts(value: object) -> list[str]:
        if isinstance(value, dict):
            return [text for pair in value.items() for part in pair for text in texts(part)]
        return [text for part in value for text in texts(part)] if isinstance(value, list) else [str(value)]

    shown = [text.replace("\n", "") for text in texts(printable(data))]
    assert all(ord(character) >= 0x20 and not 0x7F <= ord(character) < 0xA0 for text in shown for character in text)
