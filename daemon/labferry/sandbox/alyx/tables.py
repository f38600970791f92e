"""Look-up tables as endpoints: a list, and one row by its name.

Room: sandbox. The tables themselves are declared in `lookups`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from labferry.sandbox.alyx.answers import invalid, missing
from labferry.sandbox.alyx.api import Call, Endpoint, Route
from labferry.sandbox.alyx.fields import Field, check
from labferry.sandbox.alyx.queries import Column, Listing, Parameter
from labferry.sandbox.alyx.store import Row, Value, new_id, to_json
from labferry.sandbox.http import Response, json_response

Render = Callable[[Call, Row], dict[str, object]]


def with_id(_: Call) -> dict[str, Value]:
    """Return what a new row gets by itself: an id."""
    return {"id": new_id()}


def without_id(_: Call) -> dict[str, Value]:
    """Return nothing: the name is the row's only key."""
    return {}


@dataclass(frozen=True)
class Link:
    """A many-to-many field: the table that links, its column for this row, its column for the others."""

    table: str
    owner: str
    other: str


@dataclass(frozen=True)
class Table:
    """A look-up table served at `/<path>` and, by name, at `/<path>/{name}`.

    Attributes
    ----------
    model : str
        Its name in the real server's messages.
    fields : tuple
        What can be written.
    links : Mapping
        Those of the fields that are kept in other tables.
    on_list, on_row : str
        The HTTP methods allowed; no `on_row` means that there is no such URL.
    creates : Callable
        Values that a new row gets beside the given ones.
    key : str
        The column that names a row.
    generic : bool
        Whether the list takes `django=`.
    """

    path: str
    table: str
    model: str
    render: Render
    columns: Mapping[str, Column]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    order: str = "rowid"
    fields: tuple[Field, ...] = ()
    links: Mapping[str, Link] = field(default_factory=dict)
    on_list: str = "GET POST"
    on_row: str = "GET PUT PATCH DELETE"
    creates: Callable[[Call], dict[str, Value]] = with_id
    key: str = "name"
    generic: bool = False

    def routes(self) -> list[Route]:
        """Return the list's route and the row's."""
        listing = Listing(self.table, self.columns, self.render, self.parameters, self.order, generic=self.generic)
        lists: dict[str, Endpoint] = {"GET": listing.answer, "POST": self._create}
        rows: dict[str, Endpoint] = {
            "GET": self._read,
            "PUT": self._change,
            "PATCH": self._change,
            "DELETE": self._delete,
        }
        names = listing.parameter_names
        allowed = {method: lists[method] for method in self.on_list.split()}
        routes = [Route(f"/{self.path}", allowed, parameters=names, fields=self.fields)]
        if self.on_row:
            allowed = {method: rows[method] for method in self.on_row.split()}
            routes.append(Route(f"/{self.path}/{{name}}", allowed, fields=self.fields))
        return routes

    def _row(self, call: Call, name: str) -> Row:
        row = call.db.one(" ".join(["SELECT * FROM", self.table, "WHERE", self.key, "= ?"]), name)
        if row is None:
            raise missing(self.model)
        return row

    def _read(self, call: Call) -> Response:
        return json_response(200, self.render(call, self._row(call, call.key)))

    def _create(self, call: Call) -> Response:
        values = check(self.fields, call.db, call.data)
        row = {**self.creates(call), **self._columns(values)}
        try:
            call.db.insert(self.table, row)
        except sqlite3.IntegrityError as error:
            raise invalid({self.key: [f"{self.model} with this {self.key} already exists."]}) from error
        return json_response(201, self._linked(call, str(row[self.key]), values))

    def _change(self, call: Call) -> Response:
        self._row(call, call.key)
        values = check(self.fields, call.db, call.data, partial=call.request.method == "PATCH")
        call.db.update(self.table, (self.key, call.key), self._columns(values))
        return json_response(200, self._linked(call, str(values.get(self.key, call.key)), values))

    def _delete(self, call: Call) -> Response:
        self._row(call, call.key)
        call.db.run(" ".join(["DELETE FROM", self.table, "WHERE", self.key, "= ?"]), call.key)
        return Response(204)

    def _columns(self, values: Mapping[str, object]) -> dict[str, Value]:
        columns = {name: value for name, value in values.items() if name not in self.links}
        if "json" in columns:
            columns["json"] = to_json(columns["json"])
        return cast("dict[str, Value]", columns)

    def _linked(self, call: Call, name: str, values: Mapping[str, object]) -> dict[str, object]:
        for field_name, link in self.links.items():
            if field_name in values:
                others = cast("list[str]", values[field_name])
                call.db.replace_links(link.table, (link.owner, name), link.other, others)
        return self.render(call, self._row(call, name))
