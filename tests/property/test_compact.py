"""Sets and numbers in little memory behave as sets and dictionaries do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from labferry.engine.registering.compact import PAGE, Ids, Numbers

IDS = st.integers(0, 3 * PAGE) | st.integers(0, 2**62)
WORDS = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.tuples(st.booleans(), IDS)), st.lists(IDS))
def test_ids_are_a_set(steps: list[tuple[bool, int]], others: list[int]) -> None:
    ids, expected = Ids(), set[int]()
    for adds, one in steps:
        (ids.add if adds else ids.discard)(one)
        (expected.add if adds else expected.discard)(one)
    for one in {step[1] for step in steps}.union(others):
        assert (one in ids) == (one in expected)


@given(st.lists(st.tuples(IDS, WORDS)), st.lists(IDS))
def test_numbers_are_a_dictionary(steps: list[tuple[int, int]], others: list[int]) -> None:
    numbers, expected = Numbers(), dict[int, int]()
    for one, number in steps:
        numbers[one] = expected[one] = number
    for one in expected.keys() | others:
        assert numbers.get(one) == expected.get(one)
