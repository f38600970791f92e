"""Sandbox: what the cameras and the electrophysiology of a rig leave behind.

Names and headers are those of IBL's cameras and of SpikeGLX; the signals are noise. Pure functions from a
duration to contents; nothing is touched from here.
"""

from __future__ import annotations

import json
import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from labferry.sandbox.npy import npy_bytes

_BLOCK = 65536  # bytes of noise made at once
_FRAMES_PER_S = 10
_PROBE_CHANNELS = 385
_DAQ_CHANNELS = 9
_AP_HZ, _LF_HZ = 30_000, 2_500
_MP4_HEAD = (  # the boxes before the frames: the file type, and a media box that reaches to the end
    b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41" + b"\x00\x00\x00\x00mdat"
)


@dataclass(frozen=True, slots=True)
class Noise:
    """Bytes nobody looks into, made when they are read: `head`, then noise up to `size` bytes.

    The same `key` always gives the same bytes.
    """

    key: str
    size: int
    head: bytes = b""

    def blocks(self) -> Iterator[bytes]:
        """Yield the content from its beginning."""
        yield self.head[: self.size]
        rng = random.Random(self.key)
        for start in range(len(self.head), self.size, _BLOCK):
            yield rng.randbytes(min(_BLOCK, self.size - start))


Content = bytes | Noise


def camera_files(camera: str, start: datetime, seconds: float, video_bytes: int, key: str) -> dict[str, Content]:
    """Return the files of one camera: relative path → content.

    Parameters
    ----------
    camera : str
        `leftCamera`, `rightCamera` or `bodyCamera`.
    start : datetime
        Wall time of the first frame.
    video_bytes : int
        Size of the compressed video.
    key : str
        Makes the noise differ from session to session.
    """
    times = [frame / _FRAMES_PER_S for frame in range(round(seconds * _FRAMES_PER_S))]
    ticks = [round(time * 1e7) for time in times]
    stamps = (
        f"{(start + timedelta(seconds=time)).isoformat(timespec='microseconds')} {tick}\n"
        for time, tick in zip(times, ticks, strict=True)
    )
    frames = array("d")
    for number, (time, tick) in enumerate(zip(times, ticks, strict=True)):
        frames.extend((tick, time * 8000 % 2**32, 0.0, number))
    raw = f"raw_video_data/_iblrig_{camera}"
    return {
        f"{raw}.raw.mp4": Noise(f"{key}/{camera}", video_bytes, _MP4_HEAD),
        f"{raw}.timestamps.ssv": "".join(stamps).encode(),
        f"{raw}.frameData.bin": frames.tobytes(),
        f"alf/_ibl_{camera}.times.npy": npy_bytes(times),
    }


def daq_files(start: datetime, seconds: float, size: int, key: str) -> dict[str, Content]:
    """Return the files of the synchronisation device (nidq): relative path → content."""
    run = "raw_ephys_data/_spikeglx_ephysData_g0_t0.nidq"
    wiring = {"SYSTEM": "3B", "SYNC_WIRING_DIGITAL": {"left_camera": 0, "right_camera": 1, "body_camera": 2}}
    return {
        f"{run}.cbin": Noise(f"{key}/nidq", size),
        f"{run}.ch": _compression_header(_DAQ_CHANNELS, _AP_HZ, seconds, size),
        f"{run}.meta": _spikeglx_meta("nidq", _DAQ_CHANNELS, _AP_HZ, start, seconds),
        f"{run}.wiring.json": json.dumps(wiring).encode(),
        **_sync_files("raw_ephys_data", "", seconds),
    }


