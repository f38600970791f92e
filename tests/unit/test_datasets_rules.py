"""The decision about a file: dataset type, data format, and names that Alyx would not keep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labferry.datasets import (
    AlfPath,
    DataFormat,
    DatasetType,
    Matcher,
    RegistrationRules,
    Vocabulary,
    collection_revision_name,
)
from labferry.errors import CODES
from labferry.model import Decision, FileFate
from labferry.sessions.registry import layout
from labferry.sessions.session import Session

SHARED = Path(__file__).resolve().parents[3] / "shared"
VOCABULARY = Vocabulary(
    [
        DatasetType("spikes.times", "*spikes.times*.npy"),
        DatasetType("wheel.position", "*wheel.position*"),
        DatasetType("wheel.timestamps", "*wheel.timestamps*"),
        DatasetType("channels.labels", ""),
        DatasetType("imaging.frames", " "),
        DatasetType("_iblrig_taskSettings.raw", "_iblrig_tasksettings.raw.*"),
        DatasetType("_iblrig_Camera.raw", "_iblrig_*camera.raw.*"),
        DatasetType("trials.table", "*trials.table*"),
        DatasetType("_kilosort_raw.output", "_kilosort_raw.output*.tar"),
    ],
    [
        DataFormat("npy", ".npy"),
        DataFormat("json", ".json"),
        DataFormat("parquet", ".pqt"),
        DataFormat("tar", ".tar"),
        DataFormat("notData", ""),
        DataFormat("unknown", ""),
        DataFormat("one tiff", ".tif"),
        DataFormat("another tiff", ".tif"),
    ],
)
RULES = RegistrationRules(Matcher(), VOCABULARY)


def decide(path: str | bytes, is_regular: bool = True) -> Decision:
    return RULES.decide(path.encode() if isinstance(path, str) else path, is_regular)


def test_reg_02_exactly_one_type_and_one_format_make_a_dataset() -> None:
    assert decide("alf/probe00/spikes.times.npy") == Decision(
        FileFate.DATASET, pattern="alf/**/*.*.*", dataset_type="spikes.times", data_format="npy"
    )


def test_reg_02_the_pattern_of_a_type_ignores_case() -> None:
    decision = decide("raw_behavior_data/_iblrig_TASKSETTINGS.raw.json")
    assert (decision.fate, decision.dataset_type) == (FileFate.DATASET, "_iblrig_taskSettings.raw")


def test_reg_02_no_type() -> None:
    decision = decide("alf/_ibl_unknownthing.values.npy")
    assert (decision.fate, decision.code) == (FileFate.UNMATCHED, "no_dataset_type")
    assert decision.reason == "no dataset type fits: _ibl_unknownthing.values.npy"


def test_reg_02_two_types_are_both_named() -> None:
    decision = decide("alf/wheel.position.wheel.timestamps.npy")
    assert (decision.fate, decision.code) == (FileFate.UNMATCHED, "ambiguous_dataset_type")
    assert decision.reason == "several dataset types fit: wheel.position, wheel.timestamps"


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("_ibl_trials.table.docx", ".docx"),
        ("_ibl_trials.table.PQT", ".PQT"),  # exact case, as Alyx compares it
        ("_ibl_trials.table.pqt.", "no extension"),  # and never one of the formats with an empty extension
        ("_ibl_trials.table.tif", ".tif"),  # two formats claim it: Alyx answers 500
    ],
)
def test_reg_02_no_format(name: str, ending: str) -> None:
    decision = decide(f"alf/{name}")
    assert (decision.fate, decision.code) == (FileFate.UNMATCHED, "no_data_format")
    assert decision.reason == f"no data format has this extension: {ending}"


def test_reg_02_the_last_suffix_counts() -> None:
    assert decide("alf/_ibl_trials.table.npy.pqt").data_format == "parquet"
    assert decide("alf/_ibl_trials.table.pqt.npy").data_format == "npy"


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("channels.labels.npy", ("channels.labels",)),
        ("_ks_channels.labels.npy", ("channels.labels",)),
        ("channels.labels_bpod.part0.npy", ("channels.labels",)),
        ("channels.labels", ()),  # no ALF name: all but the last suffix is compared
        ("channels.Labels.npy", ()),  # a name is no pattern: case counts
        ("mychannels.labels.npy", ()),
        ("imaging.frames.tif", ("imaging.frames",)),
    ],
)
def test_reg_02_a_type_with_a_blank_pattern_fits_its_own_name(name: str, types: tuple[str, ...]) -> None:
    assert VOCABULARY.types_of(name) == types


def test_reg_02_only_the_file_name_is_compared() -> None:
    assert decide("alf/spikes.times.npy/x.y.npy").code == "no_dataset_type"


def test_reg_01_unmatched_excluded_and_directories() -> None:
    assert decide("alf/readme.txt") == Decision(FileFate.UNMATCHED, "no_pattern", "no registration pattern asks for it")
    excluded = decide("raw_video_data/_iblrig_leftCamera.raw.avi")
    assert (excluded.fate, excluded.code) == (FileFate.EXCLUDED, "excluded_suffix")
    assert excluded.reason == "its suffix is excluded: .avi"


def test_done_10_only_regular_files_are_datasets() -> None:
    assert decide("alf/spikes.times.npy", is_regular=False).code == "not_regular"
    unasked = Decision(FileFate.UNMATCHED, "not_regular", "not a regular file")
    assert decide("alf/readme.txt", is_regular=False) == unasked
    left_out = decide("raw_video_data/_iblrig_leftCamera.raw.avi", is_regular=False)
    assert (left_out.fate, left_out.code) == (FileFate.EXCLUDED, "not_regular")


def test_done_10_a_name_that_is_not_utf8() -> None:
    assert decide(b"alf/spikes.times.\xff.npy").code == "not_utf8"
    assert decide(b"notes\xff.txt").fate is FileFate.UNMATCHED


@pytest.mark.parametrize(
    "path",
    [
        "alf/bad dir/spikes.times.npy",
        "alf/prøbe/spikes.times.npy",
        "alf/a,b/spikes.times.npy",
        "alf/../spikes.times.npy",
        "alf/./spikes.times.npy",
        "alf/a#b/spikes.times.npy",
        "alf/#/spikes.times.npy",
        "alf/##/spikes.times.npy",
        "alf/#2024-01-01/spikes.times.npy",
        "alf/#2024-01-01#/probe00/spikes.times.npy",  # Alyx refuses the whole request for it
        "alf/probe00\n/spikes.times.npy",
        "alf/spikes.times\\.npy",
        "alf/spikes.times:0.npy",
        "alf/spikes.times\t.npy",
        "alf/ spikes.times.npy",
        "alf/spikes.times.npy ",
    ],
)
def test_done_10_names_that_alyx_would_change_or_refuse(path: str) -> None:
    decision = decide(path)
    assert (decision.fate, decision.code) == (FileFate.REJECTED, "unsafe_name")


@pytest.mark.parametrize(
    "path",
    [
        "alf/probe.00/spikes.times.npy",
        "alf/a-b_c/spikes.times.npy",
        "alf/#2024-01-01#/spikes.times.npy",
        "alf/probe00/#v1.0-a_b#/spikes.times.npy",
        "alf/spikes.times (copy).npy",  # file names Alyx keeps as they are
        "alf/spikes.times.é.npy",
    ],
)
def test_names_that_alyx_keeps(path: str) -> None:
    assert decide(path).fate is FileFate.DATASET


def test_an_unsafe_name_that_no_pattern_asks_for_is_only_unmatched() -> None:
    assert decide("bad dir/x y.txt").fate is FileFate.UNMATCHED


def test_done_10_names_too_long_for_alyx_or_the_archive() -> None:
    fits = "spikes.times." + "x" * (218 - len("spikes.times..npy")) + ".npy"
    assert decide(f"alf/{fits}").fate is FileFate.DATASET
    assert decide(f"alf/x{fits}").code == "name_too_long"
    assert decide(f"alf/spikes.times.{'é' * 110}.npy").code == "name_too_long"  # counted in bytes on disk
    collection = "/".join(["alf", "d" * 200, "e" * 50])
    assert len(collection) == 255
    assert decide(f"{collection}/spikes.times.npy").fate is FileFate.DATASET
    assert decide(f"{collection}e/spikes.times.npy").code == "name_too_long"


def test_every_reason_is_in_the_closed_list() -> None:
    for path in ("x", "alf/a.b.avi", "alf/a.b.npy", "alf/a b/c.d.npy", "alf/spikes.times.npy", f"alf/a.b.{'x' * 250}"):
        decision = decide(path)
        if decision.fate is FileFate.DATASET:
            assert not decision.code
            assert not decision.reason
        else:
            assert CODES[decision.code].kind == "file"
            assert decision.reason.startswith(CODES[decision.code].title)


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("_ibl_experiment.description.yaml", ("", "", "_ibl_experiment.description.yaml")),
        ("alf/licks.times.npy", ("alf", "", "licks.times.npy")),
        ("alf/probe.00/spikes.times.npy", ("alf/probe.00", "", "spikes.times.npy")),
        ("alf/#2023-05-01#/_ibl_trials.table.pqt", ("alf", "2023-05-01", "_ibl_trials.table.pqt")),
        ("#v1#/x.y.npy", ("", "v1", "x.y.npy")),
        ("alf/#a/x.y.npy", ("alf/#a", "", "x.y.npy")),
    ],
)
def test_collection_revision_and_name(path: str, parts: tuple[str, str, str]) -> None:
    assert collection_revision_name(path.encode()) == AlfPath(*parts)


def test_reg_02_collections_as_a_real_alyx_answered_them() -> None:
    recorded = SHARED / "data" / "alyx" / "exchanges.jsonl"
    if not recorded.exists():
        pytest.skip("needs ../shared")
    compared = 0
    for line in recorded.read_text().splitlines():
        exchange = json.loads(line)
        sent, answer = exchange["request_body"], exchange["response_body"]
        if not (exchange["path"].endswith("/register-file") and isinstance(answer, list) and isinstance(sent, dict)):
            continue
        names = sent.get("filenames")
        of_a_session = isinstance(layout("ibl").parse(str(sent.get("path")).encode()), Session)
        if not (of_a_session and isinstance(names, list) and len(names) == len(answer)):
            continue
        for name, record in zip(names, answer, strict=True):
            if isinstance(record, dict) and decide(name).code not in {"unsafe_name", "no_pattern"}:
                assert collection_revision_name(name.encode()) == (
                    record["collection"],
                    record["revision"],
                    record["name"],
                )
                compared += 1
    assert compared > 50


def test_reg_02_the_types_and_formats_of_a_real_alyx() -> None:
    tables = SHARED / "data"
    if not (tables / "dataset_types.json").exists():
        pytest.skip("needs ../shared")
    types = [
        DatasetType(t["name"], t["filename_pattern"]) for t in json.loads((tables / "dataset_types.json").read_text())
    ]
    formats = [
        DataFormat(f["name"], f["file_extension"]) for f in json.loads((tables / "data_formats.json").read_text())
    ]
    rules = RegistrationRules(Matcher(), Vocabulary(types, formats))
    expected = {
        b"_ibl_experiment.description.yaml": ("experiment.description", "yaml"),
        b"alf/_ibl_trials.table.pqt": ("trials.table", "parquet"),
        b"alf/probe00/channels.labels.npy": ("channels.labels", "npy"),
        b"alf/_ibl_leftCamera.times.dlc.pqt": ("camera.times", "parquet"),
        b"raw_behavior_data/_iblrig_taskSettings.raw.json": ("_iblrig_taskSettings.raw", "json"),
        b"raw_ephys_data/probe00/_spikeglx_ephysData_g0_t0.imec0.ap.cbin": ("ephysData.raw.ap", "cbin"),
        b"raw_ephys_data/probe00/_spikeglx_ephysData_g0_t0.imec0.ap.ch": ("ephysData.raw.ch", "ch"),
        b"spike_sorters/iblsorter/probe00/_kilosort_raw.output.tar": ("_kilosort_raw.output", "tar"),
    }
    assert {p: (rules.decide(p).dataset_type, rules.decide(p).data_format) for p in expected} == expected
    assert rules.decide(b"alf/wheel.position.wheel.timestamps.npy").code == "ambiguous_dataset_type"
