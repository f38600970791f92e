"""The demo as plain lines, one per transition: for pipes, logs and terminals that cannot be redrawn.

Room: cli.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import click

from labferry.cli.demonstration.story import Line, Story
from labferry.cli.output import printable

_WHO = 24  # characters of subject, date and number


class View(Protocol):
    """Shows a story while it happens."""

    def note(self, text: str) -> None:
        """Show a sentence about the demo itself."""

    def line(self, line: Line) -> None:
        """Show that something happened."""

    def refresh(self, story: Story) -> None:
        """Show how things are now."""

    def close(self) -> None:
        """Leave what was shown, and let others write."""


class Silent:
    """Shows nothing: only the result counts."""

    def note(self, text: str) -> None:
        """Nothing."""

    def line(self, line: Line) -> None:
        """Nothing."""

    def refresh(self, story: Story) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Plain:
    """One line per transition, each with the seconds since the beginning.

    Parameters
    ----------
    elapsed : Callable
        Returns those seconds.
    """

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self._elapsed = elapsed

    def note(self, text: str) -> None:
        """Print it."""
        click.echo(text)

    def line(self, line: Line) -> None:
        """Print it."""
        click.echo(f"{self._elapsed():5.1f} s  {line.who:<{_WHO}}  {printable(line.text)}")

    def refresh(self, story: Story) -> None:
        """Nothing: only transitions are printed."""

    def close(self) -> None:
        """Set what follows apart."""
        click.echo()
