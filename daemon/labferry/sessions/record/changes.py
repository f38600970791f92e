"""Three-way updates: what may be written into a session that people write into as well (ruling 12).

Room: sessions. Pure. A field is ours to write if Alyx holds what we wrote last, or nothing; `json` key by key.

The way of an update: `changes` says what to write, which is kept before it is sent; `patch_body` completes `json`,
which Alyx replaces as a whole; `written` says, from the session as Alyx has it afterwards, what we wrote last. After a
lost answer the last step alone tells the truth, from a fresh look.
"""

from __future__ import annotations

from collections.abc import Mapping

from labferry.sessions.record.moments import same_moment

JSON = "json"
Fields = Mapping[str, object]


def changes(ours_last: Fields, wanted: Fields, theirs: Fields) -> dict[str, object]:
    """Return the fields to write, and of `json` the keys to write.

    Parameters
    ----------
    ours_last : mapping
        What we wrote last, as `written` returned it; empty for a session that we did not create.
    wanted : mapping
        What the session should have. None, and empty texts, lists and mappings, want nothing: we never clear.
    theirs : mapping
        The session as Alyx has it now.
    """
    found = _changed(ours_last, _apart(wanted), theirs)
    if JSON in wanted and _is_open(theirs):
        keys = _changed(_object(ours_last), _object(wanted), _object(theirs))
        if keys:
            found[JSON] = keys
    return found


def patch_body(changed: Fields, theirs: Fields) -> dict[str, object]:
    """Return the body of the PATCH: `json` completed by the keys that are not ours."""
    body = dict(changed)
    if JSON in body:
        body[JSON] = {**_object(theirs), **_object(changed)}
    return body


def written(ours_last: Fields, changed: Fields, theirs: Fields) -> dict[str, object]:
    """Return what we wrote last, after `changed` was sent and `theirs` was seen.

    What is not there as we sent it did not arrive, or was changed since: for that, what we wrote before still holds.
    """
    last = {**ours_last, **_arrived(_apart(changed), theirs)}
    keys = {**_object(ours_last), **_arrived(_object(changed), _object(theirs))}
    if keys:
        last[JSON] = keys
    return last


def has_arrived(changed: Fields, theirs: Fields) -> bool:
    """Say whether all of `changed` is there as it was sent."""
    fields, keys = _apart(changed), _object(changed)
    return len(_arrived(fields, theirs)) == len(fields) and len(_arrived(keys, _object(theirs))) == len(keys)


def _changed(ours_last: Fields, wanted: Fields, theirs: Fields) -> dict[str, object]:
    return {
        key: value
        for key, value in wanted.items()
        if not _is_nothing(value)
        and not _same(value, theirs.get(key))
        and (_is_nothing(theirs.get(key)) or (key in ours_last and _same(ours_last[key], theirs[key])))
    }


def _arrived(changed: Fields, theirs: Fields) -> dict[str, object]:
    return {key: value for key, value in changed.items() if _same(value, theirs.get(key))}


def _apart(fields: Fields) -> Fields:
    return {key: value for key, value in fields.items() if key != JSON}


def _object(fields: Fields) -> Fields:
    value = fields.get(JSON)
    return value if isinstance(value, Mapping) else {}


def _is_open(theirs: Fields) -> bool:
    """Say whether keys can be added to `json`; Alyx also takes texts and lists there, which are a person's."""
    value = theirs.get(JSON)
    return _is_nothing(value) or isinstance(value, Mapping)


def _is_nothing(value: object) -> bool:
    return value is None or value in ("", [], {}, ())


def _same(ours: object, theirs: object) -> bool:
    """Compare as Alyx keeps values: names have no order there, and a time may have more than one form."""
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return sorted(map(repr, ours)) == sorted(map(repr, theirs))
    if same_moment(ours, theirs):
        return True
    return ours == theirs and isinstance(ours, bool) == isinstance(theirs, bool)
