"""Sandbox: what a behaviour task of a recording rig leaves behind: settings, trials, wheel.

The names, keys and units are those of iblrig version 8; the numbers are made up. Pure functions from a
`TaskRun` to bytes; nothing is touched from here.
"""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from labferry.sandbox.npy import npy_bytes

RIG_USER = "rig_user"  # the Alyx user who sits at the rig
IBLRIG_VERSION = "8.24.4"
REWARD_UL = 1.5
_CONTRASTS = (1.0, 0.25, 0.125, 0.0625, 0.0)
_POSITIONS = (-35, 35)  # degrees: where the stimulus appears
_WHEEL_HZ = 20  # samples of the wheel's position per second
_TICKS = 1024  # encoder ticks per turn of the wheel


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial; times are seconds since the task began.

    Attributes
    ----------
    position : int
        Degrees; negative is left.
    contrast, probability_left : float
        Between 0 and 1.
    quiescence : float
        Seconds the wheel had to stand still before the stimulus.
    start, stim_on, response, end : float
        When the trial began, the stimulus appeared, the mouse answered, the trial ended.
    """

    position: int
    contrast: float
    probability_left: float
    correct: bool
    quiescence: float
    start: float
    stim_on: float
    response: float
    end: float


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One run of one task within a session.

    Attributes
    ----------
    task : str
        `trainingChoiceWorld`, …: iblrig's name without its prefix.
    collection : str
        The folder of the task's raw data.
    passive : bool
        The mouse only watches: no answers, no rewards, no trial data.
    setup : str
        Name of the rig, in Alyx a location.
    start : datetime
        Local wall time without a zone, as the acquisition computer writes it.
    weight : float or None
        Of the subject, in grams; None when it was not weighed for this task.
    """

    task: str
    collection: str
    passive: bool
    subject: str
    lab: str
    number: int
    setup: str
    start: datetime
    weight: float | None
    trials: tuple[Trial, ...]

    @property
    def protocol(self) -> str:
        """The task's full name."""
        return f"_iblrig_tasks_{self.task}"

    @property
    def end(self) -> datetime:
        """When the task was ended, local wall time."""
        return self.start + timedelta(seconds=math.ceil(self.trials[-1].end) + 5)


def simulate_trials(rng: random.Random, count: int) -> tuple[Trial, ...]:
    """Return `count` trials, one after the other, of a mouse that is right three times in four."""
    trials = []
    now = 1.5
    left = 0.5
    for index in range(count):
        if index and index % 20 == 0:
            left = rng.choice((0.2, 0.8))
        quiescence = round(rng.uniform(0.4, 0.7), 4)
        stim_on = round(now + quiescence + 0.06, 4)
        response = round(stim_on + rng.uniform(0.2, 2.5), 4)
        correct = rng.random() < 0.75
        end = round(response + (1.0 if correct else 2.0), 4)
        trials.append(
            Trial(
                position=_POSITIONS[0] if rng.random() < left else _POSITIONS[1],
                contrast=rng.choice(_CONTRASTS),
                probability_left=left,
                correct=correct,
                quiescence=quiescence,
                start=now,
                stim_on=stim_on,
                response=response,
                end=end,
            )
        )
        now = round(end + 0.5, 4)
    return tuple(trials)


def raw_task_files(run: TaskRun, rng: random.Random) -> dict[str, bytes]:
    """Return what iblrig writes into the task's collection: relative path → content."""
    files = {
        "taskSettings.raw.json": _settings(run),
        "encoderEvents.raw.ssv": _encoder_events(run),
        "encoderPositions.raw.ssv": _encoder_positions(run),
        "encoderTrialInfo.raw.ssv": _encoder_trials(run),
    }
    if not run.passive:
        files["taskData.raw.jsonable"] = _trials_jsonable(run)
        files["ambientSensorData.raw.jsonable"] = _ambient_jsonable(run, rng)
    return {f"{run.collection}/_iblrig_{name}": content for name, content in files.items()}


def alf_task_files(run: TaskRun, rng: random.Random) -> dict[str, bytes]:
    """Return the extracted arrays of the task: relative path → content."""
    trials = run.trials
    positions = _wheel(run)
    moves = [(trial.stim_on + 0.1, trial.response) for trial in trials]
    return {
        "alf/_ibl_trials.goCueTrigger_times.npy": npy_bytes([trial.stim_on for trial in trials]),
        "alf/_ibl_trials.intervals.npy": npy_bytes(
            [time for trial in trials for time in (trial.start, trial.end)], columns=2
        ),
        "alf/_ibl_trials.probabilityLeft.npy": npy_bytes([trial.probability_left for trial in trials]),
        "alf/_ibl_trials.quiescencePeriod.npy": npy_bytes([trial.quiescence for trial in trials]),
        "alf/_ibl_trials.stimOff_times.npy": npy_bytes([trial.response + 0.1 for trial in trials]),
        "alf/_ibl_wheel.position.npy": npy_bytes([ticks * 2 * math.pi / _TICKS for _, ticks in positions]),
        "alf/_ibl_wheel.timestamps.npy": npy_bytes([time for time, _ in positions]),
        "alf/_ibl_wheelMoves.intervals.npy": npy_bytes([time for move in moves for time in move], columns=2),
        "alf/_ibl_wheelMoves.peakAmplitude.npy": npy_bytes([rng.uniform(0.1, 1.2) for _ in moves]),
    }


