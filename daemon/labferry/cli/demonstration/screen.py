"""The demo on a terminal: a table that is redrawn, and the latest lines below it.

Room: cli. rich is imported here, so this module only where something is drawn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from labferry.cli import human
from labferry.cli.demonstration.story import Line, Row, Story, Tone
from labferry.cli.output import printable

_STYLES = {Tone.QUIET: "dim", Tone.BUSY: "cyan", Tone.GOOD: "green", Tone.WARN: "yellow", Tone.BAD: "bold red"}
_LINES = 6  # latest lines that are shown
_WIDE = 100  # columns from which there is room for whole words
_BAR = 8, 20  # columns of the bar on a narrow and on a wide terminal
_AROUND = 8  # rows of the screen that are neither sessions nor lines
_PER_SECOND = 8


class Screen:
    """The table and the latest lines.

    Parameters
    ----------
    console : Console
        The terminal.
    elapsed : Callable
        Returns the seconds since the beginning.
    """

    def __init__(self, console: Console, elapsed: Callable[[], float]) -> None:
        self._console = console
        self._elapsed = elapsed
        self._lines: deque[Text] = deque(maxlen=_LINES)
        self._story: Story | None = None
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=_PER_SECOND)
        self._live.start()

    def note(self, text: str) -> None:
        """Print it above the table."""
        self._console.print(Text(text), soft_wrap=True)

    def line(self, line: Line) -> None:
        """Add a line."""
        text = Text(f"{self._elapsed():5.1f} s  ", style="dim", no_wrap=True, overflow="ellipsis")
        text.append(f"{line.who}  ", style="not dim")
        text.append(printable(line.text), style=f"not dim {_STYLES[line.tone]}")
        self._lines.append(text)

    def refresh(self, story: Story) -> None:
        """Draw how things are now; between two of these the clock goes on."""
        self._story = story
        self._live.refresh()

    def close(self) -> None:
        """Leave the last table on the terminal, without the lines."""
        self._lines.clear()
        self._live.stop()
        self._console.print()

    def _draw(self) -> Group:
        parts: list[RenderableType] = (
            [] if self._story is None else [self._table(self._story), self._totals(self._story)]
        )
        return Group(*parts, *([Text(), *self._lines] if self._lines else []))

    def _table(self, story: Story) -> Table:
        wide = self._console.width >= _WIDE
        table = Table(box=None, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0), header_style="dim")
        for title, right in (("LAB", False), ("SESSION", False), ("STATE", False), ("FILES", True), ("SIZE", True)):
            table.add_column(title, justify="right" if right else "left", no_wrap=True, overflow="ellipsis")
        table.columns[2].min_width = 28 if wide else 20
        table.columns[2].max_width = 44 if wide else 20
        table.add_column("ARCHIVE", width=_BAR[wide])
        room = max(1, self._console.height - _AROUND - _LINES)
        rows = _most_interesting(list(story.rows.values()), room)
        for row in rows:
            words, tone = row.words()
            table.add_row(
                row.session.lab,
                row.name,
                Text(words, style=_STYLES[tone]),
                str(row.files) if row.started else "",
                human.size(row.size) if row.started else "",
                self._bar(row),
            )
        if len(rows) < len(story.rows):
            table.add_row("", Text(f"… and {len(story.rows) - len(rows)} more", style="dim"))
        return table

    @staticmethod
    def _bar(row: Row) -> ProgressBar | str:
        share = row.progress()
        return "" if share is None else ProgressBar(total=1.0, completed=share, complete_style="green")

    def _totals(self, story: Story) -> Text:
        counts = {
            "recorded": story.recorded,
            "registered": story.registered,
            "archived": story.archived,
            "verified": story.verified,
        }
        text = Text(f"\n{self._elapsed():5.1f} s  of {human.plural(len(story.rows), 'session')}: ")
        for number, (word, count) in enumerate(counts.items()):
            text.append(", " if number else "", style="dim")
            text.append(f"{count} {word}", style="green" if count == len(story.rows) else "")
        return text


def _most_interesting(rows: list[Row], room: int) -> list[Row]:
    """Return at most `room` rows in their order: of too many, those that are under way."""
    if len(rows) <= room:
        return rows
    under_way = [row for row in rows if row.started and not row.is_verified]
    others = [row for row in rows if row not in under_way]
    kept = {row.name for row in [*under_way, *others][: room - 1]}
    return [row for row in rows if row.name in kept]
