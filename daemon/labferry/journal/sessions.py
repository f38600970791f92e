"""Sessions in the journal: what detection saw, and the moment a session becomes work."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from labferry.errors import CODES
from labferry.journal.database import Database, Row, load_queries
from labferry.journal.jobs import Jobs
from labferry.journal.rows import JobRow, SessionRow, StuckRow
from labferry.model import Clock, History, JobKind, JobState, Stage, show_path

ANEW = "another_folder"  # a remark
_SQL = load_queries("sessions")


class Sessions:
    """The session and root tables."""

    def __init__(self, database: Database, jobs: Jobs, clock: Clock) -> None:
        self._db = database
        self._jobs = jobs
        self._clock = clock
        self._counts: dict[str, tuple[tuple[object, ...], list[Row]]] = {}

    # --- reading ------------------------------------------------------------------------------------------

    def all(self) -> list[SessionRow]:
        """Return every session."""
        return self._rows("all")

    def of_root(self, root: str) -> list[SessionRow]:
        """Return the sessions below a root."""
        return self._rows("of_root", root=root)

    def select(self, *, root: str = "", subject: str = "", since: str = "") -> list[SessionRow]:
        """Return the sessions of a root and a subject, recorded on day `since` or later; empty filters match all."""
        return self._rows("select", root=root, subject=subject, since=since)

    def unsettled(self, root: str) -> list[SessionRow]:
        """Return the sessions below a root that are there and not complete; history is left alone."""
        return self._rows("unsettled", root=root)

    def folders(self, root: str, without: Collection[str] = ()) -> dict[bytes, tuple[int, bool]]:
        """Return the folders known below a root, but for some subjects: path to (session id, is it there)."""
        rows = self._db.read(_SQL["folders"], {"root": root})
        return {row["path"]: (row["id"], row["vanished_at"] is None) for row in rows if row["subject"] not in without}

    def get(self, session_id: int) -> SessionRow | None:
        """Return one session by its id."""
        return self._first("get", id=session_id)

    def at(self, root: str, path: bytes) -> SessionRow | None:
        """Return the session at a path relative to a root."""
        return self._first("at", root=root, path=path)

    def by_key(self, subject: str, date: str, number: int) -> list[SessionRow]:
        """Return the sessions of a subject, date and number; more than one means duplicates."""
        return self._rows("by_key", subject=subject, date=date, number=number)

    def same_files(self, session_id: int) -> list[SessionRow]:
        """Return other sessions whose files are the very same as this one's were; those that are there first."""
        return self._rows("same_files", id=session_id)

    def with_signature(self, session_id: int, signature: bytes) -> list[SessionRow]:
        """Return other sessions whose files are, or were when they were there, the very same."""
        return self._rows("with_signature", id=session_id, signature=signature)

    def gone(self, limit: int) -> list[int]:
        """Return the ids of the sessions whose folders are not there any more, those that went last first."""
        return [row["id"] for row in self._db.read(_SQL["gone"], {"limit": limit})]

    def moved_to(self, session_id: int) -> list[SessionRow]:
        """Return the sessions that a session's folder became, of those that are there; the newest first."""
        return self._rows("moved_to", id=session_id)

    def by_eid(self, eid: str) -> list[SessionRow]:
        """Return the sessions with this Alyx id."""
        return self._rows("by_eid", eid=eid)

    def counts(self) -> tuple[dict[str, int], int]:
        """Return the number of sessions per state, and how many need a person."""
        rows = self._counted("counts")
        return {row["state"]: row["sessions"] for row in rows}, sum(row["attention"] for row in rows)

    def counts_by_root(self) -> dict[str, int]:
        """Return the number of sessions that are there, per root."""
        return {row["root"]: row["sessions"] for row in self._counted("counts_by_root")}

    def _counted(self, name: str) -> list[Row]:
        """Return the rows of a query that goes through all sessions; as before while nothing happened to any.

        Every transition writes an event; only what is rejected in a manifest does not.
        """
        now = tuple(self._db.read(_SQL["what_counts"])[0])
        then, rows = self._counts.get(name, ((), []))
        if then != now:
            rows = self._db.read(_SQL[name])
            self._counts[name] = now, rows
        return rows

    def counts_below(self, root: str, folder: bytes) -> dict[str, int]:
        """Return the number of sessions per state below a folder of a root; below the root itself when empty."""
        found = self._db.read(_SQL["counts_below"], {"root": root, "folder": folder})
        return {row["state"]: row["sessions"] for row in found}

    def stuck(self, before: float, named: int, roots: Iterable[str]) -> list[StuckRow]:
        """Return what detection has waited for since before a time, in epoch seconds: `named` sessions per reason."""
        values = {"before": before, "named": named, "roots": json.dumps(list(roots))}
        return [StuckRow.of(row) for row in self._db.read(_SQL["stuck"], values)]

    def root_paths(self) -> dict[str, bytes]:
        """Return where every root is, or was when it was last configured."""
        return {row["name"]: row["path"] for row in self._db.read(_SQL["root_paths"])}

    def key_owner(self, session_id: int) -> SessionRow | None:
        """Return the session that holds this one's subject, date and number (ruling 3)."""
        return self._first("key_owner", id=session_id)

    # --- what detection saw -------------------------------------------------------------------------------

    def device_of_root(self, name: str) -> int | None:
        """Return the number of the file system that a root was on when nothing was missing; None: not known."""
        return next((row["device"] for row in self._db.read(_SQL["device_of_root"], {"name": name})), None)

    def root_is_on(self, name: str, device: int) -> None:
        """Remember the number of the file system that a root is on."""
        self._write("root_is_on", name=name, device=device)

    def meet_root(self, name: str, path: bytes, layout: str) -> float:
        """Remember a root; its name is its identity, the path may change. Return when it was first met."""
        values = {"name": name, "path": path, "layout": layout, "now": self._clock.now()}
        with self._db.write() as connection:
            (met_at,) = connection.execute(_SQL["meet_root"], values).fetchone()
        return float(met_at)

    def add(
        self,
        root: str,
        path: bytes,
        *,
        layout: str,
        subject: str,
        date: str,
        number: int,
        lab: str | None,
        history: History | None = None,
        history_code: str = "",
        history_why: str = "",
    ) -> int:
        """Insert a session that a scan found first, an old one with what is to become of it; return its id."""
        values = {"root": root, "path": path, "layout": layout, "subject": subject, "date": date, "number": number}
        past = {"history": history, "history_code": history_code, "history_why": history_why}
        with self._db.write() as connection:
            inserted = connection.execute(_SQL["insert"], {**values, **past, "lab": lab, "now": self._clock.now()})
        assert inserted.lastrowid is not None
        return inserted.lastrowid

    def signal(self, session_id: int, name: str) -> None:
        """Latch the completion signal: once seen it stays seen (ruling 4)."""
        self._write("signal", id=session_id, signal=name)

    def was(self, session_id: int, moved_from: int) -> None:
        """Record which session a folder was before it was renamed."""
        self._write("was", id=session_id, moved_from=moved_from)

    def looked(self, session_id: int, signature: bytes | None, code: str | None, why: str | None) -> None:
        """Store the signature of the last look and what the session waits for."""
        self._write("looked", id=session_id, signature=signature, code=code, why=why)

    def vanished(self, session_id: int) -> None:
        """Record that the folder is not there any more."""
        with self._db.write():
            self._write("vanished", id=session_id)
            if self._write("forget_passing", id=session_id):
                self._jobs.supersede(session_id)

    def returned(self, session_id: int) -> None:
        """Record that a vanished folder is there again."""
        with self._db.write():
            self._write("returned", id=session_id)
            self._write("settle_returned", id=session_id)
            self._jobs.hurry_one(session_id, "source_missing")

    def begin_anew(self, session_id: int, why: str) -> bool:
        """Forget what was seen of the files that a session was: others are, or will be, in their place.

        It has to become complete as if it had been found now. False where Alyx or an archive has something of it, or it
        is history: then nothing changes.
        """
        with self._db.write() as connection:
            if not self._write("begin_anew", id=session_id):
                return False
            self._jobs.supersede(session_id)
            connection.execute(_SQL["remark"], {"id": session_id, "code": ANEW, "text": f"{why}: it begins anew"})
        return True

    def begins_anew(self, session_id: int) -> bool:
        """Say whether a session began anew and was not complete since."""
        return bool(self._db.read(_SQL["begins_anew"], {"id": session_id, "code": ANEW})[0][0])

    # --- the operator's hand ------------------------------------------------------------------------------

    def hold(self, session_id: int) -> None:
        """Leave a session alone: its jobs are not claimed until it is released."""
        self._write("hold", id=session_id)

    def release(self, session_id: int) -> None:
        """End a hold."""
        self._write("release", id=session_id)

    def leave_out(self, root: str, subjects: Collection[str]) -> None:
        """Leave the sessions of these subjects below a root as they are, and go on with those of all others."""
        with self._db.write():
            for query in ("leave_out", "take_in"):
                self._write(query, root=root, subjects=json.dumps(list(subjects)))

    # --- becoming work ------------------------------------------------------------------------------------

    def complete(
        self,
        session_id: int,
        signature: bytes,
        *,
        register: bool,
        targets: Sequence[str],
        moved_from: SessionRow | None = None,
    ) -> bool:
        """Turn a settled session into work: complete and its first job, in one transaction (rulings 7, 21).

        Unfinished jobs of an older generation are superseded. A folder whose subject, date and number belong to another
        folder gets its job blocked from the start, and so does one that was another session in Alyx before it was
        renamed (`moved_from`).

        Returns
        -------
        bool
            False when the session was complete already; nothing changed then.
        """
        now = self._clock.now()
        with self._db.write() as connection:
            done = connection.execute(_SQL["complete"], {"id": session_id, "signature": signature, "now": now})
            if done.rowcount == 0:
                return False
            connection.execute(_SQL["has_come"], {"id": session_id, "code": ANEW})
            if moved_from is not None:
                self.was(session_id, moved_from.id)
            options = self._jobs.options_of(session_id)
            self._jobs.supersede(session_id)
            if not register:
                for target in targets:
                    self._jobs.add(session_id, JobKind.ARCHIVE, target=target, stage=Stage.SEAL)
                return True
            owner = self._claim_key(session_id)
            if owner is not None:
                where = f"{show_path(owner.path)} below root {owner.root}"
                why = f"The same subject, date and number are already claimed by {where}."
                self._block(session_id, "same_session_elsewhere", why, options)
            elif moved_from is not None:
                where = f"{show_path(moved_from.path)} below root {moved_from.root}"
                known = f" as {moved_from.eid}" if moved_from.eid else ""
                self._block(session_id, "moved", f"Its files were {where}, which is in Alyx{known}.", options)
            else:
                self._jobs.add(session_id, JobKind.REGISTER, stage=Stage.RESOLVE, options=options)
        return True

    def _block(self, session_id: int, code: str, reason: str, options: str) -> None:
        """Add a register job that waits for a person from the start."""
        self._jobs.add(
            session_id,
            JobKind.REGISTER,
            stage=Stage.RESOLVE,
            state=JobState.BLOCKED,
            code=code,
            reason=reason,
            hint=CODES[code].hint,
            options=options,
        )

    def register_again(self, session_id: int, options: str) -> int:
        """Give a complete session a new generation with a register job, as an operator asked for; return the job's id.

        `options` say how, as JSON. Unfinished jobs of the older generation are superseded.
        """
        with self._db.write():
            self._write("next_generation", id=session_id)
            self._jobs.supersede(session_id)
            self._jobs.add(session_id, JobKind.REGISTER, stage=Stage.RESOLVE, options=options)
            return self._jobs.of_session(session_id)[-1].id

    def archive_again(self, session_id: int, options: str, *, register: bool, targets: Sequence[str]) -> list[JobRow]:
        """Give a complete session a new generation, as an operator asked for; return its first jobs.

        Where the session is registered that is a register job, which the archive jobs follow. `options` say how, as
        JSON.
        """
        with self._db.write():
            if register:
                self.register_again(session_id, options)
                return self._jobs.of_generation(session_id, JobKind.REGISTER)
            self._write("next_generation", id=session_id)
            self._jobs.supersede(session_id)
            for target in targets:
                self._jobs.add(session_id, JobKind.ARCHIVE, target=target, stage=Stage.SEAL, options=options)
            return self._jobs.of_generation(session_id, JobKind.ARCHIVE)

    def _claim_key(self, session_id: int, *, also_registered: bool = False) -> SessionRow | None:
        """Take subject, date and number for this session; return the other owner when it is taken."""
        with self._db.write() as connection:
            connection.execute(_SQL["release_dead_key"], {"id": session_id, "also_registered": also_registered})
            connection.execute(_SQL["claim_key"], {"id": session_id})
            owner = self.key_owner(session_id)
        assert owner is not None
        return None if owner.id == session_id else owner

    def reclaim_key(self, session_id: int) -> SessionRow | None:
        """Try again to take subject, date and number; return the other owner while there is one.

        By now a person may have moved the other folder away: one that vanished gives the key back, registered or not.
        """
        return self._claim_key(session_id, also_registered=True)

    def unsettle(self, session_id: int, why: str) -> None:
        """Send a session back to settling because its files changed."""
        self._write("unsettle", id=session_id, why=why)

    def register_from_now_on(self, root: str) -> None:
        """Send the complete sessions of a root that were never to be registered back to settling."""
        self._write("unsettle_unregistered", root=root, why="the root is registered from now on")

    # --- what the lanes learned ---------------------------------------------------------------------------

    def sealed(self, session_id: int, generation: int) -> None:
        """Record that the manifest of a generation is complete, checksums included; of one that is over, nothing."""
        self._write("sealed", id=session_id, generation=generation)

    def resolved(self, session_id: int, lab: str, repository: str) -> None:
        """Record the lab of the subject and the lab's data repository on this server."""
        self._write("resolved", id=session_id, lab=lab, repository=repository)

    def recorded(self, session_id: int, eid: str, written: Mapping[str, object], *, created_here: bool) -> None:
        """Record the session's id in Alyx, which of its fields we wrote last, and whether our POST created it."""
        self._write("recorded", id=session_id, eid=eid, written=json.dumps(written), created_here=int(created_here))

    def remark(self, session_id: int, remarks: Iterable[tuple[str, str]]) -> None:
        """Store what is worth knowing about a session, as code and text each; what was stored before is forgotten."""
        with self._db.write() as connection:
            connection.execute(_SQL["forget_remarks"], {"id": session_id})
            for code, text in remarks:
                connection.execute(_SQL["remark"], {"id": session_id, "code": code, "text": text})

    def remarks(self, session_id: int) -> list[tuple[str, str]]:
        """Return what is worth knowing about a session, as code and text each."""
        return [(row["code"], row["text"]) for row in self._db.read(_SQL["remarks"], {"id": session_id})]

    # --- plumbing -----------------------------------------------------------------------------------------

    def _rows(self, query: str, **values: Any) -> list[SessionRow]:
        return [SessionRow.of(row) for row in self._db.read(_SQL[query], values)]

    def _first(self, query: str, **values: Any) -> SessionRow | None:
        rows = self._rows(query, **values)
        return rows[0] if rows else None

    def _write(self, query: str, **values: Any) -> int:
        with self._db.write() as connection:
            return connection.execute(_SQL[query], {**values, "now": self._clock.now()}).rowcount
