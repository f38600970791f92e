"""Lists of the sandbox's Alyx: parameters, the generic `django=` filter, pages (`reference/alyx.md` §2)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from labferry.sandbox.alyx.answers import FailedError
from labferry.sandbox.alyx.application import Alyx
from labferry.sandbox.alyx.auth import add_user
from labferry.sandbox.alyx.pages import Page
from labferry.sandbox.alyx.queries import pairs
from labferry.sandbox.alyx.store import Store
from labferry.sandbox.http import Request
from labferry.sandbox.seed import plant, world
from support.clock import FakeClock


class Asker:
    """Asks an Alyx without any network between."""

    def __init__(self, store: Store) -> None:
        self._alyx = Alyx(store, FakeClock())
        login = self._alyx(Request("POST", "/auth-token", _JSON, b'{"username": "me", "password": "x"}'))
        self._headers = {**_JSON, "authorization": f"Token {json.loads(login.body)['token']}"}

    def ask(self, target: str, method: str = "GET", **body: object) -> tuple[int, Any]:
        content = json.dumps(body).encode() if body else b""
        answer = self._alyx(Request(method, target, self._headers, content))
        return answer.status, json.loads(answer.body or b"null")

    def numbers(self, query: str) -> list[int]:
        status, body = self.ask(f"/sessions?{query}")
        assert status == 200, body
        return sorted(row["number"] for row in body["results"])


_JSON = {"content-type": "application/json", "host": "127.0.0.1:1"}


@pytest.fixture(scope="module")
def asker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    store = Store(tmp_path_factory.mktemp("store") / "alyx.sqlite")
    with store.database() as db:
        plant(db, world())
        add_user(db, "me", "x")
    asker = Asker(store)
    sessions: list[dict[str, object]] = [
        {"number": 1, "start_time": "2023-03-01T10:00:00", "json": {"rig": {"version": 8}, "name": "Left"}},
        {"number": 2, "start_time": "2023-03-02T10:00:00.5", "task_protocol": "biasedChoiceWorld", "n_trials": 100},
        {"number": 3, "projects": ["practice", "ibl_cortexlab"], "users": ["me", "rig_user"], "start_time": None},
    ]
    for session in sessions:
        status, body = asker.ask("/sessions", "POST", subject="KS005", **session)
        assert status == 201, body
    yield asker
    store.close()


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [1, 2, 3]),
        ("subject=ks005", [1, 2, 3]),
        ("subject=KS00", []),
        ("number=002", [2]),
        ("users=me,rig_user", [3]),
        ("users=rig_user,nobody", []),
        ("task_protocol=CHOICE", [2]),
        ("projects=pract", [3]),
        ("date_range=2023-03-01,2023-03-01", [1]),
        ("date_range=2023-03-01,2023-03-09", [1, 2]),
        ("json=rig__version,8", [1]),
        ("json=name,Left,rig__version,9", []),
        ("nonsense=1", [1, 2, 3]),
        ("task_protocol=", [1, 2, 3]),
        ("django=number__in,[1, 3]", [1, 3]),
        ("django=number__gte,2,number__lt,3", [2]),
        ("django=~number,2", [1, 3]),
        ("django=~projects__name,practice", [1, 2]),
        ("django=projects__name__startswith,ibl", [3]),
        ("django=start_time__isnull,True", [3]),
        ("django=start_time,None", [3]),
        ("django=~start_time__date,2023-03-01", [2, 3]),
        ("django=start_time__date__gt,2023-03-01", [2]),
        ("django=start_time__lte,2023-03-02", [1]),
        ("django=json__has_key,rig", [1]),
        ("django=json__name__iexact,LEFT", [1]),
        ("django=task_protocol__icontains,choice", [2]),
        ("django=task_protocol__contains,choice", []),
        ("django=task_protocol__endswith,World", [2]),
        ("django=n_trials__isnull,False", [2]),
        ("django=lab__name,cortexlab,users__username,rig_user", [3]),
    ],
)
def test_sessions_are_filtered(asker: Asker, query: str, numbers: list[int]) -> None:
    assert asker.numbers(quote(query, safe="=&,~")) == numbers


@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ("django=number", 500, "list index out of range"),
        ("django=number,1,number,2", 500, 'Duplicated fields in "number,1,number,2"'),
        ("django=number,abc", 500, "Field 'number' expected a number but got 'abc'."),
        ("django=number__sounds,1", 500, "Unsupported lookup 'sounds' for IntegerField or join on"),
        ("django=colour,1", 500, "Cannot resolve keyword 'colour' into field. Choices are: auto_datetime, "),
        ("django=pk,nope", 500, "['“nope” is not a valid UUID.']"),
        ("django=start_time,soon", 500, "['“soon” value has an invalid format."),
        ("date_range=2023-03-01", 500, "list index out of range"),
        ("date_range=2023-02-30,2023-03-01", 500, "['“2023-02-30” value has the correct format (YYYY-MM-DD) but"),
        ("qc=great", 500, "Invalidqc, choices are: CRITICAL, FAIL, WARNING, NOT_SET, PASS"),
    ],
)
def test_a_filter_that_makes_no_sense_fails_with_the_servers_words(
    asker: Asker, query: str, status: int, detail: str
) -> None:
    found, body = asker.ask(f"/sessions?{quote(query, safe='=&,~')}")
    assert found == status
    assert str(body["detail"]).startswith(detail)


def test_values_are_bound_never_pasted(asker: Asker) -> None:
    for value in ("x' OR '1'='1", "%", "_____"):
        assert asker.numbers(f"subject={quote(value)}") == []
        assert asker.numbers(f"django={quote(f'task_protocol__icontains,{value}', safe=',')}") == []
    evil = quote("json__a\"b' OR 1=1 --,1", safe=",")
    assert asker.numbers(f"django={evil}") == []


@pytest.mark.parametrize(
    ("query", "count", "following", "before"),
    [
        ("limit=2", 2, "limit=2&offset=2", None),
        ("limit=2&offset=2", 1, None, "limit=2"),
        ("limit=1&offset=1&subject=KS005", 1, "limit=1&offset=2&subject=KS005", "limit=1&subject=KS005"),
        ("offset=1000", 0, None, "limit=250&offset=750"),
        ("limit=0", 3, None, None),
        ("limit=-1&offset=x", 3, None, None),
    ],
)
def test_pages_link_to_each_other(
    asker: Asker, query: str, count: int, following: str | None, before: str | None
) -> None:
    _, body = asker.ask(f"/sessions?{query}")
    base = "http://127.0.0.1:1/sessions?"
    assert len(body["results"]) == count
    assert body["next"] == (following and base + following)
    assert body["previous"] == (before and base + before)


def test_a_page_is_capped_silently() -> None:
    assert Page.of({"limit": "5000", "offset": "7"}) == Page(1000, 7)


def test_commas_inside_brackets_do_not_separate() -> None:
    assert pairs("a,[1, 2],b,('x', 'y')") == {"a": [1, 2], "b": ["x", "y"]}
    assert pairs("a,None,b,true,c,1.5,d,x y") == {"a": None, "b": True, "c": 1.5, "d": "x y"}
    with pytest.raises(FailedError):
        pairs("a,[x]")


def test_where_there_is_no_generic_filter_it_is_ignored(asker: Asker) -> None:
    assert asker.ask("/projects?django=colour,1")[1]["count"] == asker.ask("/projects")[1]["count"]
