"""What happens to sessions after they were complete (ruling 1): added, changed and removed files, hours to years later.

The detect lane, the lanes behind it and an Alyx, with a real folder and a clock turned by hand.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labferry.detect.cadence import DAY, HOUR
from labferry.engine.reports.status import current_conditions
from labferry.engine.seal import Seal
from labferry.model import FileFate, JobKind, JobState, SessionState, Stage
from support.past import DATASETS, SESSION, Past, md5_of
from support.recordings import header, meta

LATE = "alf/_ibl_wheel.timestamps.npy"
BIN = "raw_ephys_data/probe00/rec_g0_t0.imec0.bin"
RECORDING = "raw_ephys_data/probe00/_spikeglx_ephysData_g0_t0.imec0.ap"
CBIN = f"{RECORDING}.cbin"
COMPRESSED = {CBIN: b"compressed", f"{RECORDING}.ch": header(10), f"{RECORDING}.meta": meta()}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Past]:
    lab = Past(tmp_path, ahead=0.0)
    yield lab
    lab.close()


def archive(lab: Past, session: str = SESSION, **more: bytes) -> Path:
    """Let a session be recorded, registered and archived; what happens from now on is counted."""
    folder = lab.write(session, flag=True)
    for name, content in more.items():
        place(folder, name, content)
    lab.meet()
    lab.work()
    assert lab.row(session).state is SessionState.ARCHIVED
    lab.count_anew()
    return folder


def place(folder: Path, name: str, content: bytes) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def pass_by(lab: Past, seconds: float, step: float = HOUR / 4) -> None:
    """Let time pass, with a look of the detect lane every few minutes, and all work done."""
    for _ in range(int(seconds / step)):
        lab.clock.pass_by(step)
        lab.detect.wake()
        lab.detect.turn()
    lab.work()


def posted(lab: Past) -> list[str]:
    return [name for one in lab.requests("POST", "/register-file") for name in one["body"]["filenames"]]


def archived(lab: Past) -> dict[str, bytes]:
    """Return the archive's files by their names without the dataset's id."""
    found = {}
    for path in lab.sandbox.places.archive.rglob("*"):
        if path.is_file():
            parts = path.name.split(".")
            found[".".join([*parts[:-2], parts[-1]])] = path.read_bytes()
    return found


def files(lab: Past) -> dict[str, Any]:
    counts: dict[str, Any] = lab.show()["files"]
    return counts


# --- added ----------------------------------------------------------------------------------------------------


def test_ruling_01_what_a_pipeline_adds_after_archiving_is_registered_and_archived_once(lab: Past) -> None:
    folder = archive(lab)
    before = archived(lab)
    pass_by(lab, 2 * DAY)
    assert lab.changes() == [], "nothing changed, nothing was sent"
    place(folder, LATE, b"late")
    pass_by(lab, HOUR)
    assert (lab.row().state, lab.row().generation) == (SessionState.ARCHIVED, 2)
    assert posted(lab) == [LATE]
    assert archived(lab) == {**before, Path(LATE).name: b"late"}
    asked = len(lab.requests())
    pass_by(lab, 3 * DAY)
    assert (lab.row().generation, len(lab.requests())) == (2, asked), "and then all is quiet again"


def test_ruling_01_only_what_is_new_is_read_and_carried(lab: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = archive(lab)
    old = {path: os.stat(path).st_atime_ns for path in lab.sandbox.places.archive.rglob("*") if path.is_file()}
    for path in old:
        os.utime(path, ns=(0, os.stat(path).st_mtime_ns))  # so that reading it would show
    for name in DATASETS:
        os.chmod(folder / name, 0)  # nobody but root could read it now; its change time is another one …
    place(folder, LATE, b"late")
    for name in DATASETS:
        os.chmod(folder / name, 0o644)
    pass_by(lab, HOUR)
    assert posted(lab) == [LATE]
    transfer = lab.journal.transfers.of_session(lab.row().id)[-1]
    how = {os.fsdecode(item.path): item.verified_how for item in lab.journal.transfers.items(transfer.id)}
    assert how.pop(LATE) == "copied"
    assert set(how.values()) == {"archived earlier"}
    assert {os.stat(path).st_atime_ns for path in old} == {0}, "no copy was read again"


def test_ruling_01_a_bin_that_was_compressed_two_days_later(lab: Past) -> None:
    folder = archive(lab, **{BIN: b"samples" * 10})
    others = len(b"not a dataset")
    assert (files(lab)["unmatched"], files(lab)["unmatched_bytes"]) == (2, others + 70), "with the note"
    pass_by(lab, 2 * DAY)
    for name, content in COMPRESSED.items():
        place(folder, name, content)
    (folder / BIN).unlink()
    pass_by(lab, 2 * HOUR)
    assert posted(lab) == list(COMPRESSED)
    assert archived(lab)[Path(CBIN).name] == b"compressed"
    assert lab.row().state is SessionState.ARCHIVED
    (left,) = lab.journal.files.left_behind(lab.row().id, 10)
    assert (left.path, left.code, left.fate) == (os.fsencode(BIN), "removed_unarchived", FileFate.EXCLUDED)
    counts = files(lab)
    assert (counts["unmatched"], counts["unmatched_bytes"], counts["never_archived"]) == (1, others, 1)
    assert counts["total"] == len(DATASETS) + 2 + len(COMPRESSED)
    told = [fact["what"] for fact in lab.explain()["evidence"]]
    assert any("never archived" in what and BIN in what for what in told)
    pass_by(lab, 30 * DAY, step=HOUR)
    assert posted(lab) == list(COMPRESSED)
    assert lab.row().generation == 2


@pytest.mark.parametrize(("endings", "told"), [('[".flag"]', True), ('[".flag", ".bin"]', False)])
def test_ruling_01_large_files_that_nobody_asks_for_are_a_condition_unless_a_rule_names_them(
    tmp_path: Path, endings: str, told: bool
) -> None:
    lab = Past(tmp_path, ahead=0.0, LABFERRY_REGISTRATION__EXCLUDE_SUFFIXES=endings)
    try:
        folder = lab.write(flag=True)
        place(folder, BIN, b"")
        os.truncate(folder / BIN, 2_000_000_000)  # sparse: nobody reads it
        lab.meet()
        lab.work()
        found = [one for one in current_conditions(lab.context, lab.live) if one.code == "large_unmatched"]
        assert [BIN in one.text and "2.0 GB in 1 session" in one.text for one in found] == [True] * told
        (folder / BIN).unlink()
        pass_by(lab, 2 * HOUR)
        assert not any(one.code == "large_unmatched" for one in current_conditions(lab.context, lab.live))
    finally:
        lab.close()


def test_ruling_01_a_file_that_is_still_being_written_is_waited_for(lab: Past) -> None:
    folder = archive(lab)
    place(folder, f"{LATE}.part", b"la")
    pass_by(lab, 3 * HOUR)
    assert lab.row().generation == 1
    (folder / f"{LATE}.part").rename(folder / LATE)
    pass_by(lab, HOUR)
    assert (posted(lab), lab.row().generation) == ([LATE], 2)


def test_ruling_01_what_was_added_while_we_were_away_is_found_after_the_start(lab: Past) -> None:
    folder = archive(lab)
    pass_by(lab, DAY)
    lab.end()
    place(folder, LATE, b"late")
    lab.clock.pass_by(20 * DAY)
    lab.open()
    lab.detect.first_scan()
    assert lab.row().generation == 1
    pass_by(lab, HOUR)
    assert (posted(lab), lab.row().generation) == ([LATE], 2)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("name", [LATE, DATASETS[0]], ids=["added", "changed"])
def test_ruling_01_a_hint_shortens_the_wait_to_seconds(lab: Past, name: str, restarted: bool) -> None:
    folder = archive(lab)
    pass_by(lab, DAY)
    if restarted:
        lab.end()
        lab.open()
        lab.detect.first_scan()
        pass_by(lab, DAY)
    lab.look()  # what is watched is what the last scan found worth it
    place(folder, name, b"late")
    lab.look()
    lab.clock.pass_by(5.0)
    lab.look()
    assert lab.row().state is SessionState.SETTLING
    assert name in (lab.row().wait_why or "")


def test_ruling_01_of_an_adopted_session_what_is_added_later_makes_an_ordinary_one(tmp_path: Path) -> None:
    lab = Past(tmp_path)
    try:
        folder = lab.write()
        lab.register()
        lab.adopt()
        assert lab.row().state is SessionState.ADOPTED
        for name in DATASETS:
            os.chmod(folder / name, 0o600)  # a new change time alone: nobody read it, and nobody does now
        pass_by(lab, 2 * DAY)
        assert lab.row().state is SessionState.ADOPTED
        assert lab.changes() == []
        place(folder, LATE, b"late")
        pass_by(lab, 2 * HOUR)
        assert lab.row().state is SessionState.ARCHIVED
        assert posted(lab) == [LATE]
        hashed = [os.fsdecode(file.path) for file in lab.journal.files.of_session(lab.row().id) if not file.taken_over]
        assert sorted(hashed) == sorted([LATE, "notes.txt"])
    finally:
        lab.close()


def observing(tmp_path: Path) -> dict[str, str]:
    """Return the settings of a root that Alyx' own transfer archives."""
    root = {"name": "rig", "path": str(tmp_path / "Subjects"), "archive": ["flatiron"]}
    return {"LABFERRY_ARCHIVE__FLATIRON__KIND": "observe", "LABFERRY_ROOTS": json.dumps([root])}


