"""Scanning again: only what changed is listed, and nothing that changed is missed."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from labferry.detect import scanner
from labferry.detect.scan import RootState, ScanResult
from labferry.detect.scanner import Scanned, Scanner
from labferry.sessions.registry import layout
from support.disks import next_tick
from support.rights import folder_for_everyone, without_rights

IBL = layout("ibl")
SESSIONS = ("KS005/2019-04-02/001", "KS005/2019-04-03/001", "KS006/2019-04-02/001")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for session in SESSIONS:
        (tmp_path / "Subjects" / session / "alf").mkdir(parents=True)
    return tmp_path / "Subjects"


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The folders that are listed; folders are believed however young they are."""
    monkeypatch.setattr(scanner, "YOUNG", -(10**18))
    names: list[bytes] = []
    real = os.scandir

    def scandir(path: bytes) -> object:
        names.append(path)
        return real(path)

    monkeypatch.setattr("labferry.detect.scan.os.scandir", scandir)
    return names


def seen(scanned: Scanned) -> ScanResult:
    """Return what a scan saw; it must be something else than the one before."""
    assert scanned.result is not None
    return scanned.result


def paths(scanned: Scanned) -> set[str]:
    return {os.fsdecode(one.path) for one in seen(scanned).found}


def start(root: Path, listed: list[bytes]) -> Scanner:
    """Return a scanner that has scanned once; what it lists from now on counts."""
    scans = Scanner(os.fsencode(root), IBL)
    assert paths(scans.scan()) == set(SESSIONS)
    listed.clear()
    next_tick(root.parent)
    return scans


def below(root: Path, listed: list[bytes]) -> list[str]:
    return sorted(os.path.relpath(os.fsdecode(path), root) for path in listed)


def test_a_tree_that_stands_still_is_not_listed_again(root: Path, listed: list[bytes]) -> None:
    scans = start(root, listed)
    assert scans.scan().result is None
    (root / SESSIONS[0] / "alf" / "spikes.times.npy").touch()  # inside a session: not a scan's business
    assert scans.scan().result is None
    assert listed == []


def test_a_new_session_is_found_by_listing_its_folder_alone(root: Path, listed: list[bytes]) -> None:
    scans = start(root, listed)
    (root / "KS005/2019-04-02/002").mkdir()
    assert paths(scans.scan()) == {*SESSIONS, "KS005/2019-04-02/002"}
    assert below(root, listed) == ["KS005/2019-04-02"]


def test_a_new_day_and_a_new_subject_are_found_with_all_that_is_in_them(root: Path, listed: list[bytes]) -> None:
    scans = start(root, listed)
    (root / "KS005/2019-04-05/001").mkdir(parents=True)
    (root / "lab/Subjects/ZM_001/2020-01-01/012").mkdir(parents=True)
    assert paths(scans.scan()) == {*SESSIONS, "KS005/2019-04-05/001", "lab/Subjects/ZM_001/2020-01-01/012"}
    assert "KS006" not in below(root, listed)


def test_what_was_moved_or_removed_is_gone_and_back_when_it_is_back(root: Path, listed: list[bytes]) -> None:
    scans = start(root, listed)
    (root / "KS005").rename(root / "KS007")
    shutil.rmtree(root / "KS006/2019-04-02/001")
    assert paths(scans.scan()) == {"KS007/2019-04-02/001", "KS007/2019-04-03/001"}
    next_tick(root.parent)
    (root / "KS007").rename(root / "KS005")
    assert paths(scans.scan()) == {"KS005/2019-04-02/001", "KS005/2019-04-03/001"}


def test_a_folder_in_the_place_of_another_is_another(root: Path, listed: list[bytes]) -> None:
    scans = start(root, listed)
    (root / "KS005").rename(root.parent / "old")
    (root / "KS005/2019-04-02/007").mkdir(parents=True)
    assert paths(scans.scan()) == {"KS005/2019-04-02/007", "KS006/2019-04-02/001"}


def test_ruling_07_a_folder_whose_times_were_set_back_is_listed(root: Path, listed: list[bytes]) -> None:
    scans = start(root, listed)
    day = root / "KS005/2019-04-02"
    before = day.stat()
    (day / "002").mkdir()
    os.utime(day, ns=(before.st_atime_ns, before.st_mtime_ns))  # as rsync does
    assert "KS005/2019-04-02/002" in paths(scans.scan())


def test_ruling_07_a_folder_that_was_just_written_to_is_listed_again(
    root: Path, listed: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanner, "YOUNG", 3600 * 10**9)
    scans = start(root, listed)
    assert scans.scan().result is None
    assert len(listed) == 6  # the root, its subjects, their days


def test_a_folder_that_cannot_be_read_is_tried_at_every_scan() -> None:
    with folder_for_everyone() as place:
        (place / "KS005/2019-04-02/001").mkdir(parents=True)
        (place / "KS005").chmod(0)
        with without_rights():
            scans = Scanner(os.fsencode(place), IBL)
            first = seen(scans.scan())
            assert [one.path for one in first.unreadable] == [b"KS005"]
            assert scans.scan().result is None
        (place / "KS005").chmod(0o755)
        again = scans.scan()
        assert seen(again).unreadable == []
        assert paths(again) == {"KS005/2019-04-02/001"}


