"""When a session is complete, on a clock that the test moves."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from labferry.detect.completion import Complete, Rules, Settling, Verdict, Watched, hinted, observe
from labferry.detect.evidence import Evidence, Wanted
from labferry.detect.signature import Signature, Unreadable, take_signature
from labferry.errors import ConfigError

RULES = Rules(quiet=60, quiet_without_signal=600)


def looks_like(content: int, **fields: Any) -> Signature:
    plain = Signature(b"%d" % content, files=3, size=30, newest_mtime_ns=0, temporary=(), unreadable=())
    return replace(plain, **fields)


class Session:
    """One session under watch: a clock, and the state that goes from look to look."""

    def __init__(self, rules: Rules = RULES, *, signal_seen: bool = False) -> None:
        self.rules = rules
        self.now = 1000.0
        self.state = Watched(signal_seen=signal_seen)

    def look(self, signature: Signature | None, *, after: float = 0.0, signal: bool = False) -> Verdict:
        self.now += after
        self.state, verdict = observe(self.state, signature, signal, self.now, self.rules)
        return verdict

    def settling(self, signature: Signature | None, *, after: float = 0.0, signal: bool = False) -> Settling:
        verdict = self.look(signature, after=after, signal=signal)
        assert isinstance(verdict, Settling), verdict
        return verdict

    def complete(self, signature: Signature | None, *, after: float = 0.0, signal: bool = False) -> Complete:
        verdict = self.look(signature, after=after, signal=signal)
        assert isinstance(verdict, Complete), verdict
        return verdict


def test_signal_and_quiet_make_a_session_complete() -> None:
    session = Session()
    assert session.settling(looks_like(1), signal=True).code == "settling"
    assert session.settling(looks_like(1), after=59.9, signal=True).code == "settling"
    complete = session.complete(looks_like(1), after=0.1, signal=True)
    assert complete.signature == looks_like(1)
    assert complete.signal_seen
    assert complete.since == 1000.0


def test_one_look_is_never_enough_whatever_the_quiet_period() -> None:
    session = Session(Rules(quiet=0))
    assert session.settling(looks_like(1), signal=True).next_look_after > 0
    session.complete(looks_like(1), after=0.01, signal=True)


def test_done_01_a_growing_file_holds_it_until_the_last_write_and_the_quiet_period(tmp_path: Path) -> None:
    session = Session()
    file = tmp_path / "growing"
    (tmp_path / "raw_session.flag").touch()
    start = session.now
    next_write, last_write = start, start + 600
    while True:
        while next_write <= min(session.now, last_write):
            with file.open("ab") as stream:
                stream.write(b"x")
            next_write += 20
        verdict = session.look(take_signature(os.fsencode(tmp_path)), signal=True)
        if isinstance(verdict, Complete):
            break
        session.now = min(session.state.next_look, next_write if next_write <= last_write else session.state.next_look)
    assert last_write + RULES.quiet <= session.now <= last_write + RULES.quiet + RULES.look_every


def test_ruling_07_found_by_scan_alone_it_takes_no_longer_than_quiet_and_one_scan() -> None:
    session = Session()
    session.settling(looks_like(1), signal=True)
    changed_at = session.now + 0.001
    while True:
        verdict = session.look(looks_like(2), after=session.state.next_look - session.now, signal=True)
        if isinstance(verdict, Complete):
            break
    assert session.now - changed_at <= RULES.quiet + RULES.look_every


def test_ruling_07_found_by_hint_it_takes_the_quiet_period_and_a_second() -> None:
    session = Session()
    session.settling(looks_like(1))
    session.now = 1012.0
    session.state = hinted(session.state, session.now, RULES)
    flag_at = session.now
    while True:
        verdict = session.look(looks_like(1), after=session.state.next_look - session.now, signal=True)
        if isinstance(verdict, Complete):
            break
    assert session.now - flag_at <= RULES.quiet + 1


def test_done_05_quiet_before_the_signal_does_not_count() -> None:
    session = Session()
    session.settling(looks_like(1))
    session.settling(looks_like(1), after=7200)
    assert session.settling(looks_like(1), after=1, signal=True).code == "settling"
    session.settling(looks_like(2), after=59, signal=True)  # the collection that arrives after the flag
    session.settling(looks_like(2), after=59, signal=True)
    session.complete(looks_like(2), after=1, signal=True)


def test_ruling_04_a_signal_stays_seen_when_its_flag_is_deleted() -> None:
    session = Session()
    session.settling(looks_like(1), signal=True)
    assert session.complete(looks_like(1), after=60, signal=False).signal_seen


def test_ruling_04_a_signal_that_only_an_event_saw_is_latched_too() -> None:
    session = Session()
    session.settling(looks_like(1))
    session.state = hinted(session.state, session.now, RULES, signal_seen=True)
    session.settling(looks_like(1), after=0.5, signal=False)
    session.complete(looks_like(1), after=59.5, signal=False)


def test_without_a_signal_it_waits_and_says_for_what() -> None:
    session = Session()
    session.settling(looks_like(1))
    verdict = session.settling(looks_like(1), after=100_000)
    assert verdict.code == "waiting_signal"
    unsaid = "its files do not say themselves that it is finished: no experiment description"
    assert verdict.why == f"no raw_session.flag yet, and {unsaid}"
    assert verdict.since == 1000.0


def test_where_the_rules_allow_it_a_longer_quiet_replaces_the_signal() -> None:
    session = Session(Rules(completion="quiet", quiet=60, quiet_without_signal=600))
    assert session.settling(looks_like(1)).code == "settling"
    session.settling(looks_like(1), after=599)
    assert not session.complete(looks_like(1), after=1).signal_seen


def test_where_no_signal_is_needed_one_shortens_the_quiet_all_the_same() -> None:
    session = Session(Rules(completion="quiet", quiet=60, quiet_without_signal=600))
    session.settling(looks_like(1), signal=True)
    assert session.complete(looks_like(1), after=60).signal_seen


def test_a_signal_before_its_data_is_not_a_session() -> None:
    session = Session()
    empty = looks_like(0, files=0, size=0)
    session.settling(empty, signal=True)
    assert session.settling(empty, after=3600, signal=True).code == "signal_before_data"


def test_an_empty_folder_is_never_complete() -> None:
    session = Session(Rules(completion="quiet"))
    empty = looks_like(0, files=0, size=0)
    session.settling(empty)
    assert "empty" in session.settling(empty, after=100_000).why


def test_done_03_a_temporary_name_holds_it_and_its_rename_starts_the_quiet_period() -> None:
    session = Session()
    copying = looks_like(1, temporary=(b"raw_video_data/.x.AbC123",))
    session.settling(copying, signal=True)
    verdict = session.settling(copying, after=3600, signal=True)
    assert verdict.code == "temporary_files"
    assert ".x.AbC123" in verdict.why
    session.settling(looks_like(2), after=10, signal=True)
    session.settling(looks_like(2), after=59, signal=True)
    session.complete(looks_like(2), after=1, signal=True)


def test_done_10_what_cannot_be_read_holds_it_and_is_named() -> None:
    session = Session()
    closed = looks_like(1, unreadable=tuple(Unreadable(b"p%02d" % n, "Permission denied") for n in range(25)))
    session.settling(closed, signal=True)
    verdict = session.settling(closed, after=3600, signal=True)
    assert verdict.code == "unreadable"
    assert "p00 (Permission denied)" in verdict.why
    assert verdict.why.endswith("and 5 more")


def test_a_folder_that_was_away_starts_its_quiet_period_anew() -> None:
    session = Session()
    session.settling(looks_like(1), signal=True)
    assert session.settling(None, after=30).code == "unreadable"
    session.settling(looks_like(1), after=30)
    session.settling(looks_like(1), after=59)
    session.complete(looks_like(1), after=1)


def test_done_07_file_times_in_the_future_or_the_far_past_do_not_matter(tmp_path: Path) -> None:
    for name, seconds in (("future", 4_000_000_000), ("past", 0)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (seconds, seconds))
    session = Session()
    session.settling(take_signature(os.fsencode(tmp_path)), signal=True)
    session.settling(take_signature(os.fsencode(tmp_path)), after=59)
    session.complete(take_signature(os.fsencode(tmp_path)), after=1)


def test_done_08_a_restart_in_the_quiet_period_leads_to_the_same_decision_later() -> None:
    before = Session()
    before.settling(looks_like(1), signal=True)
    before.settling(looks_like(1), after=59)

    after = Session(signal_seen=before.state.signal_seen)  # the latched signal is what the journal keeps
    after.now = 3.0  # the clock of another boot
    after.settling(looks_like(1))
    after.settling(looks_like(1), after=59)
    assert after.complete(looks_like(1), after=1).signature == looks_like(1)


def test_ruling_05_looks_become_rare_while_nothing_happens() -> None:
    session = Session()
    intervals = []
    for _ in range(10):
        verdict = session.settling(looks_like(1), after=max(session.state.next_look - session.now, 0))
        intervals.append(verdict.next_look_after)
    assert intervals == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert session.settling(looks_like(2), after=3600).next_look_after == 30


@pytest.mark.parametrize(
    "obstacle",
    [
        looks_like(1, temporary=(b"x.part",)),
        looks_like(1, unreadable=(Unreadable(b"closed", "Permission denied"),)),
        looks_like(1, files=0),
    ],
)
def test_ruling_07_looks_do_not_become_rare_once_the_signal_was_seen(obstacle: Signature) -> None:
    session = Session()
    for _ in range(5):
        after = max(session.state.next_look - session.now, 0)
        assert session.settling(obstacle, after=after, signal=True).next_look_after == RULES.look_every


def test_ruling_05_with_a_signal_looks_become_rare_too_but_never_late_by_more_than_a_hundredth() -> None:
    session = Session()
    waiting = Evidence(missing=(Wanted("raw_video_data", "no_video"),))
    looks, until = 0, session.now + 10 * 86_400
    while session.now < until:
        session.now = max(session.now, session.state.next_look)
        session.state, verdict = observe(session.state, looks_like(1), True, session.now, RULES, waiting)
        assert isinstance(verdict, Settling)
        stood_still = session.now - verdict.since
        assert RULES.look_every <= verdict.next_look_after <= max(RULES.look_every, stood_still / 100)
        looks += 1
    assert verdict.next_look_after == RULES.look_at_least_every
    assert looks < 10 * 96, "less often than every fifteen minutes, on the whole"
    session.state, verdict = observe(session.state, looks_like(2), True, session.state.next_look, RULES, waiting)
    assert isinstance(verdict, Settling)
    assert verdict.next_look_after == RULES.look_every, "and at once again when something changes"


def test_ruling_05_a_hint_brings_the_looks_back() -> None:
    session = Session()
    for _ in range(6):
        session.settling(looks_like(1), after=max(session.state.next_look - session.now, 0))
    session.now += 100
    session.state = hinted(session.state, session.now, RULES)
    assert session.state.next_look - session.now < 1
    assert session.settling(looks_like(1), after=1).next_look_after == 30


def test_a_storm_of_hints_does_not_become_a_storm_of_looks() -> None:
    session = Session()
    session.settling(looks_like(1))
    looks = []
    for step in range(6000):  # ten minutes with an event every tenth of a second
        session.now = 1000.0 + step / 10
        session.state = hinted(session.state, session.now, RULES)
        if session.state.next_look <= session.now:
            looks.append(session.now)
            session.settling(looks_like(step))
    assert 15 <= len(looks) <= 20  # one in 30 s, and none of them late
    assert max(b - a for a, b in pairwise(looks)) <= RULES.look_every + 0.2


def test_the_quiet_period_is_watched_as_often_as_scans_run() -> None:
    session = Session(Rules(quiet=50))
    assert session.settling(looks_like(1), signal=True).next_look_after == 30
    assert session.settling(looks_like(1), after=30).next_look_after == 20


def test_a_rule_of_another_layout_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="manifest"):
        Rules(completion="manifest")
