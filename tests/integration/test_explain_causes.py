"""WIN-04: `explain` names the right cause, for IBL's twelve findings and for the ten rows of detection.

One lab: real folders, the sandbox's Alyx, the detect lane and the lanes behind it, and a clock turned by hand. Nothing
is put into the journal by hand: every cause is what the daemon makes of what is on disk and in Alyx.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from labferry.engine.reports.explain import explain
from labferry.sandbox.rig import plan_session
from support.past import DATASETS, FLAG, Past
from support.recordings import DESCRIPTION, MANY_BYTES, STEM, TASK, VIDEO, describe, meta, put, settings
from support.world import World

DAY = "2026-03-02"
SUBJECT = "KS005"
BUSY = f"{SUBJECT}/{DAY}/800"  # a session that is watched, and nothing else
FINDINGS: Mapping[str, tuple[str, str]] = {  # cause: verdict and code
    "no_eid": ("waiting_dependency", "no_eid"),
    "no_datasets": ("blocked", "no_datasets"),
    "no_files": ("signal_before_data", "no_files"),
    "only_logs": ("blocked", "only_logs"),
    "no_behaviour": ("waiting_collection", "no_behaviour"),
    "no_settings": ("blocked", "no_settings"),
    "corrupt_settings": ("blocked", "corrupt_settings"),
    "number_mismatch": ("blocked", "number_mismatch"),
    "subject_mismatch": ("blocked", "subject_mismatch"),
    "test_user": ("ok_archived", "test_user"),
    "subject_not_on_alyx": ("blocked", "subject_not_on_alyx"),
    "no_video": ("waiting_collection", "no_video"),
}
ROWS: Mapping[str, tuple[str, str]] = {
    "DONE-01": ("settling", "settling"),
    "DONE-02": ("waiting_size", "waiting_size"),
    "DONE-03": ("settling", "temporary_files"),
    "DONE-04": ("settling", "not_seen_yet"),
    "DONE-05": ("waiting_collection", "waiting_collection"),
    "DONE-06": ("settling", "not_seen_yet"),
    "DONE-07": ("settling", "settling"),
    "DONE-08": ("settling", "settling"),
    "DONE-09": ("moved", ""),
    "DONE-10": ("inside_session", "not_utf8"),
}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Past]:
    lab = Past(tmp_path / "lab", ahead=0.0, LABFERRY_DETECTION__QUIET="60s")
    yield lab
    lab.close()


class Sessions:
    """The folders of the causes: one session each."""

    def __init__(self, lab: Past) -> None:
        self._lab = lab
        self.of: dict[str, str] = {}

    def folder(self, cause: str, subject: str = SUBJECT, *, flag: bool = True) -> Path:
        number = len(self.of) + 1
        self.of[cause] = f"{subject}/{DAY}/{number:03d}"
        return self._lab.write(self.of[cause], {}, flag=flag)


def task(folder: Path, session: str, **changes: object) -> None:
    """Write the settings of a task, as the rig of this session would; `changes` are what is wrong with them."""
    file = settings(folder, session=session)
    file.write_text(json.dumps({**json.loads(file.read_bytes()), **changes}))


def write_findings(sessions: Sessions) -> None:
    folder = sessions.folder("no_eid")
    describe(folder, tasks=())
    put(folder, f"{VIDEO}/_iblrig_leftCamera.timestamps.ssv")
    put(sessions.folder("no_datasets"), "notes.txt")
    sessions.folder("no_files")
    put(sessions.folder("only_logs"), "logs/rig.log")
    folder = sessions.folder("no_behaviour")
    describe(folder)
    put(folder, f"{VIDEO}/_iblrig_leftCamera.timestamps.ssv")
    put(sessions.folder("no_settings"), f"{TASK}/_iblrig_taskData.raw.jsonable", b"{}")
    put(sessions.folder("corrupt_settings"), f"{TASK}/_iblrig_taskSettings.raw.json", b"{")
    folder = sessions.folder("number_mismatch")
    task(folder, sessions.of["number_mismatch"], SESSION_NUMBER=99)
    folder = sessions.folder("subject_mismatch")
    task(folder, sessions.of["subject_mismatch"], SUBJECT_NAME="ZFM-01935")
    folder = sessions.folder("test_user")
    task(folder, sessions.of["test_user"], ALYX_USER="_iblrig_test_user")
    folder = sessions.folder("subject_not_on_alyx", "NOBODY")
    task(folder, sessions.of["subject_not_on_alyx"])
    folder = sessions.folder("no_video")
    describe(folder)
    task(folder, sessions.of["no_video"])


def write_rows(sessions: Sessions) -> None:
    folder = sessions.folder("DONE-02")
    put(folder, f"{STEM}.meta", meta())
    os.truncate(put(folder, f"{STEM}.bin"), 2 * MANY_BYTES)
    put(sessions.folder("DONE-03"), "alf/.a.b.npy.AbC123")
    folder = sessions.folder("DONE-05")
    describe(folder, cameras="")
    task(folder, sessions.of["DONE-05"])
    put(folder, DESCRIPTION, (folder / DESCRIPTION).read_bytes() + b"sync:\n  nidq:\n    collection: raw_ephys_data\n")
    put(sessions.folder("DONE-09"), DATASETS[0])
    folder = sessions.folder("DONE-10")
    put(folder, DATASETS[0])
    put(folder, os.fsdecode(b"alf/spikes.\xff.npy"))


def turn(lab: Past, seconds: float) -> None:
    lab.clock.pass_by(seconds)
    lab.detect.wake()
    lab.detect.turn()


def write_what_goes_on(lab: Past, sessions: Sessions) -> None:
    """Write what is only to be seen while it happens, and stop in the middle of it."""
    growing = put(sessions.folder("DONE-01"), "alf/a.b.npy")
    put(sessions.folder("DONE-07"), "alf/a.b.npy")
    os.utime(lab.sandbox.places.watch_root / sessions.of["DONE-07"] / "alf/a.b.npy", (4e9, 4e9))
    restarted = sessions.folder("DONE-08")
    put(restarted, "alf/a.b.npy")
    for _ in range(10):
        turn(lab, 20)
        with growing.open("ab") as stream:
            stream.write(b"more")
        os.utime(lab.sandbox.places.watch_root / sessions.of["DONE-07"] / "alf/a.b.npy", None)
        (restarted / "alf/a.b.npy").write_bytes(b"again")
    lab.clock.wall -= 3600
    turn(lab, 20)
    (restarted / FLAG).unlink()
    moved = lab.sandbox.places.watch_root / sessions.of["DONE-09"]
    moved.rename(moved.with_name("900"))
    lab.end()
    lab.open()
    lab.detect.first_scan()
    for _ in range(2):
        turn(lab, 15)


def said(found: Mapping[str, Any]) -> str:
    """Return everything an explanation says."""
    parts = [found["message"], found["hint"], *(fact["what"] for fact in found["evidence"])]
    return " | ".join([*parts, (found["next"] or {}).get("what", "")])


NAMED: Mapping[str, str] = {  # what must be said of each cause
    "no_eid": "Create the session in Alyx",
    "no_datasets": "none of the",
    "no_files": "not one file",
    "only_logs": "holds logs and no data",
    "no_behaviour": f"{TASK} missing",
    "no_settings": f"{TASK} holds no task settings",
    "corrupt_settings": "is not JSON",
    "number_mismatch": "says 099",
    "subject_mismatch": "says ZFM-01935",
    "test_user": "_iblrig_test_user",
    "subject_not_on_alyx": "NOBODY",
    "no_video": f"{VIDEO} missing",
    "DONE-01": "nothing changed for",
    "DONE-02": f"has {2 * MANY_BYTES} bytes, its .meta file says {MANY_BYTES}",
    "DONE-03": ".a.b.npy.AbC123",
    "DONE-04": "watched as scan-only",
    "DONE-05": "raw_ephys_data missing",
    "DONE-06": "the kernel lost events once",
    "DONE-07": "complete, if nothing changes for 60 s",
    "DONE-08": f"completion signal {FLAG} seen",
    "DONE-09": f"{SUBJECT}/{DAY}/900",
    "DONE-10": "the name is not UTF-8",
}


def test_win_04_the_right_cause_for_twelve_findings_and_ten_rows_of_detection(lab: Past, tmp_path: Path) -> None:
    sessions = Sessions(lab)
    write_findings(sessions)
    write_rows(sessions)
    lab.write(BUSY, {}, flag=False)
    lab.meet()
    lab.work()
    write_what_goes_on(lab, sessions)
    found = {cause: lab.explain(session) for cause, session in sessions.of.items()}
    found["DONE-10"] = lab.explain(f"{sessions.of['DONE-10']}/alf/spikes.\\xff.npy")
    found["DONE-06"] = lab.explain(f"{SUBJECT}/{DAY}/{_not_noticed(lab)}")
    (tmp_path / "mount").mkdir()
    blind = World(tmp_path / "mount")  # its roots report no events, as a network mount
    try:
        blind.detect.first_scan()
        found["DONE-04"] = explain(blind.context, blind.live, str(blind.write("a.b.npy")))
    finally:
        blind.close()

    expected = {**FINDINGS, **ROWS}
    assert {cause: (one["verdict"], one["code"]) for cause, one in found.items()} == expected
    assert len(found) == 22
    silent = {cause: said(one) for cause, one in found.items() if NAMED[cause] not in said(one)}
    assert silent == {}
    helpless = [cause for cause, one in found.items() if one["attention"] and not one["hint"]]
    assert helpless == [], "where a person must act, it says how"


def _not_noticed(lab: Past) -> str:
    """Let the kernel's queue run over, and write a session that no scan has found since."""
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    busy = lab.sandbox.places.watch_root / BUSY
    for number in range(queue // 2 + 2):  # each is created and closed
        os.close(os.open(busy / f"{number}.raw", os.O_CREAT | os.O_WRONLY))
    turn(lab, 5)
    lab.write(f"{SUBJECT}/{DAY}/901", flag=True)
    return "901"


def test_reg_04_explain_tells_tasks_devices_and_sync(lab: Past) -> None:
    lab.meet()
    session = plan_session(SUBJECT, "cortexlab", date(2026, 3, 2), 1, "ephys")
    folder = lab.write(session.relative, {}, flag=False)
    for file in session.files:
        if file.path == DESCRIPTION:
            put(folder, DESCRIPTION, b"".join(file.pieces(65_536)))
    turn(lab, 40)
    found = lab.explain(session.relative)
    told = [fact["what"] for fact in found["evidence"] if fact["what"].startswith("experiment description")]
    assert [line.partition(":")[0] for line in told] == [
        "experiment description, tasks",
        "experiment description, devices",
        "experiment description, sync",
    ]
    assert "_iblrig_tasks_ephysChoiceWorld (raw_behavior_data)" in told[0]
    assert "neuropixel probe00 (raw_ephys_data/probe00)" in told[1]
    assert told[2].endswith("nidq (raw_ephys_data)")
    description = found["description"]
    assert [one["collection"] for one in description["tasks"]] == ["raw_behavior_data", "raw_passive_data"]
    assert description["sync"] == {"name": "nidq", "collection": "raw_ephys_data"}
    assert {"kind": "cameras", "label": "left", "collection": "raw_video_data"} in description["devices"]


@pytest.mark.parametrize("content", [b"tasks: [", b"- a\n- b\n", b"tasks: null\n", b"", b"\xff"])
def test_reg_04_explain_survives_every_description(lab: Past, content: bytes) -> None:
    put(lab.write(flag=True), DESCRIPTION, content)
    lab.meet()
    turn(lab, 40)
    found = lab.explain()
    assert found["verdict"] == "settling"
    if content in {b"", b"tasks: null\n"}:
        assert not any("cannot" in fact["what"] for fact in found["evidence"])
        return
    assert found["description"] is None
    assert any(fact["what"].startswith(f"experiment description: {DESCRIPTION}") for fact in found["evidence"])