def transferred(lab: Past) -> None:
    """Say that everything is on the server, as Alyx' own transfer does when it has moved it."""
    for dataset in lab.context.alyx.list_all("/datasets", {"session": lab.row().eid or ""}):
        for record in dataset["file_records"]:
            if record["data_repository"].startswith("flatiron"):
                lab.alyx("PATCH", f"/files/{record['id']}", {"exists": True})


def archives(lab: Past) -> list[tuple[JobState, int]]:
    jobs = lab.journal.jobs.of_session(lab.row().id)
    return [(job.state, job.generation) for job in jobs if job.kind is JobKind.ARCHIVE]


def test_ruling_01_what_comes_while_alyx_own_transfer_is_waited_for_is_registered(tmp_path: Path) -> None:
    lab = Past(tmp_path, ahead=0.0, **observing(tmp_path))
    try:
        folder = lab.write(flag=True)
        lab.meet()
        lab.work()
        assert archives(lab) == [(JobState.WAITING, 1)]
        pass_by(lab, DAY)
        place(folder, LATE, b"late")
        pass_by(lab, HOUR)
        assert sorted(posted(lab)) == sorted([*DATASETS, LATE]), "each once"
        assert archives(lab) == [(JobState.SUPERSEDED, 1), (JobState.WAITING, 2)]
        assert lab.row().state is SessionState.REGISTERED
        (folder / DATASETS[0]).unlink()
        pass_by(lab, 2 * DAY)
        assert (lab.row().generation, files(lab)["never_archived"]) == (2, 0), "nobody knows yet"
        transferred(lab)
        pass_by(lab, HOUR)
        assert lab.row().state is SessionState.ARCHIVED
        pass_by(lab, 2 * HOUR)
        counts = files(lab)
        assert (counts["removed"], counts["never_archived"], lost(lab)) == (1, 0, [])
    finally:
        lab.close()