def _settings(run: TaskRun) -> bytes:
    number = f"{run.number:03d}"
    folder = f"C:\\iblrigv8_data\\{run.lab}\\Subjects\\{run.subject}\\{run.start.date()}\\{number}"
    trials = () if run.passive else run.trials
    rewarded = sum(trial.correct for trial in trials)
    settings = {
        "ALYX_LAB": run.lab,
        "ALYX_USER": RIG_USER,
        "AUTOMATIC_CALIBRATION": True,
        "CONTRAST_SET": list(_CONTRASTS),
        "IBLRIG_VERSION": IBLRIG_VERSION,
        "IS_MOCK": False,
        "NTRIALS": len(trials),
        "NTRIALS_CORRECT": rewarded,
        "POOP_COUNT": len(trials) % 7,
        "PYBPOD_PROTOCOL": run.protocol,
        "REWARD_AMOUNT_UL": REWARD_UL,
        "REWARD_TYPE": "Water 10% Sucrose",
        "RIG_NAME": run.setup,
        "SESSION_DELAY_START": 0,
        "SESSION_END_TIME": run.end.isoformat(),
        "SESSION_NUMBER": run.number,
        "SESSION_PATH": folder,
        "SESSION_START_TIME": run.start.isoformat(),
        "STIM_POSITIONS": list(_POSITIONS),
        "SUBJECT_NAME": run.subject,
        "SUBJECT_WEIGHT": run.weight,
        "TASK_VERSION": "1.2.6",
        "TOTAL_WATER_DELIVERED": rewarded * REWARD_UL,
        "device_bpod": {"COM_BPOD": "COM5", "FIRMWARE": "22"},
        "device_rotary_encoder": {"COM_ROTARY_ENCODER": "COM6"},
        "device_sound": {"OUTPUT": "harp"},
    }
    return json.dumps(settings, indent=1).encode()


def _trials_jsonable(run: TaskRun) -> bytes:
    return b"".join(
        json.dumps(_trial_record(number, trial)).encode() + b"\n" for number, trial in enumerate(run.trials)
    )


def _trial_record(number: int, trial: Trial) -> dict[str, object]:
    never = [[math.nan, math.nan]]
    answered = round(trial.response - trial.start, 4)
    ended = round(trial.end - trial.start, 4)
    outcome = [[answered, ended]]
    states = {
        "trial_start": [[0, 0.0001]],
        "quiescent_period": [[0.0001, trial.quiescence]],
        "stim_on": [[trial.quiescence, round(trial.stim_on - trial.start, 4)]],
        "closed_loop": [[round(trial.stim_on - trial.start, 4), answered]],
        "correct": outcome if trial.correct else never,
        "error": never if trial.correct else outcome,
        "no_go": never,
        "exit_state": [[ended, ended + 0.5]],
    }
    return {
        "contrast": trial.contrast,
        "position": trial.position,
        "quiescent_period": trial.quiescence,
        "response_side": int(math.copysign(1, trial.position)) * (1 if trial.correct else -1),
        "response_time": round(trial.response - trial.stim_on, 4),
        "reward_amount": REWARD_UL if trial.correct else 0.0,
        "stim_probability_left": trial.probability_left,
        "trial_correct": trial.correct,
        "trial_num": number,
        "behavior_data": {
            "Bpod start timestamp": 1.5,
            "Trial start timestamp": trial.start,
            "Trial end timestamp": trial.end,
            "States timestamps": states,
            "Events timestamps": {"Tup": [0.0001, trial.quiescence, ended]},
        },
    }


def _ambient_jsonable(run: TaskRun, rng: random.Random) -> bytes:
    lines = (
        {
            "Temperature_C": [round(rng.gauss(24.4, 0.1), 3)],
            "AirPressure_mb": [round(rng.gauss(1018, 1), 3)],
            "RelativeHumidity": [round(rng.gauss(50, 0.5), 3)],
        }
        for _ in run.trials
    )
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def _encoder_events(run: TaskRun) -> bytes:
    """Return one line per event: microseconds, code (1 trial start, 2 stimulus off, 3 next trial)."""
    lines = []
    for trial in run.trials:
        for code, time in ((1, trial.stim_on), (2, trial.response), (3, trial.end)):
            lines.append(f"{round(time * 1e6)} {code} \n")
    return "".join(lines).encode()


def _encoder_positions(run: TaskRun) -> bytes:
    """Return one line per sample: microseconds, ticks."""
    return "".join(f"{round(time * 1e6)} {ticks} \n" for time, ticks in _wheel(run)).encode()


def _encoder_trials(run: TaskRun) -> bytes:
    """Return one line per trial: number, position, contrast, frequency, angle, gain, sigma, phase, wall time."""
    lines = []
    for number, trial in enumerate(run.trials):
        shown = (run.start + timedelta(seconds=trial.stim_on)).isoformat(timespec="microseconds")
        lines.append(f"{number} {trial.position} {trial.contrast} 0.1 0 4 7 0 {shown} \n")
    return "".join(lines).encode()


def _wheel(run: TaskRun) -> list[tuple[float, int]]:
    """Return (seconds, ticks) at a steady rate: still between trials, one turn towards the answer in each."""
    samples = []
    ticks = 0.0
    for trial in run.trials:
        towards = math.copysign(1, trial.position) * (1 if trial.correct else -1)
        first, last = (math.floor(time * _WHEEL_HZ) for time in (trial.start, trial.end + 0.5))
        for sample in range(first, last):
            time = sample / _WHEEL_HZ
            if trial.stim_on <= time < trial.response:
                ticks += towards * 8
            samples.append((time, round(ticks)))
    return samples
