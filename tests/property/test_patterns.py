"""Properties of the matcher and the vocabulary, against pathlib and the users' own client as the oracles."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labferry.datasets import DataFormat, DatasetType, Matcher, RegistrationRules, Vocabulary
from labferry.model import FileFate

NAMES = st.text(alphabet="ab._[]!-", min_size=1, max_size=6).filter(lambda name: name not in {".", ".."})
FOLDERS = st.lists(st.sampled_from(["alf", "a", "a.b", "raw"]), max_size=3)
FILES = st.builds(lambda folders, name: "/".join([*folders, name]), FOLDERS, NAMES)
PARTS = st.one_of(
    st.just("**"),
    st.sampled_from(["alf", "a", "a*", "*", "*.*", "?", "raw", "[ab]", "[!a]*", "[a-b].*"]),
    st.text(alphabet="ab*?._[!]", min_size=1, max_size=5).filter(lambda p: "**" not in p and p not in {".", ".."}),
)
PATTERNS = st.builds(lambda parts, name: "/".join([*parts, name]), st.lists(PARTS, max_size=3), PARTS).filter(
    lambda pattern: not pattern.endswith("**")  # pathlib finds folders only; here it is every file below
)


@settings(max_examples=60, deadline=None)
@example(paths={"["}, patterns=["[!]"])
@given(paths=st.sets(FILES, min_size=1, max_size=12), patterns=st.lists(PATTERNS, min_size=1, max_size=4))
def test_reg_01_the_first_pattern_that_globs_the_file(paths: set[str], patterns: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        session = Path(folder)
        for path in paths:
            try:
                (session / path).parent.mkdir(parents=True, exist_ok=True)
                (session / path).touch()
            except (FileExistsError, NotADirectoryError):
                continue  # one path wants a folder where another has a file
        expected: dict[str, str] = {}
        for pattern in patterns:
            for found in session.glob(pattern):
                expected.setdefault(found.relative_to(session).as_posix(), pattern)
        matcher = Matcher(patterns)
        for file in session.rglob("*"):
            if file.is_file():
                name = file.relative_to(session).as_posix()
                assert matcher.match(name.encode()) == expected.get(name)


@given(path=st.binary(max_size=80), is_regular=st.booleans())
def test_every_path_gets_a_decision_with_a_reason(path: bytes, is_regular: bool) -> None:
    rules = RegistrationRules(
        Matcher(["**/*.*"]), Vocabulary([DatasetType("any", "*")], [DataFormat("npy", ".npy"), DataFormat("x", "")])
    )
    decision = rules.decide(path, is_regular)
    assert (decision.fate is FileFate.DATASET) == (not decision.code)
    assert bool(decision.code) == bool(decision.reason)
    if decision.fate is FileFate.DATASET:
        assert is_regular
        assert path.decode().endswith(".npy")


ALF_NAMES = st.text(alphabet="abIT_.-09 é#", min_size=1, max_size=24).filter(lambda n: n not in {".", ".."})
TYPES = [
    {"name": "spikes.times", "filename_pattern": "*spikes.times*"},
    {"name": "a.b", "filename_pattern": ""},
    {"name": "I.T_times", "filename_pattern": " "},
    {"name": "ab", "filename_pattern": ""},
    {"name": "pattern", "filename_pattern": "_A*.[ab].*"},
]
OBJECTS = st.sampled_from(["a", "I", "spikes", "_x_a", "_x_I", "__a", "_a"])
ATTRIBUTES = st.sampled_from(["b", "T_times", "times", "b_times_bpod", "T_times_x", "_ab_b", "b_intervals"])
ENDINGS = st.sampled_from(["npy", "x.npy", "x.y-z.npy", "", "np y"])


@settings(max_examples=300, deadline=None)
@given(
    name=ALF_NAMES | st.builds(lambda o, a, e: f"{o}.{a}.{e}", OBJECTS, ATTRIBUTES, ENDINGS),
)
def test_reg_02_the_type_that_the_users_client_finds(name: str) -> None:
    registration = pytest.importorskip("one.registration")
    fitting = Vocabulary([DatasetType(**t) for t in TYPES], []).types_of(name)
    expected: tuple[str, ...] = ()
    try:
        expected = (registration.get_dataset_type(name, TYPES)["name"],)
    except ValueError as refused:
        if str(refused).startswith("Multiple") and len(fitting) > 1:
            expected = fitting
    assert fitting == expected
