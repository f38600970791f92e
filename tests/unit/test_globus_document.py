from __future__ import annotations

import pytest

from labferry.archive.globus.document import label, transfer_document
from labferry.archive.globus.values import Submission, TransferItem

ITEMS = (
    TransferItem("/rig/a.npy", "/lab/a.uuid.npy", 12, "0cc175b9c0f1b6a831c399e269772661"),
    TransferItem("/rig/b.npy", "/lab/b.uuid.npy", 0, "d41d8cd98f00b204e9800998ecf8427e"),
)


def submission() -> Submission:
    return Submission("5ab1", "lf rig1 b7", "from-uuid", "to-uuid", ITEMS)


def test_map_01_every_option_is_said() -> None:
    from globus_sdk import MISSING

    said = {name: value for name, value in transfer_document(submission()).items() if value is not MISSING}
    assert said.pop("DATA")
    assert said == {
        "DATA_TYPE": "transfer",
        "submission_id": "5ab1",
        "label": "lf rig1 b7",
        "source_endpoint": "from-uuid",
        "destination_endpoint": "to-uuid",
        "sync_level": 3,
        "verify_checksum": True,
        "preserve_timestamp": True,
        "encrypt_data": True,
        "fail_on_quota_errors": True,
        "skip_source_errors": False,
        "notify_on_succeeded": False,
        "notify_on_failed": False,
        "notify_on_inactive": False,
    }


def test_ruling_30_there_is_no_deadline_and_md5_is_the_external_checksum() -> None:
    from globus_sdk import MISSING

    document = transfer_document(submission())
    assert document["deadline"] is MISSING
    assert document["delete_destination_extra"] is MISSING
    assert list(document.iter_items()) == [
        {
            "DATA_TYPE": "transfer_item",
            "source_path": item.source,
            "destination_path": item.destination,
            "external_checksum": item.md5,
            "checksum_algorithm": "MD5",
        }
        for item in ITEMS
    ]


def test_map_03_the_same_submission_is_the_same_document() -> None:
    first, second = transfer_document(submission()), transfer_document(submission())
    assert first == second
    assert list(first) == list(second)


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("rig1", "lf rig1 b7-x"),
        ("Größe/rig.1\r\n", "lf Gr__e_rig_1__ b7-x"),
        ("", "lf b7-x"),
        ("  rig  ", "lf rig b7-x"),
    ],
)
def test_ruling_19_the_label_names_server_and_batch(server: str, expected: str) -> None:
    assert label(server, "b7-x") == expected


def test_ruling_19_a_long_label_loses_the_server_never_the_batch() -> None:
    batch = "b" * 64
    for server in ("s" * 200, "s" * 59 + " " + "s" * 100):
        text = label(server, batch)
        assert len(text) <= 128
        assert text.startswith("lf s")
        assert text.endswith(f"s {batch}")
