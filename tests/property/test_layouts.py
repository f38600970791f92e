"""Properties of every layout: `parse` answers anything, and its answers hold together."""

from __future__ import annotations

import re
from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from labferry.sessions.layout import Above, Inside, NotASession
from labferry.sessions.registry import layout
from labferry.sessions.session import Session

LAYOUTS = ["ibl"]
NEARLY = st.text(alphabet="019-/._aS \n#", max_size=40).map(str.encode)
PARTS = st.sampled_from(
    ["KS005", "lab", "Subjects", "2019-04-02", "2023-02-29", "20190402", "001", "1", "1a", "", ".", "..", "é", "x y"]
)
PATHS = st.one_of(st.binary(max_size=60), NEARLY, st.lists(PARTS, max_size=7).map(lambda p: "/".join(p).encode()))

# The grammar as the reference writes it: one expression over the whole path.
REFERENCE = re.compile(
    r"(?:(?P<lab>\w+)/Subjects/)?(?P<subject>(?!\.{1,2}/)[\w.-]{1,64})"
    r"/(?P<date>(?:19|20)\d{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))/(?P<number>\d{1,3})",
    re.ASCII,
)


@pytest.mark.parametrize("name", LAYOUTS)
@given(path=PATHS)
@example(path=b"KS005/2019-04-02/001/alf/x")
def test_parse_answers_anything(name: str, path: bytes) -> None:
    found = layout(name).parse(path)
    if isinstance(found, NotASession):
        assert found.part
        assert found.rule
    elif isinstance(found, Inside):
        assert found.below
        assert found.session.path + b"/" + found.below == path
        assert layout(name).parse(found.session.path) == found.session
    elif isinstance(found, Session):
        assert found.path == path
        assert layout(name).parse(found.path) == found
    else:
        assert found == Above()


@given(path=PATHS)
def test_ibl_steps_agree_with_the_whole_expression(path: bytes) -> None:
    found = layout("ibl").parse(path)
    match = REFERENCE.fullmatch(path.decode("utf-8", "surrogateescape"))
    if match is not None:
        try:
            day = date.fromisoformat(match["date"])
        except ValueError:
            match = None
    if match is None:
        assert not isinstance(found, Session)
    else:
        assert found == Session("ibl", path, match["subject"], day, int(match["number"]), match["lab"])


@given(
    lab=st.none() | st.from_regex(r"[A-Za-z0-9_]{1,80}", fullmatch=True),
    subject=st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True).filter(lambda s: s not in {".", ".."}),
    day=st.dates(date(1900, 1, 1), date(2099, 12, 31)),
    number=st.integers(0, 999),
    width=st.integers(1, 3),
)
def test_ibl_paths_that_follow_the_grammar_come_back(
    lab: str | None, subject: str, day: date, number: int, width: int
) -> None:
    path = f"{lab}/Subjects/" if lab else ""
    path += f"{subject}/{day.isoformat()}/{number:0{width}d}"
    found = layout("ibl").parse(path.encode())
    assert found == Session("ibl", path.encode(), subject, day, number, lab)
    assert isinstance(found, Session)
    again = layout("ibl").parse(found.alyx_path.encode())
    assert isinstance(again, Session)
    assert (again.subject, again.date, again.number) == (found.subject, found.date, found.number)
