"""A file takes the place of another one in a directory: the names it goes through, and every place to be killed at."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EINVAL
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from labferry.archive import exchange as room
from labferry.archive.directory import DirectoryArchive
from labferry.archive.exchange import Exchange, kept_name, staged_name
from labferry.errors import BlockedError

NAME = b"KS005/2026-03-02/001/alf/wheel.npy"
STAGED, KEPT = staged_name(NAME, "lf-1"), kept_name(NAME, "lf-1")
OLD, NEW = b"old content", b"new content"
STEPS = ("exchange_names", "rename_without_replacing", "give_name", "sync_folder")


class KilledError(BaseException):
    """The process ends here."""


def write(base: Path, **contents: bytes | None) -> None:
    names = {"staged": STAGED, "destination": NAME, "kept": KEPT}
    for which, content in contents.items():
        file = base / os.fsdecode(names[which])
        file.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            file.write_bytes(content)


def contents(base: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((base / os.fsdecode(NAME)).parent.iterdir())}


DONE = {"wheel.npy": NEW, "wheel.npy.old-lf-1": OLD}


def exchange(base: Path, *, begun: bool) -> bool:
    """Exchange once; return whether the staged file was there, or had arrived."""
    one = Exchange(STAGED, NAME, KEPT, len(NEW), hashlib.md5(NEW).hexdigest(), begun)
    archive = DirectoryArchive("nas", os.fsencode(base))
    done: list[Exchange] = []
    gone = archive.exchange(os.fsencode(base), [one], done.append, lambda: None, lambda: False)
    assert len(done) + len(gone) == 1
    return bool(done)


def refuse(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the file system know nothing of exchanging names, or of not replacing."""

    def refused(*_: object) -> None:
        raise OSError(EINVAL, os.strerror(EINVAL))

    for name in names:
        monkeypatch.setattr(room, name, refused)


FILE_SYSTEMS = pytest.mark.parametrize(
    "lacks", [(), ("exchange_names",), ("exchange_names", "rename_without_replacing")], ids=["local", "no-swap", "nfs"]
)


@FILE_SYSTEMS
def test_ruling_10_the_old_content_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacks: tuple[str, ...]
) -> None:
    refuse(monkeypatch, *lacks)
    write(tmp_path, staged=NEW, destination=OLD)
    assert exchange(tmp_path, begun=False)
    assert contents(tmp_path) == DONE


@contextmanager
def killed_at(number: int, when: str) -> Iterator[list[str]]:
    """End the process before or after a step; yield the names of the steps that were reached."""
    reached: list[str] = []

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any) -> Any:
            reached.append(name)
            if len(reached) == number and when == "before":
                raise KilledError
            found = real(*args)
            if len(reached) == number:
                raise KilledError
            return found

        return step

    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            patch.setattr(room, name, wrap(name, getattr(room, name)))
        yield reached


@pytest.mark.parametrize("when", ["before", "after"])
@FILE_SYSTEMS
def test_ruling_10_a_kill_between_any_two_steps_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacks: tuple[str, ...], when: str
) -> None:
    refuse(monkeypatch, *lacks)
    for number in count(1):
        base = tmp_path / str(number)
        write(base, staged=NEW, destination=OLD)
        with killed_at(number, when) as reached, suppress(KilledError):
            exchange(base, begun=False)
        assert sorted({*contents(base).values()}) == [NEW, OLD], "both are there at every moment"
        assert exchange(base, begun=True)
        assert contents(base) == DONE, reached
        if number > len(reached):
            assert number > 3
            return


def test_ruling_10_whoever_looks_finds_the_name_at_every_moment(tmp_path: Path) -> None:
    for number in range(1, 4):
        base = tmp_path / str(number)
        write(base, staged=NEW, destination=OLD)
        with killed_at(number, "after"), pytest.raises(KilledError):
            exchange(base, begun=False)
        assert contents(base)["wheel.npy"] == NEW


def test_ruling_10_content_of_the_same_size_is_not_taken_for_the_new_one(tmp_path: Path) -> None:
    write(tmp_path, staged=NEW, destination=OLD)
    assert len(OLD) == len(NEW)
    assert exchange(tmp_path, begun=True), "the intent is there, the exchange is not"
    assert contents(tmp_path) == DONE


def test_map_07_a_third_file_that_appeared_meanwhile_stays(tmp_path: Path) -> None:
    write(tmp_path, staged=NEW, destination=b"third", kept=OLD)
    with pytest.raises(BlockedError) as blocked:
        exchange(tmp_path, begun=True)
    assert blocked.value.code == "destination_differs"
    assert contents(tmp_path) == {"wheel.npy": b"third", "wheel.npy.new-lf-1": NEW, "wheel.npy.old-lf-1": OLD}


def test_what_is_gone_from_both_names_must_be_brought_again(tmp_path: Path) -> None:
    write(tmp_path, staged=None, destination=OLD)
    assert not exchange(tmp_path, begun=True)
    assert contents(tmp_path) == {"wheel.npy": OLD}


def test_a_place_where_nothing_stands_is_taken(tmp_path: Path) -> None:
    write(tmp_path, staged=NEW)
    assert exchange(tmp_path, begun=False)
    assert contents(tmp_path) == {"wheel.npy": NEW}