def test_ruling_01_what_comes_while_no_archive_can_be_reached_is_registered(lab: Past) -> None:
    folder = lab.write(flag=True)
    lab.meet()
    lab.pause_archives()
    lab.work()
    assert archives(lab) == [(JobState.QUEUED, 1)]
    place(folder, LATE, b"late")
    lab.look()
    lab.clock.pass_by(5.0)
    lab.look()
    assert lab.row().state is SessionState.REGISTERED, "it may be about to be taken"
    pass_by(lab, 2 * HOUR)
    assert posted(lab)[len(DATASETS) :] == [LATE]
    assert archives(lab) == [(JobState.SUPERSEDED, 1), (JobState.QUEUED, 2)]
    lab.pause_archives(False)
    lab.work()
    assert lab.row().state is SessionState.ARCHIVED
    assert set(archived(lab)) == {Path(name).name for name in (*DATASETS, LATE)}
    assert len(posted(lab)) == len(DATASETS) + 1


# --- changed --------------------------------------------------------------------------------------------------


def test_reg_20_a_touched_file_is_hashed_once_and_never_posted(lab: Past) -> None:
    folder = archive(lab)
    os.utime(folder / DATASETS[0])
    pass_by(lab, 2 * DAY)
    assert (lab.row().state, lab.row().generation) == (SessionState.ARCHIVED, 2)
    assert lab.changes() == []
    pass_by(lab, 2 * DAY)
    assert lab.row().generation == 2


