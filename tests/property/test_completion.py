"""Whatever happens to a session, and to the clocks: complete means quiet, and quiet becomes complete."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from labferry.detect.completion import Complete, Rules, Watched, hinted, observe
from labferry.detect.signature import Signature, Unreadable


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
)
rules = st.builds(
    Rules,
    completion=st.sampled_from(["auto", "flag", "quiet"]),
    quiet=st.sampled_from([0.0, 5.0, 10.0, 60.0]),
    quiet_without_signal=st.sampled_from([10.0, 100.0]),
)


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
                state, verdict = observe(state, signature, signal, now, rules)
                assert state.signal_seen == ever_signalled
                if not isinstance(verdict, Complete):
                    assert 0 < verdict.next_look_after <= rules.look_at_least_every
                    assert state.next_look == now + verdict.next_look_after
                    continue
                assert signature is not None
                assert signature.files
                assert not signature.temporary
                assert not signature.unreadable
                assert ever_signalled or rules.completion == "quiet"
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
            state, _ = observe(state, step.folder.signature(step.wall), step.signal, now, rules)

    now += offset
    last_change = now
    state = hinted(state, now, rules)
    while True:
        now = max(now, state.next_look)
        state, verdict = observe(state, Folder(content=99).signature(0), True, now, rules)
        if isinstance(verdict, Complete):
            break
        assert now - last_change <= rules.quiet + 1
    assert now - last_change <= rules.quiet + 1
