"""Real input: sessions as the field's own dataset lists and rigs have them go the same way as what our rig writes."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labferry.datasets import EXCLUDED_SUFFIXES, IBL_PATTERNS
from support.lab import Lab, archived_files
from support.trees import RealSession, build_real_tree, flag, needs_shared

pytestmark = needs_shared


def alyx_list(lab: Lab, path: str) -> list[dict[str, Any]]:
    """Return all rows of one of Alyx' lists, asked for as any client would."""
    login = {"username": lab.up["alyx_user"], "password": Path(lab.up["password_file"]).read_text().strip()}
    token = ask(f"{lab.up['alyx_url']}/auth-token", json.dumps(login).encode())["token"]
    rows, url = [], f"{lab.up['alyx_url']}{path}"
    while url:
        page = ask(url, token=token)
        rows += page["results"]
        url = page["next"]
    return rows


def ask(url: str, body: bytes | None = None, token: str = "") -> Any:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Token {token}"} if token else {})}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=20) as answer:
        return json.load(answer)


class Oracle:
    """What ibllib would register, told without labferry's own rules: globs on disk, fnmatch over Alyx' types."""

    def __init__(self, lab: Lab) -> None:
        self.types = [(t["name"], t["filename_pattern"]) for t in alyx_list(lab, "/dataset-types")]
        formats = [f["file_extension"] for f in alyx_list(lab, "/data-formats") if f["file_extension"]]
        self.extensions = {extension for extension in formats if formats.count(extension) == 1}

    def datasets(self, folder: Path) -> set[str]:
        asked_for = {path for pattern in IBL_PATTERNS for path in folder.glob(pattern) if path.is_file()}
        return {
            path.relative_to(folder).as_posix()
            for path in asked_for
            if path.suffix not in EXCLUDED_SUFFIXES
            and path.suffix in self.extensions
            and len(self.types_of(path.name)) == 1
        }

    def types_of(self, name: str) -> list[str]:
        bare = ".".join(re.sub(r"^_[a-zA-Z0-9]+_", "", name).split(".")[:2])
        return [
            type_name
            for type_name, pattern in self.types
            if (fnmatch.fnmatch(name.lower(), pattern.lower()) if pattern else type_name == bare)
        ]


def registered(lab: Lab) -> dict[tuple[str, str, int], set[str]]:
    """Return the files that Alyx has for every session, by subject, date and number."""
    state = lab.state()
    keys = {s["id"]: (s["subject"], s["start_time"][:10], s["number"]) for s in state["sessions"]}
    found: dict[tuple[str, str, int], set[str]] = {key: set() for key in keys.values()}
    for dataset in state["datasets"]:
        revision = f"#{dataset['revision']}#" if dataset["revision"] else ""
        parts = (dataset["collection"], revision, dataset["name"])
        found[keys[dataset["session"]]].add("/".join(part for part in parts if part))
    return found


def key_of(session: RealSession) -> tuple[str, str, int]:
    return session.subject, session.date, int(session.number)


def everything_about(root: Path) -> dict[str, tuple[int, ...]]:
    """Return kind, size, times and inode of everything below a folder."""
    found = {}
    for path in sorted(root.rglob("*")):
        now = path.lstat()
        found[os.fspath(path)] = (now.st_mode, now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino)
    return found


@pytest.fixture(params=[True, False], ids=["below labs", "plain"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Lab, tuple[RealSession, ...]]]:
    with Lab(tmp_path) as lab:
        sessions = build_real_tree(lab.root, with_labs=request.param)
        lab.add_facts(subjects=[{"nickname": s.subject, "lab": s.lab} for s in sessions])
        for session in sessions:
            flag(session)
        yield lab, sessions


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_real_input_is_registered_as_the_field_does_and_archived_byte_by_byte(
    tree: tuple[Lab, tuple[RealSession, ...]],
) -> None:
    lab, sessions = tree
    oracle = Oracle(lab)
    wanted = {session: oracle.datasets(session.folder) for session in sessions}
    nothing = [session for session, names in wanted.items() if not names]
    assert [session.subject for session in nothing] == ["clns0730"], "its files lie where no pattern looks"
    sessions = tuple(session for session in sessions if session not in nothing)
    expected = {key_of(session): wanted[session] for session in sessions}
    before = everything_about(lab.root)
    lab.start()
    lab.wait_for("archived", len(sessions), timeout=60)
    assert lab.wait_for_code(nothing[0].folder, "no_datasets")["verdict"] == "blocked"
    assert registered(lab) == expected
    assert archived_files(lab) == {
        f"{s.lab}/Subjects/{s.subject}/{s.date}/{int(s.number):03d}/{name}": (s.folder / name).read_bytes()
        for s in sessions
        for name in expected[key_of(s)]
    }
    records = [record for d in lab.state()["datasets"] for record in d["file_records"]]
    assert len(records) == 2 * sum(len(files) for files in expected.values())
    assert all(record["exists"] for record in records)
    for session in sessions:
        shown = lab.show(session.relative)["files"]
        assert shown["datasets"] == shown["registered"] == shown["archived"] == len(expected[key_of(session)])
        assert shown["total"] == len(session.files) + 1, "the flag too"
    assert lab.stop() == 0
    assert everything_about(lab.root) == before
    lab.require_calm()
