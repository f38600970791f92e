"""An Alyx to work against, the sandbox or a real one: what is needed is made over REST under a prefix of its own."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import count
from typing import Any

import httpx
import pytest

from labferry.alyx.client import AlyxClient
from labferry.alyx.sessions import RemoteSession, create_session, ownership
from labferry.errors import LabferryError
from labferry.model import SystemClock
from labferry.sessions.session import Session

FIRST_DAY = date(2021, 1, 1)
TIMEOUT = 60.0  # seconds; a real Alyx takes 2.5 for a chunk


@dataclass
class TestedAlyx:
    """An Alyx, our user in it, and two labs on one Globus endpoint that nobody else uses."""

    __test__ = False

    url: str
    user: str
    password: str
    is_sandbox: bool
    prefix: str = field(default_factory=lambda: f"lf{secrets.token_hex(3)}")
    endpoint: str = "5a1c0de0-0000-4000-8000-0000000000aa"
    server_endpoint: str = "5a1c0de0-0000-4000-8000-0000000000bb"
    duplicate: str = ""
    _days: Iterator[int] = field(default_factory=count)
    _created: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = self.connect()

    @property
    def lab(self) -> str:
        return f"{self.prefix}_a"

    @property
    def other_lab(self) -> str:
        return f"{self.prefix}_b"

    @property
    def subject(self) -> str:
        return f"{self.prefix}_mouse"

    def connect(self, **changes: Any) -> AlyxClient:
        settings = {
            "username": self.user,
            "password": lambda: self.password,
            "timeout": TIMEOUT,
            "clock": SystemClock(),
            "user_agent": "labferry-contract-tests",
        }
        return AlyxClient(self.url, **{**settings, **changes})

    # --- what tests work on ---------------------------------------------------------------------------------

    def new_session(self) -> Session:
        """A session that no other test has, not yet in Alyx."""
        day = FIRST_DAY + timedelta(days=next(self._days))
        path = f"{self.subject}/{day}/001".encode()
        return Session("ibl", path, self.subject, day, 1)

    def record(self, session: Session) -> dict[str, object]:
        return {
            "subject": session.subject,
            "lab": self.lab,
            "users": [self.user],
            "number": session.number,
            "type": "Experiment",
            "start_time": f"{session.date}T00:00:00",
            "json": ownership("contract-test"),
        }

    def registered_session(self) -> tuple[Session, RemoteSession]:
        """A session that no other test has, in Alyx."""
        session = self.new_session()
        return session, create_session(self.client, self.record(session))

    # --- only in the sandbox --------------------------------------------------------------------------------

    def fault(self, **rule: Any) -> None:
        """Let a request fail; on a real server this test is skipped."""
        if not self.is_sandbox:
            pytest.skip("faults can only be injected into the sandbox")
        httpx.post(f"{self.url}/_sandbox/faults", json=rule).raise_for_status()

    def clear_faults(self) -> None:
        if self.is_sandbox:
            httpx.delete(f"{self.url}/_sandbox/faults").raise_for_status()

    # --- the world ------------------------------------------------------------------------------------------

    def create(self, path: str, key: str, record: dict[str, object]) -> Any:
        """Create something that is deleted at the end; `key` is the field that its address ends with."""
        created: Any = self.client.post(path, record)
        self._created.append(f"{path}/{created[key]}")
        return created

    def settle(self) -> None:
        """Create two labs whose lab server is one machine, and a subject."""
        for lab in (self.lab, self.other_lab):
            local, server = f"{lab}_SR", f"flatiron_{lab}"
            self._repository(local, self.endpoint, "/mnt/labferry_test/Subjects/", personal=True)
            self._repository(server, self.server_endpoint, f"/{lab}/Subjects/", personal=False)
            self.create("/labs", "name", {"name": lab, "timezone": "Europe/London", "repositories": [local, server]})
        self.new_subject(self.subject, self.lab)
        self.duplicate = self._duplicate()

    def new_subject(self, nickname: str, lab: str) -> None:
        record: dict[str, object] = {"nickname": nickname, "lab": lab, "responsible_user": self.user, "sex": "U"}
        self.create("/subjects", "nickname", record)

    def _repository(self, name: str, endpoint: str, path: str, *, personal: bool) -> None:
        self.create(
            "/data-repository",
            "name",
            {
                "name": name,
                "timezone": "Europe/London",
                "globus_path": path,
                "hostname": f"{self.prefix}-host",
                "data_url": None if personal else f"http://127.0.0.1:9/{name}/",
                "globus_endpoint_id": endpoint,
                "globus_is_personal": personal,
            },
        )

    def _duplicate(self) -> str:
        """A nickname that two subjects share. REST cannot delete those, so a real server must have one already."""
        if self.is_sandbox:
            name = f"{self.prefix}_twins"
            for lab, user in ((self.lab, self.user), (self.other_lab, "rig_user")):
                self.client.post("/subjects", {"nickname": name, "lab": lab, "responsible_user": user, "sex": "U"})
            return name
        nicknames = Counter(str(row["nickname"]) for row in self.client.list_all("/subjects"))
        return next((name for name, times in nicknames.items() if times > 1), "")

    def leave(self) -> None:
        """Delete everything; a session takes its datasets with it, protected ones included."""
        for row in self.client.list_all("/sessions", {"subject": self.subject}):
            self.client.delete(f"/sessions/{row['id']}")
        left = [address for address in reversed(self._created) if not self._delete(address)]
        assert not left, f"left behind in {self.url}: {left}"

    def _delete(self, address: str) -> bool:
        try:
            self.client.delete(address)
        except LabferryError:
            return False
        return True
