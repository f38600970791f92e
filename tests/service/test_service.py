"""The service under a real systemd, from `make install` to `make uninstall`.

One container for all; the tests that install and uninstall stand first and last.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.freeze import halted
from support.installed import ARCHIVE, CONFIG, LAB, ROOT, UNIT, Installed
from support.lab import SMALL, archived_files
from support.wait import wait_until

pytestmark = pytest.mark.timeout(180)  # the first test waits for the installation, too

SESSION = "KS005/2026-03-02/001"
BROKEN = ("scan_every", "scan_evry")
INSTALLED = (
    "/usr/local/lib/systemd/system/labferry.service",
    "/usr/local/bin/labferry",
    "/usr/local/share/man/man1/labferry.1",
    "/usr/local/share/doc/labferry/operate.md",
    "/usr/local/share/bash-completion/completions/labferry",
    "/usr/local/share/zsh/site-functions/_labferry",
    "/usr/local/share/fish/vendor_completions.d/labferry.fish",
    "/opt/labferry/reload",
    "/etc/credstore/labferry.alyx-password",
)


@pytest.fixture
def service(installed: Installed) -> Iterator[Installed]:
    """The service stopped, with nothing known and nothing to do."""
    installed.lab.forget_everything()
    machine = installed.machine
    machine.do("chown", "-R", "labferry", ARCHIVE)
    machine.do("sh", "-c", "rm -rf /var/lib/labferry/*; journalctl --rotate --vacuum-size=1 --quiet")
    yield installed
    installed.systemctl("stop")
    installed.systemctl("reset-failed")


def require_archived_once(service: Installed) -> None:
    """Require that the session is in Alyx and in the archive once and whole."""
    lab = service.lab
    assert len(lab.state()["sessions"]) == 1
    assert len(lab.posts("/register-file")) == 1
    assert archived_files(lab) == {f"cortexlab/Subjects/{SESSION}/{name}": data for name, data in SMALL.items()}


# --- install --------------------------------------------------------------------------------------------------


def test_install_brings_everything_and_starts_nothing(installed: Installed) -> None:
    machine = installed.machine
    for path in INSTALLED:
        machine.do("test", "-e", path) if "credstore" not in path else machine.do("test", "-L", path)
    assert "systemctl enable --now labferry" in installed.said
    assert installed.fact("ActiveState") == "inactive"
    assert machine.run("systemctl", "is-enabled", UNIT).stdout == "disabled\n"
    assert machine.do("stat", "-c", "%a %U %G", CONFIG, "/etc/labferry/alyx-password", "/var/lib/labferry").split("\n")[
        :3
    ] == ["640 root labferry", "600 root root", "700 labferry labferry"]
    assert machine.do("labferry", "--version").startswith("labferry ")
    completion = "source /usr/local/share/bash-completion/completions/labferry && complete -p labferry"
    assert "labferry" in machine.do("bash", "-c", completion)


def test_a_second_install_changes_nothing_but_the_package(installed: Installed) -> None:
    machine = installed.machine
    machine.do("sh", "-c", f"echo '# mine' >> {CONFIG}; echo mine > /etc/labferry/alyx-password")

    def everything() -> str:
        places = "/etc /usr/local /opt/labferry /var/lib/labferry"
        return machine.do("sh", "-c", f"find {places} -path '*/venv/*' -prune -o -printf '%p %m %u %T@ %s\\n' | sort")

    before = everything()
    installed.make("install")
    assert everything() == before
    assert machine.do("tail", "-1", CONFIG) == "# mine\n"


def test_systemd_has_nothing_to_say_about_the_installed_unit(installed: Installed) -> None:
    done = installed.machine.run("systemd-analyze", "verify", UNIT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert installed.machine.run("systemd-analyze", "security", "--threshold=20", UNIT).returncode == 0


# --- start ----------------------------------------------------------------------------------------------------


def test_it_starts_as_its_own_user_and_archives_a_session(service: Installed) -> None:
    service.start()
    assert service.fact("ActiveState") == "active"
    assert service.fact("StatusText") == "no sessions yet"
    assert service.machine.do("stat", "-c", "%U", f"/proc/{service.pid}").strip() == "labferry"
    service.lab.write(SESSION)
    service.wait_for("archived")
    require_archived_once(service)
    service.wait_for_status_text("1 session archived")
    assert service.labferry("status").returncode == 0


def test_it_archives_through_globus_with_the_secret_that_systemd_hands_it(service: Installed) -> None:
    service.lab.write(SESSION)
    service.start(over_globus=True)
    service.wait_for("archived")
    require_archived_once(service)
    assert service.globus_secret not in str(service.records())


def test_a_password_that_is_missing_is_said_and_not_tried_again(service: Installed) -> None:
    service.configure()
    service.machine.do("rm", "/etc/labferry/alyx-password")
    assert service.systemctl("start").returncode != 0
    assert service.fact("ExecMainStatus") == "6"
    assert service.fact("ActiveState") == "failed"
    assert service.fact("NRestarts") == "0"
    assert "password_file" in service.messages()


def test_nobody_finds_the_password(service: Installed) -> None:
    service.lab.write(SESSION)
    service.start()
    service.wait_for("archived")
    machine = service.machine
    assert service.password not in str(service.records())
    assert service.password not in machine.do("cat", f"/proc/{service.pid}/environ", f"/proc/{service.pid}/cmdline")
    assert service.password not in service.labferry("config", "show").stdout
    assert machine.run("grep", "-rqF", service.password, "/var/lib/labferry", "/run/labferry").returncode == 1
    seen = machine.run("setpriv", "--reuid=65534", "--clear-groups", "cat", "/etc/labferry/alyx-password")
    assert seen.returncode == 1


def test_members_of_the_group_may_look_and_operators_may_change(service: Installed) -> None:
    machine = service.machine
    for user, groups in (("anna", "labferry"), ("bea", "labferry"), ("carl", "")):
        machine.run("useradd", "--groups", groups, user)
    service.start(("[globus]", '[control]\noperators = ["anna"]\n\n[globus]'))

    def codes(user: str) -> list[int]:
        words = (["labferry", "status"], ["labferry", "pause"], ["labferry", "resume"])
        return [machine.run("setpriv", f"--reuid={user}", "--init-groups", *one).returncode for one in words]

    assert codes("anna") == [0, 0, 0]
    assert codes("bea") == [0, 5, 5]
    assert codes("carl") == [5, 5, 5]


def test_the_service_cannot_write_to_a_root(service: Installed) -> None:
    service.start()
    machine = service.machine
    machine.do("touch", f"{ROOT}/probe")

    def try_to(*words: str) -> str:
        """Do it in the service's view of the file system, with every right that root has."""
        return machine.run("nsenter", f"--target={service.pid}", "--mount", "--", *words).stderr

    for attempt in (
        ("touch", f"{ROOT}/new"),
        ("rm", f"{ROOT}/probe"),
        ("mv", f"{ROOT}/probe", f"{ROOT}/moved"),
        ("sh", "-c", f"echo x >> {ROOT}/probe"),
        ("touch", "/etc/labferry/new"),
    ):
        assert "Read-only file system" in try_to(*attempt), attempt
    assert try_to("touch", f"{ARCHIVE}/new") == ""
    assert machine.do("grep", "CapEff", f"/proc/{service.pid}/status").split()[1].strip("0") == ""


