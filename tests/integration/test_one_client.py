"""ONE-01: what is registered and archived, the users' real client finds, lists and loads.

The client runs in a process of its own with a home directory of its own: it keeps its settings there.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest

from labferry.sandbox.run import Sandbox

pytestmark = pytest.mark.skipif(find_spec("one") is None, reason="needs ONE-api (the extra `one`)")

NAME = "alf/probe00/spikes.times.npy"
FOLDER = "KS005/2023-03-01/001"
USE = """
import json, shutil, sys
from pathlib import Path

import numpy as np
from one import params
from one.api import ONE

task = json.loads(sys.argv[1])
place = Path(task["place"])
params.setup(client=task["url"], silent=True, username=task["user"], cache_dir=str(place / "cache"))
settings = params.get(client=task["url"], silent=True).set("HTTP_DATA_SERVER", task["data_url"])
params.save(settings, task["url"])
one = ONE(base_url=task["url"], username=task["user"], password=task["password"], silent=True,
          cache_dir=place / "cache", cache_rest=None)
said = {"mode": one.mode}

session = {"subject": "KS005", "number": 1, "start_time": "2023-03-01T10:00:00"}
eid = one.alyx.rest("sessions", "create", data=session)["id"]
(made,) = one.alyx.rest("register-file", "create", data=task["registration"])
said["found"] = [str(found) for found in
                 one.search(users=task["user"], date_range="2023-03-01", subject="KS005", number=1)] == [eid]
said["before"] = one.list_datasets(eid)

source = np.load(task["source"])
name = Path(task["name"])
target = Path(task["archive"]) / name.parent / f"{name.stem}.{made['id']}{name.suffix}"
target.parent.mkdir(parents=True)
shutil.copy(task["source"], target)
record = next(one_ for one_ in made["file_records"] if one_["data_repository"] == "flatiron_cortexlab")
one.alyx.rest("files", "partial_update", id=record["id"], data={"exists": True})

said["after"] = one.list_datasets(eid)
said["by_name"] = [str(found) for found in one.search(datasets=name.name)] == [eid]
said["equal"] = bool(np.array_equal(one.load_dataset(eid, name.name), source))
said["again"] = bool(np.array_equal(one.load_dataset(eid, name.name), source))
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Let the real client register, search, list and load; return what it said."""
    place = tmp_path_factory.mktemp("one")
    home = place / "home"
    home.mkdir()
    source = place / "spikes.times.npy"
    make = "import sys, numpy; numpy.save(sys.argv[1], numpy.random.default_rng(1).random(1000))"
    subprocess.run([sys.executable, "-c", make, str(source)], check=True)
    content = source.read_bytes()
    with Sandbox(place / "sandbox") as sandbox:
        task = {
            "place": str(place),
            "url": sandbox.alyx_url,
            "data_url": sandbox.data_url,
            "user": sandbox.alyx_user,
            "password": sandbox.password_file.read_text("utf-8").strip(),
            "source": str(source),
            "name": NAME,
            "archive": str(sandbox.places.archive / "cortexlab" / "Subjects" / FOLDER),
            "registration": {
                "path": FOLDER,
                "filenames": [NAME],
                "hashes": [hashlib.md5(content).hexdigest()],
                "filesizes": [len(content)],
                "name": "cortexlab_SR",
                "labs": "cortexlab",
            },
        }
        ran = subprocess.run(
            [sys.executable, "-c", USE, json.dumps(task)],
            env={**os.environ, "HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return {**result, "settings": [path.name for path in (home / ".one").iterdir()]}


def test_one_01_the_real_client_connects_and_keeps_to_its_own_home(said: dict[str, Any]) -> None:
    assert said["mode"] == "remote"
    assert ".caches" in said["settings"]


def test_one_01_the_session_is_found_by_user_date_subject_and_number(said: dict[str, Any]) -> None:
    assert said["found"]


def test_one_01_nothing_is_listed_before_the_archive_has_it(said: dict[str, Any]) -> None:
    assert said["before"] == []


def test_one_01_exactly_the_archived_dataset_is_listed_and_found_by_name(said: dict[str, Any]) -> None:
    assert said["after"] == [NAME]
    assert said["by_name"]


def test_one_01_the_loaded_array_equals_the_source_also_from_the_cache(said: dict[str, Any]) -> None:
    assert said["equal"]
    assert said["again"]
