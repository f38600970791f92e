"""Who is at the other end of a connection, and what they may do (`SO_PEERCRED`).

Room: control. The group of the socket may look; root, the service user and the configured operators may change.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
from collections.abc import Collection
from dataclasses import dataclass

_UCRED = struct.Struct("iII")  # struct ucred: pid, uid, gid


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected, as the kernel knows it."""

    pid: int
    uid: int
    gid: int

    @property
    def user(self) -> str:
        """The user's name, else the number."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)

    def may_change(self, operators: Collection[str]) -> bool:
        """Say whether this peer may change things; `operators` are user names."""
        return self.uid in {0, os.geteuid()} or self.user in operators


def peer_of(connection: socket.socket) -> Peer:
    """Return who connected; at the connecting side, who listens."""
    return Peer(*_UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)))
