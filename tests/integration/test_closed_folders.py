"""Folders that cannot be looked into any more after their session was archived, and that are opened again (DONE-10)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.detect.cadence import DAY, HOUR
from labferry.model import SessionState, Stage
from support.past import SESSION, Past
from support.rights import folder_for_everyone, without_rights

LATE = "alf/probe00/_ibl_wheel.timestamps.npy"


@pytest.fixture
def lab() -> Iterator[Past]:
    with folder_for_everyone() as everyone:
        lab = Past(everyone, ahead=0.0)
        try:
            yield lab
        finally:
            lab.close()


def archive(lab: Past) -> Path:
    folder = lab.write(flag=True)
    lab.meet()
    lab.work()
    assert lab.row().state is SessionState.ARCHIVED
    lab.count_anew()
    return folder


def pass_by(lab: Past, seconds: float) -> None:
    """Let time pass, with a look of the detect lane every quarter of an hour as an ordinary user, and all work done."""
    with without_rights():
        for _ in range(int(seconds / HOUR * 4)):
            lab.clock.pass_by(HOUR / 4)
            lab.look()
        lab.settle()
    lab.work_off()


def turn(lab: Past, stage: Stage) -> None:
    """Let a lane do one stage as an ordinary user."""
    (lane, *_) = [lane for lane in lab.workers if stage in lane.stages]
    with without_rights():
        assert lane.turn() == 0.0


def close(folder: Path, name: str) -> Path:
    """Close a folder of a session to us, with a file in it that nobody has seen where there was no such folder."""
    closed = folder / name
    if not closed.exists():
        closed.mkdir()
        (folder / LATE).write_bytes(b"late")
    closed.chmod(0)
    return closed


def require_told(lab: Past, name: str) -> None:
    row, told = lab.row(), lab.explain()
    assert (row.state, row.generation, row.attention) == (SessionState.ARCHIVED, 1, True)
    assert (told["verdict"], told["code"], told["attention"]) == ("ok_archived", "unreadable", True)
    assert f"{name or 'Its folder'} cannot be read" in told["message"]
    assert "Permission denied" in told["message"]
    assert lab.show()["files"]["removed"] == 0
    assert lab.journal.sessions.counts()[1] == 1


@pytest.mark.parametrize("name", ["alf", "", "alf/probe00"])
def test_ruling_22_a_folder_that_is_closed_after_archiving_takes_nothing_back(lab: Past, name: str) -> None:
    folder = archive(lab)
    closed = close(folder, name)
    pass_by(lab, 2 * HOUR)
    require_told(lab, name)
    pass_by(lab, 2 * DAY)
    require_told(lab, name)
    assert lab.requests() == []
    closed.chmod(0o755)
    pass_by(lab, 2 * HOUR)
    assert (lab.row().state, lab.row().attention) == (SessionState.ARCHIVED, False)
    assert lab.explain()["attention"] is False
    posted = [name for one in lab.requests("POST", "/register-file") for name in one["body"]["filenames"]]
    assert posted == ([LATE] if name.endswith("probe00") else [])


def test_ruling_22_a_folder_is_known_to_be_closed_and_found_open_after_a_restart(lab: Past) -> None:
    closed = close(archive(lab), "alf")
    pass_by(lab, 2 * HOUR)
    lab.end()
    lab.open()
    lab.meet()
    require_told(lab, "alf")
    closed.chmod(0o755)
    pass_by(lab, 2 * HOUR)
    assert lab.row().attention is False


def test_ruling_22_what_else_is_new_waits_until_the_folder_is_opened(lab: Past) -> None:
    folder = archive(lab)
    closed = close(folder, "raw_video_data")
    (folder / "alf" / "_ibl_wheel.timestamps.npy").write_bytes(b"late")
    pass_by(lab, 2 * HOUR)
    require_told(lab, "raw_video_data")
    closed.chmod(0o755)
    pass_by(lab, 2 * HOUR)
    assert (lab.row().state, lab.row().generation, lab.row().attention) == (SessionState.ARCHIVED, 2, False)


@pytest.mark.parametrize("name", ["alf", "empty"])
def test_ruling_22_a_folder_that_was_closed_when_it_was_sealed_is_no_lost_file_once_it_is_open(
    lab: Past, name: str
) -> None:
    folder = lab.write(flag=True)
    (folder / "empty").mkdir()
    lab.meet()
    lab.settle()
    (folder / name).chmod(0)
    lab.work_until(Stage.RESOLVE)
    turn(lab, Stage.SEAL)
    lab.work_until(Stage.RESOLVE)  # its lane registers, too
    turn(lab, Stage.SEAL)
    lab.work_off()
    assert (lab.row().state, lab.row().attention) == (SessionState.ARCHIVED, True)
    (folder / name).chmod(0o755)
    pass_by(lab, 2 * DAY)
    assert (lab.row().state, lab.row().attention) == (SessionState.ARCHIVED, False)
    counts = lab.show()["files"]
    assert (counts["removed"], counts["never_archived"], counts["rejected"]) == (0, 0, 0)
    assert not [fact for fact in lab.explain()["evidence"] if "removed" in fact["what"]]


def test_ruling_22_a_closed_folder_that_is_removed_needs_nobody_any_more(lab: Past, tmp_path: Path) -> None:
    lab.write("KS005/2026-03-02/002", files={})  # so that the disk is not empty
    folder = archive(lab)
    folder.chmod(0)
    pass_by(lab, 2 * HOUR)
    require_told(lab, "")
    folder.rename(tmp_path / "away")
    pass_by(lab, 2 * HOUR)
    assert lab.row().vanished_at is not None
    assert (lab.row().attention, lab.explain()["attention"], lab.explain()["verdict"]) == (False, False, "ok_archived")
    actions = [event.action for event in lab.journal.history(lab.row().id)]
    assert actions[-1] == "vanished", "and nobody opened it"


def test_ruling_22_a_folder_of_an_old_session_that_was_opened_again_is_seen_within_the_hour_as_well(lab: Past) -> None:
    folder = archive(lab)
    lab.clock.pass_by(300 * DAY)
    lab.detect.rescan()
    close(folder, "alf")
    pass_by(lab, HOUR / 4)
    require_told(lab, "alf")
    (folder / "alf").chmod(0o755)
    pass_by(lab, 1.25 * HOUR)
    assert (lab.row().state, lab.row().attention) == (SessionState.ARCHIVED, False)


def test_ruling_26_two_sessions_that_cannot_be_looked_into_are_not_the_same(lab: Past, tmp_path: Path) -> None:
    other = "KS005/2026-03-02/002"
    folder = lab.write(flag=True)
    for session in (folder, lab.write(other, flag=True)):
        session.chmod(0)
    lab.meet()
    pass_by(lab, HOUR / 4)
    assert [lab.explain(one)["verdict"] for one in (SESSION, other)] == ["unreadable", "unreadable"]
    folder.rename(tmp_path / "away")
    pass_by(lab, HOUR)
    assert lab.explain()["verdict"] == "vanished"