def test_a_root_that_is_gone_says_so_and_is_listed_anew_when_it_is_back(root: Path, listed: list[bytes]) -> None:
    scans = start(root, listed)
    root.rename(root.with_name("away"))
    again = seen(scans.scan())
    assert (again.state, again.found) == (RootState.MISSING, [])
    root.with_name("away").rename(root)
    assert paths(scans.scan()) == set(SESSIONS)
    assert len(listed) == 6


def test_afresh_lists_every_folder(root: Path, listed: list[bytes]) -> None:
    scans = start(root, listed)
    assert paths(scans.scan(afresh=True)) == set(SESSIONS)
    assert len(listed) == 6


def test_a_root_from_another_machine_is_listed_every_time(root: Path, listed: list[bytes]) -> None:
    scans = Scanner(os.fsencode(root), IBL, remembers=False)
    for _ in range(2):
        listed.clear()
        assert paths(scans.scan()) == set(SESSIONS)
        assert len(listed) == 6


def test_ruling_07_a_session_that_is_put_into_any_day_of_a_history_is_found_by_the_next_scan(
    root: Path, listed: list[bytes]
) -> None:
    days = [
        f"KS007/{2000 + number // 300}-{number % 300 // 25 + 1:02d}-{number % 25 + 1:02d}" for number in range(1500)
    ]
    for day in days:
        (root / day / "001").mkdir(parents=True)
    scans = Scanner(os.fsencode(root), IBL)
    before = paths(scans.scan())
    listed.clear()
    next_tick(root.parent)
    chosen = {days[0], days[700], days[-1]}
    for day in chosen:
        (root / day / "002").mkdir()
    assert paths(scans.scan()) - before == {f"{day}/002" for day in chosen}
    assert set(below(root, listed)) == chosen


@pytest.fixture
def long(root: Path, listed: list[bytes], monkeypatch: pytest.MonkeyPatch) -> tuple[Scanner, list[str]]:
    """A scanner of a history that is too long for one scan, and its days, the newest first."""
    monkeypatch.setattr(scanner, "FEW", 5)
    monkeypatch.setattr(scanner, "NEWEST", 1)
    days = [f"KS007/2018-{12 - number // 20:02d}-{20 - number % 20:02d}" for number in range(40)]
    for day in days:
        (root / day / "001").mkdir(parents=True)
    scans = Scanner(os.fsencode(root), IBL)
    scans.scan()
    listed.clear()
    next_tick(root.parent)
    return scans, ["KS005/2019-04-03", *days]


def test_ruling_07_in_a_very_long_history_the_newest_day_is_asked_every_time_and_each_half_of_the_others_in_turn(
    root: Path, listed: list[bytes], long: tuple[Scanner, list[str]]
) -> None:
    scans, days = long
    for day in days:
        (root / day / "002").mkdir()
    scans.scan()
    first = set(below(root, listed))
    scans.scan()
    assert days[0] in first
    assert len(first & set(days)) < len(days)
    assert set(days) <= set(below(root, listed))


def test_ruling_07_days_that_are_added_meanwhile_take_nobodys_turn(root: Path, long: tuple[Scanner, list[str]]) -> None:
    scans, days = long
    for number in range(4):  # each scan sees something new, and finds the order of the days anew
        (root / f"KS007/2020-01-{number + 1:02d}/001").mkdir(parents=True)
        scans.scan()
        next_tick(root.parent)
    for day in days:
        (root / day / "002").mkdir()
    found = set()
    for number in range(2):
        (root / f"KS007/2021-01-{number + 1:02d}/001").mkdir(parents=True)
        found = paths(scans.scan())
    assert {f"{day}/002" for day in days} <= found


def test_ruling_07_a_folder_that_a_hint_named_is_asked_out_of_turn(root: Path, long: tuple[Scanner, list[str]]) -> None:
    scans, days = long
    for day in days:
        (root / day / "002").mkdir()
        scans.hint(day.encode())
    assert {f"{day}/002" for day in days} <= paths(scans.scan())


def test_near_misses_are_told_again_from_what_is_known(root: Path, listed: list[bytes]) -> None:
    (root / "KS005/2019-04-02/001a").mkdir()
    scans = Scanner(os.fsencode(root), IBL)
    first = seen(scans.scan()).near_misses
    next_tick(root.parent)
    (root / "KS006/2019-04-02/01b").mkdir()
    again = seen(scans.scan())
    assert [miss.part for miss in first] == ["001a"]
    assert (sorted(miss.part for miss in again.near_misses), again.near_miss_count) == (["001a", "01b"], 2)


def test_ruling_07_a_folder_that_was_not_there_for_a_moment_is_listed_at_the_next_scan(
    root: Path, listed: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = start(root, listed)
    (root / "KS005/2019-04-02/002").mkdir()
    with monkeypatch.context() as moment:
        moment.setattr("labferry.detect.scan.os.scandir", gone_for_a_moment)
        assert paths(scans.scan()) == {"KS005/2019-04-03/001", "KS006/2019-04-02/001"}
    assert paths(scans.scan()) == {*SESSIONS, "KS005/2019-04-02/002"}


def gone_for_a_moment(path: bytes) -> object:
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
