"""What a POST or PATCH may contain: fields with the checks and complaints of the real serializers.

Room: sandbox. A parser takes the database and the JSON value and returns what is stored.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from urllib.parse import urlsplit

from labferry.sandbox.alyx.answers import FailedError, invalid, several
from labferry.sandbox.alyx.moments import read_moment
from labferry.sandbox.alyx.store import Database

QC = {"CRITICAL": 50, "FAIL": 40, "WARNING": 30, "NOT_SET": 0, "PASS": 10}
QC_NAMES = {number: name for name, number in QC.items()}

_TRUE = frozenset({"t", "y", "yes", "true", "on", "1"})
_FALSE = frozenset({"f", "n", "no", "false", "off", "0"})
_MOMENT_FORMATS = "YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z]"
_REQUIRED = "This field is required."
_NOT_NULL = "This field may not be null."


def read_quality(spelled: str) -> int:
    """Return the number of a QC outcome named in a filter.

    Raises
    ------
    FailedError
        There is none of that name; the missing space is the real server's.
    """
    try:
        return QC[spelled.upper().strip()]
    except KeyError as error:
        raise FailedError(f"Invalidqc, choices are: {', '.join(QC)}") from error


class ComplaintError(ValueError):
    """A value is not acceptable; the text goes to the client."""


Parser = Callable[[Database, object], object]


@dataclass(frozen=True)
class Field:
    """One writable field.

    Attributes
    ----------
    name : str
        As in the JSON.
    parse : Parser
        Checks and converts a value that is not null.
    required, null : bool
        Whether it must be given, whether null is allowed.
    refers : bool
        It names another record, and an empty string means none.
    kind : str
        The JSON type shown in the schema.
    """

    name: str
    parse: Parser
    required: bool = False
    null: bool = False
    kind: str = "string"
    refers: bool = False


def reference(name: str, parse: Parser, *, required: bool = False, null: bool = False) -> Field:
    """Return a field that names another record."""
    return Field(name, parse, required, null, refers=True)


def check(fields: Sequence[Field], db: Database, data: object, *, partial: bool = False) -> dict[str, object]:
    """Return the values of the fields that `data` contains.

    Raises
    ------
    RefusedError
        400 with every complaint.
    FailedError
        A look-up that fails on the real server too.
    """
    if not isinstance(data, Mapping):
        raise invalid({"non_field_errors": [_not_a_dictionary(data)]})
    values: dict[str, object] = {}
    errors: dict[str, list[str]] = {}
    for field in fields:
        try:
            if field.name in data:
                values[field.name] = _value(field, db, data[field.name])
            elif field.required and not partial:
                errors[field.name] = [_REQUIRED]
        except ComplaintError as complaint:
            errors[field.name] = [str(complaint)]
    if errors:
        raise invalid(errors)
    return values


def _value(field: Field, db: Database, value: object) -> object:
    if value is not None and not (field.refers and value == ""):
        return field.parse(db, value)
    if field.null:
        return None
    raise ComplaintError(_NOT_NULL)


def _not_a_dictionary(data: object) -> str:
    return f"Invalid data. Expected a dictionary, but got {type(data).__name__}."


# --- parsers ----------------------------------------------------------------------------------------------


def text(limit: int | None = None, *, blank: bool = True) -> Parser:
    """Return a parser for strings of at most `limit` characters."""

    def parse(_: Database, value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ComplaintError("Not a valid string.")
        stripped = str(value).strip()
        if not stripped and not blank:
            raise ComplaintError("This field may not be blank.")
        if limit is not None and len(stripped) > limit:
            raise ComplaintError(f"Ensure this field has no more than {limit} characters.")
        return stripped

    return parse


def integer(bits: int = 32) -> Parser:
    """Return a parser for whole numbers of so many bits; `"001"` and `2.0` are ones."""
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1

    def parse(_: Database, value: object) -> object:
        try:
            found = int(re.sub(r"\.0*\s*$", "", str(value)))
        except ValueError as error:
            raise ComplaintError("A valid integer is required.") from error
        if found > highest:
            raise ComplaintError(f"Ensure this value is less than or equal to {highest}.")
        if found < lowest:
            raise ComplaintError(f"Ensure this value is greater than or equal to {lowest}.")
        return found

    return parse


def number(_: Database, value: object) -> object:
    """Parse a number; a truth value is 1 or 0."""
    try:
        return float(int(value)) if isinstance(value, bool) else float(str(value))
    except ValueError as error:
        raise ComplaintError("A valid number is required.") from error


def amount(db: Database, value: object) -> object:
    """Parse a number that is not negative."""
    found = number(db, value)
    if isinstance(found, float) and found < 0:
        raise ComplaintError("Ensure this value is greater than or equal to 0.")
    return found


def boolean(_: Database, value: object) -> object:
    """Parse a truth value in any of its common spellings."""
    spelled = str(value).strip().lower()
    if spelled in _TRUE:
        return True
    if spelled in _FALSE:
        return False
    raise ComplaintError("Must be a valid boolean.")


def moment(_: Database, value: object) -> object:
    """Parse an ISO time; an offset is converted to the server's zone and dropped."""
    try:
        return read_moment(str(value))
    except ValueError as error:
        message = f"Datetime has wrong format. Use one of these formats instead: {_MOMENT_FORMATS}."
        raise ComplaintError(message) from error


