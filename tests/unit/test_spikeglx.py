"""Whether a SpikeGLX recording is whole, by what SpikeGLX and mtscomp write about it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labferry.detect.spikeglx import Packed, Recording, meta_size, packed_size, part_of_recording
from support.recordings import MANY_BYTES, header, meta
from support.trees import SHARED, needs_shared

WHOLE = Recording(b"a.imec0.ap", described=True, size=MANY_BYTES, plain=MANY_BYTES)
COMPRESSED = replace(WHOLE, plain=None, packed=500, header=Packed(500, MANY_BYTES))


@pytest.mark.parametrize("recording", [WHOLE, COMPRESSED, replace(COMPRESSED, plain=MANY_BYTES)])
def test_done_02_a_recording_of_its_full_size_is_whole(recording: Recording) -> None:
    assert recording.problem == ""


@pytest.mark.parametrize(
    ("recording", "named"),
    [
        (replace(WHOLE, described=False, size=None), "a.imec0.ap.meta is missing"),
        (replace(WHOLE, size=None), "names no fileSizeBytes"),
        (replace(WHOLE, plain=None), f"a.imec0.ap.bin is missing ({MANY_BYTES} bytes)"),
        (replace(WHOLE, plain=MANY_BYTES - 1), f"has {MANY_BYTES - 1} bytes"),
        (replace(WHOLE, plain=2 * MANY_BYTES), f"has {2 * MANY_BYTES} bytes"),
        (replace(COMPRESSED, header=None), "a.imec0.ap.ch is missing"),
        (replace(COMPRESSED, packed=499), "a.imec0.ap.cbin has 499 bytes, its .ch file says 500"),
        (replace(COMPRESSED, header=Packed(500, 770)), "holds 770 bytes of signal"),
        (replace(COMPRESSED, plain=12), "a.imec0.ap.bin has 12 bytes"),
    ],
)
def test_done_02_what_is_not_whole_is_named_with_its_sizes(recording: Recording, named: str) -> None:
    assert named in recording.problem


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (meta(12), 12),
        (meta(12).replace(b"\n", b"\r\n"), 12),
        (meta(None), None),
        (b"", None),
        (b"fileSizeBytes=12 kB\n", None),
        (b"fileSizeBytes=-1\n", None),
        (b"userNotes=fileSizeBytes=3\n", None),
        (b"fileSizeBytes=1\nfileSizeBytes=2\n", None),
        (b"fileSizeBytes=" + b"9" * 5000, None),
    ],
)
def test_done_02_the_size_in_a_meta_file(content: bytes, size: int | None) -> None:
    assert meta_size(content) == size


@needs_shared
@pytest.mark.parametrize(("name", "size"), [("imec1.ap", 19_045_367_880), ("nidq", 98_945_268)])
def test_done_02_the_size_in_a_meta_file_that_spikeglx_wrote(name: str, size: int) -> None:
    assert meta_size((SHARED / f"data/spikeglx/sample3B_g0_t0.{name}.meta").read_bytes()) == size


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        header(500)[:-1],
        json.dumps({**json.loads(header(500)), "dtype": "text"}).encode(),
        json.dumps({**json.loads(header(500)), "chunk_offsets": []}).encode(),
        json.dumps({**json.loads(header(500)), "chunk_offsets": [True]}).encode(),
        json.dumps({**json.loads(header(500)), "n_channels": "385"}).encode(),
        json.dumps({**json.loads(header(500)), "chunk_bounds": [-1]}).encode(),
        header(500).replace(b'"n_channels": 385', b'"n_channels": ' + b"9" * 4000),
    ],
)
def test_done_02_what_is_no_compression_header_counts_as_missing(content: bytes) -> None:
    assert packed_size(content) is None


def test_done_02_the_sizes_in_a_compression_header() -> None:
    assert packed_size(header(500)) == Packed(500, MANY_BYTES)


@given(st.binary(max_size=200))
def test_done_02_whatever_the_files_hold_there_is_an_answer(content: bytes) -> None:
    assert meta_size(content) is None or meta_size(content) == int(content.split(b"fileSizeBytes=")[1].split()[0])
    assert packed_size(content) is None


@pytest.mark.parametrize(
    ("path", "part"),
    [
        (b"x/run_g0_t0.imec0.ap.meta", (b"x/run_g0_t0.imec0.ap", b"meta")),
        (b"run_g0_t0.nidq.cbin", (b"run_g0_t0.nidq", b"cbin")),
        (b"run_g0_t0.imec.lf.bin", (b"run_g0_t0.imec.lf", b"bin")),
        (b"run_g0_t0.obx0.obx.ch", (b"run_g0_t0.obx0.obx", b"ch")),
        (b"_iblrig_leftCamera.frameData.bin", None),
        (b"notes.meta", None),
        (b"run.ap.meta.part", None),
    ],
)
def test_done_02_the_files_of_a_recording_are_known_by_their_names(
    path: bytes, part: tuple[bytes, bytes] | None
) -> None:
    assert part_of_recording(path) == part
