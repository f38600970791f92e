"""REG-14: files of old rigs are renamed before anything is read or sent, none is replaced, and a kill costs nothing."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import support
from labferry.detect.signature import take_signature
from labferry.engine.operations import retry
from labferry.engine.registering.preview import preview
from labferry.engine.registering.wish import Wish
from labferry.journal.rows import SessionRow
from labferry.model import JobState, Stage
from support.records import old_settings
from support.sessions import PATH, WHEEL, learn, record_bench, register, remarks, task, write
from support.stages import StageBench

OLD, NEW = "_iblrig_taskCodeFiles.raw.zip", "_iblrig_codeFiles.raw.zip"
OLD_ITI, NEW_ITI = "_ibl_trials.iti_duration.npy", "_ibl_trials.itiDuration.npy"
# A seal stage in a process of its own that meets trouble directly before its so-many-th link or removal of a file.
STAGE = """
import os, signal, sys
from pathlib import Path
from types import SimpleNamespace

from labferry.model import Stage
from support.clock import FakeClock
from support.stages import StageBench

config, number, trouble = sys.argv[1], int(sys.argv[2]), sys.argv[3]
bench = StageBench.__new__(StageBench)
bench.sandbox, bench.clock = SimpleNamespace(config=Path(config)), FakeClock()
bench.environ = {name: value for name, value in os.environ.items() if name.startswith("LABFERRY_")}
bench.open()
met = 0

def watch(event, _):
    global met
    if event in {"os.link", "os.remove"}:
        met += 1
        if met == number and trouble == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif met == number:
            raise OSError(int(trouble), os.strerror(int(trouble)))

