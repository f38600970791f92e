"""Why a session is where it is: from the journal and the live state alone; the disk is not touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from labferry.detect.signature import NOTHING_THERE
from labferry.engine.context import ALYX, Context
from labferry.engine.dependencies import Dependency, Health
from labferry.engine.detection.roots import RootFacts
from labferry.engine.planning import needs_of
from labferry.engine.reports.explain_settling import explain_settling
from labferry.engine.reports.live import LiveState
from labferry.engine.reports.places import session_folder
from labferry.engine.reports.sessions import attention
from labferry.engine.reports.verdicts import NEEDS_A_PERSON, Explanation, Fact, Verdict
from labferry.engine.settled import TAKE_IN
from labferry.errors import CODES
from labferry.journal.rows import JobRow, SessionRow
from labferry.journal.transfer_rows import TransferRow
from labferry.model import LIVE_STATES, History, JobKind, JobState, Lane, SessionState, Stage, first_of, show_path

# Waits that are part of the work itself.
UNDER_WAY = frozenset({"files_in_flight", "files_left", "answer_lost", "in_flight", "in_batch", "replacing"})
NAMED_TASKS = 3  # the newest
NAMED_FILES = 5
NAMED_REMARKS = 5  # `labferry show` has them all
BLOCKED_VERDICTS = {
    "same_session_elsewhere": Verdict.SAME_SESSION_ELSEWHERE,
    "changed_after_archive": Verdict.CHANGED_AFTER_ARCHIVE,
    "unreadable": Verdict.UNREADABLE,
    "moved": Verdict.MOVED,
}
LEFT_OUT = "exclude_subjects"
FINDINGS = frozenset({"no_behaviour", "no_video", "test_user"})
LEFT_ALONE = (SessionState.ADOPTED, SessionState.IGNORED)
OF_OLD = {
    History.ADOPTED: (Verdict.ADOPTED, "is taken over as it is"),
    History.BACKLOG: (Verdict.BACKLOG, "waits for a decision"),
    History.IGNORED: (Verdict.IGNORED_RULE, "is left alone"),
}
RUNNING_VERDICTS = {
    Stage.RESOLVE: Verdict.REGISTERING,
    Stage.SEAL: Verdict.SEALING,
    Stage.REGISTER: Verdict.REGISTERING,
    Stage.ARCHIVE: Verdict.ARCHIVING,
}
LANE_OF_STAGE = {
    Stage.RESOLVE: Lane.REGISTER,
    Stage.SEAL: Lane.SEAL,
    Stage.REGISTER: Lane.REGISTER,
    Stage.ARCHIVE: Lane.ARCHIVE,
}
MOST_TELLING = (JobState.BLOCKED, JobState.RUNNING, JobState.QUEUED, JobState.WAITING, JobState.CANCELLED)


def explain_session(context: Context, live: LiveState, row: SessionRow, *, is_there: bool = True) -> Explanation:
    """Explain one session.

    Parameters
    ----------
    row : SessionRow
    is_there : bool
        Whether its folder is on disk now.
    """
    jobs = [job for job in context.journal.jobs.of_session(row.id) if _matters(context, job, row)]
    jobs.sort(key=lambda job: MOST_TELLING.index(job.state) if job.state in MOST_TELLING else len(MOST_TELLING))
    found = _judge(context, live, row, jobs, is_there)
    needs = attention(context, row)
    if needs is not None and not found.code:
        found = replace(found, code=needs["code"], hint=needs["hint"], message=f"{found.message} {needs['message']}")
    if not found.code and found.verdict not in NEEDS_A_PERSON:
        found = _with_finding(context, row, found)
    evidence = (*_evidence(context, live, row, jobs, found.message), *found.evidence)
    return replace(found, evidence=evidence, attention=needs is not None)


def _with_finding(context: Context, row: SessionRow, found: Explanation) -> Explanation:
    """Add what keeps nothing waiting and is worth a code all the same: the session is not what it could be."""
    for code, text in context.journal.sessions.remarks(row.id):
        if code in FINDINGS:
            return replace(found, code=code, message=f"{found.message} {text[0].upper()}{text[1:]}.")
    return found


def _matters(context: Context, job: JobRow, row: SessionRow) -> bool:
    """Say whether a job is about the session as it is, and about what is asked for now."""
    if job.state in LIVE_STATES:
        return True
    if job.generation != row.generation or job.state is JobState.SUPERSEDED:
        return False
    archives = {target for root in context.config.roots if root.name == row.root for target in root.archive}
    asked_for = job.kind is not JobKind.ARCHIVE or job.target in archives
    return job.state is not JobState.CANCELLED or asked_for


def _judge(context: Context, live: LiveState, row: SessionRow, jobs: Sequence[JobRow], is_there: bool) -> Explanation:
    """Return the verdict: what is finished, else what stands in the way, from the outside to the inside."""
    first = jobs[0] if jobs else None
    root = live.root(row.root)
    if not is_there and (root is None or not root.frozen) and (moved := _moved(context, row)) is not None:
        return moved
    finished = row.complete_at is not None and bool(jobs) and all(job.state is JobState.DONE for job in jobs)
    if row.excluded_at is not None and row.history is not History.ADOPTED and not finished:
        return _left_out(row)
    if row.state in LEFT_ALONE:
        return _of_old(row)
    if finished:
        return _finished(context, row, jobs)
    if root is not None and (root.frozen or (root.doubted and not is_there and row.vanished_at is None)):
        return frozen(root)
    if not is_there:
        return _vanished(first)
    if row.vanished_at is not None:
        return Explanation(Verdict.SETTLING, "The folder is back: the next scan takes it up again.", "not_seen_yet")
    if row.state is SessionState.HELD:
        return Explanation(Verdict.HELD, "An operator holds it.", hint="`labferry release SESSION` lets it go on.")
    if row.history is not None:
        return _of_old(row)
    if row.complete_at is None and row.root not in {one.name for one in context.config.roots}:
        message = f"Not complete: root {row.root} is not in the configuration any more."
        return Explanation(Verdict.WAITING_DEPENDENCY, message, "root_unknown")
    if row.complete_at is None:
        return explain_settling(context, row)  # before it is complete again, no job of it goes on
    if first is not None and first.state is JobState.BLOCKED:
        verdict = BLOCKED_VERDICTS.get(first.code, Verdict.BLOCKED)
        return Explanation(verdict, first.reason, first.code, first.hint)
    if first is None:
        return Explanation(
            Verdict.IGNORED_RULE,
            f"It is complete, and root {row.root} asks neither for registration nor for an archive.",
            hint="Set `register` or `archive` of the root if it should go anywhere.",
        )
    if first.state is JobState.CANCELLED:
        return Explanation(Verdict.HELD, first.reason, "cancelled", "`labferry retry SESSION` takes it up again.")
    return _working(context, live, first)


def frozen(root: RootFacts) -> Explanation:
    """Explain what lies below a root that is not as it was, or is missing where many disappeared at once."""
    return Explanation(Verdict.ROOT_FROZEN, f"Root {root.name} is not as it was: {root.problem}", hint=root.hint)


def _vanished(first: JobRow | None) -> Explanation:
    """Explain a session whose folder is gone; what cannot go on without it is a matter for a person until cancelled."""
    unfinished = first is not None and first.state in LIVE_STATES
    leave = "`labferry cancel SESSION` ends its work" if unfinished else "leave it"
    return Explanation(
        Verdict.VANISHED,
        "The folder is not there any more, and not all of it had reached its destination.",
        first.code if first is not None and first.state is JobState.BLOCKED else "",
        f"Put the folder back where it was and it is taken up again. If it was removed on purpose, {leave}.",
    )


def _moved(context: Context, row: SessionRow) -> Explanation | None:
    """Explain a session whose files are in another session's folder now; None when they are not."""
    same = [one for one in _same_files(context, row) if one.vanished_at is None]
    now = next(iter([*same, *context.journal.sessions.moved_to(row.id)]), None)
    if now is None:
        return None
    where = show_path(session_folder(context, now))
    return Explanation(
        Verdict.MOVED,
        f"The folder is not there any more; its files are at {where}.",
        hint="If that is a mistake, rename the folder back and the session goes on as before. If the new name is right,"
        f" correct the session in Alyx; `labferry explain {where}` says what becomes of the new one.",
    )


