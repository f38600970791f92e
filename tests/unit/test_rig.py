"""The sandbox's rig: what it writes is what an acquisition computer of the IBL writes, and how it writes it."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from labferry.cli import rig as command
from labferry.cli.main import cli
from labferry.errors import LabferryError
from labferry.sandbox.npy import npy_bytes
from labferry.sandbox.rig import (
    DEFAULT_SUBJECTS,
    FLAG_NAME,
    EventKind,
    Kind,
    Rig,
    RigEvent,
    RigSession,
    plan_session,
    write_session,
)
from support.trees import SHARED, build_real_tree, flag, needs_shared
from support.wait import wait_until

DAY = dt.date(2024, 2, 29)
TEMPORARY = re.compile(r"\..+\.[A-Za-z0-9]{6}|.+\.part")

# The registration patterns of upstream.md §1.1, as far as a rig's files concern them.
PATTERNS = (
    "_ibl_experiment.description.yaml",
    "alf/**/*.*.*",
    "raw_behavior_data/**/_iblrig_*.*",
    "raw_task_data_*/**/_iblrig_*.*",
    "raw_passive_data/**/_iblrig_*.*",
    "raw_behavior_data/**/_iblmic_*.*",
    "raw_video_data/**/_iblrig_*.*",
    "raw_video_data/**/_ibl_*.*",
    "raw_ephys_data/**/_iblrig_*.*",
    "raw_ephys_data/**/_spikeglx_*.*",
    "raw_ephys_data/**/_iblqc_*.*",
)


class FakeClock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def now(self) -> float:
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.seconds += seconds


def planned(kind: Kind = Kind.TRAINING, *, number: int = 1, seed: int = 0, scale: float = 1.0) -> RigSession:
    return plan_session("KS005", "cortexlab", DAY, number, kind, seed=seed, scale=scale)


def content(session: RigSession, path: str) -> bytes:
    (file,) = (file for file in session.files if file.path == path)
    return b"".join(file.pieces())


def task_collections(session: RigSession) -> list[str]:
    return [file.path.split("/")[0] for file in session.files if file.path.endswith("taskSettings.raw.json")]


def files_below(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- arrays -----------------------------------------------------------------------------------------------

INT64 = st.integers(min_value=-(2**63), max_value=2**63 - 1)
numbers = st.one_of(st.lists(INT64, min_size=1), st.lists(st.floats(allow_nan=True), max_size=50))


@given(numbers)
def test_npy_round_trip(values: list[int] | list[float]) -> None:
    loaded = np.load(io.BytesIO(npy_bytes(values)), allow_pickle=False)
    expected = np.array(values, dtype=np.int64 if values and isinstance(values[0], int) else np.float64)
    assert loaded.dtype == expected.dtype
    np.testing.assert_array_equal(loaded, expected)


@given(st.integers(1, 5), st.lists(INT64, min_size=5, max_size=5), st.integers(1, 4))
def test_npy_matrix_is_filled_row_by_row(columns: int, row: list[int], rows: int) -> None:
    values = row[:columns] * rows
    loaded = np.load(io.BytesIO(npy_bytes(values, columns=columns)), allow_pickle=False)
    np.testing.assert_array_equal(loaded, np.array(values, dtype=np.int64).reshape(rows, columns))


@given(st.integers(0, 10**6))
def test_npy_data_is_aligned(count: int) -> None:
    values = range(count % 100)
    assert (len(npy_bytes(values)) - 8 * len(values)) % 64 == 0


def test_npy_mixed_numbers_become_floats() -> None:
    loaded = np.load(io.BytesIO(npy_bytes([1, 2.5])))
    assert loaded.dtype == np.float64
    assert loaded.tolist() == [1.0, 2.5]


def test_npy_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="rows of 2"):
        npy_bytes([1, 2, 3], columns=2)
    with pytest.raises(OverflowError):
        npy_bytes([2**63])


# --- what a session consists of ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", Kind)
def test_plan_depends_on_its_arguments_only(kind: Kind) -> None:
    assert planned(kind) == planned(kind)
    assert {file.path: file.md5 for file in planned(kind).files} != {
        file.path: file.md5 for file in planned(kind, seed=1).files
    }


@pytest.mark.parametrize("kind", Kind)
def test_plan_knows_size_and_md5_of_every_file(kind: Kind) -> None:
    session = planned(kind)
    for file in session.files:
        pieces = list(file.pieces(1000))
        assert all(0 < len(piece) <= 1000 for piece in pieces)
        assert sum(map(len, pieces)) == file.size
        assert hashlib.md5(b"".join(pieces)).hexdigest() == file.md5
    assert session.size == sum(file.size for file in session.files)


def test_sessions_share_no_recorded_signal() -> None:
    one, other = ({file.md5 for file in planned(Kind.EPHYS, number=n).files if file.size > 20_000} for n in (1, 2))
    assert one
    assert not one & other


@pytest.mark.parametrize("kind", Kind)
def test_session_is_small_and_grows_with_scale(kind: Kind) -> None:
    assert 700_000 < planned(kind).size < 4_000_000
    assert planned(kind, scale=0.01).size < planned(kind).size / 4
    assert planned(kind, scale=3).size > 2 * planned(kind).size


@pytest.mark.parametrize("kind", Kind)
def test_registrable_files_are_those_the_patterns_find(tmp_path: Path, kind: Kind) -> None:
    session = planned(kind)
    folder = write_session(tmp_path, session)
    found = {path for pattern in PATTERNS for path in folder.glob(pattern) if path.is_file()}
    assert {str(path.relative_to(folder)) for path in found} == {
        file.path for file in session.files if file.registrable
    }
    assert [file.path for file in session.files if not file.registrable]


@needs_shared
@pytest.mark.parametrize("kind", Kind)
def test_registrable_files_have_one_dataset_type_and_one_format(kind: Kind) -> None:
    types = json.loads((SHARED / "data/dataset_types.json").read_text(encoding="utf-8"))
    formats = json.loads((SHARED / "data/data_formats.json").read_text(encoding="utf-8"))

    def fits(name: str, dataset_type: dict[str, str]) -> bool:
        if not dataset_type["filename_pattern"]:
            return ".".join(name.split(".")[:2]) == dataset_type["name"]
        return fnmatchcase(name.lower(), dataset_type["filename_pattern"].lower())

    for file in planned(kind).files:
        if not file.registrable:
            continue
        path = PurePosixPath(file.path)
        assert len([t["name"] for t in types if fits(path.name, t)]) == 1, file.path
        assert len([f["name"] for f in formats if f["file_extension"] == path.suffix]) == 1, file.path


@pytest.mark.parametrize("kind", Kind)
def test_arrays_load_and_agree_in_length(kind: Kind) -> None:
    session = planned(kind)
    rows: dict[tuple[str, str], set[int]] = {}
    for file in session.files:
        path = PurePosixPath(file.path)
        if path.suffix == ".npy":
            loaded = np.load(io.BytesIO(b"".join(file.pieces())), allow_pickle=False)
            rows.setdefault((str(path.parent), path.name.split(".")[0]), set()).add(len(loaded))
    assert rows
    assert all(len(lengths) == 1 for (folder, _), lengths in rows.items() if folder.startswith("alf"))


@pytest.mark.parametrize("kind", Kind)
def test_settings_belong_to_the_session(kind: Kind) -> None:
    session = planned(kind, number=7)
    starts = []
    for collection in task_collections(session):
        settings = json.loads(content(session, f"{collection}/_iblrig_taskSettings.raw.json"))
        start, end = (dt.datetime.fromisoformat(settings[f"SESSION_{key}_TIME"]) for key in ("START", "END"))
        assert (settings["SUBJECT_NAME"], settings["SESSION_NUMBER"]) == ("KS005", 7)
        assert settings["RIG_NAME"].startswith("_iblrig_cortexlab_")
        assert settings["IBLRIG_VERSION"].startswith("8.")
        assert start.date() == end.date() == DAY
        assert start.tzinfo is None
        assert start < end
        starts.append(start)
    assert starts == sorted(starts)
    assert starts


@pytest.mark.parametrize("kind", [Kind.TRAINING, Kind.BIASED, Kind.EPHYS])
def test_trials_agree_with_settings(kind: Kind) -> None:
    session = planned(kind)
    collection = task_collections(session)[0]
    settings = json.loads(content(session, f"{collection}/_iblrig_taskSettings.raw.json"))
    trials = [json.loads(line) for line in content(session, f"{collection}/_iblrig_taskData.raw.jsonable").splitlines()]
    assert [trial["trial_num"] for trial in trials] == list(range(settings["NTRIALS"]))
    assert sum(trial["trial_correct"] for trial in trials) == settings["NTRIALS_CORRECT"]
    assert sum(trial["reward_amount"] for trial in trials) == pytest.approx(settings["TOTAL_WATER_DELIVERED"])
    intervals = np.load(io.BytesIO(content(session, "alf/_ibl_trials.intervals.npy")))
    assert intervals.shape == (len(trials), 2)
    assert (np.diff(intervals.ravel()) > 0).all()


@pytest.mark.parametrize("kind", Kind)
def test_description_names_folders_that_exist(kind: Kind) -> None:
    session = planned(kind)
    description = yaml.safe_load(content(session, "_ibl_experiment.description.yaml"))
    tasks = [task["collection"] for entry in description["tasks"] for task in entry.values()]
    devices = [part["collection"] for device in description["devices"].values() for part in device.values()]
    assert sorted(tasks) == sorted(task_collections(session))
    for collection in (*tasks, *devices):
        assert any(file.path.startswith(f"{collection}/") for file in session.files), collection


@pytest.mark.parametrize(
    ("subject", "lab", "number", "scale"),
    [
        ("KS 005", "cortexlab", 1, 1),
        ("..", "cortexlab", 1, 1),
        ("../KS005", "cortexlab", 1, 1),
        ("", "cortexlab", 1, 1),
        ("KS005", "lab-name", 1, 1),
        ("KS005", "cortexlab", 0, 1),
        ("KS005", "cortexlab", 1000, 1),
        ("KS005", "cortexlab", 1, 0),
    ],
)
def test_plan_refuses_what_cannot_be_a_session(subject: str, lab: str, number: int, scale: float) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        plan_session(subject, lab, DAY, number, scale=scale)


# --- how a session is written -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", Kind)
def test_written_session_is_the_planned_one(tmp_path: Path, kind: Kind) -> None:
    session = planned(kind)
    folder = write_session(tmp_path, session)
    assert folder == tmp_path / "KS005" / "2024-02-29" / "001"
    expected = {file.path: file.md5 for file in session.files}
    assert files_below(folder) == expected | {FLAG_NAME: hashlib.md5(b"").hexdigest()}


def test_flag_is_last_and_files_come_in_no_order(tmp_path: Path) -> None:
    session = planned()
    events: list[EventKind] = []
    written: list[str] = []

    def look(event: RigEvent) -> None:
        events.append(event.kind)
        flagged = (event.folder / FLAG_NAME).exists()
        assert flagged == (event.kind is EventKind.FLAG_WRITTEN)
        if event.file is not None:
            written.append(event.file.path)
            assert (event.folder / event.file.path).stat().st_size == event.file.size

    write_session(str(tmp_path), session, on_event=look)
    assert events[0] is EventKind.SESSION_STARTED
    assert events[-1] is EventKind.FLAG_WRITTEN
    assert sorted(written) == sorted(file.path for file in session.files)
    assert written != sorted(written)


def test_files_grow_in_pieces_some_under_temporary_names(tmp_path: Path) -> None:
    session = planned(Kind.EPHYS, scale=0.2)
    clock = FakeClock()
    sizes: dict[str, set[int]] = {}

    def look(seconds: float) -> None:
        clock.sleep(seconds)
        for path in tmp_path.rglob("*"):
            if path.is_file():
                sizes.setdefault(path.name, set()).add(path.stat().st_size)

    write_session(tmp_path, session, rate=100_000, clock=clock, sleep=look)
    growing = {name for name, seen in sizes.items() if len(seen) > 1}
    assert any(name.endswith(".part") for name in sizes)
    assert any(name.startswith(".") for name in sizes)
    assert growing - {name for name in growing if TEMPORARY.fullmatch(name)}
    assert not [path for path in tmp_path.rglob("*") if TEMPORARY.fullmatch(path.name)]


@pytest.mark.parametrize("rate", [50_000.0, 2_000_000.0])
def test_rate_is_kept(tmp_path: Path, rate: float) -> None:
    session = planned()
    clock = FakeClock()
    begin = clock.monotonic()
    write_session(tmp_path, session, rate=rate, clock=clock, sleep=clock.sleep)
    assert clock.monotonic() - begin == pytest.approx(session.size / rate, rel=0.01)


def test_without_rate_nobody_sleeps(tmp_path: Path) -> None:
    def never(seconds: float) -> None:
        raise AssertionError(f"slept {seconds} s")

    assert write_session(tmp_path, planned(), clock=FakeClock(), sleep=never).is_dir()


def test_existing_session_is_left_alone(tmp_path: Path) -> None:
    session = planned()
    (tmp_path / session.relative).mkdir(parents=True)
    with pytest.raises(LabferryError, match="already there") as refused:
        write_session(tmp_path, session)
    assert refused.value.code == "session_exists"
    assert list((tmp_path / session.relative).iterdir()) == []


def test_refused_write_has_a_name_and_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "KS005").write_text("in the way")
    with pytest.raises(LabferryError, match=r"cannot write to .*KS005") as refused:
        write_session(tmp_path, planned())
    assert refused.value.code == "rig_cannot_write"
    assert refused.value.hint


# --- several sessions -------------------------------------------------------------------------------------


def test_rig_writes_two_at_once_and_not_in_their_order(tmp_path: Path) -> None:
    running: set[str] = set()
    most = 0

    def look(event: RigEvent) -> None:
        nonlocal most
        if event.kind is EventKind.SESSION_STARTED:
            running.add(event.session.relative)
        elif event.kind is EventKind.FLAG_WRITTEN:
            running.remove(event.session.relative)
        most = max(most, len(running))

    rig = Rig(tmp_path, sessions=5, scale=0.05, on_event=look)
    finished = rig.run()
    assert most == 2
    assert not running
    assert sorted(s.relative for s in finished) == sorted(s.relative for s in rig.sessions)
    assert finished != rig.sessions
    for session in finished:
        assert (tmp_path / session.relative / FLAG_NAME).is_file()


def test_rig_covers_both_labs_and_all_subjects(tmp_path: Path) -> None:
    rig = Rig(tmp_path, sessions=25, scale=0.01)
    assert {session.lab for session in rig.sessions[:2]} == {"cortexlab", "mainenlab"}
    assert {session.subject: session.lab for session in rig.sessions} == dict(DEFAULT_SUBJECTS)
    assert len({session.relative for session in rig.sessions}) == 25
    assert all(DEFAULT_SUBJECTS[session.subject] == session.lab for session in rig.sessions)


def test_rig_dates_no_session_in_the_future(tmp_path: Path) -> None:
    rig = Rig(tmp_path, sessions=3, scale=0.01, today=dt.date(2024, 3, 1))
    assert {session.date for session in rig.sessions} == {dt.date(2024, 2, 29)}
    assert {s.date for s in Rig(tmp_path, sessions=2, scale=0.01).sessions} <= {
        dt.date.today() - dt.timedelta(days=days) for days in (1, 2)
    }


def test_rig_takes_the_next_free_number(tmp_path: Path) -> None:
    day = tmp_path / "KS005" / "2024-02-29"
    for name in ("001", "4", "notes", "9999"):
        (day / name).mkdir(parents=True)
    rig = Rig(tmp_path, {"KS005": "cortexlab"}, sessions=2, scale=0.01, today=dt.date(2024, 3, 1))
    assert [session.number for session in rig.sessions] == [5, 6]
    assert len(rig.run()) == 2
    assert Rig(tmp_path, {"KS005": "cortexlab"}, sessions=1, today=dt.date(2024, 3, 1)).sessions[0].number == 7


def test_rig_rate_is_that_of_all_sessions_together(tmp_path: Path) -> None:
    clock = FakeClock()
    begin = clock.monotonic()
    rig = Rig(tmp_path, sessions=3, scale=0.1, rate=100_000, clock=clock, sleep=clock.sleep)
    rig.run()
    seconds = sum(session.size for session in rig.sessions) / 100_000
    assert clock.monotonic() - begin == pytest.approx(seconds, rel=0.01)


def test_rig_needs_a_root_subjects_and_kinds(tmp_path: Path) -> None:
    with pytest.raises(LabferryError, match="is not a directory") as refused:
        Rig(tmp_path / "none")
    assert refused.value.code == "rig_no_root"
    with pytest.raises(ValueError, match="needs a subject"):
        Rig(tmp_path, {})
    with pytest.raises(ValueError, match="needs a subject and a kind"):
        Rig(tmp_path, kinds=())


# --- the command ------------------------------------------------------------------------------------------


def labferry_rig(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["rig", *arguments])


def test_command_prints_a_line_per_finished_session(tmp_path: Path) -> None:
    result = labferry_rig("--root", str(tmp_path), "--sessions", "3", "--scale", "0.01")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 3
    folders = {line.split("  ")[-1] for line in lines}
    assert folders == {str(path.parent) for path in tmp_path.rglob(FLAG_NAME)}


def test_command_json_is_one_object_per_session(tmp_path: Path) -> None:
    result = labferry_rig(
        *("--root", str(tmp_path), "--sessions", "2", "--scale", "0.01", "--json", "--kind", "passive"),
        *("--subject", "X1:otherlab", "--subject", "ZM_1150", "--rate", "500M"),
    )
    assert result.exit_code == 0
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(set(answer) == {"schema", "ok", "data", "error"} for answer in answers)
    assert {(a["data"]["subject"], a["data"]["lab"]) for a in answers} == {
        ("X1", "otherlab"),
        ("ZM_1150", "mainenlab"),
    }
    for answer in answers:
        data = answer["data"]
        files = [path for path in Path(data["path"]).rglob("*") if path.is_file() and path.name != FLAG_NAME]
        assert data["files"] == len(files) == data["registrable"] + 2
        assert data["bytes"] == sum(path.stat().st_size for path in files)


def test_command_names_what_is_wrong_and_the_way_out(tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    result = labferry_rig("--root", missing)
    assert result.exit_code == 1
    assert result.stderr == f"error: {missing} is not a directory\nhint: Create it, or give another --root.\n"
    answer = json.loads(labferry_rig("--root", missing, "--json").stdout)
    assert answer["ok"] is False
    assert answer["error"]["code"] == "rig_no_root"


@pytest.mark.parametrize(
    "wrong", [("--rate", "fast"), ("--rate", "0"), ("--subject", "K S"), ("--kind", "x"), ("--sessions", "0")]
)
def test_command_refuses_wrong_usage(tmp_path: Path, wrong: tuple[str, str]) -> None:
    result = labferry_rig("--root", str(tmp_path), *wrong)
    assert result.exit_code == 2
    assert wrong[1] in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_command_knows_every_kind() -> None:
    (option,) = (option for option in command.rig.params if option.name == "kinds")
    assert tuple(option.type.to_info_dict()["choices"]) == tuple(Kind)


@pytest.fixture
def slow_rig(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    start = "from labferry.cli.rig import rig; rig()"
    arguments = ["--root", str(tmp_path), "--sessions", "2", "--rate", "50k"]
    with subprocess.Popen(
        [sys.executable, "-c", start, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_command_interrupted_leaves_no_flag(tmp_path: Path, slow_rig: subprocess.Popen[str]) -> None:
    wait_until(lambda: [path for path in tmp_path.rglob("*") if path.is_file()], what="the first file")
    slow_rig.send_signal(signal.SIGINT)
    output, errors = slow_rig.communicate(timeout=20)
    assert slow_rig.returncode == 130
    assert (output, errors) == ("", "Interrupted: sessions without a flag are unfinished.\n")
    assert list(tmp_path.rglob(FLAG_NAME)) == []


def test_command_imports_the_rig_only_when_it_runs() -> None:
    look = "import sys, labferry.cli.rig; print('labferry.sandbox' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", look], text=True) == "False\n"


# --- the helpers of the tests -----------------------------------------------------------------------------


def test_wait_until_returns_what_it_waited_for_or_fails() -> None:
    values = iter((0, None, "there"))
    assert wait_until(lambda: next(values)) == "there"
    with pytest.raises(AssertionError, match="the sun did not happen within 0 s"):
        wait_until(lambda: False, timeout=0, what="the sun")


@needs_shared
def test_real_tree_holds_every_listed_file_and_the_raw_folders(tmp_path: Path) -> None:
    tree = build_real_tree(tmp_path, cap=4096)
    by_path = {session.relative: session for session in tree}
    assert len(by_path) == len(tree) == 8
    assert sum(len(session.files) for session in tree) == 250 + 12
    for session in tree:
        assert session.folder == tmp_path / session.relative
        assert set(files_below(session.folder)) == set(session.files)
    mouse = by_path["mainenlab/Subjects/_iblrig_test_mouse/2019-07-01/002"]
    settings = json.loads((mouse.folder / "raw_behavior_data/_iblrig_taskSettings.raw.json").read_text())
    assert settings["PYBPOD_PROTOCOL"] == "_iblrig_tasks_biasedChoiceWorld"
    listed = by_path["cortexlab/Subjects/KS005/2019-04-04/004"]
    settings = json.loads((listed.folder / "raw_behavior_data/_iblrig_taskSettings.raw.json").read_text())
    assert (settings["SUBJECT_NAME"], settings["SESSION_NUMBER"]) == ("KS005", "004")
    assert flag(listed) == listed.folder / FLAG_NAME


@needs_shared
def test_real_tree_is_the_same_every_time_and_keeps_sizes_when_sparse(tmp_path: Path) -> None:
    one = build_real_tree(tmp_path / "one", cap=512, with_labs=False)
    other = build_real_tree(tmp_path / "other", cap=512, with_labs=False)
    assert files_below(tmp_path / "one") == files_below(tmp_path / "other")
    assert [session.relative for session in one] == [session.relative for session in other]
    assert {session.lab for session in one} == {"cortexlab", "mainenlab"}
    sparse = {s.subject: s for s in build_real_tree(tmp_path / "sparse", cap=512, large="sparse")}
    probe = sparse["ZFM-01935"].folder / "raw_ephys_data/probe00"
    recording = (probe / "_spikeglx_ephysData_g0_t0.imec0.ap.cbin").stat()
    assert recording.st_size == 45_245_152_454
    assert recording.st_blocks * 512 < 1_000_000
