"""Signs of ibllib's job creator on a machine (ruling 9)."""

from __future__ import annotations

from pathlib import Path

import pytest

from labferry.cli import job_creator
from support.rights import folder_for_everyone, without_rights

LINE = "*/20 * * * * ibl /home/ibl/Documents/PYTHON/iblscripts/deploy/serverpc/crontab/02_small_jobs.sh\n"


def put(top: Path, name: str, text: str) -> Path:
    file = top / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("etc/crontab", f"SHELL=/bin/sh\n{LINE}"),
        ("etc/cron.d/ibl", LINE),
        ("var/spool/cron/crontabs/ibl", LINE),
        ("etc/systemd/system/ibl-create.service", "[Service]\nExecStart=python report_create_jobs.py\n"),
        ("home/ibl/.config/systemd/user/x.service", "ExecStart=python -c 'from ibllib import job_creator'\n"),
    ],
)
def test_ruling_09_tables_and_units_that_start_it_are_found(tmp_path: Path, name: str, text: str) -> None:
    file = put(tmp_path, name, text)
    assert job_creator.find(str(tmp_path)) == ([str(file)], [])


@pytest.mark.parametrize("text", ["", f"# {LINE}", "0 3 * * * root /usr/bin/backup\n", "\x00\xff binary"])
def test_ruling_09_what_does_not_start_it_is_not(tmp_path: Path, text: str) -> None:
    put(tmp_path, "etc/crontab", text)
    put(tmp_path, "etc/cron.d/folder/x", LINE)
    put(tmp_path, "home/ibl/notes.txt", LINE)
    assert job_creator.find(str(tmp_path)) == ([], [])


def test_ruling_09_a_process_of_its_checkout_is_named_by_its_number(tmp_path: Path) -> None:
    put(tmp_path, "proc/4711/cmdline", "python\0/home/ibl/iblscripts/deploy/serverpc/crontab/jobs.py\0create\0")
    put(tmp_path, "proc/4712/cmdline", "vi\0notes about job_creator.txt\0")
    put(tmp_path, "proc/self/cmdline", "python\0/home/ibl/iblscripts/x.py\0")
    assert job_creator.find(str(tmp_path)) == (["process 4711"], [])


def test_what_may_not_be_read_is_said() -> None:
    with folder_for_everyone() as top:
        put(top, "var/spool/cron/crontabs/ibl", LINE)
        file = put(top, "etc/crontab", LINE)
        file.chmod(0)
        closed = top / "var/spool/cron/crontabs"
        closed.chmod(0)
        with without_rights():
            found, unseen = job_creator.find(str(top))
        assert found == []
        assert sorted(unseen) == sorted([str(file), str(closed)])
