"""Durations, unknown keys and tables of any shape."""

from __future__ import annotations

import string
import tomllib
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from labferry.config import Config, duration_text, parse_duration, show
from labferry.config.loading import checked
from labferry.config.model import ARCHIVE_KINDS
from labferry.config.problems import keys_of
from labferry.config.source import Source
from labferry.config.values import LONGEST
from labferry.errors import ConfigError
from support.config_file import VALID

BASE = tomllib.loads(VALID)
ROOT_TABLE = BASE["roots"][0]
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
TABLES = sorted(set(Config.model_fields) - {"server_name", "state_dir", "roots", "archive"})
WORDS = st.text(string.ascii_lowercase + "_", min_size=1, max_size=20)

scalars = st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=6
)


def outcome(function: Callable[[Any], object], argument: object) -> object:
    """Return what the function returns, or the error it is allowed to raise."""
    try:
        return function(argument)
    except (ValueError, ConfigError) as error:
        return error


@given(st.integers(0, 30_000), st.sampled_from(sorted(UNITS)), st.sampled_from(["", " "]))
def test_a_number_with_a_unit_is_that_many_seconds(number: int, unit: str, space: str) -> None:
    assert parse_duration(f"{number}{space}{unit}") == number * UNITS[unit]


@given(st.floats(0, LONGEST) | st.integers(0, int(LONGEST)))
def test_a_duration_is_read_back_as_it_was_written(seconds: float) -> None:
    assert parse_duration(duration_text(float(seconds))) == seconds
    assert parse_duration(seconds) == seconds


@given(anything)
def test_a_duration_is_a_number_of_seconds_or_an_error(value: object) -> None:
    answer = outcome(parse_duration, value)
    if isinstance(answer, ValueError):
        assert '"90s", "10m", "2h", "1d"' in str(answer)
    else:
        assert isinstance(answer, float)
        assert 0 <= answer <= LONGEST


@given(table=st.sampled_from(TABLES), key=WORDS)
@settings(deadline=None, max_examples=100)
def test_an_unknown_key_is_always_named_and_its_value_never(table: str, key: str) -> None:
    model = type(getattr(Config.model_validate(BASE), table))
    assume(key not in keys_of(model))
    with pytest.raises(ConfigError) as caught:
        checked(Source("/c.toml", "", {**BASE, table: {key: "hunter2"}}, {}), check_secrets=False)
    (line,) = [line for line in caught.value.message.split("\n") if line.startswith(f"/c.toml: [{table}] {key} is ")]
    assert "not a known key" in line or "a secret" in line
    assert "hunter2" not in line


@given(table=st.sampled_from(sorted(Config.model_fields)), value=anything)
@settings(deadline=None, max_examples=200)
def test_tables_of_any_shape_are_a_configuration_or_a_config_error(table: str, value: object) -> None:
    source = Source("/c.toml", "", {**BASE, table: value}, {"HOME": "/nowhere"})
    answer = outcome(partial(checked, check_secrets=False), source)
    if isinstance(answer, ConfigError):
        assert all(line.startswith("/c.toml: ") and line.isprintable() for line in answer.message.split("\n"))
    else:
        assert isinstance(answer, Config)
        assert tomllib.loads(show(answer))["server_name"] == answer.server_name


@given(value=anything, kind=st.sampled_from([*ARCHIVE_KINDS, ""]), key=st.sampled_from(["path", "endpoint", "naming"]))
@settings(deadline=None, max_examples=100)
def test_archives_of_any_shape_are_a_configuration_or_a_config_error(value: object, kind: str, key: str) -> None:
    table = {**BASE, "archive": {"x": {"kind": kind, key: value}}, "roots": [{**ROOT_TABLE, "archive": ["x", "y"]}]}
    with pytest.raises(ConfigError, match='archive = "y" names an archive that is not there'):
        checked(Source("/c.toml", "", table, {"HOME": "/nowhere"}), check_secrets=False)