# --- trouble --------------------------------------------------------------------------------------------------


def test_it_starts_during_an_outage_says_so_and_goes_on_after_it(service: Installed) -> None:
    service.lab.stop_sandbox()
    service.lab.write(SESSION)
    service.start()
    service.wait_for_status_text("1 session complete", "alyx: ", "cannot be reached", "(since ")
    assert service.labferry("status").returncode == 3
    service.lab.restart_sandbox()
    service.wait_for("archived")
    service.wait_for_status_text("1 session archived")
    assert service.fact("NRestarts") == "0"


def test_win_08_a_killed_service_is_started_again_and_goes_on(service: Installed) -> None:
    rule = service.lab.add_fault(match="POST /register-file", when="before", action="hold", then="drop")
    service.lab.write(SESSION)
    service.start()
    service.lab.wait_for_fault(rule)
    first = service.pid
    os.kill(service.machine.pid_here(first), signal.SIGKILL)
    wait_until(lambda: service.pid not in {0, first}, 20, "another process")
    service.lab.clear_faults()
    service.wait_for("archived")
    assert service.fact("NRestarts") == "1"
    require_archived_once(service)


def test_a_lane_that_hangs_is_named_and_the_watchdog_ends_it(service: Installed) -> None:
    service.start(drop_in=["WatchdogSec=2s"])
    first = service.pid
    process = service.machine.pid_here(first)
    service.lab.write(SESSION)
    service.wait_for("archived")
    threads = sorted(int(name) for name in os.listdir(f"/proc/{process}/task"))
    assert threads[0] == process
    with halted(threads[3]) as lane:  # the main thread, which keeps the watchdog, runs on

        def started_again() -> bool:
            lane.bury()
            return service.fact("NRestarts") == "1" and service.pid not in {0, first}

        wait_until(started_again, 60, lambda: f"the restart\n{service.tail()}")
    (silent,) = service.records("EVENT=lane_silent")
    assert silent["LANE"] in {"seal-1", "seal-2", "detect", "register-1"}
    assert "Watchdog timeout" in service.messages()
    assert 'File "/opt/labferry/venv' in service.messages(), "every thread said where it was"
    wait_until(lambda: service.fact("ActiveState") == "active", 20, "the service to be ready again")
    assert service.status()["sessions"]["archived"] == 1


