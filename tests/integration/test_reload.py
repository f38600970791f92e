"""SIGHUP: the configuration is read again by the same process, or refused and the old one goes on."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labferry.service.process import GRACE
from support.lab import FAST, SMALL, Lab, archived_files, fresh
from support.wait import wait_until

SESSION = "KS005/2026-03-02/001"
SLACK = 5.0  # seconds that a busy machine may add
OWN_SESSION = ("setsid",)  # SIGHUP from a terminal means something else


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab"), prefix=OWN_SESSION) as lab:
        yield lab


@pytest.fixture
def lab(shared_lab: Lab, tmp_path: Path) -> Iterator[Lab]:
    config = Path(shared_lab.config)
    written = config.read_text()
    with fresh(shared_lab) as lab:
        lab.environment = {**FAST, "RUNTIME_DIRECTORY": str(tmp_path)}
        try:
            yield lab
        finally:
            config.write_text(written)


def change(lab: Lab, old: str, new: str) -> None:
    config = Path(lab.config)
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def reload(lab: Lab) -> str:
    """Ask for a reload as the unit does; return the answer."""
    assert lab.daemon is not None
    answer = Path(lab.environment["RUNTIME_DIRECTORY"], "reload")
    answer.unlink(missing_ok=True)
    lab.daemon.process.send_signal(signal.SIGHUP)
    wait_until(answer.exists, 30, lambda: f"the answer to the reload\n{lab.log[-3000:]}")
    return answer.read_text().removesuffix("\n")


def forget_refusals(lab: Lab) -> None:
    """An error in the log was what the test was about."""
    assert lab.logged("reload_refused")
    (lab.directory / "daemon.log").write_text("")


def test_the_same_process_goes_on_with_the_new_configuration(lab: Lab, tmp_path: Path) -> None:
    daemon = lab.start_ready()
    before = lab.status()
    lab.write(SESSION)
    lab.wait_for("archived")
    second = tmp_path / "second"
    second.mkdir()
    table = f'[[roots]]\nname = "second"\npath = "{second}"\n\n[detection]'
    change(lab, "[detection]", table)
    assert reload(lab) == "reloaded"
    after = lab.status()
    assert after["pid"] == before["pid"] == daemon.process.pid
    assert [root["name"] for root in after["roots"]] == ["rig", "second"]
    assert after["started"] > before["started"]
    assert after["sessions"]["archived"] == 1
    events = [record["event"] for record in lab.records]
    assert events.count("ready") == 2
    assert "journal_is_sound" not in events, "the first life ended in good order"
    lab.write("KS005/2026-03-02/002")
    lab.wait_for("archived", 2)
    assert len(lab.state()["sessions"]) == 2


def test_nobody_else_gets_in_while_it_reloads(lab: Lab) -> None:
    lab.start_ready()
    assert reload(lab) == "reloaded"
    second = lab.command("run", environment={"LABFERRY_CONTROL__SOCKET": str(lab.directory / "other.sock")})
    assert second.returncode == 1
    assert str(lab.state_dir) in second.stderr


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("scan_every", "scan_evry", "scan_evry"),
        ("[alyx]", "[alyx", "line"),
        ('state_dir = "', 'state_dir = "/var/lib/other', "restart"),
        ('socket = "', 'socket = "/nonexistent', "nonexistent"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused_and_the_old_one_goes_on(
    lab: Lab, old: str, new: str, why: str
) -> None:
    daemon = lab.start_ready()
    change(lab, old, new)
    answer = reload(lab)
    assert answer.startswith("refused: ")
    assert why in answer
    (said,) = lab.logged("reload_refused")
    assert why in said["why"]
    forget_refusals(lab)
    assert lab.logged("stopping") == []
    lab.write(SESSION)
    lab.wait_for("archived")
    assert daemon.process.poll() is None


def test_after_a_refusal_the_corrected_configuration_is_taken(lab: Lab) -> None:
    lab.start_ready()
    change(lab, "scan_every", "scan_evry")
    assert reload(lab).startswith("refused")
    change(lab, "scan_evry", "scan_every")
    assert reload(lab) == "reloaded"
    forget_refusals(lab)


def test_a_reload_moves_the_socket(lab: Lab) -> None:
    lab.start_ready()
    change(lab, "control.sock", "moved.sock")
    assert reload(lab) == "reloaded"
    assert not (lab.directory / "control.sock").exists()
    assert lab.command("status").returncode == 0
    change(lab, "moved.sock", "control.sock")
    assert reload(lab) == "reloaded"
    assert lab.answers()


def test_a_reload_waits_for_the_work_at_hand_and_doubles_nothing(lab: Lab) -> None:
    lab.write(SESSION)
    rule = lab.add_fault(match="POST /register-file", when="after", action="hold")
    daemon = lab.start_ready()
    lab.wait_for_fault(rule)
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: lab.logged("reload"), what="the reload to begin")

    def at_work() -> list[str]:
        return [lane["name"].partition("-")[0] for lane in lab.status()["lanes"] if lane["alive"]]

    wait_until(lambda: at_work() == ["register"], 20, lambda: f"all other lanes to end: {at_work()}")
    assert len(lab.logged("ready")) == 1, "no life begins while another one's request is open"
    lab.clear_faults()
    wait_until(lambda: len(lab.logged("ready")) == 2, 20, "the next life")
    lab.wait_for("archived")
    assert len(lab.posts("/register-file")) == 1
    assert archived_files(lab) == {f"cortexlab/Subjects/{SESSION}/{name}": data for name, data in SMALL.items()}


def test_a_stop_overtakes_a_reload(lab: Lab) -> None:
    lab.write(SESSION)
    rule = lab.add_fault(match="POST /register-file", when="after", action="hold")
    daemon = lab.start_ready()
    lab.wait_for_fault(rule)
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: lab.logged("reload"), what="the reload to begin")
    asked = time.monotonic()
    assert daemon.end(signal.SIGTERM, timeout=GRACE + 20) == 0
    assert time.monotonic() - asked < GRACE + SLACK
    lab.daemon = None
    assert len(lab.logged("ready")) == 1
    assert lab.logged("stopped_with_work_open")


def test_systemd_hears_of_every_reload_and_of_its_end(lab: Lab) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(lab.directory / "notify"))
        systemd.settimeout(20)
        lab.environment.update(NOTIFY_SOCKET=str(lab.directory / "notify"), WATCHDOG_USEC="30000000")

        def until(wanted: str) -> list[str]:
            """Return what is said until one begins so, that one included."""
            said: list[str] = []
            while not said or not said[-1].startswith(wanted):
                said.append(systemd.recv(4096).decode())
            return said

        lab.start()
        assert until("READY=1")[-2] == "STATUS=no sessions yet"
        change(lab, "scan_every", "scan_evry")
        reload(lab)
        assert until("READY=1")[-2].startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert "scan_evry" in until("STATUS=reload refused")[-1]
        forget_refusals(lab)
        change(lab, "scan_evry", "scan_every")
        assert reload(lab) == "reloaded"
        said = until("READY=1")
        assert [word.split("\n")[0] for word in said if not word.startswith(("STATUS", "WATCHDOG"))] == [
            "RELOADING=1",
            "READY=1",
        ]
        assert any(word == "WATCHDOG=1\nWATCHDOG_USEC=900000000" for word in said)
        assert said[-2] == "STATUS=no sessions yet"
        until("WATCHDOG=1\nWATCHDOG_USEC=30000000")
    (lab.directory / "notify").unlink()
