"""The command that an operator wants run when a session is registered: the place to start a pipeline."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO, NoReturn

import structlog

from labferry.engine.context import Context
from labferry.engine.worker import StoppedEarly
from labferry.errors import BlockedError, UnexplainedError
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import show_path

HOOK_STEP = "on_registered"
AT_MOST = 120.0  # seconds; it occupies a register lane
LOOK_EVERY = 0.2  # seconds between looks whether the daemon is to stop
SAID = 400  # characters of its last words that are kept
# What the child gets of our environment: nothing that leads to a secret, or speaks for us to systemd.
PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR")
_log = structlog.get_logger()


def run_hook(context: Context, job: JobRow, session: SessionRow, eid: str, beat: Callable[[str, float], None]) -> None:
    """Run the configured command once for a session in Alyx; a kill in between lets it run once more.

    Raises
    ------
    UnexplainedError
        `hook_failed`: it cannot be started, ends with another status than 0, or does not end.
    BlockedError
        The same, for the last time.
    StoppedEarly
        The daemon drains; the command is killed.
    """
    command = context.config.registration.on_registered
    if not command or _has_run(context, session, eid):
        return
    name = show_path(session.path)
    context.journal.steps.send(job.id, HOOK_STEP, {"command": list(command), "eid": eid})
    beat(f"running {command[0]} for {name}", AT_MOST + 30.0)
    words = _words(command, context.folder_of(session), eid)
    try:
        with tempfile.TemporaryFile() as output:  # not a pipe: what it leaves in the background would hold that open
            status = _run(context, words, output)
            said = _last_words(output)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        _fail(context, job, f"{command[0]}: {reason}")
    if status is None:
        _fail(context, job, f"{command[0]} had not ended after {AT_MOST:g} s and was killed: {said}")
    if status:
        _fail(context, job, f"{command[0]} ended with {status}: {said}")
    context.journal.steps.answer(job.id, HOOK_STEP, {"status": 0})
    _log.info("on_registered", session=name, eid=eid, command=command[0])


def _has_run(context: Context, session: SessionRow, eid: str) -> bool:
    step = context.journal.steps.of_session(session.id, HOOK_STEP)
    return step is not None and step.answered_at is not None and json.loads(step.request)["eid"] == eid


def _run(context: Context, words: Sequence[bytes], output: BinaryIO) -> int | None:
    """Return the status of the command, None when it took too long; neither it nor its children outlive a failure."""
    deadline = context.clock.monotonic() + AT_MOST
    child = subprocess.Popen(  # noqa: S603 - the operator's own command, without a shell
        words,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=_environment(os.environ),
        cwd="/",
        start_new_session=True,
    )
    try:
        while context.clock.monotonic() < deadline:
            if context.wakeup.stopping:
                raise StoppedEarly
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(LOOK_EVERY)
        return None
    finally:
        if child.poll() is None:
            _kill(child)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End a command and what it started; one that cannot be killed is left behind, the daemon goes on."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        os.killpg(child.pid, signal.SIGKILL)
        child.wait(1.0)


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in ours.items() if name in PASSED_ON or name.startswith("LC_")}


def _words(command: Sequence[str], folder: bytes, eid: str) -> list[bytes]:
    """Fill in the command; what is filled in is not looked into again."""
    values = {b"{path}": folder, b"{eid}": eid.encode()}
    return [re.sub(rb"\{path\}|\{eid\}", lambda found: values[found[0]], os.fsencode(word)) for word in command]


def _last_words(output: BinaryIO) -> str:
    output.seek(max(0, output.seek(0, os.SEEK_END) - 4 * SAID))
    return output.read(4 * SAID).decode("utf-8", "backslashreplace").strip()[-SAID:]


def _fail(context: Context, job: JobRow, why: str) -> NoReturn:
    """Let it be tried again, unless that has been done often enough."""
    text = f"on_registered: {why}"
    if job.failures + 1 >= context.config.worker.max_attempts:
        raise BlockedError("hook_failed", f"{text} ({job.failures + 1} times)")
    raise UnexplainedError("hook_failed", text)