def test_ruling_10_a_file_that_changed_after_archiving_is_blocked_before_any_post(lab: Past) -> None:
    folder = archive(lab)
    before = archived(lab)
    pass_by(lab, 2 * DAY)
    place(folder, DATASETS[0], b"edited")
    pass_by(lab, 2 * DAY)
    job = lab.journal.jobs.of_session(lab.row().id)[-1]
    assert (job.state, job.code) == (JobState.BLOCKED, "changed_after_archive")
    assert DATASETS[0] in job.reason
    assert lab.changes() == []
    assert archived(lab) == before
    assert lab.explain()["verdict"] == "changed_after_archive"
    assert files(lab)["changed"] == 1
    pass_by(lab, 3 * DAY)
    assert lab.changes() == [], "nor later"


def test_reg_20_a_file_that_changed_before_it_was_archived_is_registered_again_once(lab: Past) -> None:
    folder = lab.write(flag=True)
    lab.meet()
    lab.pause_archives(True)
    lab.work()
    assert lab.row().state is SessionState.REGISTERED
    place(folder, DATASETS[0], b"edited")
    lab.pause_archives(False)
    lab.work()  # the archive's lane sees it
    pass_by(lab, 2 * DAY)
    assert lab.row().state is SessionState.ARCHIVED
    assert posted(lab).count(DATASETS[0]) == 2
    assert len(posted(lab)) == len(DATASETS) + 1
    assert md5_of(archived(lab)[Path(DATASETS[0]).name]) == md5_of(b"edited")


def test_ruling_01_a_changed_file_that_is_sent_nowhere_is_noted_and_no_more(lab: Past) -> None:
    folder = archive(lab)
    place(folder, "notes.txt", b"a longer note than before")
    pass_by(lab, 2 * DAY)
    assert lab.row().generation == 1
    assert files(lab)["unmatched_bytes"] == len(b"a longer note than before")
    assert lab.requests() == []


def test_ruling_21_a_seal_that_was_superseded_meanwhile_does_not_stand_for_the_next_generation(lab: Past) -> None:
    lab.write(SESSION, flag=True)
    lab.meet()
    lab.settle()
    lab.work_until(Stage.RESOLVE)
    session = lab.row()
    job = lab.journal.jobs.claim(Stage.SEAL, "")
    assert job is not None

    def speak(doing: str, _: float) -> None:
        """Ask for another generation, as an operator may while files are read."""
        if doing.startswith("hashing") and lab.row().generation == 1:
            lab.journal.sessions.register_again(session.id, "")

    Seal(lab.context)(job, speak)
    assert (lab.row().generation, lab.row().sealed_generation) == (2, 0)
    lab.end()  # the attempt was never finished: another life takes up what is left
    lab.open()
    lab.meet()
    lab.work()
    assert (lab.row().state, lab.row().sealed_generation) == (SessionState.ARCHIVED, 2)


def test_done_10_a_link_that_comes_after_archiving_is_told_of(lab: Past, tmp_path: Path) -> None:
    folder = archive(lab)
    (tmp_path / "big.npy").write_bytes(b"elsewhere")
    (folder / LATE).symlink_to(tmp_path / "big.npy")
    pass_by(lab, 2 * HOUR)
    row = lab.row()
    assert (row.state, row.generation, row.attention) == (SessionState.ARCHIVED, 2, True)
    assert LATE in lab.explain()["message"]
    pass_by(lab, 2 * DAY)
    assert lab.row().generation == 2


# --- removed --------------------------------------------------------------------------------------------------


