"""`labferry register`: what an operator may ask for, from the command line to the requests that Alyx gets."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labferry.engine.registering.explicit import register, wished_files
from labferry.engine.registering.preview import preview
from labferry.engine.registering.wish import Wish
from labferry.errors import LabferryError, UnavailableError
from labferry.journal.rows import SessionRow
from labferry.model import FileFate, JobState, Stage
from support.lab import Lab, fresh
from support.stages import FILES, StageBench
from support.wait import wait_until

WHEEL, INTERVALS = "alf/_ibl_wheel.position.npy", "alf/_ibl_trials.intervals.npy"
CAMERA = "raw_video_data/_iblrig_leftCamera.timestamps.ssv"
RAW_FOO = "rawfoo/_iblrig_leftCamera.timestamps.ssv"
OUTSIDE = "somewhere/spikes.times.npy"  # a dataset type fits, no pattern does
FILES_HERE = {**FILES, RAW_FOO: b"foo", OUTSIDE: b"times"}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StageBench]:
    yield from opened(tmp_path)


@pytest.fixture
def raw_bench(tmp_path: Path) -> Iterator[StageBench]:
    """A bench that registers raw data only, and would ask for `rawfoo` too."""
    patterns = '["raw*/**/_iblrig_*.*", "alf/**/*.*.*"]'
    yield from opened(tmp_path, LABFERRY_REGISTRATION__SCOPE="raw", LABFERRY_REGISTRATION__PATTERNS=patterns)


def opened(tmp_path: Path, **environ: str) -> Iterator[StageBench]:
    bench = StageBench(tmp_path, **environ)
    yield bench
    bench.close()


def now(bench: StageBench, session: SessionRow) -> SessionRow:
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    return row


def ask(bench: StageBench, session: SessionRow, *names: str, raw: bool = False, overwrite: bool = False) -> None:
    """Ask for a registration and carry it out."""
    row = now(bench, session)
    files = wished_files(bench.context, row, names)
    register(bench.context, row, Wish(raw, files, overwrite))
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    while bench.journal.jobs.next_due(Stage.SEAL) is not None:
        bench.step(Stage.SEAL)


def registered(bench: StageBench) -> SessionRow:
    _, session = bench.write(files=FILES_HERE)
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    return session


def posted(bench: StageBench, since: int = 0) -> list[str]:
    posts = bench.requests("POST", "/register-file")[since:]
    return [name for post in posts for name in post["body"]["filenames"]]


def changes(bench: StageBench) -> int:
    """Return how many requests tried to change something."""
    return sum(len(bench.requests(method, "/")) for method in ("POST", "PATCH", "DELETE"))


# --- which files --------------------------------------------------------------------------------------------


def test_reg_11_scope_raw_registers_what_is_in_raw_folders_and_nothing_else(raw_bench: StageBench) -> None:
    session = registered(raw_bench)
    assert posted(raw_bench) == [CAMERA]
    files = {file.path.decode(): file for file in raw_bench.journal.files.of_session(session.id)}
    for name in (WHEEL, INTERVALS, RAW_FOO):
        assert (files[name].fate, files[name].code) == (FileFate.EXCLUDED, "out_of_scope")


def test_reg_11_what_is_registered_is_neither_hashed_nor_posted_again(bench: StageBench) -> None:
    session = registered(bench)
    before = changes(bench)
    for raw in (True, False):
        ask(bench, session, raw=raw)
    assert changes(bench) == before
    assert now(bench, session).generation == 3


def test_reg_11_overwrite_sends_what_is_asked_for_and_nothing_else(bench: StageBench) -> None:
    session = registered(bench)
    ask(bench, session, raw=True, overwrite=True)
    assert posted(bench, 1) == [CAMERA]
    ask(bench, session, overwrite=True)
    assert posted(bench, 2) == sorted([CAMERA, WHEEL, INTERVALS])
    ask(bench, session, WHEEL, overwrite=True)
    assert posted(bench, 3) == [WHEEL]


def test_reg_11_overwrite_is_not_repeated_after_a_restart_nor_by_the_next_generation(bench: StageBench) -> None:
    session = registered(bench)
    ask(bench, session, overwrite=True)
    bench.journal.sessions.unsettle(session.id, "grew")
    bench.write(files={"alf/_ibl_wheel.timestamps.npy": b"late"})
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    assert posted(bench, 2) == ["alf/_ibl_wheel.timestamps.npy"]


def test_reg_11_overwrite_goes_on_after_an_outage_where_it_was(tmp_path: Path) -> None:
    for bench in opened(tmp_path, LABFERRY_REGISTRATION__CHUNK="1"):
        session = registered(bench)
        register(bench.context, now(bench, session), Wish(overwrite=True))
        bench.clock.pass_by(60)
        bench.run_until(Stage.SEAL)
        throttled = {"match": {"text": "POST /register-file", "n": 2}, "action": "status", "status": 429}
        bench.sandbox.faults.add(throttled)
        assert bench.step(Stage.REGISTER).code == "alyx_throttled"
        bench.clock.pass_by(60)
        assert bench.step(Stage.REGISTER).state is JobState.DONE
        sent = [post["body"]["filenames"] for post in bench.requests("POST", "/register-file")[3:] if post["applied"]]
        assert sent == [[INTERVALS], [WHEEL], [CAMERA]]


def test_reg_11_a_wish_that_is_not_fulfilled_yet_goes_over_to_the_next_generation(bench: StageBench) -> None:
    session = registered(bench)
    register(bench.context, now(bench, session), Wish(raw=True, overwrite=True))
    bench.journal.sessions.unsettle(session.id, "grew")
    bench.write(files={})
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    assert posted(bench, 1) == [CAMERA]


def test_reg_11_what_is_asked_for_comes_first(tmp_path: Path) -> None:
    for bench in opened(tmp_path, LABFERRY_REGISTRATION__CHUNK="1"):
        _, session = bench.write(files=FILES_HERE)
        register(bench.context, now(bench, session), Wish(raw=True))
        assert bench.run_until(Stage.REGISTER).state is JobState.DONE
        assert posted(bench) == [CAMERA, INTERVALS, WHEEL]


def test_ruling_10_overwrite_does_not_post_over_what_is_not_ours(bench: StageBench) -> None:
    session = registered(bench)
    (there,) = [d for d in bench.datasets(session) if d["name"] == "_ibl_wheel.position.npy"]
    bench.alyx("PATCH", f"/datasets/{str(there['url'])[-36:]}", {"hash": "f" * 32})
    register(bench.context, now(bench, session), Wish(overwrite=True))
    move = bench.run_until(Stage.REGISTER)
    assert (move.state, move.code) == (JobState.BLOCKED, "hash_conflict")
    assert posted(bench, 1) == sorted([CAMERA, INTERVALS])


def test_reg_12_a_named_file_needs_no_pattern_and_stays_a_dataset(bench: StageBench) -> None:
    session = registered(bench)
    assert OUTSIDE not in posted(bench)
    ask(bench, session, OUTSIDE)
    assert posted(bench, 1) == [OUTSIDE]
    bench.journal.sessions.unsettle(session.id, "grew")
    bench.write(files={OUTSIDE: b"other times"})
    assert bench.run_until(Stage.REGISTER).state is JobState.DONE
    assert posted(bench, 2) == [OUTSIDE]


def test_reg_12_a_named_file_is_outside_no_scope(raw_bench: StageBench) -> None:
    session = registered(raw_bench)
    ask(raw_bench, session, WHEEL)
    assert posted(raw_bench, 1) == [WHEEL]


def test_reg_12_a_file_is_named_by_its_whole_path_too(bench: StageBench) -> None:
    session = registered(bench)
    folder = bench.context.folder_of(now(bench, session))
    names = [os.path.join(os.fsdecode(folder), WHEEL), "alf/../" + CAMERA]
    assert wished_files(bench.context, session, names) == {WHEEL.encode(), CAMERA.encode()}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("../002/alf/_ibl_wheel.position.npy", "other_session"),
        ("/etc/passwd", "other_session"),
        ("", "other_session"),
        ("alf/nothing.here.npy", "no_such_path"),
        ("notes.txt", "not_a_dataset"),
        ("alf", "not_a_dataset"),
        ("alf/bad dir/spikes.times.npy", "not_a_dataset"),
    ],
)
def test_reg_12_what_cannot_be_registered_is_refused_before_anything_is_sent(
    bench: StageBench, name: str, code: str
) -> None:
    session = registered(bench)
    bench.write(
        "KS005/2026-03-02/002", files={"alf/_ibl_wheel.position.npy": b"x", "../001/alf/bad dir/spikes.times.npy": b""}
    )
    before = changes(bench), now(bench, session).generation
    with pytest.raises(LabferryError) as refused:
        wished_files(bench.context, now(bench, session), [WHEEL, name])
    assert refused.value.code == code
    assert (changes(bench), now(bench, session).generation) == before


def test_a_session_that_settles_and_a_root_without_registration_are_refused(bench: StageBench) -> None:
    session = registered(bench)
    bench.journal.sessions.unsettle(session.id, "grew")
    with pytest.raises(LabferryError) as refused:
        register(bench.context, now(bench, session), Wish())
    assert (refused.value.code, "grew" in refused.value.message) == ("not_settled", True)
    text = bench.sandbox.config.read_text().replace('layout = "ibl"', 'layout = "ibl"\nregister = false\nlab = "x"')
    bench.sandbox.config.write_text(text.replace('naming = "alyx"\nrepository = "auto"', 'naming = "plain"'))
    bench.journal.close()
    bench.open()
    with pytest.raises(LabferryError) as refused:
        register(bench.context, now(bench, session), Wish())
    assert refused.value.code == "not_registering"


def test_a_registration_that_is_under_way_is_not_begun_anew(bench: StageBench) -> None:
    _, session = bench.write()
    found = register(bench.context, now(bench, session), Wish())
    assert (found["began"], now(bench, session).generation) == (False, 1)


# --- only what would be sent --------------------------------------------------------------------------------


def test_reg_12_a_dry_run_shows_the_post_that_follows_and_changes_nothing(bench: StageBench) -> None:
    _, session = bench.write(files=FILES_HERE)
    bench.run_until(Stage.SEAL)
    before = changes(bench), bench.journal.last_event()
    found = preview(bench.context, now(bench, session), Wish())
    assert (changes(bench), bench.journal.last_event()) == before
    assert (found["eid"], found["files"], found["unchanged"], found["complete"]) == (None, 3, 0, True)
    assert bench.step(Stage.REGISTER).state is JobState.DONE
    (post,) = bench.requests("POST", "/register-file")
    assert found["requests"] == [{"method": "POST", "path": "/register-file", "body": post["body"]}]


def test_reg_12_a_dry_run_tells_what_is_unchanged_unread_and_left_out(bench: StageBench) -> None:
    session = registered(bench)
    folder, _ = bench.write(files={})
    (folder / WHEEL).write_bytes(b"other")
    (folder / "alf/bad dir").mkdir()
    (folder / "alf/bad dir/spikes.times.npy").write_bytes(b"")
    (camera,) = [d for d in bench.datasets(session) if "Camera" in d["name"]]
    bench.alyx("PATCH", f"/datasets/{str(camera['url'])[-36:]}", {"hash": "f" * 32})
    before = changes(bench)
    found = preview(bench.context, now(bench, session), Wish())
    assert changes(bench) == before
    (request,) = found["requests"]
    assert (request["body"]["filenames"], request["body"]["hashes"]) == ([WHEEL], [None])
    assert found["unchanged"] == 1
    assert {(one["path"], one["code"]) for one in found["left_out"]} == {
        ("alf/bad dir/spikes.times.npy", "unsafe_name"),
        (CAMERA, "hash_conflict"),
    }


def test_reg_12_a_dry_run_of_what_nobody_resolved_says_so(bench: StageBench) -> None:
    _, session = bench.write("NEW_001/2026-03-02/001")
    with pytest.raises(LabferryError) as refused:
        preview(bench.context, now(bench, session), Wish())
    assert refused.value.code == "not_resolved"


def test_a_dry_run_without_alyx_is_tried_later(bench: StageBench) -> None:
    session = registered(bench)
    bench.sandbox.faults.add({"match": "", "action": "status", "status": 503, "times": None})
    with pytest.raises(UnavailableError):
        preview(bench.context, now(bench, session), Wish())


# --- the command --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def lab(shared_lab: Lab) -> Iterator[Lab]:
    with fresh(shared_lab) as lab:
        lab.write("KS005/2026-03-02/001", FILES_HERE)
        lab.start_ready()
        lab.wait_for("archived")
        yield lab


def said(lab: Lab, *words: str) -> Any:
    done = lab.command("register", "KS005/2026-03-02/001", *words, "--json")
    return json.loads(done.stdout)


def test_reg_11_reg_12_the_command_does_it_and_the_archive_follows(lab: Lab) -> None:
    folder = lab.root / "KS005/2026-03-02/001"
    assert said(lab, "--raw", "--overwrite")["data"]["began"] is True
    wait_until(lambda: len(lab.posts("/register-file")) == 2, what="the raw file to be sent again")
    lab.wait_for("archived")
    assert lab.posts("/register-file")[1]["body"]["filenames"] == [CAMERA]
    preview = said(lab, "--file", OUTSIDE, "--dry-run")["data"]
    assert [request["body"]["filenames"] for request in preview["requests"]] == [[OUTSIDE]]
    assert len(lab.posts("/register-file")) == 2
    done = lab.command("register", str(folder), "--file", OUTSIDE, "--file", WHEEL)
    assert (done.returncode, "is registered now" in done.stdout) == (0, True)
    wait_until(lambda: len(lab.posts("/register-file")) == 3, what="the named file to be sent")
    lab.wait_for("archived")
    assert lab.show("KS005/2026-03-02/001")["files"]["archived"] == 4


def test_reg_12_the_command_refuses_with_a_sentence_and_an_exit_code(lab: Lab) -> None:
    lab.write("KS005/2026-03-02/002", {WHEEL: b"x"})
    for words, code, exit_code in (
        (("--file", WHEEL, "--file", f"../002/{WHEEL}"), "other_session", 1),
        (("--file", "alf/nothing.here.npy"), "no_such_path", 1),
        (("--file", WHEEL, "--raw"), "usage", 2),
    ):
        done = lab.command("register", "KS005/2026-03-02/001", *words, "--json")
        assert (json.loads(done.stdout)["error"]["code"], done.returncode) == (code, exit_code)
    assert said(lab, "--file", WHEEL, "--dry-run")["data"]["files"] == 0
    done = lab.command("register", "KS005/2026-03-02/001", "--overwrite", "--dry-run")
    assert "POST /register-file" in done.stdout
    assert "3 files would be sent, 0 in Alyx as they are." in done.stdout
    assert lab.command("register", "KS005/1999-01-01/001").returncode == 1
