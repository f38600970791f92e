"""Properties of the three-way update, with people who type in between (ruling 12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from labferry.sessions.record import changes, patch_body, written

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(0, 3), st.sampled_from(["", "a", "b"]))
LISTS = st.lists(st.sampled_from(["x", "y"]), max_size=2)
VALUES = st.one_of(SCALARS, LISTS)
KEYS = st.sampled_from(["n_trials", "narrative", "users", "json_like"])
OBJECTS = st.dictionaries(st.sampled_from(["A", "B", "json"]), st.one_of(SCALARS, LISTS), max_size=3)
FIELDS = st.builds(
    lambda fields, json: {**fields, **json},
    st.dictionaries(KEYS, VALUES),
    st.one_of(st.just({}), st.fixed_dictionaries({"json": st.one_of(OBJECTS, VALUES)})),
)
WANTED = st.builds(
    lambda fields, json: {**fields, **json},
    st.dictionaries(KEYS, VALUES),
    st.one_of(st.just({}), st.fixed_dictionaries({"json": OBJECTS})),
)


def is_nothing(value: object) -> bool:
    return value is None or value in ("", [], {})


def flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return `json` key by key beside the other fields; a `json` that is no object is one field."""
    json = fields.get("json")
    keys = {f"json.{key}": value for key, value in json.items()} if isinstance(json, dict) else {}
    rest = {key: value for key, value in fields.items() if key != "json" or not isinstance(json, dict)}
    return {**rest, **keys}


def same(a: object, b: object) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return sorted(a) == sorted(b)
    return type(a) is type(b) and a == b


def patched(theirs: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the session after Alyx took the PATCH: `json` replaced as a whole."""
    return {**theirs, **patch_body(changed, theirs)}


@given(ours=WANTED, wanted=WANTED, theirs=FIELDS)
def test_ruling_12_what_a_person_typed_is_never_overwritten(
    ours: dict[str, Any], wanted: dict[str, Any], theirs: dict[str, Any]
) -> None:
    after = flat(patched(theirs, changes(ours, wanted, theirs)))
    for key, value in flat(theirs).items():
        typed = not is_nothing(value) and not (key in flat(ours) and same(flat(ours)[key], value))
        if typed:
            assert same(after[key], value), key


@given(ours=WANTED, wanted=WANTED, theirs=FIELDS)
def test_ruling_12_an_update_done_twice_changes_nothing(
    ours: dict[str, Any], wanted: dict[str, Any], theirs: dict[str, Any]
) -> None:
    changed = changes(ours, wanted, theirs)
    after = patched(theirs, changed)
    assert changes(written(ours, changed, after), wanted, after) == {}
    assert changes(ours, wanted, after) == {}  # also if its answer was lost


@given(ours=WANTED, wanted=WANTED, theirs=FIELDS)
def test_ruling_12_what_is_ours_to_write_becomes_what_is_wanted(
    ours: dict[str, Any], wanted: dict[str, Any], theirs: dict[str, Any]
) -> None:
    after = flat(patched(theirs, changes(ours, wanted, theirs)))
    json_is_open = isinstance(theirs.get("json"), dict) or is_nothing(theirs.get("json"))
    for key, value in flat(wanted).items():
        if is_nothing(value) or (key.startswith("json.") and not json_is_open):
            continue
        now = flat(theirs).get(key)
        if is_nothing(now) or (key in flat(ours) and same(flat(ours)[key], now)):
            assert same(after[key], value), key


@given(wanted=st.lists(WANTED, min_size=1, max_size=4), theirs=FIELDS)
def test_ruling_12_a_row_of_updates_ends_with_the_last_one(
    wanted: list[dict[str, Any]], theirs: dict[str, Any]
) -> None:
    ours: dict[str, Any] = {}
    before = flat(theirs)
    for one in wanted:
        changed = changes(ours, one, theirs)
        theirs = patched(theirs, changed)
        ours = written(ours, changed, theirs)
    after = flat(theirs)
    for key, value in before.items():
        if not is_nothing(value):
            assert same(after[key], value), key
    last: dict[str, Any] = {}
    for one in wanted:
        last |= {key: value for key, value in flat(one).items() if not is_nothing(value)}
    for key, value in last.items():
        is_ours = is_nothing(before.get(key)) and (not key.startswith("json.") or "json" not in before)
        if is_ours:
            assert same(after[key], value), key


@given(ours=WANTED, wanted=WANTED, theirs=FIELDS)
def test_ruling_12_only_what_was_sent_becomes_ours(
    ours: dict[str, Any], wanted: dict[str, Any], theirs: dict[str, Any]
) -> None:
    changed = changes(ours, wanted, theirs)
    last = written(ours, changed, theirs)
    assert flat(last) == flat(ours)  # nothing arrived: `theirs` is from before
    arrived = written(ours, changed, patched(theirs, changed))
    assert flat(arrived).keys() <= flat(ours).keys() | flat(changed).keys()