def _same_files(context: Context, row: SessionRow) -> list[SessionRow]:
    if row.signature in {None, NOTHING_THERE}:
        return []
    return context.journal.sessions.same_files(row.id)


def _finished(context: Context, row: SessionRow, jobs: Sequence[JobRow]) -> Explanation:
    """Return how far a session came of which nothing is left to do, and what did not come with it."""
    targets = ", ".join(job.target for job in jobs if job.kind is JobKind.ARCHIVE)
    registered = f"Registered in Alyx as {row.eid}" if row.registered_at is not None else ""
    verified = f"verified in archive {targets}" if targets else ""
    message = " and ".join(part for part in (registered, verified) if part)
    verdict = Verdict.OK_ARCHIVED if targets else Verdict.OK_REGISTERED
    message = f"{message[0].upper()}{message[1:]}."
    lost = context.journal.files.lost(row.id)
    if lost is None:
        return Explanation(verdict, message)
    what, them = ("1 file was", "it") if lost.files == 1 else (f"{lost.files} files were", "them")
    code = "removed_unarchived"
    message = f"{message} {what} removed before every archive had {them}: {show_path(lost.path)}."
    return Explanation(verdict, message, code, CODES[code].hint)


def _left_out(row: SessionRow) -> Explanation:
    """Explain a session whose subject its root leaves out since work on it began, with how far that came."""
    far = "it is not looked into"
    if row.registered_at is not None:
        far = f"it is registered in Alyx as {row.eid}, and goes no further"
    elif row.complete_at is not None:
        far = "it is complete, and its work waits"
    message = f"Subject {row.subject} is excluded from root {row.root}: {far}."
    return Explanation(Verdict.IGNORED_SUBJECT, message, LEFT_OUT, f"{TAKE_IN} Everything goes on then.")


