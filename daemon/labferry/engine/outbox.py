"""The discipline of remote effects: commit the intent, act, forget the intent if it certainly was not carried out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from labferry.errors import BlockedError, UnavailableError, UnexplainedError
from labferry.journal.steps import Steps


@contextlib.contextmanager
def outbox(steps: Steps, job_id: int, name: str, request: Any, *, repeatable: bool = True) -> Iterator[None]:
    """Send one step around the body of the `with`.

    A refusal, and a request that was never sent, leave nothing in flight and nothing done, so the step is dropped. A
    lost answer, or a kill, leaves it without an answer: the next attempt looks before it sends again.

    Parameters
    ----------
    repeatable : bool
        Whether the same request twice does no harm. Alyx has no transactions: one that failed (500) may have been
        carried out all the same, so a step that is not repeatable stays without an answer then, too.
    """
    steps.send(job_id, name, request)
    try:
        yield
    except (BlockedError, UnavailableError):
        steps.drop(job_id, name)
        raise
    except UnexplainedError:
        if repeatable:
            steps.drop(job_id, name)
        raise
