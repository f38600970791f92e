"""The operator's guide, the unit and the installing script speak of the same things."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from labferry.cli.main import COMMANDS, cli
from labferry.config import credentials
from labferry.control.diagnosis import UNIT as UNIT_NAME
from support.config_file import ConfigFile, config_file

REPOSITORY = Path(__file__).resolve().parents[2]
GUIDE = (REPOSITORY / "docs" / "operate.md").read_text(encoding="utf-8")
UNIT = (REPOSITORY / "etc" / "systemd" / "labferry.service").read_text(encoding="utf-8")
SCRIPT = (REPOSITORY / "etc" / "install.sh").read_text(encoding="utf-8")
GLOBUS_ID = "00000000-0000-0000-0000-000000000000"
NAMES = {name for section in COMMANDS.values() for name in section}


@pytest.fixture
def file(tmp_path: Path) -> ConfigFile:
    written = config_file(tmp_path)
    (tmp_path / "globus-secret").write_text("not-a-real-one\n", encoding="utf-8")
    (tmp_path / "globus-secret").chmod(0o600)
    return written


def blocks(language: str) -> list[str]:
    """Return what the guide shows in a language; blocks within a list are shown indented."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", GUIDE, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def labferry_lines() -> Iterator[list[str]]:
    """Yield the words of every call of `labferry` that the guide shows."""
    for text in [*"\n".join(blocks("sh")).splitlines(), *re.findall(r"`([^`\n]+)`", GUIDE)]:
        words = text.partition("#")[0].removeprefix("sudo ").split()
        if words[:1] == ["labferry"] and len(words) > 1:
            yield words[1:]


def test_the_guide_shows_calls() -> None:
    assert len(list(labferry_lines())) > 10


@pytest.mark.parametrize("words", [pytest.param(words, id=" ".join(words)) for words in labferry_lines()])
def test_every_call_in_the_guide_is_one(words: list[str]) -> None:
    assert words[0] in NAMES
    context = click.Context(cli)
    command = cli.get_command(context, words[0])
    rest = words[1:]
    while isinstance(command, click.Group):
        command, rest = command.get_command(context, rest[0]), rest[1:]
    assert command is not None
    command.make_context(words[0], rest)


def test_the_configurations_in_the_guide_can_be_used(file: ConfigFile) -> None:
    observe, directory, globus = blocks("toml")
    assert file.load(observe).archive["flatiron"].kind == "observe"
    to_nas = observe.replace('["flatiron"]', '["nas"]') + directory
    assert file.load(to_nas).archive["nas"].kind == "directory"
    to_hpc = observe.replace('["flatiron"]', '["hpc"]').replace('repository = "mylab_server"\n', "") + globus
    loaded = file.load(to_hpc.replace(GLOBUS_ID, "3f0b5d1e-8c27-4e6a-9d53-a1f2708b46ce", 1))
    assert loaded.archive["hpc"].kind == "globus"
    assert loaded.globus.local_path == "/mnt/s0"


def test_drop_ins_in_the_guide_are_what_the_unit_leaves_to_them() -> None:
    keys = [line.partition("=")[0] for block in blocks("ini") for line in block.splitlines() if "=" in line]
    assert keys == ["CapabilityBoundingSet", "AmbientCapabilities", "ReadWritePaths"]


def test_the_same_secrets_are_named_everywhere() -> None:
    handed = dict(re.findall(r"^LoadCredential=(.+):labferry\.(.+)$", UNIT, re.MULTILINE))
    assert all(name == source for name, source in handed.items())
    (listed,) = re.findall(r'^secrets="(.+)"$', SCRIPT, re.MULTILINE)
    assert listed.split() == list(handed)
    assert len(handed) == len(credentials.SECRET_FILES)
    for name in handed:
        assert name in GUIDE


def test_the_unit_and_its_programs_have_the_names_that_others_use() -> None:
    (program,) = re.findall(r"^program=(.+)$", SCRIPT, re.MULTILINE)
    assert f"ExecStart={program}/venv/bin/labferry run\n" in UNIT
    assert f"ExecReload={program}/reload\n" in UNIT
    assert f"/{UNIT_NAME}.service\n" in SCRIPT
