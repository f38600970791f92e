"""`labferry archive`: from the command line of an operator to what stands in the archive and in Alyx."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from support.lab import SMALL, Lab
from support.wait import wait_until

PATH = "KS005/2026-03-02/001"
WHEEL = "alf/_ibl_wheel.position.npy"
NEW = b"other positions"


def copies(lab: Lab, name: str = WHEEL) -> dict[str, bytes]:
    """Return what is called like a file, or like what it replaced, in the archive."""
    folder = lab.archive / "cortexlab/Subjects" / PATH / os.path.dirname(name)
    return {file.name: file.read_bytes() for file in folder.glob(f"{Path(name).stem}.*")}


def test_map_07_changed_content_asks_a_person_and_is_replaced_on_their_word(lab: Lab) -> None:
    lab.write(PATH, SMALL)
    lab.start_ready()
    lab.wait_for("archived")
    (lab.root / PATH / WHEEL).write_bytes(NEW)

    done = lab.command("archive", PATH, "--json")
    assert (done.returncode, json.loads(done.stdout)["data"]["began"]) == (0, True)
    wait_until(lambda: "changed_after_archive" in lab.command("explain", PATH).stdout, what="the change to be seen")
    assert f"labferry archive {lab.root / PATH} --replace" in lab.command("explain", PATH).stdout
    assert list(copies(lab).values()) == [SMALL[WHEEL]]

    done = lab.command("archive", str(lab.root / PATH), "--replace")
    assert (done.returncode, "goes on" in done.stdout) == (0, True), done.stderr
    wait_until(lambda: lab.command("verify", PATH, "--deep").returncode == 0, what="the new content everywhere")
    assert sorted(copies(lab).values()) == [NEW, SMALL[WHEEL]]
    shown = lab.command("show", PATH).stdout
    assert "what stood there is kept as" in shown
    assert "replace by" in lab.command("history", PATH).stdout


@pytest.mark.parametrize(
    ("words", "code", "exit_code"), [((), "usage", 2), (("KS005/1999-01-01/001",), "no_such_session", 1)]
)
def test_bad_input_is_named(lab: Lab, words: tuple[str, ...], code: str, exit_code: int) -> None:
    lab.start_ready()
    done = lab.command("archive", *words, "--json")
    assert (json.loads(done.stdout)["error"]["code"], done.returncode) == (code, exit_code)
