"""The journal's own protocol: one datagram per record, fields instead of one line.

Room: observe. Knows the socket and the encoding, not what is logged.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import re
import socket
from collections.abc import Mapping

SOCKET = "/run/systemd/journal/socket"
SEND_TIMEOUT = 2.0  # seconds: a stuck journald costs a record, not a lane

_FIELD = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_TOO_LARGE = frozenset({errno.EMSGSIZE, errno.ENOBUFS})
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class JournalSocket:
    """Sends records to journald.

    Parameters
    ----------
    path : str
        Its socket.
    """

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._channel.settimeout(SEND_TIMEOUT)

    def send(self, fields: Mapping[str, str]) -> None:
        """Send one record.

        Parameters
        ----------
        fields : mapping
            Names in capitals, letters, digits and `_` (others are left out), and texts.

        Raises
        ------
        OSError
            journald is not there or does not take it.
        """
        record = encode(fields)
        try:
            # By address, not connected: journald may have been restarted since the last record.
            self._channel.sendto(record, self._path)
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            self._send_as_file(record)

    def close(self) -> None:
        """Give the socket back."""
        self._channel.close()

    def _send_as_file(self, record: bytes) -> None:
        """Pass a record that no datagram can hold as a sealed file in memory, as journald expects it."""
        file = os.memfd_create("labferry-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with open(file, "wb", closefd=False) as stream:
                stream.write(record)
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))
            self._channel.sendmsg([], [rights], 0, self._path)
        finally:
            os.close(file)


def encode(fields: Mapping[str, str]) -> bytes:
    """Return a record in journald's encoding: `NAME=text`, or with its length where the text has line breaks."""
    record = bytearray()
    for name, text in fields.items():
        if not _FIELD.fullmatch(name):
            continue
        value = text.encode("utf-8", "backslashreplace")
        if b"\n" in value:
            record += name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
        else:
            record += name.encode() + b"=" + value + b"\n"
    return bytes(record)
