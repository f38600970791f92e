"""The command that an operator wants run when a session is registered: the place to start a pipeline."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO, NoReturn

import structlog

from labferry.engine.context import Context
from labferry.engine.elapsed import Elapsed
from labferry.engine.registering.errand import Errand
from labferry.engine.worker import StoppedEarly
from labferry.errors import BlockedError, NotYetError, UnexplainedError
from labferry.journal.rows import JobRow, SessionRow
from labferry.model import show_path

HOOK_STEP = "on_registered"
AT_MOST = 120.0  # seconds; it occupies a register lane
LOOK_AGAIN = 5.0  # seconds until it is asked again whether what an earlier life started has ended
CANNOT_START = 126  # as a shell says it
SAID = 400  # characters of its last words that are kept
# What the child gets of our environment: nothing that leads to a secret, or speaks for us to systemd.
PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR")
_log = structlog.get_logger()


def run_hook(
    context: Context, elapsed: Elapsed, job: JobRow, session: SessionRow, eid: str, beat: Callable[[str, float], None]
) -> None:
    """Run the configured command for a session in Alyx until it has succeeded once.

    A run that outlives a kill of the daemon is waited for, and one that ended meanwhile counts as it ended. Only a run
    that was itself killed, or that failed, is followed by another one.

    Raises
    ------
    UnexplainedError
        `hook_failed`: it cannot be started, ends with another status than 0, or does not end.
    BlockedError
        The same, for the last time.
    NotYetError
        `hook_running`: what an earlier life started has not ended.
    StoppedEarly
        The daemon drains; the command is killed.
    """
    command = context.config.registration.on_registered
    if not command or _has_run(context, session, eid):
        return
    begun = _begun(context, session, eid)
    errand = Errand(os.path.join(context.config.state_dir, HOOK_STEP), str(session.id))
    with errand.alone() as lock:
        if lock is None:
            _await(context, elapsed, job, errand, command)
        status, said = errand.ended() if begun else None, "what it said was lost with an earlier life of the daemon"
        if status is None:
            errand.forget()
            run = 1 + max(begun, default=0)
            context.journal.steps.send(job.id, HOOK_STEP, {"command": list(command), "eid": eid, "run": run})
            beat(f"running {command[0]} for {show_path(session.path)}", AT_MOST + 30.0)
            status, said = _run(context, errand, lock, _words(command, context.folder_of(session), eid), eid, run)
    if status != 0:
        errand.forget()
        _fail(context, job, f"{command[0]} {_ended(status)}: {said}")
    context.journal.steps.answer(job.id, HOOK_STEP, {"status": 0})
    errand.forget()
    _log.info("on_registered", session=show_path(session.path), eid=eid, command=command[0])


def _has_run(context: Context, session: SessionRow, eid: str) -> bool:
    step = context.journal.steps.of_session(session.id, HOOK_STEP)
    return step is not None and step.answered_at is not None and json.loads(step.request)["eid"] == eid


def _begun(context: Context, session: SessionRow, eid: str) -> list[int]:
    """Return the numbers of the runs whose end is not in the journal."""
    requests = [json.loads(step.request) for step in context.journal.steps.unanswered(session.id, HOOK_STEP)]
    return [request.get("run", 1) for request in requests if request["eid"] == eid]


def _await(context: Context, elapsed: Elapsed, job: JobRow, errand: Errand, command: Sequence[str]) -> NoReturn:
    """Wait for what an earlier life started; it gets its time from when this life has seen it first."""
    if elapsed.seconds(job.id, HOOK_STEP) < AT_MOST:
        text = f"{command[0]}, started by an earlier life of the daemon, has not ended"
        raise NotYetError("hook_running", text, LOOK_AGAIN)
    errand.kill()
    _fail(context, job, f"{command[0]} {_ended(None)}")


def _run(
    context: Context, errand: Errand, lock: int, words: Sequence[bytes], eid: str, run: int
) -> tuple[int | None, str]:
    """Return the status of the command, None when it took too long, and its last words."""
    deadline = context.clock.monotonic() + AT_MOST

    def go_on() -> bool:
        if context.wakeup.stopping:
            raise StoppedEarly
        return context.clock.monotonic() < deadline

    told = {**_environment(os.environ), "LABFERRY_EID": eid, "LABFERRY_RUN": str(run)}
    with tempfile.TemporaryFile() as output:  # not a pipe: what it leaves in the background would hold that open
        try:
            status = errand.run(lock, words, told, output, go_on)
        except (OSError, ValueError) as error:
            return CANNOT_START, (error.strerror or "") if isinstance(error, OSError) else str(error)
        return status, _last_words(output)


def _ended(status: int | None) -> str:
    return f"had not ended after {AT_MOST:g} s and was killed" if status is None else f"ended with {status}"


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
