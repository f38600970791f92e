"""The command that an operator wants run when a session is registered: the place to start a pipeline."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence

import structlog

from labferry.engine.context import Context
from labferry.errors import UnexplainedError
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import show_path

HOOK_STEP = "on_registered"
AT_MOST = 600.0  # seconds
SAID = 400  # characters of its last words that are kept
_log = structlog.get_logger()


def run_hook(context: Context, job: JobRow, session: SessionRow, eid: str, beat: Callable[[str, float], None]) -> None:
    """Run the configured command once for a session; a kill in between lets it run once more.

    Raises
    ------
    UnexplainedError
        `hook_failed`: it cannot be started, ends with another status than 0, or does not end.
    """
    command = context.config.registration.on_registered
    if not command:
        return
    done = context.journal.steps.of_session(session.id, HOOK_STEP)
    if done is not None and done.answered_at is not None:
        return
    words = _words(command, context.folder_of(session), eid)
    context.journal.steps.send(job.id, HOOK_STEP, list(command))
    beat(f"running {command[0]} for {show_path(session.path)}", AT_MOST + 30.0)
    try:
        ended = subprocess.run(  # noqa: S603 - the operator's own command, without a shell
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=AT_MOST, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnexplainedError("hook_failed", f"on_registered: {command[0]}: {_reason(error)}") from error
    said = (ended.stderr or ended.stdout).decode("utf-8", "backslashreplace").strip()[-SAID:]
    if ended.returncode:
        raise UnexplainedError("hook_failed", f"on_registered: {command[0]} ended with {ended.returncode}: {said}")
    context.journal.steps.answer(job.id, HOOK_STEP, {"status": 0})
    _log.info("on_registered", session=show_path(session.path), eid=eid, command=command[0])


def _words(command: Sequence[str], folder: bytes, eid: str) -> list[bytes]:
    return [os.fsencode(word).replace(b"{path}", folder).replace(b"{eid}", eid.encode()) for word in command]


def _reason(error: OSError | subprocess.TimeoutExpired) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"it had not ended after {AT_MOST:g} s"
