"""Properties of the record's parsers: whatever a rig or a person left behind ends in a value or a named condition."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from labferry.errors import CODES, BlockedError
from labferry.sessions.record import (
    create_body,
    parse_description,
    parse_settings,
    read_record,
    read_trials,
    wanted_fields,
    water_body,
    weighing_body,
)
from labferry.sessions.record.moments import local_moment
from labferry.sessions.record.narrative import decode_narrative
from support.records import DESCRIPTION, SESSION, SETTINGS, TRIALS, new_settings, old_settings, trial

T = TypeVar("T")
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda children: st.one_of(
        st.lists(children, max_size=3), st.dictionaries(st.text(max_size=4), children, max_size=3)
    ),
    max_leaves=8,
)
YAML = st.one_of(
    st.binary(max_size=60),
    st.text(alphabet="abc:[]{}-&*!|>#'\"% \n\t<,.?1", max_size=80).map(str.encode),
    st.dictionaries(
        st.sampled_from(["tasks", "devices", "sync", "projects", "procedures", "version"]), JSON, max_size=6
    ).map(lambda value: json.dumps(value).encode()),
)


def changed(base: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return settings of which some fields hold anything."""
    return st.dictionaries(st.sampled_from(sorted(base)), JSON, max_size=4).map(lambda odd: {**base, **odd})


def value_or_blocked(call: Callable[[], T]) -> T | BlockedError:
    """Return what a call returns, or the condition it ends in; anything else it raises fails the test."""
    try:
        return call()
    except BlockedError as error:
        return error


SETTINGS_VALUES = st.one_of(changed(old_settings()), changed(new_settings()), st.dictionaries(st.text(), JSON), JSON)
TRIAL_VALUES = st.lists(changed(trial(1, water_delivered=3.0, ntrials_correct=1)), max_size=4)


@settings(max_examples=300, deadline=None)
@given(content=YAML)
@example(content=b"? [a]\n: b\n")
@example(content=b"{[a]: b}")
@example(content=b"!!python/object/apply:os.system [true]")
@example(content=b"tasks: !!timestamp soon")
def test_reg_04_every_description_is_read_or_bad(content: bytes) -> None:
    description = value_or_blocked(lambda: parse_description(content))
    if isinstance(description, BlockedError):
        assert description.code == "bad_description"
        assert description.message.isprintable()
        return
    for collection in description.task_collections:
        assert not collection.startswith("/")
        assert ".." not in collection.split("/")


@settings(max_examples=300, deadline=None)
@given(values=SETTINGS_VALUES)
def test_reg_05_every_settings_file_is_read_or_corrupt(values: object) -> None:
    parsed = value_or_blocked(lambda: parse_settings(json.dumps(values).encode(), SETTINGS, UTC))
    if isinstance(parsed, BlockedError):
        assert parsed.code == "corrupt_settings"
        assert parsed.message.isprintable()
        return
    assert parsed.start.tzinfo is None
    assert parsed.end is None or parsed.end >= parsed.start
    assert parsed.weight is None or parsed.weight > 0
    assert (parsed.weight is None) == bool(parsed.no_weight)


@given(content=st.binary(max_size=80))
def test_reg_05_bytes_are_settings_or_corrupt(content: bytes) -> None:
    with pytest.raises(BlockedError) as error:  # no object of 80 bytes has all that is needed
        parse_settings(content, SETTINGS)
    assert error.value.code == "corrupt_settings"


@settings(max_examples=200, deadline=None)
@given(trials=TRIAL_VALUES, tail=st.binary(max_size=20))
def test_reg_05_every_trial_file_is_read_or_corrupt(trials: list[dict[str, Any]], tail: bytes) -> None:
    content = b"".join(json.dumps(one).encode() + b"\n" for one in trials) + tail
    read = value_or_blocked(lambda: read_trials(io.BytesIO(content), TRIALS))
    if isinstance(read, BlockedError):
        assert read.code == "corrupt_trials"
        return
    assert read.correct is None or 0 <= read.correct <= read.count
    assert read.duration is None or 0 <= read.duration < 6 * 3600
    assert 0 <= read.correct_reward <= read.reward


@given(moment=st.datetimes(), offset=st.integers(-14 * 60, 14 * 60))
def test_reg_05_an_offset_never_moves_the_wall_time(moment: datetime, offset: int) -> None:
    text = moment.replace(tzinfo=timezone(timedelta(minutes=offset))).isoformat()
    assert local_moment(text, None) == moment
    assert local_moment(moment.isoformat(sep=" "), None) == moment


@given(text=st.text(max_size=70))
def test_reg_05_every_text_is_a_time_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert local_moment(text, UTC).tzinfo is None


@given(content=st.binary(max_size=200))
def test_reg_07_every_narrative_is_what_alyx_keeps_as_it_is(content: bytes) -> None:
    text = decode_narrative(content)
    assert "\0" not in text
    assert text == text.strip()
    text.encode()


@settings(max_examples=150, deadline=None)
@given(
    description=st.one_of(st.none(), YAML),
    values=SETTINGS_VALUES,
    trials=st.one_of(st.none(), TRIAL_VALUES),
    narrative=st.binary(max_size=20),
)
def test_every_session_becomes_a_record_that_can_be_sent_or_has_a_reason(
    description: bytes | None, values: object, trials: list[dict[str, Any]] | None, narrative: bytes
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "raw_behavior_data").mkdir()
        (folder / "raw_behavior_data" / SETTINGS).write_text(json.dumps(values))
        (folder / "narrative.txt").write_bytes(narrative)
        if description is not None:
            (folder / DESCRIPTION).write_bytes(description)
        if trials is not None:
            lines = "".join(json.dumps(one) + "\n" for one in trials)
            (folder / "raw_behavior_data" / TRIALS).write_text(lines)
        record = value_or_blocked(lambda: read_record(str(folder).encode(), SESSION, timezone=UTC))
    if isinstance(record, BlockedError):
        assert CODES[record.code].kind == "blocked"
        return
    bodies = [
        create_body(record, lab="lab", users=record.users, projects=[], own={}),
        wanted_fields(record, users=record.users, projects=[]),
        *(weighing_body(record, index, "user") for index in range(len(record.weights))),
        *(water_body(record, index, "user", "eid") for index in range(len(record.waters))),
    ]
    for body in bodies:
        json.dumps(body, allow_nan=False).encode("ascii")
        assert "\\ud8" not in json.dumps(body)
    assert all(CODES[remark.code].kind == "remark" for remark in record.remarks)
