"""Lists: filters by parameter, and the generic `django=` filter.

Room: sandbox. A `Listing` declares which paths can be filtered on and what SQL they mean; conditions are
built from those declarations, values are always bound.
"""

from __future__ import annotations

import ast
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from labferry.sandbox.alyx.answers import FailedError, invalid
from labferry.sandbox.alyx.api import Call
from labferry.sandbox.alyx.moments import read_day, read_moment
from labferry.sandbox.alyx.pages import Page
from labferry.sandbox.alyx.store import Database, Row, Value
from labferry.sandbox.http import Response, json_response


@dataclass(frozen=True)
class Condition:
    """A piece of a WHERE clause and its values."""

    sql: str
    values: tuple[Value, ...] = ()


ALWAYS = Condition("1")


@dataclass(frozen=True)
class Column:
    """What a filter path means.

    Attributes
    ----------
    sql : str
        An expression.
    kind : str
        text, int, bool, uuid, time or json: how values are read.
    through : str
        For many-to-many paths: a SELECT with `{}` where the condition on `sql` goes; it must find a row.
    """

    sql: str
    kind: str = "text"
    through: str = ""

    def where(self, condition: Condition) -> Condition:
        """Wrap a condition on `sql` into one on the listed rows."""
        if not self.through:
            return condition
        return Condition(f"EXISTS ({self.through.replace('{}', condition.sql)})", condition.values)


Custom = Callable[[Call, str], Condition]


@dataclass(frozen=True)
class Parameter:
    """A query parameter: the path it filters on, and how its text is checked.

    `form` is char, number, bool, uuid, or the name of a table whose id it must be.
    """

    path: str
    form: str = "char"


@dataclass(frozen=True)
class Listing:
    """How one kind of record is listed.

    Attributes
    ----------
    source : str
        The FROM clause.
    columns : Mapping
        Filter path to column; `pk` is `id`.
    parameters : Mapping
        Query parameter to a `Parameter` or a function.
    order : str
        ORDER BY.
    render : Callable
        Turns a row into what the client sees.
    select : str
        The columns that `render` needs.
    generic : bool
        Whether `django=` filters; where it does not, it is ignored.
    """

    source: str
    columns: Mapping[str, Column]
    render: Callable[[Call, Row], dict[str, object]]
    parameters: Mapping[str, Parameter | Custom] = field(default_factory=dict)
    order: str = "rowid"
    select: str = "*"
    generic: bool = True

    @property
    def parameter_names(self) -> list[str]:
        """All query parameters, for the schema."""
        return [*self.parameters, *(["django"] if self.generic else []), "limit", "offset"]

    def answer(self, call: Call) -> Response:
        """Answer a GET: filter, count, cut the page out, render it."""
        conditions = [ALWAYS, *self._conditions(call)]
        where = " AND ".join(condition.sql for condition in conditions)
        values = [value for condition in conditions for value in condition.values]
        count = call.db.count(" ".join(["SELECT count(*) FROM", self.source, "WHERE", where]), *values)
        page = Page.of(call.request.query)
        query = " ".join(["SELECT", self.select, "FROM", self.source, "WHERE", where, "ORDER BY", self.order])
        rows = call.db.all(f"{query} LIMIT ? OFFSET ?", *values, page.limit, page.offset)
        body = {
            "count": count,
            "next": page.next(call, count),
            "previous": page.previous(call),
            "results": [self.render(call, row) for row in rows],
        }
        return json_response(200, body)

    def _conditions(self, call: Call) -> list[Condition]:
        conditions = []
        for name, text in call.request.query.items():
            parameter = self.parameters.get(name)
            if text == "":
                continue
            if isinstance(parameter, Parameter):
                value = _read_parameter(call.db, name, parameter, text)
                if value is not None:
                    conditions.append(self.condition(parameter.path, value))
            elif parameter is not None:
                conditions.append(parameter(call, text))
            elif name == "django" and self.generic:
                conditions += self._django(text)
        return conditions

    def _django(self, text: str) -> list[Condition]:
        conditions = []
        for path, value in pairs(text).items():
            condition = self.condition(path.removeprefix("~"), value)
            if path.startswith("~"):
                condition = Condition(f"NOT coalesce({condition.sql}, 0)", condition.values)
            conditions.append(condition)
        return conditions

    def condition(self, path: str, value: object) -> Condition:
        """Return the condition of a filter path, `field__field__lookup`.

        Raises
        ------
        FailedError
            No such field, as the real server words it.
        """
        parts = path.split("__")
        for length in range(len(parts), 0, -1):
            name = "__".join(parts[:length])
            column = self.columns.get("id" if name == "pk" else name)
            if column is not None:
                return column.where(_lookup(name, column, parts[length:], value))
        known = sorted({name.split("__")[0] for name in self.columns})
        message = f"Cannot resolve keyword '{parts[0]}' into field. Choices are: {', '.join(known)}"
        raise FailedError(message)


def pairs(text: str) -> dict[str, object]:
    """Read `field,value,field,value`; commas inside brackets do not separate.

    Raises
    ------
    FailedError
        An odd number of items, or a field twice.
    """
    items = _split(text)
    found: dict[str, object] = {}
    for position in range(0, len(items), 2):
        if position + 1 == len(items):
            raise FailedError("list index out of range")
        if items[position] in found:
            raise FailedError(f'Duplicated fields in "{text}"')
        found[items[position]] = _read_value(items[position + 1])
    return found


