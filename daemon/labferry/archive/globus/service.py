"""Archive room: the Globus Transfer service, one method for each thing that is asked of it.

From here only the network is touched, on a thread of its own; nothing is retried and nothing is remembered but
the token.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Collection as Several
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from labferry.archive.globus import calls
from labferry.archive.globus.caller import Caller
from labferry.archive.globus.connection import Connection
from labferry.archive.globus.login import Login
from labferry.archive.globus.values import (
    Arrived,
    Collection,
    Entry,
    Fault,
    Listing,
    Submission,
    Task,
    arrived_of,
    collection_of,
    entry_of,
    fault_of,
    pause_of,
    task_of,
)

if TYPE_CHECKING:
    from globus_sdk import TransferClient

_TASKS_AT_ONCE = 100  # ids in one request: as many as one user may have pending, and as an address can hold

T = TypeVar("T")


class GlobusService:
    """Speaks for one login. May be used by several threads, which then wait for one another.

    Every method makes one HTTP request unless it says otherwise; one more goes to Globus Auth now and then for a
    token. Nothing is sent before the first method is called.

    Parameters
    ----------
    login : callable
        Returns who we are, one for each thread that asks; must not block.
    transfer_url : str
        Another place than the real service; empty for that.
    user_agent : str
        Who we are.
    stop : callable
        True when the daemon stops: every method then raises `StoppedError` at once.
    deadline : float
        Seconds that one request may take.

    Raises
    ------
    UnavailableError
        From every method: `globus_down`, `globus_throttled`, `globus_login`, or that a collection cannot work now.
    BlockedError
        From every method: `transfer_refused`, a request that will never be accepted as it is.
    StoppedError
        From every method.
    """

    def __init__(
        self,
        login: Callable[[], Login],
        *,
        transfer_url: str = "",
        user_agent: str,
        stop: Callable[[], bool],
        deadline: float = 120.0,
    ) -> None:
        self._stop = stop
        self._deadline = deadline
        self._login = login()
        self._caller = Caller(lambda: Connection(login(), transfer_url=transfer_url, user_agent=user_agent))

    def require_login(self) -> None:
        """Refuse to go on where nobody is logged in; asks nobody.

        Raises
        ------
        UnavailableError
            `globus_login`.
        """
        if missing := self._login.missing():
            raise missing

    # --- collections ----------------------------------------------------------------------------------------

    def listing(self, endpoint: str, path: str, *, blame: str) -> Listing | None:
        """Return what is in a directory of a collection; None if there is no such directory.

        One request for each 100,000 entries.

        Parameters
        ----------
        endpoint : str
            UUID of the collection.
        path : str
            Of the directory, absolute.
        blame : str
            The dependency that is down when the collection cannot be looked at.
        """
        entries: dict[str, Entry] = {}
        offset = 0
        while True:
            page = self._ask(
                f"list {path}", partial(calls.listing_page, endpoint=endpoint, path=path, offset=offset), blame
            )
            if page is None:
                return None
            entries.update((entry.name, entry) for entry in map(entry_of, page))
            offset += len(page)
            if len(page) < calls.LISTING_LIMIT:
                return entries

    def rename(self, endpoint: str, old: str, new: str, *, blame: str) -> bool:
        """Give a file of a collection another name; nothing is replaced.

        Parameters as for `listing`; False if there is no such file, or something has the new name. After any error it
        may have happened all the same.
        """
        request = partial(calls.rename, endpoint=endpoint, old=old, new=new)
        return self._ask(f"rename {old}", request, blame)

    def collection(self, endpoint: str, *, blame: str = "") -> Collection:
        """Return what Globus tells of a collection; it is not touched itself."""
        return collection_of(self._ask("look at a collection", partial(calls.endpoint, collection=endpoint), blame))

    def stat(self, endpoint: str, path: str, *, blame: str = "") -> Entry | None:
        """Return what is at a path of a collection; None if there is nothing."""
        row = self._ask(f"look at {path}", partial(calls.stat, collection=endpoint, path=path), blame)
        return None if row is None else entry_of(row)

    def make_directory(self, endpoint: str, path: str, *, blame: str) -> bool:
        """Make a directory, or find it there; False if there is nothing to make it in."""
        request = partial(calls.make_directory, collection=endpoint, path=path)
        return self._ask(f"make directory {path}", request, blame)

    def delete_directory(self, endpoint: str, path: str, submission_id: str, *, label: str, blame: str) -> None:
        """Have a directory removed with all that is in it; one that is gone is fine.

        Globus makes a task of it, which is not waited for. The same submission again makes no second one.
        """
        request = partial(calls.delete_directory, collection=endpoint, path=path, submission=submission_id, label=label)
        self._ask(f"remove directory {path}", request, blame)

    # --- submitting -----------------------------------------------------------------------------------------

    def new_submission_id(self) -> str:
        """Return an id under which at most one task will ever be made; to be committed before it is used."""
        return self._ask("get a submission id", calls.submission_id)

    def submit(self, submission: Submission, *, blame: str = "") -> str:
        """Submit a task and return its id; if the same submission arrived before, the id of that task.

        Parameters
        ----------
        submission : Submission
            The same as ever for its submission id.
        blame : str
            The dependency that is down when a collection refuses.

        Raises
        ------
        ConflictError
            A task with identical paths has not ended.
        UnavailableError
            Also `globus_busy`: too many tasks are pending. After `globus_down` the task may exist.
        """
        return self._ask("submit", partial(calls.submit, submission=submission), blame)

    # --- watching -------------------------------------------------------------------------------------------

    def tasks(self, task_ids: Several[str]) -> dict[str, Task]:
        """Return the tasks by id; those that Globus does not know any more are missing.

        One request for each 100 ids, none for none.
        """
        wanted = sorted(set(task_ids))
        found: dict[str, Task] = {}
        for start in range(0, len(wanted), _TASKS_AT_ONCE):
            only: dict[str, str | list[str]] = {"task_id": wanted[start : start + _TASKS_AT_ONCE]}
            rows = self._ask("look at tasks", partial(calls.tasks, only=only))
            found.update((task.task_id, task) for task in map(task_of, rows))
        return found

    def find(self, label: str) -> list[Task]:
        """Return the tasks with exactly this label that have not ended."""
        rows = self._ask("look for a task", partial(calls.tasks, only={"status": ["ACTIVE", "INACTIVE"]}))
        return [task for task in map(task_of, rows) if task.label == label]

    def faults(self, task_id: str) -> list[Fault]:
        """Return the errors that a task met, the newest first; at most 1000, and none of a task nobody knows."""
        return list(map(fault_of, self._ask("read a task's errors", partial(calls.errors, task_id=task_id))))

    def pause_reason(self, task_id: str) -> str:
        """Return what is said about why a task is paused; may be empty."""
        return pause_of(self._ask("ask why a task is paused", partial(calls.pause_info, task_id=task_id)))

    def arrived(self, task_id: str) -> list[Arrived]:
        """Return the files that a finished task copied; files it found equal are not among them.

        Globus forgets them after a month: then none. One request for each page.

        Raises
        ------
        NotYetError
            `transfer_ending`: the task has not quite ended.
        """
        arrived: list[Arrived] = []
        marker = ""
        while True:
            page = partial(calls.arrived_page, task_id=task_id, marker=marker)
            rows, following = self._ask("read what arrived", page)
            arrived += map(arrived_of, rows)
            if not following or following == marker:
                return arrived
            marker = following

    def cancel(self, task_id: str) -> None:
        """Cancel a task; one that has ended, or that nobody knows, is left alone."""
        self._ask("cancel a task", partial(calls.cancel, task_id=task_id))

    def close(self) -> None:
        """Close the connections; a request that is under way is not waited for."""
        self._caller.close()

    def _ask(self, what: str, request: Callable[[TransferClient], T], blame: str = "") -> T:
        return self._caller.call(
            lambda connection: connection.ask(request, what, blame), what, seconds=self._deadline, stop=self._stop
        )
