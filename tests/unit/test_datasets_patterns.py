"""Which files are asked for: against pathlib's own globbing with ibllib's patterns on a real tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from labferry.datasets import Matcher
from labferry.errors import ConfigError
from labferry.sessions.walk import walk_session

# ibllib's fourteen, in its order and with its twelfth as it is.
IBLLIB = [
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
    "spikesorters/**/_kilosort_*.*spikesorters/**/_kilosort_*.*",
    "raw_widefield_data/**/_ibl_*.*",
    "raw_photometry_data/**/_neurophotometrics_*.*",
]
EXCLUDED = {".flag", ".error", ".avi"}

ASKED_FOR = {
    "_ibl_experiment.description.yaml",
    "alf/_ibl_trials.table.pqt",
    "alf/probe00/spikes.times.npy",
    "alf/probe00/#2024-01-01#/spikes.times.npy",
    "raw_behavior_data/_iblrig_taskSettings.raw.json",
    "raw_behavior_data/_iblmic_audioOnsetGoCue.times_mic.npy",
    "raw_task_data_00/_iblrig_taskData.raw.jsonable",
    "raw_passive_data/_iblrig_RFMapStim.raw.bin",
    "raw_video_data/_iblrig_leftCamera.raw.mp4",
    "raw_video_data/_ibl_leftCamera.times.npy",
    "raw_ephys_data/_iblrig_syncSquareUpdate.raw.csv",
    "raw_ephys_data/probe00/_spikeglx_ephysData_g0_t0.imec0.ap.cbin",
    "raw_ephys_data/probe00/_iblqc_ephysTimeRmsAP.rms.npy",
    "raw_widefield_data/_ibl_widefieldEvents.raw.csv",
    "raw_photometry_data/_neurophotometrics_fpData.raw.pqt",
    "alf/.hidden.npy",
}
FOUND_ONLY_HERE = {
    "spike_sorters/iblsorter/probe00/_kilosort_raw.output.tar",
    "spikesorters/ks2/probe00/_kilosort_raw.output.tar",
}
EXCLUDED_FILES = {
    "raw_video_data/_iblrig_leftCamera.raw.avi",
    "raw_behavior_data/_iblrig_taskData.raw.flag",
    "alf/spikes.times.error",
}
NOT_ASKED_FOR = {
    "raw_session.flag",
    "alf/readme.txt",
    "logs/_iblrig_task.raw.log",
    "raw_imaging_data_00/_ibl_imaging.frames.tif",
    "raw_ephys_data/probe00/notes.raw.txt",
}
FILES = ASKED_FOR | FOUND_ONLY_HERE | EXCLUDED_FILES | NOT_ASKED_FOR


@pytest.fixture
def session(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "alf" / "spikes.waveforms.zarr").mkdir()  # named like a dataset, and a folder
    return tmp_path


def glob(session: Path, patterns: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pattern in patterns:
        for path in session.glob(pattern):
            if path.is_file() and path.suffix not in EXCLUDED:
                found.setdefault(path.relative_to(session).as_posix(), pattern)
    return found


def select(session: Path, matcher: Matcher) -> dict[str, str]:
    found = {}
    for file in walk_session(str(session).encode(), versions=False):
        pattern = matcher.match(file.path)
        if pattern is not None and not matcher.excluded_suffix(file.path):
            found[file.path.decode()] = pattern
    return found


def test_reg_01_the_tree_has_the_files_of_the_feature() -> None:
    assert len(FILES) == 26


def test_reg_01_what_ibllib_finds_and_the_kilosort_output_it_misses(session: Path) -> None:
    ours, ibllibs = select(session, Matcher()), glob(session, IBLLIB)
    assert set(ibllibs) == ASKED_FOR
    assert set(ours) == ASKED_FOR | FOUND_ONLY_HERE
    assert {path: ours[path] for path in ASKED_FOR} == ibllibs
    assert ours["spike_sorters/iblsorter/probe00/_kilosort_raw.output.tar"] == "spike_sorters/**/_kilosort_*.*"
    assert ours["spikesorters/ks2/probe00/_kilosort_raw.output.tar"] == "spikesorters/**/_kilosort_*.*"


def test_reg_01_strict_is_ibllib_with_its_twelfth_pattern(session: Path) -> None:
    matcher = Matcher(strict=True)
    assert list(matcher.patterns) == IBLLIB
    assert select(session, matcher) == glob(session, IBLLIB)
    odd = "spikesorters/_kilosort_a.yspikesorters/ks2/_kilosort_raw.output.tar"
    (session / odd).parent.mkdir(parents=True)
    (session / odd).parent.parent.joinpath("_kilosort_raw.output.tar").touch()
    (session / "spikesorters/_kilosort_a.yspikesorters/_kilosort_raw.output.tar").touch()
    (session / odd).touch()
    assert odd in select(session, matcher)
    assert select(session, matcher) == glob(session, IBLLIB)


def test_reg_01_excluded_suffixes_and_only_those() -> None:
    matcher = Matcher()
    assert [matcher.excluded_suffix(path.encode()) for path in sorted(EXCLUDED_FILES)] == [".error", ".flag", ".avi"]
    assert matcher.excluded_suffix(b"raw_video_data/_iblrig_leftCamera.raw.AVI") is None  # case counts, as in ibllib
    assert matcher.excluded_suffix(b"raw_video_data/.avi") is None  # a hidden file without a suffix
    assert matcher.excluded_suffix(b"x.avi/_iblrig_leftCamera.raw.mp4") is None
    assert Matcher(exclude_suffixes=[".mp4"]).excluded_suffix(b"a/_iblrig_leftCamera.raw.mp4") == ".mp4"


def test_reg_01_own_patterns_replace_the_ibl_ones() -> None:
    matcher = Matcher(["raw_imaging_data_*/**/*.tif", "logs/**"])
    assert matcher.match(b"raw_imaging_data_00/a/b/x.tif") == "raw_imaging_data_*/**/*.tif"
    assert matcher.match(b"raw_imaging_data_00/x.tif") == "raw_imaging_data_*/**/*.tif"
    assert matcher.match(b"logs/a/b") == matcher.match(b"logs/a") == "logs/**"
    assert matcher.match(b"alf/spikes.times.npy") is None


@pytest.mark.parametrize(
    ("pattern", "path", "wanted"),
    [
        ("a?c", b"abc", True),
        ("a?c", "aéc".encode(), True),
        ("a?c", b"a\xffc", True),
        ("a?c", b"a/c", False),
        ("a[0-9]c", b"a5c", True),
        ("a[!0-9]c", b"a5c", False),
        ("a[!0-9]c", b"axc", True),
        ("a[!0-9]c", b"a/c", False),
        ("a[]x]c", b"a]c", True),
        ("a[!]x]c", b"axc", False),
        ("a[!]x]c", b"ayc", True),
        ("a[c", b"a[c", True),
        ("a[!]", b"a[!]", True),
        ("a[]", b"a[]", True),
        ("a[^b]c", b"a^c", True),
        ("*.npy", b"a/b.npy", False),
        ("*.npy", b"\xff.npy", True),
        ("a.b", b"axb", False),
        ("a.b", b"a.b\n", False),
        ("**/x", b"x", True),
        ("**/x", b"a/b/x", True),
        ("a**b", b"axxb", True),
        ("a**b", b"ax/xb", False),
    ],
)
def test_what_a_pattern_means(pattern: str, path: bytes, wanted: bool) -> None:
    assert Matcher([pattern]).match(path) == (pattern if wanted else None)


@pytest.mark.parametrize("pattern", ["", "/alf/*", "alf//*", "alf/", "../alf/*", "./alf/*", "a[9-0]b"])
def test_a_pattern_that_cannot_be_used_is_named(pattern: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Matcher([pattern])
    assert "[registration] patterns" in raised.value.message
    assert repr(pattern) in raised.value.message
    assert raised.value.hint
