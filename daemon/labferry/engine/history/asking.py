"""What Alyx has of one old session: hashes, sizes and places are taken over, no file is read, nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from labferry.alyx.answers import RefusedError
from labferry.alyx.dataset_rows import RemoteDataset, dataset_pages
from labferry.alyx.overview import KnownSession, sessions_of
from labferry.alyx.sessions import duplicate_session
from labferry.engine.context import ALYX, Context
from labferry.engine.history.allowance import Allowance
from labferry.engine.planning import repository_of
from labferry.engine.registering.looking import path_of
from labferry.engine.seal import fate_of, registration_rules
from labferry.errors import BlockedError
from labferry.journal.files import KnownRecord
from labferry.journal.rows import SessionRow
from labferry.model import Decision, FileFate, FileVersion, History, show_path
from labferry.sessions.walk import walk_session

NAMED = 3  # files named in one sentence
REMEMBERED = 600.0  # seconds for which the list of a subject's sessions is believed
Beat = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """What becomes of a session, and why; `eid` and `lab` as Alyx has them."""

    history: History
    code: str = ""
    why: str = ""
    eid: str | None = None
    lab: str | None = None


@dataclass(slots=True)
class Comparison:
    """The datasets of a session, here and in Alyx.

    Attributes
    ----------
    known : int
        Datasets that Alyx has with the same size.
    other_size, doubled, unreadable : list of bytes
        Those that it has with another one, or does not know the size of; those that it has several rows for; what
        could not be listed here.
    unknown : list of bytes
        Those that it does not have.
    missing : dict of str to int
        Archive to the number of known datasets that are not there, as far as Alyx knows.
    """

    known: int = 0
    other_size: list[bytes] = field(default_factory=list)
    doubled: list[bytes] = field(default_factory=list)
    unreadable: list[bytes] = field(default_factory=list)
    unknown: list[bytes] = field(default_factory=list)
    missing: dict[str, int] = field(default_factory=dict)

    @property
    def is_same(self) -> bool:
        """Whether Alyx has everything as it is here."""
        return not (self.other_size or self.doubled or self.unreadable or self.unknown)

    @property
    def is_archived(self) -> bool:
        """Whether Alyx says that everything is in every archive of the root."""
        return not any(self.missing.values())

    def differences(self) -> str:
        """Return what differs, in words."""
        parts = [
            _counted(self.unknown, "not in Alyx"),
            _counted(self.other_size, "of another, or of unknown, size there"),
            _counted(self.doubled, "there several times"),
            _counted(self.unreadable, "that cannot be read"),
        ]
        return "; ".join(part for part in parts if part)

    def agreement(self) -> str:
        """Return what does not differ, in words."""
        if not self.known:
            return "Alyx has the session, and none of the files here is a dataset"
        missing = [f"{count} of them not in archive {target}" for target, count in self.missing.items() if count]
        datasets = "1 dataset" if self.known == 1 else f"{self.known} datasets"
        return ", ".join([f"{datasets}, in Alyx with the same sizes", *missing])


class Asking:
    """Asks Alyx about one session after the other.

    Parameters
    ----------
    context : Context
    allowance : Allowance
        Told of every request.
    """

    def __init__(self, context: Context, allowance: Allowance) -> None:
        self._context = context
        self._allowance = allowance
        self._subject = ""
        self._asked_at = 0.0
        self._sessions: Mapping[tuple[str, int], tuple[KnownSession, ...]] = {}

    def __call__(self, session: SessionRow, beat: Beat) -> Finding:
        """Compare a session with what Alyx has of it, and take over what is equal.

        Raises
        ------
        UnavailableError
            Alyx cannot be asked now.
        NotYetError
            The folder, or its root, is not there now.
        BlockedError
            The session cannot be looked at; the code says why.
        """
        folder = self._context.folder_of(session)
        patience = 3 * self._context.config.alyx.timeout
        beat(f"asking Alyx about {show_path(session.path)}", patience)
        known = self._known(session)
        if not known:
            name = self._context.parsed(session).alyx_path
            return Finding(History.BACKLOG, "history_unknown", f"Alyx has no session {name}")
        if len(known) > 1:
            error = duplicate_session(session.subject, session.date, session.number, [one.eid for one in known])
            return Finding(History.BACKLOG, error.code, error.message)
        there = known[0]
        self._list(session, folder)
        try:
            comparison = self._compare(session, there, lambda: beat(f"comparing {show_path(session.path)}", patience))
        except RefusedError as error:
            if error.code != "session_gone":
                raise
            self._subject = ""
            return Finding(History.BACKLOG, "history_unknown", error.message)
        return judge(comparison, there)

    def _known(self, session: SessionRow) -> tuple[KnownSession, ...]:
        """Return the sessions that Alyx has under this subject, date and number."""
        clock = self._context.clock
        if self._subject != session.subject or clock.monotonic() - self._asked_at > REMEMBERED:
            self._allowance.spend()
            self._sessions = sessions_of(self._context.alyx, session.subject)
            self._subject, self._asked_at = session.subject, clock.monotonic()
            self._context.reachable(ALYX)
        return self._sessions.get((session.date, session.number), ())

    # --- here ---------------------------------------------------------------------------------------------

    def _list(self, session: SessionRow, folder: bytes) -> None:
        """List the folder by its names, sizes and times; what was taken over before is compared anew."""
        self._context.journal.backlog.forget_taken_over(session.id)
        self._context.journal.files.list_files(session.id, session.generation, self._listing(folder))

    def _listing(self, folder: bytes) -> Iterator[tuple[FileVersion, Decision]]:
        rules = registration_rules(self._context)
        for file in walk_session(folder):
            if not file.path:
                raise BlockedError("unreadable", f"{show_path(folder)}: {file.error}")
            yield file.version or FileVersion(file.path, 0, 0, 0), fate_of(file, rules)

    # --- there --------------------------------------------------------------------------------------------

    def _compare(self, session: SessionRow, there: KnownSession, beat: Callable[[], None]) -> Comparison:
        """Go through Alyx' datasets page by page: there may be more than fit into memory."""
        context = self._context
        found = Comparison()
        repositories = self._repositories(replace(session, lab=there.lab or session.lab))
        found.missing = dict.fromkeys(repositories, 0)
        rows: dict[int, int] = {}  # file to the hash of its dataset's id
        for page in dataset_pages(context.alyx, there.eid):
            self._allowance.spend()
            with context.journal.together():
                for dataset in page:
                    self._meet(session, dataset, rows, repositories, found)
            context.reachable(ALYX)
            beat()
        differing = {*found.other_size, *found.doubled}
        found.unknown = [path for path in context.journal.backlog.unknown(session.id) if path not in differing]
        closed = context.journal.files.rejected(session.id, limit=-1)
        found.unreadable = [file.path for file in closed if file.code == "file_unreadable"]
        return found

    def _meet(
        self,
        session: SessionRow,
        dataset: RemoteDataset,
        rows: dict[int, int],
        repositories: Mapping[str, str],
        found: Comparison,
    ) -> None:
        """Compare one row of Alyx with the file it stands for, if that is here."""
        journal = self._context.journal
        file = journal.files.at(session.id, path_of(dataset))
        if file is None or file.fate is not FileFate.DATASET:
            return
        row = hash(dataset.id)
        if file.id in rows:
            if rows[file.id] != row:  # pages may overlap while Alyx works; this is another row
                found.doubled.append(file.path)
            return
        rows[file.id] = row
        if dataset.size != file.size:
            found.other_size.append(file.path)
            return
        records = [KnownRecord(r.id, r.repository, r.relative_path, r.exists) for r in dataset.file_records]
        journal.backlog.take_over(file.id, dataset.id, dataset.hash, records)
        found.known += 1
        for target, repository in repositories.items():
            if not any(record.repository == repository and record.exists for record in dataset.file_records):
                found.missing[target] += 1

    def _repositories(self, session: SessionRow) -> dict[str, str]:
        """Return the data repository that stands for each archive of the root; empty where none can be told."""
        found = {}
        for target in self._context.root_of(session).archive:
            try:
                found[target] = repository_of(self._context, session, target)
            except BlockedError:
                found[target] = ""
        return found


def judge(found: Comparison, there: KnownSession) -> Finding:
    """Return what becomes of a session that Alyx has."""
    place = {"eid": there.eid, "lab": there.lab or None}
    if not found.is_same:
        return Finding(History.BACKLOG, "history_differs", found.differences(), **place)
    return Finding(History.ADOPTED, "" if found.is_archived else "history_unarchived", found.agreement(), **place)


def _counted(paths: list[bytes], what: str) -> str:
    if not paths:
        return ""
    named = ", ".join(show_path(path) for path in paths[:NAMED])
    more = ", …" if len(paths) > NAMED else ""
    return f"{len(paths)} {'file' if len(paths) == 1 else 'files'} {what} ({named}{more})"
