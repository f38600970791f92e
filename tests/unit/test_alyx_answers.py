"""What Alyx' texts mean; the texts are those of a real Alyx 3.6.1."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labferry.alyx.answers import (
    FailedLookError,
    ProtectedFilesError,
    RefusedError,
    UnknownNameError,
    classify,
    is_invalid_token,
    retry_after,
)
from labferry.errors import CODES, LabferryError, UnavailableError, UnexplainedError

EXCHANGES = Path(__file__).resolve().parents[3] / "shared" / "data" / "alyx" / "exchanges.jsonl"
SESSION = "SWC_001/2023-03-01/001"


def said(status: int, text: str, key: str = "detail") -> LabferryError:
    return classify("POST", "/register-file", status, {"status_code": status, key: text})


REFUSALS = [
    (500, 'No dataset type found for filename "_ibl_x.values.npy"', "dataset_type", "_ibl_x.values.npy"),
    (
        500,
        'Multiple matching dataset types found for filename "w.x.npy": \n<DatasetType a>',
        "several_dataset_types",
        "w.x.npy",
    ),
    (500, "DataFormat matching query does not exist.", "data_format", ""),
    (500, "LabMember matching query does not exist.", "unknown_user", ""),
    (500, "get() returned more than one Subject -- it returned 2!", "ambiguous_subject", ""),
    (500, "get() returned more than one Dataset -- it returned 2!", "orphan_dataset", ""),
    (500, "get() returned more than one DataRepository -- it returned 2!", "ambiguous_repository", ""),
    (500, "The path argument is required.", "path_missing", ""),
    (500, "A base session for SWC_001 on 2023-03-05 does not exist", "session_gone", ""),
    (500, "A session for SWC_001/9 on 2023-03-01 does not exist", "session_gone", ""),
    (500, "Subject matching query does not exist.", "subject_not_on_alyx", ""),
    (500, "The path x should be `nickname/YYYY-MM-DD/n/...", "path_refused", ""),
    (500, "['“2023-13-45” value has the correct format (YYYY-MM-DD) but it is an invalid date.']", "date_refused", ""),
    (500, "value too long for type character varying(255)\n", "too_long_for_alyx", ""),
    (500, "invalid literal for int() with base 10: 'x'", "malformed_request", ""),
    (500, "'NoneType' object is not iterable", "malformed_request", ""),
    (500, "unsupported operand type(s) for +: 'NoneType' and 'list'", "malformed_request", ""),
    (500, "'list' object has no attribute 'get'", "malformed_request", ""),
    (500, "list index out of range", "malformed_query", ""),
    (500, 'null value in column "labmember_id" of relation violates not-null constraint', "anonymous_request", ""),
    (500, "'content_type'", "note_target", ""),
    (500, "ContentType matching query does not exist.", "note_target", ""),
    (500, "Session matching query does not exist.", "session_gone", ""),
    (400, "The specified repository does not exist.", "unknown_repository", ""),
    (400, "One or more of the specified labs do not exist.", "unknown_lab", ""),
    (400, 'A subject with nickname "NOPE" does not exist.', "subject_not_on_alyx", ""),
    (400, f"Invalid dataset \"{SESSION}/alf/x.y.npy\": {{'hash': ['…']}}", "file_refused", "alf/x.y.npy"),
    (400, f'Invalid file record "{SESSION}/a\\b.npy": {{}}', "file_refused", "a\\b.npy"),
    (400, f'Invalid QC value "GOOD" for dataset "{SESSION}/alf/x.y.npy"', "file_refused", "alf/x.y.npy"),
    (400, "Invalid ALF path. There must be only 1 revision", "path_refused", ""),
    (
        400,
        f'A file record for "{SESSION}/alf/x.y.npy" already exists on repository "a_SR" for a different dataset.',
        "orphan_dataset",
        "alf/x.y.npy",
    ),
]


@pytest.mark.parametrize(("status", "text", "code", "file"), REFUSALS)
@pytest.mark.parametrize("key", ["detail", "error"])
def test_a_known_text_needs_a_person(status: int, text: str, code: str, file: str, key: str) -> None:
    refused = said(status, text, key)
    assert isinstance(refused, RefusedError)
    assert (refused.code, refused.file, refused.status) == (code, file, status)
    assert text.strip() in refused.message
    assert file in refused.message
    assert refused.hint


# The rows of §5 of the contract: what a person must do differs from one to the next.
ROWS = [
    "No dataset type found for",
    "Multiple matching dataset types",
    "DataFormat matching query",
    "LabMember matching query",
    "get() returned more than one Subject",
    "get() returned more than one Dataset ",
    "get() returned more than one DataRepository",
    "The path argument is required",
    "A base session for",
    "Subject matching query",
    "The path x should be",
    "invalid date",
    "value too long",
    "invalid literal",
    "list index out of range",
    "labmember_id",
    "ContentType matching query",
]


def test_each_kind_of_client_error_has_a_code_and_a_way_out_of_its_own() -> None:
    found = [next(said(status, text) for status, text, _, _ in REFUSALS if row in text) for row in ROWS]
    assert len({error.code for error in found}) == len(ROWS)
    assert "alyx_refused" not in {error.code for error in found}
    assert all(CODES[error.code].kind == "blocked" and error.hint for error in found)


@pytest.mark.parametrize(
    "text", ["connection to server failed", "deadlock detected", "", "get() returned more than one Tag"]
)
def test_an_unknown_500_may_pass(text: str) -> None:
    failed = said(500, text)
    assert isinstance(failed, UnexplainedError), "no reason to keep all other sessions from Alyx"
    assert failed.code == "alyx_error"
    assert "POST /register-file" in failed.message


def test_an_unknown_500_to_a_look_is_an_outage() -> None:
    failed = classify("GET", "/sessions", 500, {"detail": "connection to server failed"})
    assert isinstance(failed, UnavailableError)
    assert failed.dependency == "alyx"


def test_a_long_text_is_read_to_its_end_and_shown_shortened() -> None:
    name = "x" * 3000 + ".npy"
    refused = said(500, f'No dataset type found for filename "{name}"')
    assert isinstance(refused, RefusedError)
    assert refused.file == name
    assert refused.message.endswith("…")


def test_field_errors_are_put_into_one_line() -> None:
    body = {"users": ["Object with username=nobody does not exist."], "qc": "bad", "status_code": 400}
    refused = classify("POST", "/sessions", 400, body)
    assert refused.message.endswith("users: Object with username=nobody does not exist.; qc: bad")
    unknown = classify("POST", "/sessions", 400, {"subject": ["Object with nickname=NOPE does not exist."]})
    assert unknown.code == "subject_not_on_alyx"


def test_protected_files_are_named() -> None:
    details = [
        {"alf/probe00/spikes.times.npy": [{"2023-06-01": False}, {"": True}]},
        {"alf/probe00/spikes.amps.npy": [{"": False}]},
        {"alf/probe00/spikes.samples.npy": []},
        {"alf/probe00/spikes.depths.npy": [{"2023-06-01": True}]},
    ]
    body = {"status_code": 403, "error": "One or more datasets is protected", "details": details}
    refused = classify("POST", "/register-file", 403, body)
    assert isinstance(refused, ProtectedFilesError)
    assert refused.names == ("alf/probe00/spikes.times.npy", "alf/probe00/spikes.depths.npy")
    assert refused.code == "protected"


@pytest.mark.parametrize(
    "text",
    [
        "Dataset 7055aab3-28ca-410d-be58-5872925c0fea is protected, cannot patch",
        'Failed to delete dataset spikes.times.npy due to protected tag(s) "2023_Q1_Protected"',
    ],
)
def test_protected_without_names_is_protected_all_the_same(text: str) -> None:
    refused = said(403, text)
    assert isinstance(refused, RefusedError)
    assert not isinstance(refused, ProtectedFilesError)
    assert refused.code == "protected"


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (403, {"detail": "Invalid token."}, "alyx_login"),
        (403, {"detail": "Authentication credentials were not provided."}, "alyx_login"),
        (403, {"detail": "Invalid token header. Token string should not contain spaces."}, "alyx_login"),
        (403, {"detail": "User inactive or deleted."}, "alyx_login"),
        (401, {"detail": "?"}, "alyx_login"),
        (401, "<html>Who are you?</html>", "alyx_login"),
        (403, {"detail": "You do not have permission to perform this action."}, "alyx_permission"),
        (429, {"detail": "Request was throttled. Expected available in 60 seconds."}, "alyx_throttled"),
        (429, "", "alyx_throttled"),
        (404, "<html>Not Found</html>", "not_alyx"),
        (500, "<html>Internal Server Error</html>", "alyx_down"),
        (413, "<html>Too Large</html>", "not_alyx"),
        (503, {"detail": "?"}, "alyx_down"),
        (404, None, "not_alyx"),
        (400, [1], "not_alyx"),
    ],
)
def test_what_is_no_job_of_the_session_makes_alyx_wait(status: int, body: Any, code: str) -> None:
    failed = classify("GET", "/sessions", status, body)
    assert isinstance(failed, UnavailableError)
    assert failed.code == code


def test_only_an_invalid_token_asks_for_a_new_login() -> None:
    assert is_invalid_token(403, {"detail": "Invalid token."})
    assert not is_invalid_token(403, {"detail": "You do not have permission to perform this action."})
    assert not is_invalid_token(400, {"detail": "Invalid token."})
    assert not is_invalid_token(403, "Invalid token.")


@pytest.mark.parametrize("header", ["-5", "nan", "inf", "1e9", "Wed, 99 Foo 2023", "\u0665", "9" * 400])
def test_a_retry_after_that_makes_no_sense_is_no_wait_at_all(header: str) -> None:
    assert retry_after(header, None, 0.0) == 0.0


@given(
    status=st.integers(400, 599),
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["detail", "error", "details", "x"]), inner),
    ),
    header=st.none() | st.text(),
)
def test_every_answer_means_something(status: int, body: object, header: str | None) -> None:
    failure = classify("POST", "/register-file", status, body)
    assert isinstance(failure, LabferryError)
    assert failure.code in CODES
    assert failure.message
    assert retry_after(header, body, 1_700_000_000.0) >= 0


@pytest.mark.skipif(not EXCHANGES.exists(), reason="the recorded exchanges of a real Alyx are not here")
def test_every_recorded_refusal_is_understood() -> None:
    """§5 of the contract: no recorded 500 is taken for an outage, except those of endpoints we never use."""
    taken_for_outage = set()
    seen = 0
    for line in EXCHANGES.read_text().splitlines():
        exchange = json.loads(line)
        if exchange["status"] < 400 or re.search("html", str(exchange["response_body"])[:200]):
            continue
        seen += 1
        failure = classify(exchange["method"], exchange["path"], exchange["status"], exchange["response_body"])
        assert failure.code in CODES, exchange["case"]
        if failure.code in {"alyx_down", "alyx_error"}:
            taken_for_outage.add(exchange["case"])
    assert seen > 100
    assert taken_for_outage == {"sync-file-status.post"}


def test_reg_03_unknown_names_are_told_apart_from_other_mistakes() -> None:
    location = {"location": ["Object with name=rig_7 does not exist."]}
    users = {"users": ["Object with username=zoë=x does not exist."]}
    found = classify("POST", "/sessions", 400, {**location, **users, "status_code": 400})
    assert isinstance(found, UnknownNameError)
    assert found.fields == {"location", "users"}
    assert found.message == "Alyx does not know location 'rig_7', users 'zoë=x' (POST /sessions)"
    mixed = {**location, "narrative": ["This field may not be null."], "status_code": 400}
    other = classify("POST", "/sessions", 400, mixed)
    assert isinstance(other, RefusedError)
    assert not isinstance(other, UnknownNameError)
    assert all(word in other.message for word in ("rig_7", "narrative"))


def test_reg_15_a_failed_question_is_an_outage_until_it_is_known_better() -> None:
    found = classify("GET", "/subjects", 500, {"detail": "", "status_code": 500})
    assert isinstance(found, FailedLookError)
    assert (found.dependency, found.code) == ("alyx", "alyx_down")
    assert found.message.endswith("no explanation")


def test_reg_09_water_after_death_is_a_persons_to_correct() -> None:
    text = {"detail": "Water administration date after death date", "status_code": 500}
    found = classify("POST", "/water-administrations", 500, text)
    assert (type(found), found.code) == (RefusedError, "after_death")
