"""Which layouts there are, by the name they have in the configuration.

Room: sessions.
"""

from __future__ import annotations

from labferry.errors import ConfigError
from labferry.sessions.ibl import IblLayout
from labferry.sessions.layout import Layout

_LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (IblLayout(),)}
_LATER = frozenset({"aind", "map"})


def layout(name: str) -> Layout:
    """Return the layout of this name.

    Raises
    ------
    ConfigError
        No layout has this name, or it is not available in this version.
    """
    if name in _LAYOUTS:
        return _LAYOUTS[name]
    state = "not available in this version" if name in _LATER else "no such layout"
    raise ConfigError(
        f"layout {name!r}: {state}", f"Set `layout` of the root to one of: {', '.join(sorted(_LAYOUTS))}."
    )