def _of_old(row: SessionRow) -> Explanation:
    """Explain a session that was there before us."""
    if row.history is None or row.history is History.UNASKED:
        return Explanation(
            Verdict.BACKLOG,
            "It was there before labferry. Alyx is asked what it has of it; nothing is read or sent.",
            next=Fact("Alyx is asked in its turn"),
        )
    verdict, beginning = OF_OLD[row.history]
    return Explanation(verdict, f"It was there before labferry and {beginning}: {row.history_why}.", row.history_code)


def _working(context: Context, live: LiveState, job: JobRow) -> Explanation:
    """Return how far an unfinished job that is not blocked has come."""
    verb = "Archiving to " + job.target if job.kind is JobKind.ARCHIVE else "Registering"
    if job.state is JobState.RUNNING:
        return Explanation(RUNNING_VERDICTS[job.stage], f"{verb}: stage {job.stage} is running.")
    due = Fact("the next attempt", job.not_before) if job.not_before > context.clock.now() else None
    if context.journal.problem:
        return Explanation(Verdict.WAITING_DEPENDENCY, context.journal.problem, "journal_full", next=due)
    if LANE_OF_STAGE[job.stage] in live.paused():
        return Explanation(
            Verdict.QUEUED,
            f"{verb} waits: an operator paused lane {LANE_OF_STAGE[job.stage]}.",
            "paused",
            "`labferry resume` lets it go on.",
        )
    down = _down(context, job)
    if down is not None:
        again = context.clock.now() + max(0.0, down.closed_until - context.clock.monotonic())
        return Explanation(
            Verdict.WAITING_DEPENDENCY,
            f"{verb} waits for {down.name}: {down.detail}",
            down.code,
            evidence=(Fact(f"{down.name}: {down.state}", down.since),),
            next=Fact(f"{down.name} is asked again", again),
        )
    if job.state is JobState.WAITING:
        verdict = RUNNING_VERDICTS[job.stage] if job.code in UNDER_WAY else Verdict.WAITING_DEPENDENCY
        return Explanation(verdict, f"{verb} waits: {job.reason}.", job.code, job.hint, next=due)
    if job.failures:
        return Explanation(Verdict.QUEUED, f"{verb} failed and is tried again: {job.reason}", job.code, next=due)
    return Explanation(Verdict.QUEUED, f"{verb} waits for its turn at stage {job.stage}.", next=due)


def _down(context: Context, job: JobRow) -> Dependency | None:
    """Return the dependency without which the job cannot go on, if it is down."""
    names: tuple[str, ...] = (ALYX,)
    if job.stage is Stage.SEAL:
        names = ()
    elif job.stage is Stage.ARCHIVE and (settings := context.config.archive.get(job.target)) is not None:
        names = needs_of(job.target, settings)
    if job.code.startswith(ALYX):
        names = (ALYX,)
    for one in context.dependencies.snapshot():
        if one.name in names and one.state in {Health.DOWN, Health.NEEDS_LOGIN}:
            return one
    return None


