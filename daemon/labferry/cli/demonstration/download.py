"""A user who downloads every dataset: logs in to Alyx, finds the session, and gets each file over HTTP.

Room: cli. Talks to the sandbox's Alyx and its data server; keeps nothing of what it gets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from labferry.cli.demonstration.comparison import Compared, content_of, differences
from labferry.errors import LabferryError
from labferry.sandbox.rig import RigSession

TIMEOUT = 30.0  # seconds for one wait on the network


def compare(
    alyx_url: str, username: str, password: str, watch_root: Path, sessions: Sequence[RigSession]
) -> Iterator[Compared]:
    """Get every dataset that the rig wrote, and compare it with its source.

    Raises
    ------
    LabferryError
        `demo_download`: the sandbox does not answer, or not as it should.
    """
    try:
        with (
            httpx.Client(base_url=alyx_url, timeout=TIMEOUT, trust_env=False) as alyx,
            httpx.Client(timeout=TIMEOUT, trust_env=False) as data_server,
        ):
            token = _json(alyx.post("/auth-token", data={"username": username, "password": password}))["token"]
            alyx.headers["Authorization"] = f"Token {token}"
            for session in sessions:
                yield from _session(alyx, data_server, watch_root, session)
    except httpx.HTTPError as error:
        raise LabferryError("demo_download", f"the sandbox does not answer: {error}") from error


def _session(
    alyx: httpx.Client, data_server: httpx.Client, watch_root: Path, session: RigSession
) -> Iterator[Compared]:
    day = session.date.isoformat()
    query: dict[str, str | int] = {"subject": session.subject, "date_range": f"{day},{day}", "number": session.number}
    found = _json(alyx.get("/sessions", params=query))
    offered = {}
    for one in found["results"]:
        for dataset in _json(alyx.get(f"/sessions/{one['id']}"))["data_dataset_session_related"]:
            offered[_path(dataset)] = dataset["data_url"]
    for file in session.files:
        if not file.registrable:
            continue
        if file.path not in offered:
            yield Compared(session, file.path, "lost: Alyx does not offer it")
            continue
        with data_server.stream("GET", offered[file.path]) as answer:
            if answer.status_code != httpx.codes.OK:
                problem = f"lost: {offered[file.path]} answers {answer.status_code}"
            else:
                source = watch_root / session.relative / file.path
                problem = differences(content_of(answer.iter_bytes()), source, file)
        yield Compared(session, file.path, problem)


def _path(dataset: dict[str, Any]) -> str:
    """Return where a dataset belongs in its session's folder."""
    revision = f"#{dataset['revision']}#" if dataset.get("revision") else ""
    return "/".join(part for part in (dataset["collection"], revision, dataset["name"]) if part)


def _json(answer: httpx.Response) -> Any:
    if not answer.is_success:
        raise LabferryError("demo_download", f"{answer.request.url} answers {answer.status_code}: {answer.text[:200]}")
    return answer.json()
