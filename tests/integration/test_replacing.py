"""Content that takes the place of archived content: ruling 10's order, and both words that allow it (MAP-07)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labferry.cli.evidence import evidence_lines
from labferry.control.api import Api
from labferry.control.messages import Reply, Request
from labferry.control.peers import Peer
from labferry.engine import operations
from labferry.engine.reports.sessions import show
from labferry.engine.reports.verify import verify
from labferry.engine.verifying.strangers import HOW
from labferry.errors import LabferryError, NotYetError, UnavailableError
from labferry.journal.rows import SessionRow
from labferry.journal.transfers import Transfers
from labferry.model import JobKind, Stage
from labferry.sandbox.configfile import ArchiveKind
from support.globus import GlobusBench
from support.replacing import (
    CAMERA,
    NEW,
    PATH,
    WHEEL,
    WORKING,
    archived,
    change,
    copy_of,
    go_on,
    holdings,
    is_done,
    job_of,
    jobs,
    lies,
    published,
    replace,
)
from support.stages import FILES, StageBench

OLD = FILES[WHEEL]
SAME_SIZE = OLD.upper()
SECOND = "KS005/2026-03-02/002"
ON_CHANGE = {'naming = "alyx"': 'naming = "alyx"\non_change = "replace"'}
UNREGISTERED = {
    'naming = "alyx"\nrepository = "auto"': 'naming = "plain"\nrepository = ""',
    'layout = "ibl"': 'layout = "ibl"\nregister = false\nlab = "cortexlab"',
}
Make = Callable[..., StageBench]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[StageBench] = []

    def open_bench(kind: ArchiveKind, changes: dict[str, str] | None = None, **environ: str) -> StageBench:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        bench = GlobusBench(folder, **environ) if kind == "globus" else StageBench(folder, **environ)
        made.append(bench)
        if changes:
            configure(bench, changes)
        return bench

    yield open_bench
    for bench in made:
        bench.close()


def configure(bench: StageBench, changes: dict[str, str]) -> None:
    """Start again with another configuration."""
    bench.end_life()
    text = bench.sandbox.config.read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    bench.sandbox.config.write_text(text)
    bench.open()


KINDS = pytest.mark.parametrize("kind", ["directory", "globus"])


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def now(bench: StageBench, session: SessionRow) -> SessionRow:
    row = bench.journal.sessions.get(session.id)
    assert row is not None
    return row


def truthful(bench: StageBench) -> Callable[[], None]:
    def check() -> None:
        assert lies(bench) == []

    return check


# --- on a word ------------------------------------------------------------------------------------------------------


def asked_to_replace(make: Make, kind: ArchiveKind) -> tuple[StageBench, SessionRow]:
    """Bring a session to where a person has said that its changed file may replace the archived one."""
    bench = make(kind)
    _, session = archived(bench)
    change(bench, session, {WHEEL: NEW})
    go_on(bench)
    replace(bench, session)
    return bench, session


@KINDS
def test_ruling_10_what_changed_after_archiving_is_replaced_on_a_word_and_the_old_is_kept(
    make: Make, kind: ArchiveKind
) -> None:
    bench = make(kind)
    _, session = archived(bench)
    before = holdings(bench)
    change(bench, session, {WHEEL: NEW})
    go_on(bench)
    assert jobs(bench, session) == {"register": "changed_after_archive"}
    assert "--replace" in job_of(bench, session, JobKind.REGISTER).hint
    assert holdings(bench) == before, "nothing happens without a word"
    assert published(bench)["_ibl_wheel.position.npy"] == (md5(OLD), True)

    assert replace(bench, session)["began"] is False
    go_on(bench, truthful(bench))
    assert is_done(bench, session)
    copy = copy_of(bench, session)
    assert copy.read_bytes() == NEW
    after = holdings(bench)
    assert {name: content for name, content in after.items() if name in before} == {
        **before,
        str(copy.relative_to(bench.sandbox.places.archive)): NEW,
    }
    (kept,) = [name for name in after if name not in before]
    assert ".npy.old-lf-" in kept
    assert after[kept] == OLD
    assert published(bench)["_ibl_wheel.position.npy"] == (md5(NEW), True)
    assert all(exists for _, exists in published(bench).values())


@KINDS
def test_ruling_10_the_order_is_verify_withdraw_swap_post_mark(make: Make, kind: ArchiveKind) -> None:
    bench, session = asked_to_replace(make, kind)
    seen: list[tuple[str, bool, bytes, bool]] = []

    def look() -> None:
        copy = copy_of(bench, session)
        staged = any(content == NEW and ".new-lf-" in name for name, content in holdings(bench).items())
        now = (*published(bench)["_ibl_wheel.position.npy"], copy.read_bytes(), staged)
        if now not in seen:
            seen.append(now)

    for what in ("PATCH /files", "POST /register-file"):
        bench.sandbox.faults.add({"match": what, "action": "status", "status": 503, "times": 1})
    sent = len(bench.requests("PATCH", "/files"))
    go_on_for_long(bench, session, look)
    assert [one for one in seen if one[3]] == [(md5(OLD), True, OLD, True)], "brought first, while nothing else changes"
    assert (md5(OLD), False, NEW, False) in seen, "withdrawn, exchanged, and not registered yet"
    assert seen[-1] == (md5(NEW), True, NEW, False)
    patches = [patch["body"] for patch in bench.requests("PATCH", "/files")[sent:]]
    assert patches == [{"exists": False}, {"exists": False}, {"exists": True}], "the first one was not heard"


@KINDS
def test_map_07_what_on_change_says_is_enough_for_our_own_copies(make: Make, kind: ArchiveKind) -> None:
    bench = make(kind, ON_CHANGE)
    _, session = archived(bench)
    change(bench, session, {WHEEL: NEW, "alf/_ibl_wheel.timestamps.npy": b"late"})
    go_on(bench, truthful(bench))
    assert is_done(bench, session)
    assert copy_of(bench, session).read_bytes() == NEW
    assert copy_of(bench, session, "alf/_ibl_wheel.timestamps.npy").read_bytes() == b"late"
    assert sorted(holdings(bench).values()).count(OLD) == 1
    assert published(bench)["_ibl_wheel.position.npy"] == (md5(NEW), True)


@KINDS
def test_map_07_on_change_does_not_touch_a_copy_that_somebody_else_changed(make: Make, kind: ArchiveKind) -> None:
    bench = make(kind, ON_CHANGE)
    _, session = archived(bench)
    copy_of(bench, session).write_bytes(b"nobody knows who wrote this")
    change(bench, session, {WHEEL: NEW})
    go_on(bench)
    assert jobs(bench, session) == {"register": "replacing", "archive": "destination_differs"}
    assert copy_of(bench, session).read_bytes() == b"nobody knows who wrote this"


@KINDS
def test_map_07_somebody_elses_file_gives_way_on_a_word_and_is_kept(make: Make, kind: ArchiveKind) -> None:
    bench = make(kind)
    _, other = bench.write(SECOND)
    _, session = bench.write(PATH)
    for _ in range(8):
        go_on_until_archive(bench)
    place = place_before(bench, session)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"somebody else's")
    go_on(bench)
    assert jobs(bench, session) == {"register": "done", "archive": "destination_differs"}
    assert "--replace" in job_of(bench, session).hint
    assert place.read_bytes() == b"somebody else's"
    assert is_done(bench, other), "the others go on"

    replace(bench, session)
    go_on(bench, truthful(bench))
    assert is_done(bench, session)
    assert place.read_bytes() == OLD
    assert b"somebody else's" in holdings(bench).values()
    assert all(exists for _, exists in published(bench).values())
    asked = [event for event in bench.journal.history(session.id, 0) if event.action in {"asked", "replaced"}]
    assert [(event.action, event.code) for event in asked] == [("asked", "replace by alice"), ("replaced", "server")]


def go_on_until_archive(bench: StageBench) -> None:
    """Run what is due before the archive stage."""
    for stage in (Stage.RESOLVE, Stage.SEAL, Stage.REGISTER):
        due = bench.journal.jobs.next_due(stage)
        if due is not None and due <= bench.clock.now():
            bench.step(stage)


def place_before(bench: StageBench, session: SessionRow, name: str = WHEEL) -> Path:
    """Return where a registered dataset will go."""
    ids = {one["name"]: one["url"][-36:] for one in bench.datasets(session)}
    stem, _, extension = name.rpartition(".")
    path = f"{session.path.decode()}/{stem}.{ids[name.rpartition('/')[2]]}.{extension}"
    return bench.sandbox.places.archive / "cortexlab/Subjects" / path


@KINDS
def test_ruling_10_a_root_without_registration_replaces_by_the_same_steps(make: Make, kind: ArchiveKind) -> None:
    bench = make(kind, UNREGISTERED)
    bench.write(PATH, {WHEEL: OLD}, register=False)
    go_on(bench)
    session = bench.journal.sessions.at("rig", PATH.encode())
    assert session is not None
    assert is_done(bench, session)
    bench.journal.sessions.unsettle(session.id, "changed by a test")
    bench.write(PATH, {WHEEL: NEW}, register=False)
    go_on(bench)
    assert jobs(bench, session) == {"archive": "destination_differs"}
    replace(bench, session)
    go_on(bench)
    assert is_done(bench, session)
    assert sorted(holdings(bench).values()) == [NEW, OLD]
    assert copy_of(bench, session).read_bytes() == NEW


# --- evidence and a later look ---------------------------------------------------------------------------------------


@KINDS
def test_map_12_show_prints_the_evidence_of_every_transfer(make: Make, kind: ArchiveKind) -> None:
    bench, session = asked_to_replace(make, kind)
    go_on(bench)
    first, second = show(bench.context, now(bench, session))["transfers"]
    how = {"directory": "copied", "globus": "transferred"}[kind]
    assert first["evidence"]["summary"] == [{"how": how, "files": 3, "bytes": 20, "marked": 3, "replaced": 0}]
    files = {one["path"]: one for one in second["evidence"]["files"]}
    assert (files[WHEEL]["how"], files[WHEEL]["md5"]) == (how, md5(NEW))
    assert files[WHEEL]["kept"].startswith(f"{files[WHEEL]['destination']}.old-lf-")
    assert files[CAMERA]["how"] == "archived earlier"
    assert all(one["marked_at"] for one in files.values())
    tasks = [[task["counters"]["files_transferred"] for task in one["evidence"]["tasks"]] for one in (first, second)]
    assert tasks == {"directory": [[], []], "globus": [[3], [1]]}[kind]
    lines = "\n".join(evidence_lines([first, second]))
    assert files[WHEEL]["kept"] in lines
    assert md5(OLD) in lines
    assert "3 marked in Alyx" in lines
    if kind == "globus":
        assert "3 of 3 files copied, 0 found equal, 0 faults" in lines


@KINDS
def test_map_12_a_later_look_takes_what_is_kept_for_ours_and_holds_the_new_content_against_the_archive(
    make: Make, kind: ArchiveKind
) -> None:
    bench, session = asked_to_replace(make, kind)
    go_on(bench)
    found = verify(bench.context, now(bench, session), deep=True)
    assert (found["verdict"], found["archives"][0]["extras"]) == ("ok", 0), found["message"]
    copy = copy_of(bench, session)
    copy.write_bytes(NEW + b"more")
    copy.with_name("foreign").write_bytes(b"")
    found = verify(bench.context, now(bench, session))
    assert found["verdict"] == "differs"
    assert [one["path"] for one in found["archives"][0]["differences"]] == [WHEEL]
    assert found["archives"][0]["extra"] == [one for one in found["archives"][0]["extra"] if one.endswith("foreign")]


# --- only the size is known ------------------------------------------------------------------------------------------


def unverified(make: Make, content: bytes = OLD) -> tuple[StageBench, SessionRow, Path]:
    """Return a session in whose way stands a file of the right size in a collection."""
    bench = make("globus")
    _, session = bench.write(PATH)
    for _ in range(4):
        go_on_until_archive(bench)
    place = place_before(bench, session)
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    go_on(bench)
    assert jobs(bench, session) == {"register": "done", "archive": "destination_unverified"}
    assert "--trust-size" in job_of(bench, session).hint
    return bench, session, place


def test_ruling_18_a_size_is_trusted_on_a_word_which_is_the_evidence(make: Make) -> None:
    bench, session, place = unverified(make)
    replace(bench, session, trust_size=True)
    go_on(bench)
    assert is_done(bench, session)
    assert place.read_bytes() == OLD
    assert all(exists for _, exists in published(bench).values())
    (transfer,) = show(bench.context, now(bench, session))["transfers"]
    how = {one["path"]: one["how"] for one in transfer["evidence"]["files"]}
    assert how[WHEEL] == "only its size, trusted by alice"
    assert how[CAMERA] == "transferred"
    assert [event.code for event in bench.journal.history(session.id, 0) if event.action == "asked"] == [
        "trust_size by alice"
    ]


def test_ruling_18_a_deep_look_finds_out_that_a_file_is_the_sessions_own(make: Make) -> None:
    bench, session, place = unverified(make)
    found = verify(bench.context, now(bench, session), deep=True)
    assert found["archives"][0]["differences"] == []
    assert list(holdings(bench).values()) == [OLD], "nothing is left of the look"
    go_on(bench)
    assert is_done(bench, session)
    assert place.read_bytes() == OLD
    (transfer,) = show(bench.context, now(bench, session))["transfers"]
    assert {one["path"]: one["how"] for one in transfer["evidence"]["files"]}[WHEEL] == HOW
    assert len(bench.posts()) == 2, "the look, and the other files"


def test_ruling_18_a_deep_look_finds_out_that_a_file_is_somebody_elses(make: Make) -> None:
    bench, session, place = unverified(make, b"POSITIONS")
    found = verify(bench.context, now(bench, session), deep=True)
    assert [(one["path"], one["fault"]) for one in found["archives"][0]["differences"]] == [(WHEEL, "content")]
    go_on(bench)
    assert jobs(bench, session) == {"register": "done", "archive": "destination_unverified"}
    assert holdings(bench) == {str(place.relative_to(bench.sandbox.places.archive)): b"POSITIONS"}


def test_map_12_a_deep_look_that_a_collection_hinders_ends_and_leaves_nothing(make: Make) -> None:
    bench = make("globus")
    _, session = archived(bench)
    before = holdings(bench)
    bench.sandbox.faults.add({"match": "TASK", "action": "task", "becomes": "FAILED", "code": "QUOTA_EXCEEDED"})
    with pytest.raises(UnavailableError) as hindered:
        verify(bench.context, now(bench, session), deep=True)
    assert "QUOTA_EXCEEDED" in hindered.value.message
    assert holdings(bench) == before
    assert verify(bench.context, now(bench, session), deep=True)["verdict"] == "ok"
    assert holdings(bench) == before


def test_a_reader_cannot_let_a_collection_copy_files(make: Make) -> None:
    bench = make("globus")
    _, session = archived(bench)
    api = Api(bench.context, bench.live)
    reader = Peer(pid=1, uid=4_000_000, gid=4_000_000)
    query = {"session": session.path.decode()}
    for more, status in (({"deep": "1"}, 403), ({}, 200)):
        reply = api.answer(Request("GET", "/v1/verify", {**query, **more}, {}, reader))
        assert isinstance(reply, Reply)
        assert reply.status == status
    assert bench.count("POST", "/v0.10/transfer") == 1


def test_ruling_18_what_only_the_size_is_known_of_gives_way_to_what_is_known(make: Make) -> None:
    bench, session, place = unverified(make, b"POSITIONS")
    replace(bench, session)
    go_on(bench, truthful(bench))
    assert is_done(bench, session)
    assert place.read_bytes() == OLD
    assert b"POSITIONS" in holdings(bench).values()


def test_ruling_18_another_size_is_not_trusted(make: Make) -> None:
    bench, session, place = unverified(make)
    place.write_bytes(b"somebody else's")
    replace(bench, session, trust_size=True)
    go_on(bench)
    assert jobs(bench, session) == {"register": "done", "archive": "destination_differs"}
    assert place.read_bytes() == b"somebody else's"


# --- on a word, without a change -------------------------------------------------------------------------------------


@KINDS
def test_archive_of_a_finished_session_looks_at_everything_anew(make: Make, kind: ArchiveKind) -> None:
    bench = make(kind)
    folder, session = archived(bench)
    copy_of(bench, session).unlink()
    assert replace(bench, session)["began"] is True
    go_on(bench)
    assert is_done(bench, session)
    assert copy_of(bench, session).read_bytes() == OLD
    (folder / WHEEL).write_bytes(NEW)
    assert replace(bench, session)["began"] is True, "nobody has noticed the change yet"
    go_on(bench, truthful(bench))
    assert is_done(bench, session)
    assert copy_of(bench, session).read_bytes() == NEW


def test_archive_refuses_what_cannot_be_archived(make: Make) -> None:
    bench = make("directory")
    _, session = archived(bench)
    bench.journal.sessions.unsettle(session.id, "grew")
    with pytest.raises(LabferryError) as refused:
        replace(bench, session)
    assert (refused.value.code, "grew" in refused.value.message) == ("not_settled", True)
    bench.write(files={})
    configure(bench, {'archive = ["server"]': "archive = []"})
    with pytest.raises(LabferryError) as refused:
        replace(bench, session)
    assert refused.value.code == "no_archive"


def test_ruling_10_two_archives_change_hands_together(make: Make) -> None:
    bench = make("directory")
    second = bench.sandbox.places.root / "second"
    second.mkdir()
    table = f'[archive.second]\nkind = "directory"\npath = "{second}"\nnaming = "plain"\nrepository = ""\n\n[control]'
    configure(bench, {'archive = ["server"]': 'archive = ["server", "second"]', "[control]": table})
    _, session = bench.write(PATH)
    go_on(bench)
    go_on(bench, target="second")
    assert is_done(bench, session)
    copy, other = copy_of(bench, session), second / PATH / WHEEL
    change(bench, session, {WHEEL: NEW})
    go_on(bench)
    replace(bench, session)
    go_on(bench, truthful(bench))
    assert [job.code for job in bench.journal.jobs.of_generation(session.id, JobKind.ARCHIVE)] == ["replacing", ""]
    assert copy.read_bytes() == other.read_bytes() == OLD, "the second one is not ready"
    assert published(bench)["_ibl_wheel.position.npy"] == (md5(OLD), True)
    for _ in range(3):
        go_on(bench, truthful(bench), target="second")
        go_on(bench, truthful(bench))
    assert is_done(bench, session)
    assert copy_of(bench, session).read_bytes() == other.read_bytes() == NEW
    assert published(bench)["_ibl_wheel.position.npy"] == (md5(NEW), True)


# --- crash points ---------------------------------------------------------------------------------------------------

REQUESTS = r"(POST /register-file|PATCH /files|POST /v0\.10/operation/endpoint/[^/]+/rename)"


def go_on_for_long(bench: StageBench, session: SessionRow, after_each: Callable[[], None]) -> None:
    """Let time pass until all is done."""
    for _ in range(40):
        go_on(bench, after_each)
        if is_done(bench, session):
            return
        bench.clock.pass_by(60.0)
    raise AssertionError(jobs(bench, session))


def requests(bench: StageBench) -> list[str]:
    """Return the requests so far by which a replacement changes what others see."""
    lines = map(json.loads, bench.sandbox.places.requests.read_text().splitlines())
    found = (f"{entry['method']} {entry['path']}" for entry in lines)
    return [line for line in found if re.match(REQUESTS, line)]


def disturbed(bench: StageBench, number: int | None, when: str) -> list[str]:
    """Replace a file; cut the connection at one request and kill; return the requests of the replacement."""
    _, session = archived(bench)
    change(bench, session, {WHEEL: NEW})
    go_on(bench)
    replace(bench, session)
    before = len(requests(bench))
    match = {"regexp": REQUESTS, "n": number or 10_000}
    rule = bench.sandbox.faults.add({"match": match, "when": when, "action": "drop"}).id

    def after_each() -> None:
        assert lies(bench) == []
        if any(one["id"] == rule and one["hits"] for one in bench.sandbox.faults.list()):
            bench.sandbox.faults.remove(rule)
            bench.end_life()
            bench.open()

    if number is None:
        bench.sandbox.faults.remove(rule)
    go_on_for_long(bench, session, after_each)
    assert copy_of(bench, session).read_bytes() == NEW
    untouched = [FILES[name] for name in (CAMERA, "alf/_ibl_trials.intervals.npy")]
    assert sorted(holdings(bench).values()) == sorted([*untouched, NEW, OLD])
    assert published(bench)["_ibl_wheel.position.npy"] == (md5(NEW), True)
    return requests(bench)[before:]


@KINDS
def test_ruling_32_a_kill_at_any_request_of_a_replacement_ends_the_same(make: Make, kind: ArchiveKind) -> None:
    undisturbed = disturbed(make(kind), None, "before")
    assert len(undisturbed) == {"directory": 3, "globus": 5}[kind]
    for number in range(1, len(undisturbed) + 1):
        for when in ("before", "after"):
            disturbed(make(kind), number, when)


class KilledError(BaseException):
    """The process dies here."""


def killed_in_the_exchange(
    bench: StageBench, session: SessionRow, monkeypatch: pytest.MonkeyPatch, *, on_a_word: bool
) -> None:
    """Replace a file, and die when the names have changed hands and nobody has written it down."""

    def dies(*_: object) -> None:
        raise KilledError

    change(bench, session, {WHEEL: SAME_SIZE})
    if on_a_word:
        go_on(bench)
        replace(bench, session)
    with monkeypatch.context() as life:
        life.setattr(Transfers, "exchanged", dies)
        with pytest.raises(KilledError):
            go_on(bench)
    bench.end_life()
    bench.open()
    assert copy_of(bench, session).read_bytes() == SAME_SIZE


@KINDS
def test_ruling_10_an_exchange_that_a_newer_generation_overtook_is_ended_first(
    make: Make, kind: ArchiveKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make(kind, ON_CHANGE)
    _, session = archived(bench)
    killed_in_the_exchange(bench, session, monkeypatch, on_a_word=False)
    change(bench, session, {WHEEL: OLD})
    go_on_for_long(bench, session, truthful(bench))
    assert copy_of(bench, session).read_bytes() == OLD
    assert published(bench)["_ibl_wheel.position.npy"] == (md5(OLD), True)
    assert sorted(names_at_the_wheel(bench, session).values()) == sorted([OLD, OLD, SAME_SIZE])


@pytest.mark.parametrize("third_comes_between", [False, True])
@KINDS
def test_ruling_10_an_overtaken_exchange_that_cannot_be_ended_is_proof_of_nothing(
    make: Make, kind: ArchiveKind, monkeypatch: pytest.MonkeyPatch, *, third_comes_between: bool
) -> None:
    bench = make(kind)
    _, session = archived(bench)
    killed_in_the_exchange(bench, session, monkeypatch, on_a_word=True)
    copy_of(bench, session).write_bytes(b"third one")
    (beside,) = [name for name in names_at_the_wheel(bench, session) if name != copy_of(bench, session)]
    if third_comes_between:
        beside.with_name(beside.name.replace(".old-", ".new-")).write_bytes(SAME_SIZE)
    else:
        beside.unlink()
    left = [SAME_SIZE, OLD] if third_comes_between else []
    change(bench, session, {WHEEL: OLD})
    go_on_for_long(bench, session, truthful(bench))
    assert copy_of(bench, session).read_bytes() == OLD
    assert published(bench)["_ibl_wheel.position.npy"] == (md5(OLD), True)
    assert sorted(names_at_the_wheel(bench, session).values()) == sorted([OLD, b"third one", *left])


def names_at_the_wheel(bench: StageBench, session: SessionRow) -> dict[Path, bytes]:
    """Return what stands at a dataset's place, and beside it under names of ours."""
    copy = copy_of(bench, session)
    return {file: file.read_bytes() for file in copy.parent.glob(f"{copy.name}*")}


def test_map_07_a_cancelled_job_replaces_nothing(make: Make) -> None:
    """Also where its last file was under way: nothing asks between files any more."""
    bench = make("directory")
    _, session = archived(bench)
    change(bench, session, {WHEEL: NEW})
    go_on(bench)
    replace(bench, session)
    while bench.journal.jobs.next_due(Stage.ARCHIVE, "server") is None:
        bench.step(next(stage for stage in WORKING if bench.journal.jobs.next_due(stage) is not None))
    job = bench.journal.jobs.claim(Stage.ARCHIVE, "server")
    assert job is not None
    cancelled = []

    def beat(what: str, _: float) -> None:
        if what.startswith("archiving") and not cancelled:
            cancelled.extend(operations.cancel(bench.context, [now(bench, session)], "alice")["jobs"])

    with pytest.raises(NotYetError, match="an operator ended"):
        bench.archives["server"](job, beat)
    assert job.id in cancelled
    assert copy_of(bench, session).read_bytes() == OLD
    assert published(bench)["_ibl_wheel.position.npy"] == (md5(OLD), True)