def probe_files(probe: int, start: datetime, seconds: float, size: int, key: str) -> dict[str, Content]:
    """Return raw and sorted data of one probe: relative path → content; `size` is that of the AP band."""
    name = f"probe{probe:02d}"
    run = f"raw_ephys_data/{name}/_spikeglx_ephysData_g0_t0.imec{probe}"
    quality = f"raw_ephys_data/{name}/_iblqc_ephys"
    rng = random.Random(f"{key}/{name}")
    lf_size = size // 5
    return {
        f"{run}.ap.cbin": Noise(f"{key}/{name}.ap", size),
        f"{run}.ap.ch": _compression_header(_PROBE_CHANNELS, _AP_HZ, seconds, size),
        f"{run}.ap.meta": _spikeglx_meta("imec", _PROBE_CHANNELS, _AP_HZ, start, seconds),
        f"{run}.lf.cbin": Noise(f"{key}/{name}.lf", lf_size),
        f"{run}.lf.ch": _compression_header(_PROBE_CHANNELS, _LF_HZ, seconds, lf_size),
        f"{run}.lf.meta": _spikeglx_meta("imec", _PROBE_CHANNELS, _LF_HZ, start, seconds),
        f"{run}.sync.npy": npy_bytes([0.0, 0.0, seconds, seconds], columns=2),
        f"{run}.timestamps.npy": npy_bytes([0.0, 0.0, seconds * _AP_HZ, seconds], columns=2),
        f"{run}.wiring.json": json.dumps({"SYSTEM": "3B", "SYNC_WIRING_DIGITAL": {"imec_sync": 6}}).encode(),
        f"{quality}TimeRmsAP.rms.npy": npy_bytes([rng.uniform(5e-6, 2e-5) for _ in range(_PROBE_CHANNELS)]),
        f"{quality}SpectralDensityAP.power.npy": npy_bytes(
            [rng.uniform(1e-16, 1e-14) for _ in range(4 * _PROBE_CHANNELS)], columns=_PROBE_CHANNELS
        ),
        **_sync_files(f"raw_ephys_data/{name}", f".{name}", seconds),
        **_spike_files(f"alf/{name}", rng, seconds),
        "alf/probes.description.json": json.dumps([{"label": name, "model": "3B1", "serial": 18005116811}]).encode(),
    }


def _sync_files(folder: str, suffix: str, seconds: float) -> dict[str, Content]:
    edges = [second / 2 for second in range(round(seconds * 2))]
    prefix = f"{folder}/_spikeglx_sync"
    return {
        f"{prefix}.channels{suffix}.npy": npy_bytes([3] * len(edges)),
        f"{prefix}.polarities{suffix}.npy": npy_bytes([1 if n % 2 == 0 else -1 for n in range(len(edges))]),
        f"{prefix}.times{suffix}.npy": npy_bytes(edges),
    }


def _spike_files(folder: str, rng: random.Random, seconds: float) -> dict[str, Content]:
    times = sorted(rng.uniform(0, seconds) for _ in range(round(seconds * 20)))
    units = 24
    return {
        f"{folder}/spikes.times.npy": npy_bytes(times),
        f"{folder}/spikes.samples.npy": npy_bytes([round(time * _AP_HZ) for time in times]),
        f"{folder}/spikes.clusters.npy": npy_bytes([rng.randrange(units) for _ in times]),
        f"{folder}/spikes.amps.npy": npy_bytes([rng.uniform(2e-5, 3e-4) for _ in times]),
        f"{folder}/spikes.depths.npy": npy_bytes([rng.uniform(20, 3840) for _ in times]),
        f"{folder}/clusters.channels.npy": npy_bytes([rng.randrange(384) for _ in range(units)]),
        f"{folder}/channels.localCoordinates.npy": npy_bytes(
            [place for channel in range(384) for place in (43 - 16 * (channel % 2), 20 * (channel // 2 + 1))],
            columns=2,
        ),
    }


def _compression_header(channels: int, rate: int, seconds: float, size: int) -> bytes:
    """Return the `.ch` file of a `.cbin` file: one chunk per second of signal."""
    samples = round(seconds * rate)
    bounds = [*range(0, samples, rate), samples]
    header = {
        "version": "1.0",
        "algorithm": "zlib",
        "comp_level": -1,
        "do_time_diff": True,
        "do_spatial_diff": False,
        "dtype": "int16",
        "n_channels": channels,
        "sample_rate": rate,
        "chunk_bounds": bounds,
        "chunk_offsets": [size * chunk // (len(bounds) - 1) for chunk in range(len(bounds))],
    }
    return json.dumps(header).encode()


def _spikeglx_meta(kind: str, channels: int, rate: int, start: datetime, seconds: float) -> bytes:
    """Return SpikeGLX's description of a recording; sizes are those before compression."""
    entries: dict[str, object] = {
        "appVersion": "20190327",
        "fileCreateTime": start.isoformat(timespec="seconds"),
        "fileName": "D:/ephysData_g0/ephysData_g0_t0",
        "fileSizeBytes": round(seconds * rate) * channels * 2,
        "fileTimeSecs": seconds,
        "gateMode": "Immediate",
        "nSavedChans": channels,
        "imSampRate" if kind == "imec" else "niSampRate": rate,
        "snsSaveChanSubset": "all",
        "trigMode": "Immediate",
        "typeThis": kind,
        "userNotes": "",
    }
    return "".join(f"{key}={value}\n" for key, value in entries.items()).encode()