sys.addaudithook(watch)
move = bench.step(Stage.SEAL)
print(met, move.code)
"""
EFFECTS = 4  # two files, each linked to its new name and removed from its old one


def renaming(directory: Path, **environ: str) -> StageBench:
    """Return a bench that may rename below its root."""
    root = {"name": "rig", "path": str(directory / "Subjects"), "archive": ["server"], "writable": True}
    settings = {"LABFERRY_ROOTS": json.dumps([root]), "LABFERRY_REGISTRATION__COMPAT_RENAMES": "true"}
    return record_bench(directory, **{**settings, **environ})


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StageBench]:
    with closing(renaming(tmp_path)) as bench:
        yield bench


def old_files(version: str = "3.2.3", **more: bytes) -> dict[str, bytes]:
    files = task(old_settings(version))
    return {**files, f"raw_behavior_data/{OLD}": b"code", f"alf/{OLD_ITI}": b"iti", **WHEEL, **more}


def names(bench: StageBench) -> set[str]:
    folder = bench.sandbox.places.watch_root / PATH
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - set(task()) - set(WHEEL)


def listed(bench: StageBench, row: SessionRow) -> set[str]:
    return {os.fsdecode(file.path) for file in bench.journal.files.of_session(row.id)} - set(task()) - set(WHEEL)


def posted(bench: StageBench) -> set[str]:
    requests = bench.requests("POST", "/register-file")
    return {name for request in requests for name in request["body"]["filenames"]} - set(task()) - set(WHEEL)


RENAMED = {f"raw_behavior_data/{NEW}", f"alf/{NEW_ITI}"}


def test_reg_14_old_names_are_replaced_before_anything_is_read_or_sent(bench: StageBench) -> None:
    assert register(bench, old_files()).state is JobState.DONE
    row = bench.journal.sessions.at("rig", PATH.encode())
    assert row is not None
    assert names(bench) == RENAMED == listed(bench, row)
    assert row.signature == take_signature(bytes(bench.sandbox.places.watch_root / PATH)).digest, "known again if moved"
    assert f"raw_behavior_data/{NEW}" in posted(bench)
    assert not any("taskCodeFiles" in name or "iti_duration" in name for name in posted(bench))
    assert "is called" in remarks(bench)["renamed"]


def test_reg_14_ruling_29_without_the_option_nothing_is_renamed(tmp_path: Path) -> None:
    with closing(record_bench(tmp_path)) as bench:
        register(bench, old_files())
        assert names(bench) == {f"raw_behavior_data/{OLD}", f"alf/{OLD_ITI}"}
        assert not {"renamed", "old_name"} & remarks(bench).keys()


def test_reg_14_a_name_that_is_taken_is_neither_overwritten_nor_silent(bench: StageBench) -> None:
    assert register(bench, old_files(**{f"raw_behavior_data/{NEW}": b"another"})).state is JobState.DONE
    folder = bench.sandbox.places.watch_root / PATH / "raw_behavior_data"
    assert ((folder / OLD).read_bytes(), (folder / NEW).read_bytes()) == (b"code", b"another")
    assert (
        remarks(bench)["old_name"]
        == f"raw_behavior_data/{OLD} keeps its name: raw_behavior_data/{NEW} is there already"
    )
    assert f"alf/{NEW_ITI}" in names(bench), "the others are renamed all the same"


@pytest.mark.parametrize("version", ["3.2.x", "master", ""])
def test_reg_14_a_bad_version_is_skipped_with_a_warning(bench: StageBench, version: str) -> None:
    with capture_logs() as logs:
        assert register(bench, old_files(version)).state is JobState.DONE
    assert names(bench) == {f"raw_behavior_data/{OLD}", f"alf/{OLD_ITI}"}
    why = f"the task settings name no version of the rig that can be compared: {version.removeprefix('master')!r}"
    assert remarks(bench)["old_name"] == f"raw_behavior_data/{OLD} keeps its name: {why}"
    warned = [(one["log_level"], one["file"], one["why"]) for one in logs if one["event"] == "old_name"]
    assert warned == [("warning", f"alf/{OLD_ITI}", why), ("warning", f"raw_behavior_data/{OLD}", why)]


def test_reg_14_what_alyx_knows_by_its_old_name_keeps_it(tmp_path: Path) -> None:
    with closing(renaming(tmp_path, LABFERRY_REGISTRATION__COMPAT_RENAMES="false")) as bench:
        learn(bench, dataset_types=[{"name": "taskCodeFiles", "filename_pattern": "_iblrig_taskcodefiles*"}])
        assert register(bench, old_files()).state is JobState.DONE
        before = posted(bench)
        assert f"raw_behavior_data/{OLD}" in before
        bench.end_life()
        bench.environ["LABFERRY_REGISTRATION__COMPAT_RENAMES"] = "true"
        bench.open()
        assert register(bench, {"alf/late.times.npy": b"late"}).state is JobState.DONE
        assert names(bench) == {f"raw_behavior_data/{OLD}", f"alf/{NEW_ITI}", "alf/late.times.npy"}
        assert posted(bench) - before <= {"alf/late.times.npy", f"alf/{NEW_ITI}"}
        assert remarks(bench)["old_name"] == f"raw_behavior_data/{OLD} keeps its name: it is registered by this name"


def test_reg_14_nothing_is_renamed_while_it_may_be_on_its_way(tmp_path: Path) -> None:
    with closing(renaming(tmp_path, LABFERRY_REGISTRATION__COMPAT_RENAMES="false")) as bench:
        learn(bench, dataset_types=[{"name": "taskCodeFiles", "filename_pattern": "_iblrig_taskcodefiles*"}])
        bench.sandbox.faults.add({"match": "POST /register-file", "when": "after", "action": "drop"})
        assert register(bench, old_files()).state is JobState.WAITING
        bench.end_life()
        bench.environ["LABFERRY_REGISTRATION__COMPAT_RENAMES"] = "true"
        bench.open()
        write(bench, {"alf/late.times.npy": b"late"})
        bench.step(Stage.RESOLVE)
        bench.step(Stage.SEAL)
        assert f"raw_behavior_data/{OLD}" in names(bench)


# --- a kill, and what is not permitted ------------------------------------------------------------------------


def seal_elsewhere(bench: StageBench, number: int, trouble: str) -> subprocess.CompletedProcess[str]:
    """Let another life of the daemon seal, with trouble at its so-many-th effect; then begin a new life here."""
    bench.end_life()
    environ = {
        **os.environ,
        **bench.environ,
        "HOME": "/nonexistent",
        "PYTHONPATH": str(Path(support.__path__[0]).parent),
    }
    command = [sys.executable, "-c", STAGE, str(bench.sandbox.config), str(number), trouble]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    bench.open()
    return done


@pytest.mark.parametrize("number", range(1, EFFECTS + 1))
def test_reg_14_a_kill_at_any_moment_of_renaming_costs_nothing(bench: StageBench, number: int) -> None:
    row = write(bench, old_files())
    bench.step(Stage.RESOLVE)
    assert seal_elsewhere(bench, number, "kill").returncode == -signal.SIGKILL
    assert bench.step(Stage.SEAL).state is JobState.QUEUED
    assert names(bench) == RENAMED == listed(bench, row)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    folder = bench.sandbox.places.watch_root / PATH
    assert (folder / "raw_behavior_data" / NEW).read_bytes() == b"code"
    assert (folder / "alf" / NEW_ITI).read_bytes() == b"iti"
    told = bench.journal.sessions.remarks(row.id)
    assert sorted(text for code, text in told if code == "renamed") == [
        f"alf/{OLD_ITI} is called {NEW_ITI} now",
        f"raw_behavior_data/{OLD} is called {NEW} now",
    ]


def test_reg_14_two_files_are_four_effects(bench: StageBench) -> None:
    write(bench, old_files())
    bench.step(Stage.RESOLVE)
    done = seal_elsewhere(bench, EFFECTS + 1, "kill")
    assert done.stdout.split()[0] == str(EFFECTS), done


def test_reg_14_what_may_not_be_renamed_is_blocked_before_anything_is_sealed(bench: StageBench) -> None:
    row = write(bench, old_files())
    bench.step(Stage.RESOLVE)
    done = seal_elsewhere(bench, 3, str(errno.EROFS))
    assert done.stdout.split() == ["3", "rename_refused"], done
    assert bench.job(row).state is JobState.BLOCKED
    assert f"raw_behavior_data/{OLD} cannot be renamed: Read-only file system" in (bench.job(row).reason or "")
    assert listed(bench, row) == set()
    retry(bench.context, [bench.context.session_of(bench.job(row))])
    assert bench.step(Stage.SEAL).state is JobState.QUEUED
    assert names(bench) == RENAMED


def test_reg_14_a_dry_run_shows_the_new_names(bench: StageBench) -> None:
    row = write(bench, old_files())
    bench.step(Stage.RESOLVE)
    shown = preview(bench.context, bench.journal.sessions.get(row.id) or row, Wish())
    assert [name for request in shown["requests"] for name in request["body"]["filenames"] if "odeFiles" in name] == [
        f"raw_behavior_data/{NEW}"
    ]
    assert names(bench) == {f"raw_behavior_data/{OLD}", f"alf/{OLD_ITI}"}