def _evidence(
    context: Context, live: LiveState, row: SessionRow, jobs: Sequence[JobRow], message: str
) -> Iterator[Fact]:
    """Yield what is known of the session, in the order in which sessions live; not again what the message says."""
    yield Fact("found by a scan", row.first_seen_at)
    if row.history_at is not None and row.history is not History.UNASKED:
        yield Fact("it was there before labferry" if row.history is None else f"history: {row.history}", row.history_at)
    if row.signal is not None:
        yield Fact(f"completion signal {row.signal} seen", row.signal_seen_at)
    if row.complete_at is not None:
        yield Fact(f"complete (generation {row.generation})", row.complete_at)
    if row.registered_at is not None:
        yield Fact(f"registered in Alyx as {row.eid}", row.registered_at)
    remarks = context.journal.sessions.remarks(row.id)
    yield from (Fact(f"remark {code}: {text}") for code, text in remarks[:NAMED_REMARKS])
    if len(remarks) > NAMED_REMARKS:
        more = len(remarks) - NAMED_REMARKS
        yield Fact(f"{more} more remark{'' if more == 1 else 's'}")
    if row.archived_at is not None:
        yield Fact("verified in every archive of its root", row.archived_at)
    if row.closed_folder is not None:
        yield Fact(f"cannot be read: {show_path(row.closed_folder) or 'the folder itself'} ({row.closed_why})")
    yield from _removed(context, row)
    if row.held_at is not None:
        yield Fact("held by an operator", row.held_at)
    if row.excluded_at is not None:
        yield Fact(f"subject {row.subject} is left out: it is not looked at any more", row.excluded_at)
    if row.vanished_at is not None:
        yield Fact("not found by two scans in a row", row.vanished_at)
    else:
        same = _same_files(context, row)
        was = None if row.moved_from is None else context.journal.sessions.get(row.moved_from)
        if was is not None and was not in same:
            yield Fact(f"most of its files were at {_place_of(context, was)}", was.vanished_at)
        for before in same:
            if before.vanished_at is not None:
                yield Fact(f"the same files were at {_place_of(context, before)}", before.vanished_at)
    for job in jobs:
        if job.state is not JobState.DONE:
            yield from _of_job(context, job, message)
    folder = show_path(row.path)
    for lane in live.lanes:
        if folder in lane.last_beat.doing:
            yield Fact(f"lane {lane.name}: {lane.last_beat.doing}")


def _place_of(context: Context, before: SessionRow) -> str:
    return f"{show_path(session_folder(context, before))}, session {before.eid or '-'}"


def _removed(context: Context, row: SessionRow) -> Iterator[Fact]:
    """Yield the files that were taken out of the folder since; those that nobody archived by name."""
    counts = context.journal.files.removed(row.id)
    if counts.archived:
        named = first_of([show_path(counts.example)], counts.archived)
        yield Fact(f"removed from the folder after it was registered or archived: {named}")
    for file in context.journal.files.left_behind(row.id, NAMED_FILES):
        yield Fact(f"never archived, and removed from the folder: {show_path(file.path)} ({file.size} bytes)")
    if counts.left_behind > NAMED_FILES:
        yield Fact(f"never archived, and removed from the folder: {counts.left_behind - NAMED_FILES} more")


def _of_job(context: Context, job: JobRow, message: str) -> Iterator[Fact]:
    target = f" to {job.target}" if job.target else ""
    why = f": {job.reason}" if job.reason and job.reason not in message else ""
    attempts = f"{job.attempts} attempt{'' if job.attempts == 1 else 's'}"
    yield Fact(f"{job.kind} job {job.id}{target} is {job.state} at stage {job.stage}, {attempts}{why}", job.updated_at)
    transfer = context.journal.transfers.of_job(job.id)
    if transfer is not None:
        yield from _of_tasks(context, transfer)
    failed = [attempt for attempt in context.journal.jobs.attempts(job.id) if attempt["outcome"] == "retry"]
    if failed and job.failures:
        error = failed[-1]["detail"].strip().splitlines()
        yield Fact(f"last error: {error[-1] if error else failed[-1]['code']}", failed[-1]["ended_at"])


def _of_tasks(context: Context, transfer: TransferRow) -> Iterator[Fact]:
    """Yield what Globus does, or did last, about a transfer."""
    for task in context.journal.tasks.of_transfer(transfer.id)[-NAMED_TASKS:]:
        complaint = f": {task.fault} {task.fault_text}".rstrip() if task.fault else ""
        name = task.globus_id or task.label
        yield Fact(f"Globus task {name} with {task.files} files is {task.state}{complaint}", task.updated_at)
