"""How this daemon gets into Globus, as an application or as a person; what every lane and every command shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from labferry.archive.globus.grants import Grants
from labferry.archive.globus.login import ApplicationLogin, Login, PersonLogin
from labferry.archive.globus.service import GlobusService
from labferry.archive.globus.tokens import TokenStore
from labferry.config import Config, read_secret
from labferry.model import Clock

IDENTITIES = "clients.auth.globus.org"


@dataclass(frozen=True, slots=True)
class GlobusAccess:
    """The way in, put together once.

    Attributes
    ----------
    person : PersonLogin or None
        Whose login it is; None where we come as an application with a secret.
    """

    config: Config
    clock: Clock
    user_agent: str
    stop: Callable[[], bool]
    person: PersonLogin | None

    @classmethod
    def of(cls, config: Config, clock: Clock, user_agent: str, stop: Callable[[], bool]) -> GlobusAccess:
        """Return the way in that a configuration asks for; nothing is asked or read yet."""
        person = None
        if not config.globus.client_secret_file:
            person = PersonLogin(_grants(config, user_agent), TokenStore(config.state_dir))
        return cls(config, clock, user_agent, stop, person)

    @property
    def who(self) -> str:
        """Whose permissions count."""
        if self.person is None:
            return f"{self.config.globus.client_id}@{IDENTITIES}"
        stored = self.person.stored()
        return stored.name if stored else "nobody"

    def ways_out(self) -> str:
        """Return what to do where client credentials meet a collection that only its owner can use (ruling 20)."""
        return (
            "Either log in as its owner: remove client_secret_file, name a native application as client_id, and "
            "`labferry login globus`. Or give the application a collection that it can use: set Connect Personal up as "
            "the application itself (`globus gcp create mapped` with GLOBUS_CLI_CLIENT_ID and "
            f"GLOBUS_CLI_CLIENT_SECRET), or share the roots' folder in a guest collection with {self.who} and name "
            "that as [globus] endpoint."
        )

    def open(self) -> GlobusService:
        """Return another client of Globus, to be closed by whoever asked for it."""
        return GlobusService(
            self._login, transfer_url=self.config.globus.transfer_url, user_agent=self.user_agent, stop=self.stop
        )

    def _login(self) -> Login:
        """Return who we are: one person for all threads, or an application whose secret is tried by each anew."""
        secret_file = self.config.globus.client_secret_file
        return self.person or ApplicationLogin(_grants(self.config, self.user_agent), lambda: read_secret(secret_file))


def _grants(config: Config, user_agent: str) -> Grants:
    return Grants(config.globus.client_id, auth_url=config.globus.auth_url, user_agent=user_agent)
