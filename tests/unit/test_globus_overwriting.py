from __future__ import annotations

from collections.abc import Mapping

import pytest

from labferry.archive.globus.overwriting import Look, beneath_missing, directories, first_look
from labferry.archive.globus.values import Entry, Listing, TransferItem
from labferry.errors import BlockedError

MD5 = "0cc175b9c0f1b6a831c399e269772661"
ITEM = TransferItem("/rig/a.npy", "/lab/S/a.npy", 12, MD5)
NOBODY: frozenset[str] = frozenset()


def look(
    entry: Entry | None, ours: frozenset[str] = NOBODY, verified: Mapping[str, str] | None = None
) -> tuple[str, Look]:
    """Look at one destination; return the only heading it is found under."""
    listing: Listing = {} if entry is None else {entry.name: entry}
    found = first_look({"/lab/S": listing}, [ITEM], ours, verified or {})
    headings = {
        "ours": found.ours,
        "verified": found.verified,
        "differs": found.differs,
        "unverified": found.unverified,
    }
    full = [name for name, destinations in headings.items() if destinations]
    assert [list(headings[name]) for name in full] == [["/lab/S/a.npy"]]
    return full[0], found


OURS = frozenset({"/lab/S/a.npy"})
VERIFIED = {"/lab/S/a.npy": MD5}
EQUAL, SHORT, FOLDER = (Entry("a.npy", 12, True), Entry("a.npy", 5, True), Entry("a.npy", 12, False))


@pytest.mark.parametrize(
    ("entry", "ours", "verified", "heading"),
    [
        (None, NOBODY, {}, "ours"),
        (None, OURS, {}, "ours"),
        (None, NOBODY, VERIFIED, "ours"),  # it was removed: nothing is overwritten
        (EQUAL, NOBODY, {}, "unverified"),
        (SHORT, NOBODY, {}, "differs"),
        (FOLDER, NOBODY, {}, "differs"),
        (EQUAL, OURS, {}, "ours"),
        (SHORT, OURS, {}, "ours"),  # what an interrupted transfer of ours left
        (FOLDER, OURS, {}, "differs"),
        (EQUAL, NOBODY, VERIFIED, "verified"),
        (EQUAL, OURS, VERIFIED, "verified"),
        (SHORT, OURS, VERIFIED, "differs"),  # what was verified once is not overwritten, not even by us
        (EQUAL, NOBODY, {"/lab/S/a.npy": "f" * 32}, "differs"),
        (EQUAL, NOBODY, {"/lab/S/b.npy": MD5}, "unverified"),
    ],
)
def test_ruling_18_what_stands_there_decides(
    entry: Entry | None, ours: frozenset[str], verified: Mapping[str, str], heading: str
) -> None:
    assert look(entry, ours, verified)[0] == heading


@pytest.mark.parametrize(
    ("entry", "code"),
    [(SHORT, "destination_differs"), (FOLDER, "destination_differs"), (EQUAL, "destination_unverified")],
)
def test_ruling_18_somebody_elses_file_needs_a_person(entry: Entry, code: str) -> None:
    _, found = look(entry)
    with pytest.raises(BlockedError) as caught:
        found.require_free("archive hpc")
    assert caught.value.code == code
    assert "archive hpc" in caught.value.message
    assert "/lab/S/a.npy" in caught.value.message
    assert "Nothing was overwritten" in caught.value.hint


@pytest.mark.parametrize("entry", [None, SHORT])
def test_ruling_18_our_own_destination_is_free(entry: Entry | None) -> None:
    _, found = look(entry, OURS)
    found.require_free("archive hpc")
    assert found.ours == OURS


def test_ruling_18_a_message_names_files_of_both_kinds_and_counts_the_others() -> None:
    differs = tuple(f"/lab/{number}" for number in range(7))
    with pytest.raises(BlockedError) as caught:
        Look(NOBODY, NOBODY, differs, ("/lab/x",)).require_free("archive hpc")
    assert caught.value.code == "destination_differs"
    assert "/lab/4 and 2 more" in caught.value.message
    assert "/lab/x" in caught.value.message


def test_ruling_18_a_directory_that_is_not_there_holds_nothing() -> None:
    items = [ITEM, TransferItem("/rig/b.npy", "/lab/S/alf/probe00/b.npy", 7, MD5)]
    found = first_look({"/lab/S": None}, items, NOBODY, {})
    assert found.ours == {"/lab/S/a.npy", "/lab/S/alf/probe00/b.npy"}


def test_ruling_18_a_directory_nobody_looked_at_is_not_an_empty_one() -> None:
    with pytest.raises(ValueError, match="/lab/S"):
        first_look({"/lab/T": None, "/lab": {}}, [ITEM], NOBODY, {})


def test_each_directory_is_listed_once_and_parents_first() -> None:
    destinations = ["/lab/S/alf/probe00/x", "/lab/S/a", "/lab/S/b", "/lab/S-2/c", "/lab/S/alf/d", "/e"]
    items = [TransferItem("/rig/x", destination, 1, MD5) for destination in destinations]
    found = directories(items)
    assert found == ["/", "/lab/S", "/lab/S-2", "/lab/S/alf", "/lab/S/alf/probe00"]
    assert found.index("/lab/S") < found.index("/lab/S/alf") < found.index("/lab/S/alf/probe00")


@pytest.mark.parametrize(
    ("directory", "missing", "answer"),
    [
        ("/lab/S/alf", {"/lab/S"}, True),
        ("/lab/S", {"/lab/S"}, True),
        ("/lab/S2", {"/lab/S"}, False),
        ("/lab", {"/lab/S"}, False),
        ("/lab/S", {"/"}, True),
        ("/lab/S", set(), False),
    ],
)
def test_beneath_a_missing_directory_there_is_nothing(directory: str, missing: set[str], answer: bool) -> None:
    assert beneath_missing(directory, missing) is answer
