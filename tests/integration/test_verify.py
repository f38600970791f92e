"""`labferry verify`: one session held against Alyx and against every archive, by a real daemon."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from labferry.control.messages import Request, failure
from labferry.control.server import ControlServer, bind_socket
from labferry.engine.reports.verify import LONGEST, LONGEST_DEEP, verify
from labferry.errors import BlockedError, LabferryError, NotYetError
from labferry.model import SessionState, Stage
from support.command import socket_folder
from support.lab import SMALL, Lab, fresh
from support.somebody import as_somebody
from support.stages import StageBench
from support.wait import wait_until
from support.world import World

PATH = "KS005/2026-03-02/001"
TRIALS, WHEEL, THIRD = sorted(SMALL)
SERVER, LOCAL = "flatiron_cortexlab", "cortexlab_SR"


@pytest.fixture(scope="module")
def globus_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("globus"), archive="globus") as lab:
        yield lab


def verified(lab: Lab, *options: str, code: int = 0, session: str = PATH) -> dict[str, Any]:
    """Return `verify.data` and check how the command ends."""
    done = lab.command("verify", session, *options, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    data: dict[str, Any] = json.loads(done.stdout)["data"]
    return data


def refused(lab: Lab, *words: str, code: int) -> dict[str, Any]:
    """Return the error of a command that cannot answer."""
    done = lab.command("verify", *words, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    error: dict[str, Any] = json.loads(done.stdout)["error"]
    return error


def archive(found: dict[str, Any], name: str = "server") -> dict[str, Any]:
    (one,) = [one for one in found["archives"] if one["target"] == name]
    return dict(one)


def faults(part: dict[str, Any]) -> dict[str, str]:
    assert part["differing"] == len(part["differences"])
    return {one["path"]: one["fault"] for one in part["differences"]}


def copy_of(lab: Lab, name: str) -> Path:
    """Return where a file of the session is in the archive."""
    stem, dot, suffix = os.path.basename(name).rpartition(".")
    (found,) = (lab.archive / "cortexlab" / "Subjects" / PATH / os.path.dirname(name)).glob(f"{stem}.*{dot}{suffix}")
    return found


def change_a_byte(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def records(lab: Lab) -> Iterator[tuple[str, bool]]:
    """Yield repository and `exists` of everything that Alyx holds."""
    for dataset in lab.state()["datasets"]:
        for record in dataset["file_records"]:
            yield record["data_repository"], record["exists"]


def listings(lab: Lab) -> list[str]:
    """Return the directories of collections that were listed so far."""
    return [r["path"] for r in lab.requests() if "/ls?" in r["path"]]


# --- on the way -------------------------------------------------------------------------------------------


def test_one_01_verify_says_registered_not_yet_online_before_the_archive_has_it(lab: Lab) -> None:
    lab.start_ready()
    lab.ask("/v1/pause", "POST", {"lane": "archive"})
    lab.write(PATH)
    lab.wait_for("registered")
    assert {exists for repository, exists in records(lab) if repository == SERVER} == {False}
    found = verified(lab, code=1)
    assert found["verdict"] == "registered_not_online"
    assert found["message"].startswith("registered, not yet online")
    assert {key: found["alyx"][key] for key in ("datasets", "registered", "online", "differing")} == {
        "datasets": 3,
        "registered": 3,
        "online": 0,
        "differing": 0,
    }
    assert found["alyx"]["repositories"] == {LOCAL: 3}
    assert {key: archive(found)[key] for key in ("files", "verified", "pending")} == {
        "files": 3,
        "verified": 0,
        "pending": 3,
    }
    lab.ask("/v1/resume", "POST", {"lane": "archive"})
    lab.wait_for("archived")
    found = verified(lab)
    assert (found["verdict"], found["hint"], found["alyx"]["online"]) == ("ok", "", 3)
    assert found["alyx"]["repositories"] == {LOCAL: 3, SERVER: 3}
    assert {key: archive(found)[key] for key in ("verified", "pending", "differing", "extras", "compared")} == {
        "verified": 3,
        "pending": 0,
        "differing": 0,
        "extras": 0,
        "compared": "size",
    }


def test_one_01_a_copy_that_alyx_was_told_of_and_forgot_is_not_online(lab: Lab) -> None:
    lab.start_ready()
    lab.write(PATH)
    lab.wait_for("archived")
    told = [r for r in lab.requests() if r["method"] == "PATCH" and r["path"].startswith("/files/")]
    as_somebody(lab, "PATCH", told[0]["path"], {"exists": False})
    found = verified(lab, code=1)
    assert (found["verdict"], found["alyx"]["online"]) == ("registered_not_online", 2)


def test_one_01_verify_names_what_is_not_registered_yet(lab: Lab) -> None:
    lab.start_ready()
    lab.ask("/v1/pause", "POST", {"lane": "register"})
    lab.write(PATH, flag=False)
    lab.wait_for_code(lab.root / PATH, "waiting_signal")
    assert verified(lab, code=1)["verdict"] == "not_registered"
    lab.write(PATH)
    lab.wait_for("complete")
    found = verified(lab, code=1)
    assert (found["verdict"], found["alyx"]["eid"]) == ("not_registered", None)
    asked = [r for r in lab.requests() if r["path"].startswith("/datasets")]
    assert asked == []


def test_one_01_a_session_that_was_deleted_in_alyx_is_not_registered(lab: Lab) -> None:
    lab.start_ready()
    lab.write(PATH)
    lab.wait_for("archived")
    as_somebody(lab, "DELETE", f"/sessions/{lab.show(PATH)['eid']}")
    found = verified(lab, code=1)
    assert (found["verdict"], found["alyx"]["gone"]) == ("not_registered", True)
    assert archive(found)["verified"] == 3


def test_one_01_what_somebody_changed_in_alyx_is_named(lab: Lab) -> None:
    lab.start_ready()
    lab.write(PATH)
    lab.wait_for("archived")
    address = {f"{one['collection']}/{one['name']}": f"/datasets/{one['id']}" for one in lab.state()["datasets"]}
    as_somebody(lab, "PATCH", address[WHEEL], {"hash": hashlib.md5(b"").hexdigest()})
    as_somebody(lab, "PATCH", address[TRIALS], {"file_size": 1})
    as_somebody(lab, "DELETE", address[THIRD])
    found = verified(lab, code=1)
    assert found["verdict"] == "differs"
    assert faults(found["alyx"]) == {WHEEL: "hash", TRIALS: "size", THIRD: "missing"}
    assert found["alyx"]["registered"] == 0
    assert archive(found)["differing"] == 0


def test_a_dataset_of_somebody_else_is_named_and_no_difference(lab: Lab) -> None:
    lab.start_ready()
    lab.write(PATH)
    lab.wait_for("archived")
    other = {"path": PATH, "filenames": ["alf/probe00/spikes.times.npy"], "hashes": ["0" * 32], "filesizes": [1]}
    as_somebody(lab, "POST", "/register-file", {**other, "name": LOCAL, "labs": "cortexlab"})
    found = verified(lab)
    assert (found["alyx"]["extra"], found["alyx"]["extras"]) == (["alf/probe00/spikes.times.npy"], 1)


# --- a directory ------------------------------------------------------------------------------------------


def test_map_12_one_changed_byte_is_named_and_a_foreign_file_is_listed(lab: Lab) -> None:
    lab.start_ready()
    lab.write(PATH)
    lab.wait_for("archived")
    assert verified(lab, "--deep")["verdict"] == "ok"
    copy = copy_of(lab, WHEEL)
    change_a_byte(copy)
    (copy.parent / "foreign.txt").write_text("not ours")
    (copy.parents[1] / "other").mkdir()
    quick = verified(lab)
    assert (quick["verdict"], archive(quick)["differing"]) == ("ok", 0)
    found = verified(lab, "--deep", code=1)
    assert (found["verdict"], archive(found)["compared"]) == ("differs", "content")
    assert faults(archive(found)) == {WHEEL: "content"}
    assert str(copy) in found["message"]
    for one in (quick, found):
        assert sorted(archive(one)["extra"]) == [f"{copy.parent}/foreign.txt", f"{copy.parents[1]}/other/"]
        assert archive(one)["extras"] == 2
    assert archive(found)["verified"] == 2
    assert found["alyx"]["differing"] == 0


def test_map_12_what_is_gone_or_has_another_size_is_named_without_reading(lab: Lab) -> None:
    lab.start_ready()
    lab.write(PATH)
    lab.wait_for("archived")
    copy_of(lab, WHEEL).unlink()
    with copy_of(lab, TRIALS).open("ab") as stream:
        stream.write(b"more")
    found = verified(lab, code=1)
    assert faults(archive(found)) == {WHEEL: "missing", TRIALS: "size"}
    told = lab.command("verify", PATH).stdout
    assert "differs:" in told
    assert "1 of 3 files as sealed" in told
    assert "To do:" in told


def test_map_12_nothing_is_corrected_and_nothing_is_sent(lab: Lab) -> None:
    lab.start_ready()
    lab.write(PATH)
    lab.wait_for("archived")
    change_a_byte(copy_of(lab, WHEEL))
    before, state = lab.actions(PATH), lab.state()
    sent = len(lab.requests())
    verified(lab, "--deep", code=1)
    assert [(r["method"], r["path"].partition("?")[0]) for r in lab.requests()[sent:]] == [("GET", "/datasets")]
    assert (lab.actions(PATH), lab.state()) == (before, state)


def test_an_archive_that_is_not_there_means_try_later(lab: Lab) -> None:
    lab.start_ready()
    lab.write(PATH)
    lab.wait_for("archived")
    aside = lab.archive.with_name("aside")
    lab.archive.rename(aside)
    try:
        assert refused(lab, PATH, code=75)["code"] == "target_missing"
    finally:
        aside.rename(lab.archive)
    assert verified(lab)["verdict"] == "ok"


def test_a_root_without_registration_is_held_against_its_archive_alone(lab: Lab) -> None:
    root = {"name": "rig", "path": str(lab.root), "archive": ["plain"], "register": False}
    lab.environment |= {
        "LABFERRY_ROOTS": json.dumps([root]),
        "LABFERRY_ARCHIVE__PLAIN__KIND": "directory",
        "LABFERRY_ARCHIVE__PLAIN__PATH": str(lab.archive),
        "LABFERRY_ARCHIVE__PLAIN__NAMING": "plain",
        "LABFERRY_ARCHIVE__PLAIN__REPOSITORY": "",
        "LABFERRY_DETECTION__QUIET_WITHOUT_SIGNAL": "0.2",
    }
    odd = os.fsdecode(b"odd \xff name.bin")
    lab.start_ready()
    lab.ask("/v1/pause", "POST", {"lane": "archive"})
    lab.write(PATH, {**SMALL, odd: b"odd"})
    lab.wait_for("complete")
    waiting = verified(lab, code=1)
    assert (waiting["verdict"], waiting["alyx"]) == ("not_archived", None)
    lab.ask("/v1/resume", "POST", {"lane": "archive"})
    lab.wait_for("archived")
    assert verified(lab, "--deep")["verdict"] == "ok"
    change_a_byte(lab.archive / PATH / odd)
    (one,) = archive(verified(lab, "--deep", code=1), "plain")["differences"]
    assert (one["path"], one["fault"]) == (r"odd \xff name.bin", "content")
    assert "path_b64" in one


# --- Globus -----------------------------------------------------------------------------------------------


def test_map_12_a_collection_is_listed_and_its_content_compared_on_a_word(globus_lab: Lab) -> None:
    with fresh(globus_lab) as lab:
        lab.start_ready()
        lab.write(PATH)
        lab.wait_for("archived")
        found = verified(lab, "--deep")
        assert (found["verdict"], archive(found)["compared"]) == ("ok", "content")
        assert sum(archive(found)["evidence"].values()) == 3
        copy = copy_of(lab, WHEEL)
        change_a_byte(copy)
        found = verified(lab, "--deep", code=1)
        assert faults(archive(found)) == {WHEEL: "content"}
        assert archive(found)["extras"] == 0, "what was copied to look is deleted"
        assert verified(lab)["verdict"] == "ok", "its size is right"
        (copy.parent / "foreign.txt").write_text("not ours")
        copy.unlink()
        with copy_of(lab, TRIALS).open("ab") as stream:
            stream.write(b"more")
        asked = len(listings(lab))
        found = verified(lab, code=1)
        assert faults(archive(found)) == {WHEEL: "missing", TRIALS: "size"}
        assert archive(found)["extra"] == [f"/cortexlab/Subjects/{PATH}/alf/foreign.txt"]
        assert len(listings(lab)) - asked == 3  # the session's folder and two below it


def test_a_collection_that_is_offline_means_try_later(globus_lab: Lab) -> None:
    with fresh(globus_lab) as lab:
        lab.start_ready()
        lab.write(PATH)
        lab.wait_for("archived")
        lab.add_fault(action="collection", becomes="offline")
        assert refused(lab, PATH, code=75)["code"] == "collection_offline"


# --- moved by Alyx ----------------------------------------------------------------------------------------


def test_what_alyx_moves_is_compared_by_its_records(lab: Lab) -> None:
    root = {"name": "rig", "path": str(lab.root), "archive": ["flatiron"]}
    lab.environment |= {"LABFERRY_ROOTS": json.dumps([root]), "LABFERRY_ARCHIVE__FLATIRON__KIND": "observe"}
    lab.start_ready()
    lab.write(PATH)
    lab.wait_for_code(lab.root / PATH, "not_observed")
    assert verified(lab, code=1)["verdict"] == "registered_not_online"
    moved = [r for one in lab.state()["datasets"] for r in one["file_records"] if r["data_repository"] == SERVER]
    for record in moved:
        as_somebody(lab, "PATCH", f"/files/{record['id']}", {"exists": True})
    lab.wait_for("archived", timeout=60)
    found = verified(lab, "--deep")
    assert (found["verdict"], archive(found, "flatiron")["compared"]) == ("ok", "records")
    assert archive(found, "flatiron")["verified"] == 3
    as_somebody(lab, "PATCH", f"/files/{moved[0]['id']}", {"exists": False})
    found = verified(lab, code=1)
    assert found["verdict"] == "differs"
    assert list(faults(archive(found, "flatiron")).values()) == ["missing"]


# --- bad input, bad weather -------------------------------------------------------------------------------


def test_alyx_that_does_not_answer_means_try_later(lab: Lab) -> None:
    lab.start_ready()
    lab.write(PATH)
    lab.wait_for("archived")
    lab.add_fault(match="GET /datasets", action="status", status=503, times=None)
    assert refused(lab, PATH, code=75)["code"] == "alyx_down"


def test_a_login_that_is_refused_is_said(lab: Lab) -> None:
    lab.start_ready()
    lab.write(PATH)
    lab.wait_for("archived")
    invalid = {"detail": "Invalid token.", "status_code": 403}
    lab.add_fault(match="GET /datasets", action="status", status=403, body=invalid, times=None)
    assert refused(lab, PATH, code=8)["code"] == "alyx_login"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BlockedError("ambiguous_repository", "two"), 409),
        (NotYetError("root_unknown", "gone", 60.0), 503),
        (LabferryError("no_such_session", "none"), 404),
        (LabferryError("bad_request", "what"), 400),
    ],
)
def test_what_is_no_fault_of_the_question_is_not_called_one(error: LabferryError, status: int) -> None:
    assert failure(error).status == status


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["KS005/2026-03-02/009"], 1, "no_such_session"),
        ([""], 2, "usage"),
        (["../../etc/passwd"], 1, "no_such_session"),
        ([], 2, "usage"),
    ],
)
def test_bad_input_is_named(lab: Lab, words: list[str], code: int, error: str) -> None:
    lab.start_ready()
    assert refused(lab, *words, code=code)["code"] == error


def test_two_sessions_are_verified_at_once_and_everybody_else_is_answered(lab: Lab) -> None:
    lab.start_ready()
    lab.write(PATH)
    lab.wait_for("archived")
    rule = lab.add_fault(match="GET /datasets", action="hold", times=None)
    answers: list[dict[str, Any]] = []
    target = f"/v1/verify?session={quote(PATH)}"
    threads = [threading.Thread(target=lambda: answers.append(lab.ask(target))) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: lab.hits(rule) == 2, what="both to look")
    assert lab.status()["sessions"]["archived"] == 1
    assert lab.ask(target)["error"]["code"] == "busy"
    lab.clear_faults()
    for thread in threads:
        thread.join(20)
    assert [answer["data"]["verdict"] for answer in answers] == ["ok", "ok"]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StageBench]:
    bench = StageBench(tmp_path)
    yield bench
    bench.close()


def test_map_12_a_copy_of_another_version_is_named_and_one_of_a_removed_file_is_kept(bench: StageBench) -> None:
    folder, session = bench.write()
    bench.run_until(Stage.ARCHIVE)
    (folder / WHEEL).write_bytes(b"Positions")  # as many bytes
    (folder / TRIALS).unlink()
    bench.journal.sessions.unsettle(session.id, "its files changed")
    bench.journal.sessions.complete(session.id, b"signature 2", register=True, targets=["server"])
    bench.run_until(Stage.SEAL)
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    found = verify(bench.context, row, deep=True)
    assert (found["verdict"], faults(archive(found))) == ("differs", {WHEEL: "changed"})
    assert archive(found)["extras"] == 0
    copy = next(bench.sandbox.places.archive.rglob("_ibl_trials.intervals.*.npy"))
    copy.unlink()
    assert faults(archive(verify(bench.context, row))) == {WHEEL: "changed", TRIALS: "missing"}


def test_an_adopted_session_is_held_against_alyx_alone(bench: StageBench) -> None:
    _, session = bench.write()
    bench.run_until(Stage.REGISTER)
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    adopted = replace(row, state=SessionState.ADOPTED, registered_at=None, complete_at=None)
    assert verify(bench.context, adopted)["verdict"] == "registered_not_online"
    for found in bench.datasets(session):
        for record in found["file_records"]:
            bench.alyx("PATCH", f"/files/{record['id']}", {"exists": True})
    found = verify(bench.context, adopted)
    assert (found["verdict"], archive(found)["pending"]) == ("ok", 3)
    assert verify(bench.context, row)["verdict"] == "not_archived"
    left_alone = replace(adopted, state=SessionState.BACKLOG)
    assert "left alone (backlog)" in verify(bench.context, left_alone)["message"]


@pytest.mark.parametrize("deep", [False, True])
def test_a_look_ends_when_nobody_waits_or_it_takes_too_long(bench: StageBench, deep: bool) -> None:
    _, session = bench.write()
    bench.run_until(Stage.ARCHIVE)
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    assert verify(bench.context, row, deep=deep)["verdict"] == "ok"

    def time_flies() -> bool:
        bench.clock.pass_by(LONGEST_DEEP if deep else LONGEST)
        return False

    for gone, words in ((lambda: True, ""), (time_flies, "took longer than")):
        with pytest.raises(LabferryError) as caught:
            verify(bench.context, row, deep=deep, gone=gone)
        assert caught.value.code == "busy"
        assert words in caught.value.message


def test_an_answer_learns_that_its_client_left_but_not_that_it_has_no_more_to_ask(tmp_path: Path) -> None:
    with socket_folder() as folder:
        world, path = World(tmp_path), str(folder / "c.sock")
        server = ControlServer(bind_socket(path), world.context, world.live)
        asked: list[Callable[[], bool]] = []
        left = threading.Event()

        def answer(request: Request) -> dict[str, str]:
            asked.append(request.gone)
            wait_until(request.gone, what="the client to leave")
            left.set()
            return {}

        server.api._looks["/slow"] = answer
        server.start()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(path)
            client.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
            client.shutdown(socket.SHUT_WR)
            wait_until(lambda: asked, what="the question to arrive")
            assert asked[0]() is False
        assert left.wait(10)
        server.stop()
        world.close()
