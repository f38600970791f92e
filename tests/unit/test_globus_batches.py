"""Who travels with whom to Globus (ruling 19)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from labferry.engine.globus.batches import BATCH_BYTES, choose, items_to_carry
from labferry.journal.transfer_rows import CargoRow, ReadyRow


def ready(number: int, files: int = 10, size: int = 1000, *, alone: bool = False) -> ReadyRow:
    return ReadyRow(number, number, number, 0.0, int(alone), files, size)


def test_ruling_19_what_is_ready_travels_together() -> None:
    assert choose([ready(1), ready(2), ready(3)], 5000) == {1: 10, 2: 10, 3: 10}


def test_ruling_19_a_giant_session_holds_up_nobody() -> None:
    giant = ready(3, size=BATCH_BYTES + 1)
    assert choose([ready(1), ready(2), giant], 5000) == {1: 10, 2: 10}
    assert choose([giant], 5000) == {3: 10}


def test_a_session_with_more_files_than_a_task_holds_gets_several() -> None:
    assert choose([ready(1, files=7), ready(2, files=20)], 10) == {1: 7, 2: 3}


def test_ruling_19_a_session_whose_batch_failed_travels_alone() -> None:
    assert choose([ready(1, alone=True), ready(2)], 5000) == {1: 10}
    assert choose([ready(1), ready(2, alone=True), ready(3)], 5000) == {1: 10, 3: 10}


ROWS = st.lists(
    st.builds(
        lambda files, size, alone: (files, size, alone),
        st.integers(1, 9000),
        st.integers(0, 2 * BATCH_BYTES),
        st.booleans(),
    ),
    max_size=8,
)


@given(ROWS, st.integers(1, 10_000))
def test_a_task_is_never_empty_and_never_too_large(rows: list[tuple[int, int, bool]], most: int) -> None:
    waiting = [ready(number, files, size, alone=alone) for number, (files, size, alone) in enumerate(rows)]
    loads = choose(waiting, most)
    assert bool(loads) == bool(rows)
    assert sum(loads.values()) <= most
    assert all(0 < files <= waiting[number].files for number, files in loads.items())
    assert len(loads) == 1 or not any(waiting[number].alone for number in loads)


def test_the_document_names_each_file_as_its_collections_do() -> None:
    row = CargoRow(
        1, 2, "/data/KS005/001", b"/lab/Subjects", b"alf/a.npy", b"KS005/001/a.b.npy", 3, "0" * 32, 1, 2, None
    )
    (item,) = items_to_carry([row])
    assert (item.source, item.destination, item.size) == (
        "/data/KS005/001/alf/a.npy",
        "/lab/Subjects/KS005/001/a.b.npy",
        3,
    )
