"""What Globus costs those who do not use it, and those who do."""

from __future__ import annotations

import subprocess
import sys

WITHOUT = """
import sys
import labferry.archive.globus.service, labferry.archive.globus.overwriting, labferry.archive.globus.verification
from labferry.archive.base import never
from labferry.archive.globus.grants import Grants
from labferry.archive.globus.login import ApplicationLogin, PersonLogin
from labferry.archive.globus.service import GlobusService
from labferry.archive.globus.tokens import TokenStore
from labferry.errors import UnavailableError

nowhere = "http://127.0.0.1:1/"
login = ApplicationLogin(Grants("id", auth_url=nowhere, user_agent="test"), lambda: "secret")
service = GlobusService(lambda: login, transfer_url=nowhere, user_agent="test", stop=never)
print("globus_sdk" in sys.modules)
try:
    service.new_submission_id()
except UnavailableError as error:
    print(error.code)
print("globus_sdk" in sys.modules)
person = PersonLogin(Grants("id", auth_url=nowhere, user_agent="test"), TokenStore("/nonexistent"))
try:
    person.consented("code", "verifier")
except UnavailableError as error:
    print(error.code)
print(*sorted({"cryptography", "jwt", "sqlite3", "globus_sdk.globus_app"} & set(sys.modules)))
"""


def test_the_sdk_is_imported_by_the_first_request_and_never_its_cryptography() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines() == ["False", "globus_down", "True", "globus_down", ""]