# --- reload ---------------------------------------------------------------------------------------------------


def test_a_reload_takes_the_new_configuration_in_the_same_process(service: Installed) -> None:
    service.start()
    before = service.pid
    service.machine.do("mkdir", "-p", f"{LAB}/more")
    more = f'[[roots]]\nname = "s1"\npath = "{LAB}/more"\nrepository = "flatiron_cortexlab"\n\n[detection]'
    service.configure(("[detection]", more))
    assert service.systemctl("reload").returncode == 0
    assert [root["name"] for root in service.status()["roots"]] == ["s0", "s1"], "systemctl waited for it"
    assert service.fact("ActiveState") == "active"
    assert service.pid == before
    service.lab.write(SESSION)
    service.wait_for("archived")
    require_archived_once(service)
    assert service.fact("NRestarts") == "0"


def test_a_reload_with_a_bad_configuration_fails_and_the_service_goes_on(service: Installed) -> None:
    service.start()
    before = service.pid
    service.configure(BROKEN)
    assert service.systemctl("reload").returncode != 0
    assert service.fact("ActiveState") == "active"
    service.wait_for_status_text("reload refused", "scan_evry", "no sessions yet")
    (refused,) = service.records("EVENT=reload_refused")
    assert refused["PRIORITY"] == "3"
    assert "scan_evry" in refused["LABFERRY_WHY"]
    service.lab.write(SESSION)
    service.wait_for("archived")
    assert service.pid == before
    service.configure()
    assert service.systemctl("reload").returncode == 0
    assert service.fact("StatusText") == "1 session archived"


# --- the journal ----------------------------------------------------------------------------------------------


def test_the_journal_has_the_fields_to_look_for(service: Installed) -> None:
    service.lab.write(SESSION)
    service.lab.write("KS005/2026-03-02/002")
    service.start()
    service.wait_for("archived", 2)
    ours = service.records(f"SESSION_PATH={SESSION}")
    assert ours
    assert {record["SESSION"] for record in ours} == {SESSION}
    done = ours[-1]
    assert done["EVENT"] == done["ACTION"] == "done"
    assert done["JOB_ID"] == done["JOB"]
    assert done["PRIORITY"] == "6"
    assert done["SYSLOG_IDENTIFIER"] == "labferry"
    assert done["MESSAGE"].startswith("done ")
    assert done["CODE_FILE"].endswith("/labferry/engine/worker.py")
    assert int(done["CODE_LINE"]) > 0
    assert done["CODE_FUNC"]
    assert done["EID"] == json.loads(service.labferry("show", SESSION, "--json").stdout)["data"]["eid"]
    assert done["_TRANSPORT"] == "journal"
    by_job = service.records(f"JOB_ID={done['JOB_ID']}")
    assert {record["SESSION_PATH"] for record in by_job} == {SESSION}


# --- stop -----------------------------------------------------------------------------------------------------


def test_a_stop_is_clean(service: Installed) -> None:
    service.lab.write(SESSION)
    service.start()
    service.wait_for("archived")
    assert service.systemctl("stop").returncode == 0
    assert service.fact("ActiveState") == "inactive"
    assert service.fact("Result") == "success"
    assert service.fact("ExecMainStatus") == "0"
    assert service.fact("NRestarts") == "0"
    assert service.records("EVENT=stopped")
    assert service.machine.run("test", "-e", "/run/labferry").returncode == 1
    service.start()
    assert service.records("EVENT=journal_is_sound") == [], "a clean stop needs no check"


# --- uninstall ------------------------------------------------------------------------------------------------


def test_uninstall_keeps_what_is_yours_and_a_purge_does_not(service: Installed) -> None:
    machine = service.machine
    service.start()
    machine.do("systemctl", "enable", UNIT)
    for _ in range(2):
        assert "kept" in service.make("uninstall").stdout
    assert service.fact("LoadState") == "not-found"
    assert machine.run("pgrep", "-u", "labferry").stdout == ""
    for path in (*INSTALLED, "/opt/labferry", "/etc/systemd/system/multi-user.target.wants/labferry.service"):
        assert machine.run("sh", "-c", f"test -e {path} || test -L {path}").returncode == 1, path
    for path in (CONFIG, "/etc/labferry/alyx-password", "/var/lib/labferry/journal.sqlite"):
        machine.do("test", "-s", path)
    service.make("uninstall", "PURGE=1")
    for path in ("/etc/labferry", "/var/lib/labferry", "/etc/systemd/system/labferry.service.d"):
        assert machine.run("test", "-e", path).returncode == 1, path
    assert machine.run("getent", "passwd", "labferry").returncode == 2
    assert machine.run("getent", "group", "labferry").returncode == 2
    assert service.make("uninstall").stdout == "labferry is not installed.\n"
    assert Path(service.lab.root).is_dir()