def test_ruling_01_what_is_removed_after_verification_is_information(lab: Past) -> None:
    folder = archive(lab)
    (folder / DATASETS[0]).unlink()
    pass_by(lab, 2 * DAY)
    row = lab.row()
    assert (row.state, row.attention, row.generation) == (SessionState.ARCHIVED, False, 1)
    assert lab.requests() == []
    assert files(lab)["removed"] == 1
    assert any(DATASETS[0] in fact["what"] for fact in lab.explain()["evidence"])


def test_ruling_01_what_is_removed_beside_a_file_that_seems_to_be_written_is_told(lab: Past) -> None:
    folder = archive(lab)
    place(folder, "alf/left.tmp", b"by a program that ended long ago")
    pass_by(lab, 2 * HOUR)
    (folder / DATASETS[0]).unlink()
    pass_by(lab, 2 * HOUR)
    assert (lab.row().state, files(lab)["removed"]) == (SessionState.ARCHIVED, 1)


def lost(lab: Past) -> list[str]:
    return [one.text for one in current_conditions(lab.context, lab.live) if one.code == "never_archived"]


def test_ruling_01_a_dataset_removed_before_it_was_archived_is_a_loss(lab: Past) -> None:
    folder = lab.write(SESSION, flag=True)
    lab.meet()
    lab.pause_archives()
    lab.work()
    assert lab.row().state is SessionState.REGISTERED
    (folder / DATASETS[0]).unlink()
    lab.pause_archives(False)
    lab.work()
    pass_by(lab, HOUR)
    assert (lab.row().state, files(lab)["never_archived"]) == (SessionState.ARCHIVED, 1), "the rest proceeded"
    told = lab.explain()
    assert (told["verdict"], told["code"]) == ("ok_archived", "removed_unarchived")
    assert DATASETS[0] in told["message"]
    (text,) = lost(lab)
    assert DATASETS[0] in text
    lab.journal.sessions.hold(lab.row().id)
    assert lost(lab) == [], "an operator has heard of it"
    lab.journal.sessions.release(lab.row().id)
    place(folder, DATASETS[0], content := b"positions")
    pass_by(lab, HOUR)
    assert (archived(lab)[Path(DATASETS[0]).name], files(lab)["never_archived"]) == (content, 0)
    assert (lost(lab), lab.explain()["code"]) == ([], "no_behaviour")


def test_ruling_01_a_session_that_cannot_be_looked_at_loses_nothing(lab: Past) -> None:
    folder = archive(lab)
    folder.rename(folder.with_name("away"))
    pass_by(lab, 2 * DAY)
    folder.with_name("away").rename(folder)
    pass_by(lab, 2 * DAY)
    assert files(lab)["removed"] == 0
    assert (lab.row().state, lab.row().generation) == (SessionState.ARCHIVED, 1)


def test_ruling_01_held_sessions_are_left_alone(lab: Past) -> None:
    folder = archive(lab)
    lab.journal.sessions.hold(lab.row().id)
    place(folder, LATE, b"late")
    pass_by(lab, DAY)
    assert lab.row().generation == 1
    lab.journal.sessions.release(lab.row().id)
    pass_by(lab, 2 * HOUR)
    assert posted(lab) == [LATE]


def test_done_10_a_pipe_that_no_pattern_asks_for_is_nothing_to_carry(tmp_path: Path) -> None:
    lab = Past(tmp_path, ahead=0.0, LABFERRY_ARCHIVE__SERVER__NAMING="plain")
    try:
        os.mkfifo(lab.write(flag=True) / "pipe")
        lab.meet()
        lab.work()
        assert (lab.row().state, lab.row().generation) == (SessionState.ARCHIVED, 1)
        found = lab.explain(f"{lab.row().path.decode()}/pipe")
        assert (found["code"], found["attention"]) == ("not_regular", False)
    finally:
        lab.close()


def test_ruling_04_a_flag_that_was_consumed_is_no_lost_file(lab: Past) -> None:
    folder = archive(lab)
    (folder / "raw_session.flag").unlink()
    place(folder, LATE, b"late")
    pass_by(lab, 2 * HOUR)
    assert lab.row().generation == 2
    assert files(lab)["removed"] == 0
    assert not [fact for fact in lab.explain()["evidence"] if "removed" in fact["what"]]
