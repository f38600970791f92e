"""Fields of an object that a rig wrote: typed, bounded, with a remark for what cannot be used.

Room: sessions. Pure. Whatever a field holds, reading it ends in a value, in None with a remark, or in a
`BlockedError`; never in another exception.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, tzinfo

from labferry.errors import BlockedError
from labferry.sessions.record.moments import local_moment
from labferry.sessions.record.remark import Remark

LONGEST_TEXT = 255  # characters; what Alyx takes for a name
_SHOWN = 60  # characters of a value in a message


class Fields:
    """The fields of one settings file.

    Parameters
    ----------
    values : mapping
        As read from the file.
    name : str
        The file's path, for messages.
    timezone : datetime.tzinfo or None
        Of times that end in `Z`.

    Attributes
    ----------
    remarks : list of Remark
        What was left out so far.
    """

    def __init__(self, values: Mapping[str, object], name: str, timezone: tzinfo | None) -> None:
        self._values = values
        self._name = name
        self._timezone = timezone
        self.remarks: list[Remark] = []

    def get(self, key: str) -> object:
        """Return a field as it is; None when it is missing."""
        return self._values.get(key)

    def text(self, *keys: str) -> str | None:
        """Return the first of these fields that holds a text; null and empty texts count as missing."""
        for key in keys:
            name = self.name(key, self._values.get(key))
            if name is not None:
                return name
        return None

    def name(self, key: str, value: object) -> str | None:
        """Return a value of this field as text; None for nothing, and with a remark for what is no name."""
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if isinstance(value, str) and is_name(value):
            return value.strip()
        self.odd(key, value)
        return None

    def required_text(self, key: str) -> str:
        """Return a text; raises `BlockedError` (`corrupt_settings`) when it is not there."""
        value = self.text(key)
        if value is None:
            raise self.corrupt(key)
        return value

    def number(self, key: str) -> float | None:
        """Return a finite number that is not negative."""
        value = self._values.get(key)
        if value is None:
            return None
        amount = finite(value)
        if amount is None or amount < 0:
            self.odd(key, value)
            return None
        return amount

    def required_integer(self, key: str) -> int:
        """Return a whole number, also one that is written as text; raises as `required_text` does."""
        value = self._values.get(key)
        if isinstance(value, str) and value.strip().isdecimal() and len(value) <= LONGEST_TEXT:
            return int(value)
        number = finite(value)
        if number is None or number != int(number):
            raise self.corrupt(key)
        return int(number)

    def flag(self, key: str) -> bool:
        """Return whether a field says yes; missing is no."""
        return self._values.get(key) is True

    def day(self, key: str) -> date | None:
        """Return a date; raises `BlockedError` (`corrupt_settings`) for anything else than a date or nothing."""
        text = self.text(key)
        if text is None:
            return None
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise self.corrupt(key) from None

    def required_moment(self, *keys: str) -> datetime:
        """Return the first of these times that is given; raises as `required_text` does."""
        for key in keys:
            text = self.text(key)
            if text is not None:
                try:
                    return local_moment(text, self._timezone)
                except ValueError:
                    raise self.corrupt(key) from None
        raise self.corrupt(keys[0])

    def moment(self, key: str) -> datetime | None:
        """Return a time; one that cannot be read is left out with a remark."""
        text = self.text(key)
        if text is None:
            return None
        try:
            return local_moment(text, self._timezone)
        except ValueError:
            self.odd(key, text)
            return None

    def odd(self, key: str, value: object) -> None:
        """Note that a field is left out."""
        self.remarks.append(Remark("odd_settings", f"{self._name}: {key} is {shown(value)}; it is not used"))

    def corrupt(self, key: str) -> BlockedError:
        """Return the error for a field without which the session cannot be told."""
        what = "is missing" if self._values.get(key) is None else f"is {shown(self._values[key])}"
        return BlockedError("corrupt_settings", f"{self._name}: {key} {what}")


def is_name(text: str) -> bool:
    """Say whether Alyx can take a text as a name; unprintable characters it cannot even store."""
    return text.strip().isprintable() and len(text) <= LONGEST_TEXT


def finite(value: object) -> float | None:
    """Return a number as a float; None for truth values, texts, infinities and whatever else is no amount."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def shown(value: object) -> str:
    """Render a foreign value for a message: on one line, and short however large it is."""
    if isinstance(value, str):
        text = ascii(value[: _SHOWN + 1])
    elif value is None:
        text = "null"
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, float) or (isinstance(value, int) and value.bit_length() < 4 * _SHOWN):
        text = str(value)
    else:
        text = "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else "a huge number"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
