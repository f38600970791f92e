"""Whose turn it is, whatever was changed meanwhile: what looking through all sessions would say."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from labferry.detect.cadence import Due
from labferry.engine.detection.agenda import Agenda, Kept

PATHS = [b"a", b"b", b"c", b"d"]
TIMES = st.integers(0, 20).map(float)
STEPS = st.one_of(
    st.tuples(st.just("due"), st.sampled_from(PATHS), TIMES),
    st.tuples(st.just("gone"), st.sampled_from(PATHS), TIMES),
    st.tuples(st.just("all"), st.sampled_from(PATHS), TIMES),
    st.tuples(st.just("next"), st.sampled_from(PATHS), TIMES),
)


@example([("due", b"a", 5.0), ("next", b"a", 0.0), ("due", b"a", 10.0), ("next", b"a", 7.0)])  # put off
@given(st.lists(STEPS, max_size=60))
def test_ruling_01_the_longest_due_session_has_the_next_turn(steps: list[tuple[str, bytes, float]]) -> None:
    kept: dict[bytes, Kept] = {}
    agenda = Agenda(kept)
    for step, path, time in steps:
        if step == "due":
            kept[path] = Kept(1, 0.0, Due(time, time))
            agenda.note(path)
        elif step == "gone":
            kept.pop(path, None)
        elif step == "all":
            for one in kept.values():
                one.due = Due(time, time)
            agenda.doubt()
        else:
            expected = min(((one.due.times, name) for name, one in kept.items() if one.due.times <= time), default=None)
            turn = agenda.next(time)
            assert turn == (expected and expected[1])
            if turn is not None:
                kept[turn].due = Due(time + 1, time + 1)
                agenda.note(turn)


def test_the_list_of_turns_does_not_grow_with_what_is_put_off() -> None:
    kept = {path: Kept(1, 0.0, Due(1.0, 1.0)) for path in PATHS}
    agenda = Agenda(kept)
    for number in range(1000):
        kept[PATHS[0]].due = Due(2.0 + number, 2.0)
        agenda.note(PATHS[0])
        assert agenda.next(0.0) is None
    assert len(agenda._turns) <= 2 * len(PATHS) + 3
