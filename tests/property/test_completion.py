"""Whatever happens to a session, and to the clocks: complete means quiet, and quiet becomes complete."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from labferry.detect.completion import RULES_HERE, Complete, Rules, Watched, hinted, observe
from labferry.detect.evidence import NO_EVIDENCE, Evidence, Wanted, judge, late_devices, missing_collections
from labferry.detect.signature import Signature, Unreadable
from labferry.sessions.record import parse_description


@dataclass(frozen=True)
class Folder:
    """What a session's folder may look like; `content` stands for everything the digest covers."""

    content: int = 0
    files: int = 1
    temporary: bool = False
    closed: bool = False
    there: bool = True

    def signature(self, wall: int) -> Signature | None:
        if not self.there:
            return None
        return Signature(
            digest=repr((self.content, self.files, self.temporary, self.closed)).encode(),
            files=self.files,
            size=self.files,
            newest_mtime_ns=wall,
            temporary=(b"x.part",) if self.temporary else (),
            unreadable=(Unreadable(b"closed", "Permission denied"),) if self.closed else (),
        )


@dataclass(frozen=True)
class Step:
    """Time passes, then something happens or the folder is looked at."""

    passes: float
    what: str  # look, change, restart, hint, wall
    folder: Folder = field(default_factory=Folder)
    signal: bool = False
    wall: int = 0
    evidence: Evidence = NO_EVIDENCE


ALL_THERE = Evidence(not_ended="", recordings=1)
few = st.sampled_from([(), (), ("one",), ("one", "two")])
evidences = st.builds(
    Evidence,
    late_devices=few,
    missing=st.sampled_from([(), (), (Wanted("raw_video_data", "no_video"),)]),
    not_ended=st.sampled_from(["", "no end"]),
    recordings=st.integers(0, 2),
    broken=few,
)
folders = st.builds(
    Folder,
    content=st.integers(0, 2),
    files=st.sampled_from([0, 1, 1, 1]),
    temporary=st.sampled_from([False, False, True]),
    closed=st.sampled_from([False, False, False, True]),
    there=st.sampled_from([True, True, True, False]),
)
steps = st.builds(
    Step,
    passes=st.sampled_from([0.0, 0.01, 1.0, 5.0, 9.99, 10.0, 30.0, 100.0]) | st.floats(0, 1000),
    what=st.sampled_from(["look", "look", "look", "change", "signal", "hint", "restart", "wall"]),
    folder=folders,
    signal=st.booleans(),
    wall=st.integers(-(2**62), 2**62),
    evidence=st.just(ALL_THERE) | evidences,
)
rules = st.builds(
    Rules,
    completion=st.sampled_from(RULES_HERE),
    quiet=st.sampled_from([0.0, 5.0, 10.0, 60.0]),
    quiet_without_signal=st.sampled_from([10.0, 100.0]),
)


def _is_enough(evidence: Evidence, completion: str, *, signalled: bool) -> bool:
    """Say again, in other words, what each rule of `completion` asks for beside quiet."""
    copied, whole = not evidence.late_devices, not evidence.broken
    return {
        "auto": copied and whole and not evidence.missing and (signalled or not evidence.not_ended),
        "flag": copied and signalled,
        "spikeglx": whole and evidence.recordings > 0,
        "quiet": True,
    }[completion]


@given(st.lists(steps, max_size=60), rules)
def test_done_01_done_07_complete_only_after_two_equal_looks_a_quiet_period_apart(
    history: list[Step], rules: Rules
) -> None:
    now, wall = 0.0, 0
    folder, signal, ever_signalled = Folder(), False, False
    state = Watched()
    looks: list[tuple[float, Signature | None]] = []  # by this process
    for step in history:
        now += step.passes
        match step.what:
            case "change":
                folder = step.folder
            case "signal":
                signal = step.signal
            case "wall":
                wall = step.wall
            case "hint":
                state = hinted(state, now, rules)
            case "restart":
                state, looks = Watched(signal_seen=state.signal_seen), []
            case "look":
                signature = folder.signature(wall)
                ever_signalled = ever_signalled or signal
                looks.append((now, signature))
                state, verdict = observe(state, signature, signal, now, rules, step.evidence)
                assert state.signal_seen == ever_signalled
                if not isinstance(verdict, Complete):
                    assert 0 < verdict.next_look_after <= rules.look_at_least_every
                    assert state.next_look == now + verdict.next_look_after
                    continue
                assert signature is not None
                assert signature.files
                assert not signature.temporary
                assert not signature.unreadable
                assert _is_enough(step.evidence, rules.completion, signalled=ever_signalled)
                equal = []
                for at, seen in reversed(looks):
                    if seen is None or seen.digest != signature.digest:
                        break
                    equal.append(at)
                assert len(equal) >= 2
                assert equal[0] - equal[-1] >= (rules.quiet if ever_signalled else rules.quiet_without_signal)


@given(st.lists(steps, max_size=30), rules, st.floats(0, 1000))
def test_done_08_a_quiet_session_becomes_complete_in_time_whatever_went_before(
    history: list[Step], rules: Rules, offset: float
) -> None:
    state, now = Watched(), 0.0
    for step in history:
        now += step.passes
        if step.what == "hint":
            state = hinted(state, now, rules, signal_seen=step.signal)
        elif step.what == "restart":
            state = Watched(signal_seen=state.signal_seen)
        else:
            state, _ = observe(state, step.folder.signature(step.wall), step.signal, now, rules, step.evidence)

    now += offset
    last_change = now
    state = hinted(state, now, rules)
    while True:
        now = max(now, state.next_look)
        state, verdict = observe(state, Folder(content=99).signature(0), True, now, rules, ALL_THERE)
        if isinstance(verdict, Complete):
            break
        assert now - last_change <= rules.quiet + 1
    assert now - last_change <= rules.quiet + 1


@given(evidences, evidences, st.sampled_from(RULES_HERE), st.booleans())
def test_done_05_more_that_is_missing_never_completes_a_session(
    one: Evidence, more: Evidence, completion: str, again: bool
) -> None:
    both = Evidence(
        one.late_devices + more.late_devices,
        one.missing + more.missing,
        one.not_ended or more.not_ended,
        min(one.recordings, more.recordings),
        one.broken + more.broken,
    )
    alone, together = judge(one, completion, again=again), judge(both, completion, again=again)
    assert bool(alone.code) == bool(alone.why)
    assert together.code or not alone.code
    assert together.not_ended or not alone.not_ended


names = st.sampled_from(["2024-03-01_1_KS005@video", "2024-03-01_1_KS005@ephys", "odd"])
words = st.lists(st.sampled_from(["pending", "complete", "final", "error"]), max_size=3)


@given(st.sets(names), st.dictionaries(names, words))
def test_done_05_a_device_is_copied_when_all_it_says_is_that_it_is(
    stubs: set[str], statuses: dict[str, list[str]]
) -> None:
    late = late_devices(stubs, statuses)
    copied = {stem for stem, said in statuses.items() if said and set(said) <= {"complete", "final"}}
    assert len(late) == len((stubs | statuses.keys()) - copied)


parts = st.sampled_from(["raw_video_data", "raw_imaging_data_00", "probe00", "x"])
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)


@given(paths, st.sets(paths))
def test_done_05_a_folder_is_there_when_it_or_one_below_it_holds_a_file(wanted: str, folders: set[str]) -> None:
    description = parse_description(f"tasks:\n- task:\n    collection: {wanted}\n".encode())
    there = any(f"{folder}/".startswith(f"{wanted}/") for folder in folders)
    assert missing_collections([description], folders) == (() if there else (Wanted(wanted, "no_behaviour"),))
