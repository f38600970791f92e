"""What reports need beside the journal: the running lanes, the detector's view of the roots, the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from labferry.engine.detection.roots import RootFacts
from labferry.engine.lanes import LaneThread


class Detection(Protocol):
    """What reports ask of the detect lane; answered at once, from any thread."""

    def facts(self) -> list[RootFacts]:
        """Return what is known of every root."""

    def rescan(self, name: str | None = None, *, accept_missing: bool = False) -> None:
        """Scan one root, or all, as soon as possible; with `accept_missing` what is not found then is gone."""


@dataclass(frozen=True, slots=True)
class LiveState:
    """The daemon as it runs now.

    Attributes
    ----------
    lanes : sequence of LaneThread
    detect : Detection
    started_at : float
        Epoch seconds.
    log_file : Path or None
        Where the log is written as JSON lines; None when it goes elsewhere.
    """

    lanes: Sequence[LaneThread]
    detect: Detection
    started_at: float
    log_file: Path | None = None

    def root(self, name: str) -> RootFacts | None:
        """Return what the detector knows of a root; None when it has none of this name."""
        return next((facts for facts in self.detect.facts() if facts.name == name), None)

    def paused(self) -> list[str]:
        """Return the kinds of lanes that an operator paused."""
        return sorted({kind(lane.name) for lane in self.lanes if lane.paused})


def kind(lane: str) -> str:
    """Return the kind of a lane from its name: `register-2` is a register lane."""
    return lane.partition("-")[0]
