"""What other rooms raise becomes exactly one outcome."""

from __future__ import annotations

import pytest

from labferry.engine.outcomes import outcome_of
from labferry.errors import (
    CODES,
    BlockedError,
    ChangedError,
    LabferryError,
    NotYetError,
    UnavailableError,
    UnknownOutcomeError,
)
from labferry.model import Blocked, Outcome, Retry, Waiting


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (BlockedError("protected", "m", "h"), Blocked("protected", "m", "h")),
        (
            UnavailableError("archive:nas", "target_full", "m", 5.0),
            Waiting(5.0, "target_full", "m", dependency="archive:nas"),
        ),
        (NotYetError("source_missing", "m", 60.0), Waiting(60.0, "source_missing", "m")),
        (UnknownOutcomeError("m"), Waiting(1.0, "answer_lost", "m")),
        (LabferryError("odd", "m", "h"), Blocked("odd", "m", "h")),
    ],
)
def test_conditions_with_a_name(error: Exception, outcome: Outcome) -> None:
    assert outcome_of(error) == outcome


def test_a_changed_file_sends_the_session_back_and_names_the_file() -> None:
    outcome = outcome_of(ChangedError(b"alf/a\xff.npy", "grew"))
    assert isinstance(outcome, Waiting)
    assert outcome.resettle
    assert outcome.why == "alf/a\\xff.npy: grew"


def test_anything_else_is_tried_again_with_its_traceback_kept() -> None:
    outcome = outcome_of(ZeroDivisionError("division by zero"))
    assert isinstance(outcome, Retry)
    assert "ZeroDivisionError: division by zero" in outcome.detail


def test_every_code_has_a_way_out() -> None:
    assert all(code.hint.endswith((".", ")")) and code.title for code in CODES.values())
    assert {code.kind for code in CODES.values()} == {"blocked", "waiting", "file", "detect", "history", "remark"}