def day(_: Database, value: object) -> object:
    """Parse a date."""
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError as error:
        message = "Date has wrong format. Use one of these formats instead: YYYY-MM-DD."
        raise ComplaintError(message) from error


def anything(_: Database, value: object) -> object:
    """Accept any JSON value."""
    return value


def identifier(_: Database, value: object) -> object:
    """Parse a UUID."""
    try:
        return str(uuid.UUID(str(value)))
    except ValueError as error:
        raise ComplaintError("Must be a valid UUID.") from error


def quality(field: str) -> Parser:
    """Return a parser for the names of QC outcomes, exact case; numbers are not accepted."""

    def parse(_: Database, value: object) -> object:
        if isinstance(value, str) and value in QC:
            return QC[value]
        raise ComplaintError(f"Invalid {field}, choices are: {', '.join(QC)}")

    return parse


def named(table: str, column: str = "name") -> Parser:
    """Return a parser for the name of an existing row, which is also its key."""
    query = " ".join(["SELECT", column, "FROM", table, "WHERE", column, "= ?"])

    def parse(db: Database, value: object) -> object:
        row = db.one(query, str(value))
        if row is None:
            raise ComplaintError(f"Object with {column}={value} does not exist.")
        return row[0]

    return parse


def many(table: str, column: str = "name") -> Parser:
    """Return a parser for a list of names of existing rows."""
    parse_one = named(table, column)

    def parse(db: Database, value: object) -> object:
        if not isinstance(value, list):
            raise ComplaintError(f'Expected a list of items but got type "{type(value).__name__}".')
        return [parse_one(db, item) for item in value]

    return parse


def subject(db: Database, value: object) -> object:
    """Parse a nickname into the subject's id; two subjects of one nickname cannot be used.

    Raises
    ------
    FailedError
        The nickname is not unique.
    """
    ids = db.column("SELECT id FROM subject WHERE nickname = ?", str(value))
    if not ids:
        raise ComplaintError(f"Object with nickname={value} does not exist.")
    if len(ids) > 1:
        raise several("Subject", len(ids))
    return ids[0]


def row_id(table: str) -> Parser:
    """Return a parser for the id of an existing row."""
    query = " ".join(["SELECT id FROM", table, "WHERE id = ?"])

    def parse(db: Database, value: object) -> object:
        try:
            key = str(uuid.UUID(str(value)))
        except ValueError as error:
            raise ComplaintError(f"“{value}” is not a valid UUID.") from error
        if db.one(query, key) is None:
            raise ComplaintError(f"Object with id={value} does not exist.")
        return key

    return parse


def link(table: str, collection: str) -> Parser:
    """Return a parser for the URL of an existing row, `…/collection/<id>`."""
    query = " ".join(["SELECT id FROM", table, "WHERE id = ?"])
    pattern = re.compile(rf"/{collection}/([0-9a-f-]{{36}})$")

    def parse(db: Database, value: object) -> object:
        if not isinstance(value, str):
            raise ComplaintError(f"Incorrect type. Expected URL string, received {type(value).__name__}.")
        match = pattern.search(urlsplit(value).path)
        if match is None:
            raise ComplaintError("Invalid hyperlink - No URL match.")
        if db.one(query, match[1]) is None:
            raise ComplaintError("Invalid hyperlink - Object does not exist.")
        return match[1]

    return parse
