"""The well-formed parts of a table that may not be well formed as a whole.

Pure. One wrong duration must not hide two nested roots: `rules` looks at these parts even where the whole
configuration cannot be built, so that an operator sees everything in one go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from labferry.config.model import Alyx, ArchiveTarget, Config, Detection, Globus, Registration, Root
from labferry.config.source import Table, written_roots
from labferry.config.values import AbsolutePath

_Model = TypeVar("_Model", bound=BaseModel)
_Value = TypeVar("_Value")
_ARCHIVE: TypeAdapter[ArchiveTarget] = TypeAdapter(ArchiveTarget)
_PATH: TypeAdapter[str] = TypeAdapter(AbsolutePath)


@dataclass(frozen=True)
class Parts:
    """What can be judged; None or absent where a part is malformed.

    Attributes
    ----------
    roots : dict
        By their number in the file.
    archive_names : list
        All of them, the malformed ones too.
    no_globus : str
        Where the id of Globus Connect Personal was looked for in vain; empty when this machine has a Globus
        endpoint, by configuration or by installation.
    """

    state_dir: str | None
    alyx: Alyx | None
    roots: Mapping[int, Root]
    detection: Detection | None
    registration: Registration | None
    archives: Mapping[str, ArchiveTarget]
    archive_names: list[str]
    globus: Globus | None
    no_globus: str


def well_formed(table: Table, no_globus: str) -> Parts:
    """Take the well-formed parts of a table."""
    written = table.get("archive", {})
    archives = written if isinstance(written, dict) else {}
    return Parts(
        state_dir=_valid(_PATH, table.get("state_dir", Config.model_fields["state_dir"].default)),
        alyx=_section(Alyx, table.get("alyx", {})),
        roots={number: root for number, raw in enumerate(written_roots(table)) if (root := _section(Root, raw))},
        detection=_section(Detection, table.get("detection", {})),
        registration=_section(Registration, table.get("registration", {})),
        archives={name: archive for name, raw in archives.items() if (archive := _valid(_ARCHIVE, raw))},
        archive_names=list(archives),
        globus=_section(Globus, table.get("globus", {})),
        no_globus=no_globus,
    )


def _section(model: type[_Model], raw: object) -> _Model | None:
    try:
        return model.model_validate(raw)
    except ValidationError:
        return None


def _valid(adapter: TypeAdapter[_Value], raw: object) -> _Value | None:
    try:
        return adapter.validate_python(raw)
    except ValidationError:
        return None