def _split(text: str) -> list[str]:
    items, depth = [""], 0
    for character in text:
        if character == "," and depth == 0:
            items.append("")
            continue
        depth += (character in "[(") - (character in "])")
        items[-1] += character
    return items


def _read_value(text: str) -> object:
    if text == "None":
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.replace(".", "", 1).isdigit():
        return float(text)
    if text[:1] in ("[", "(") and text[-1:] in ("]", ")"):
        try:
            return list(ast.literal_eval(text))
        except (ValueError, SyntaxError, TypeError) as error:
            raise FailedError(str(error)) from error
    return text


def _read_parameter(db: Database, name: str, parameter: Parameter, text: str) -> object:
    if parameter.form == "number":
        try:
            return float(text)
        except ValueError as error:
            raise invalid({name: ["Enter a number."]}) from error
    if parameter.form == "bool":
        return {"true": True, "false": False}.get(text.lower())
    if parameter.form == "char":
        return text
    if parameter.form == "time":
        try:
            return read_moment(text)
        except ValueError as error:
            raise invalid({name: ["Enter a valid date/time."]}) from error
    try:
        found = str(uuid.UUID(text))
    except ValueError as error:
        known_table = parameter.form != "uuid"
        message = f"“{text}” is not a valid UUID." if known_table else "Enter a valid UUID."
        raise invalid({name: [message]}) from error
    if parameter.form != "uuid":
        query = " ".join(["SELECT 1 FROM", parameter.form, "WHERE id = ?"])
        if db.one(query, found) is None:
            message = "Select a valid choice. That choice is not one of the available choices."
            raise invalid({name: [message]})
    return found


# --- lookups ----------------------------------------------------------------------------------------------

_COMPARE = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_SUBSTRING = {
    "contains": "instr({0}, {1}) > 0",
    "startswith": "instr({0}, {1}) = 1",
    "endswith": "substr({0}, -length({1})) = {1}",
    "exact": "{0} = {1}",
}
_LOOKUPS = frozenset({"in", "isnull", *_COMPARE, *_SUBSTRING, *("i" + name for name in _SUBSTRING)})


_FIELDS = {
    "text": "CharField",
    "int": "IntegerField",
    "bool": "BooleanField",
    "uuid": "UUIDField",
    "time": "DateTimeField",
    "day": "DateField",
    "json": "JSONField",
    "any": "FloatField",
}


def _lookup(name: str, column: Column, transforms: list[str], value: object) -> Condition:
    expression, kind = column.sql, column.kind
    rest = list(transforms)
    if kind == "json" and rest == ["has_key"]:
        return Condition(f"json_type({expression}, ?) IS NOT NULL", (_json_path([str(value)]),))
    if kind == "json" and rest:
        keys = [part for part in rest if part not in _LOOKUPS]
        rest = [part for part in rest if part in _LOOKUPS]
        inner = _compare(f"json_extract({expression}, ?)", "any", rest[0] if rest else "exact", value)
        return Condition(inner.sql, (_json_path(keys), *inner.values))
    if kind == "time" and rest[:1] == ["date"]:
        expression, kind, rest = f"substr({expression}, 1, 10)", "day", rest[1:]
    lookup = rest[0] if rest else "exact"
    if lookup not in _LOOKUPS or len(rest) > 1:
        message = f"Unsupported lookup '{lookup}' for {_FIELDS[kind]} or join on the field not permitted."
        raise FailedError(message)
    if kind == "int" and isinstance(value, str) and not value.lstrip("-").isdigit():
        raise FailedError(f"Field '{name.rpartition('__')[2]}' expected a number but got '{value}'.")
    return _compare(expression, kind, lookup, value)


def _compare(expression: str, kind: str, lookup: str, value: object) -> Condition:
    if lookup == "isnull" or value is None:
        wants_null = value is None or bool(value)
        return Condition(f"{expression} IS {'NULL' if wants_null else 'NOT NULL'}")
    if lookup == "in":
        values = tuple(_bind(kind, item) for item in (value if isinstance(value, list) else [value]))
        return Condition(f"{expression} IN ({', '.join('?' * len(values))})", values)
    if lookup in _COMPARE:
        return Condition(f"{expression} {_COMPARE[lookup]} ?", (_bind(kind, value),))
    if lookup == "exact":
        return Condition(f"{expression} = ?", (_bind(kind, value),))
    template = _SUBSTRING[lookup.removeprefix("i")]
    needle = "?"
    if lookup.startswith("i"):
        expression, needle = f"lower({expression})", "lower(?)"
    return Condition(template.format(expression, needle), (str(value),) * template.count("{1}"))


def _bind(kind: str, value: object) -> Value:
    if kind == "day":
        return read_day(str(value))
    if kind == "time":
        try:
            return read_moment(str(value))
        except ValueError as error:
            message = (
                f"['“{value}” value has an invalid format. It must be in YYYY-MM-DD HH:MM[:ss[.uuuuuu]][TZ] format.']"
            )
            raise FailedError(message) from error
    if kind == "uuid":
        try:
            return str(uuid.UUID(str(value)))
        except ValueError as error:
            raise FailedError(f"['“{value}” is not a valid UUID.']") from error
    if kind == "int":
        return int(str(value).partition(".")[0])
    if kind == "any" and isinstance(value, bool | int | float):
        return value
    if kind == "bool":
        return int(bool(value))
    return str(value)


def _json_path(keys: list[str]) -> str:
    return "$" + "".join('."' + key.replace('"', "") + '"' for key in keys)
