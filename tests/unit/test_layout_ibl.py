"""The grammar of ALF session folders: what is a session, what is not, and in whose words."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from labferry.errors import ConfigError
from labferry.sessions.layout import Above, Inside, NotASession
from labferry.sessions.registry import layout
from labferry.sessions.session import Session

SHARED = Path(__file__).resolve().parents[3] / "shared"
ACCEPT = [
    "KS005/2019-04-02/001",
    "cortexlab/Subjects/KS005/2019-04-02/001",
    "ZFM-01867/2021-03-23/002",
    "churchlandlab_ucla/Subjects/MFD_09/2023-10-19/003",
    "ibl_witten_01/2019-01-08/001",
    "NR_0005/2021-03-02/002",
    "SP035/2023-02-23/002",
    "mainenlab/Subjects/ZFM-02601/2021-11-02/001",
    "mouse.1/2024-02-29/1",
    "DY_003/2019-05-03/012",
]
REJECT = [
    "KS005/2019-04-02",
    "2019-04-02/001",
    "KS005/2019-13-02/001",
    "KS005/2023-02-29/001",
    "KS005/20190402/001",
    "KS005/2019-04-02/001/alf",
    "KS005/2019-04-02/0001",
    "KS005/2019-04-02/001a",
    "KS 005/2019-04-02/001",
    "../2019-04-02/001",
]
IBL = layout("ibl")


@pytest.mark.parametrize("path", ACCEPT)
def test_accepted_examples(path: str) -> None:
    found = IBL.parse(path.encode())
    assert isinstance(found, Session)
    *lab, subject, day, number = path.replace("/Subjects/", "/").split("/")
    assert (found.lab, found.subject) == (lab[0] if lab else None, subject)
    assert (found.date, found.number) == (date.fromisoformat(day), int(number))
    assert found.path == path.encode()


@pytest.mark.parametrize("path", REJECT)
def test_rejected_examples(path: str) -> None:
    assert not isinstance(IBL.parse(path.encode()), Session)


def test_examples_are_those_of_the_reference() -> None:
    reference = SHARED / "data" / "layouts.json"
    if not reference.exists():
        pytest.skip("needs ../shared")
    assert json.loads(reference.read_text())["alf"] == {"accept": ACCEPT, "reject": REJECT}


@pytest.mark.parametrize(
    ("path", "part", "rule", "nearest"),
    [
        ("KS005/2023-02-29/001", "2023-02-29", "no such day in the calendar", ""),
        ("KS005/2019-13-02/001", "2019-13-02", "no such day in the calendar", ""),
        ("KS005/2019-04-02/001a", "001a", "session number: one to three digits", ""),
        ("KS005/2019-04-02/0001", "0001", "session number: one to three digits", "001"),
        ("KS005/2019-04-02/1000", "1000", "session number: one to three digits", ""),
        ("KS005/20190402/001", "20190402", "date: YYYY-MM-DD", "2019-04-02"),
        ("KS005/2019_04_02/001", "2019_04_02", "date: YYYY-MM-DD", "2019-04-02"),
        ("KS005/20190231/001", "20190231", "date: YYYY-MM-DD", ""),
        ("KS005/2019-4-2/001", "2019-4-2", "date: YYYY-MM-DD", "2019-04-02"),
        ("KS005/28-04-2019/001", "28-04-2019", "date: YYYY-MM-DD", "2019-04-28"),
        ("KS005/04-28-2019/001", "04-28-2019", "date: YYYY-MM-DD", "2019-04-28"),
        ("KS005/04-02-2019/001", "04-02-2019", "date: YYYY-MM-DD", ""),
        ("KS005/2019-04-02 /001", "2019-04-02 ", "date: YYYY-MM-DD", "2019-04-02"),
        ("KS005 /2019-04-02/001", "KS005 ", "subject: 1 to 64 letters, digits, `_`, `.` or `-`", "KS005"),
        ("KS005/2019-04-02/001 ", "001 ", "session number: one to three digits", "001"),
        ("lab/subjects/KS005", "subjects", "below a lab: `Subjects`, with a capital letter", "Subjects"),
        ("KS005/1819-04-02/001", "1819-04-02", "date: the year is between 1900 and 2099", ""),
        ("2019-04-02/001", "001", "date: YYYY-MM-DD", ""),
        ("KS 005/2019-04-02/001", "KS 005", "subject: 1 to 64 letters, digits, `_`, `.` or `-`", ""),
        ("m" * 65 + "/2019-04-02/001", "m" * 65, "subject: 1 to 64 letters, digits, `_`, `.` or `-`", ""),
        ("mäuse/2019-04-02/001", "mäuse", "subject: 1 to 64 letters, digits, `_`, `.` or `-`", ""),
        (
            "lab-name/Subjects/KS005/2019-04-02/001",
            "lab-name",
            "lab: letters, digits and `_` (it stands before `Subjects`)",
            "",
        ),
        ("../2019-04-02/001", "..", "`.` and `..` are not names", ""),
        ("KS005/2019-04-02/001/../002", "..", "`.` and `..` are not names", ""),
        ("KS005/2019-04-02/001/", "/", "no doubled slash and none at either end", ""),
        ("/KS005/2019-04-02/001", "/", "no doubled slash and none at either end", ""),
        ("KS005/2019-04-02/001\n", "001\\x0a", "session number: one to three digits", ""),
        ("KS005/2019-04-02\n/001", "2019-04-02\\x0a", "date: YYYY-MM-DD", ""),
    ],
)
def test_almost_a_session_names_the_part_and_the_rule(path: str, part: str, rule: str, nearest: str) -> None:
    assert IBL.parse(path.encode()) == NotASession(part, rule, nearest)


def test_a_name_that_is_not_utf8_is_shown_escaped() -> None:
    found = IBL.parse(b"KS\xff5/2019-04-02/001")
    assert isinstance(found, NotASession)
    assert found.part == r"KS\xff5"


@pytest.mark.parametrize(
    "path", ["", "KS005", "KS005/2019-04-02", "cortexlab/Subjects", "cortexlab/Subjects/KS005", "m" * 65 + "/Subjects"]
)
def test_above_a_session(path: str) -> None:
    assert IBL.parse(path.encode()) == Above()


@pytest.mark.parametrize("below", [b"alf", b"alf/probe00/spikes.times.npy", b"caf\xe9/x y"])
def test_inside_a_session(below: bytes) -> None:
    session = IBL.parse(b"KS005/2019-04-02/001")
    assert isinstance(session, Session)
    assert IBL.parse(b"KS005/2019-04-02/001/" + below) == Inside(session, below)


def test_a_subject_may_be_called_subjects() -> None:
    found = IBL.parse(b"Subjects/2019-04-02/001")
    assert isinstance(found, Session)
    assert (found.subject, found.lab) == ("Subjects", None)


def test_ruling_03_the_number_is_one_in_alyx_however_it_is_padded_on_disk() -> None:
    short, padded = IBL.parse(b"KS005/2019-04-02/1"), IBL.parse(b"KS005/2019-04-02/001")
    assert isinstance(short, Session)
    assert isinstance(padded, Session)
    assert (short.subject, short.date, short.number) == (padded.subject, padded.date, padded.number)
    assert (short.subject, short.date.isoformat(), short.number) == ("KS005", "2019-04-02", 1)
    assert short.alyx_path == padded.alyx_path == "KS005/2019-04-02/001"
    assert short.path == b"KS005/2019-04-02/1"


def test_the_lab_is_no_part_of_the_path_alyx_knows() -> None:
    found = IBL.parse(b"cortexlab/Subjects/KS005/2019-04-02/012")
    assert isinstance(found, Session)
    assert found.alyx_path == "KS005/2019-04-02/012"


@pytest.mark.parametrize("name", ["aind", "map"])
def test_layouts_of_later_versions_say_so(name: str) -> None:
    with pytest.raises(ConfigError, match="not available in this version"):
        layout(name)


def test_an_unknown_layout_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no such layout") as raised:
        layout("bids")
    assert "ibl" in raised.value.hint
