"""Puts the rooms together as the configuration says: dependencies, lanes, and what they share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from labferry import __version__
from labferry.alyx.client import AlyxClient
from labferry.alyx.people import People
from labferry.alyx.vocabulary import CachedVocabulary
from labferry.archive.directory import DirectoryArchive
from labferry.config import Config, read_secret
from labferry.config import DirectoryArchive as DirectorySettings
from labferry.config import GlobusArchive as GlobusSettings
from labferry.config import ObserveArchive as ObserveSettings
from labferry.engine.archive import ArchiveStage
from labferry.engine.context import ALYX, Context
from labferry.engine.dependencies import Dependencies
from labferry.engine.detection.lane import DetectLane
from labferry.engine.globus.access import GlobusAccess
from labferry.engine.globus.lane import GlobusLane
from labferry.engine.globus.preflight import Preflight
from labferry.engine.globus.stage import GlobusStage
from labferry.engine.globus.tending import Tending
from labferry.engine.history.lane import HistoryLane
from labferry.engine.lanes import LaneThread
from labferry.engine.observing import ObserveStage
from labferry.engine.planning import needs_of
from labferry.engine.policy import Limits
from labferry.engine.registering.stage import Register
from labferry.engine.resolve import Resolve
from labferry.engine.seal import Seal
from labferry.engine.speed import Speeds
from labferry.engine.wakeup import Wakeup
from labferry.engine.worker import Shared, StageRun, Worker
from labferry.journal import Journal
from labferry.model import Clock, Stage
from labferry.sessions.registry import layout


@dataclass(frozen=True, slots=True)
class Assembly:
    """The daemon's parts, not yet running."""

    context: Context
    detect: DetectLane
    lanes: tuple[LaneThread, ...]


def assemble(config: Config, journal: Journal, wakeup: Wakeup, clock: Clock) -> Assembly:
    """Build every lane the configuration asks for.

    Raises
    ------
    ConfigError
        It asks for something this version does not have.
    """
    alyx = alyx_client(config, clock)
    limits = Limits(config.worker.max_attempts, config.worker.backoff_max)
    names = [ALYX]
    for name in used_archives(config):
        names += [one for one in needs_of(name, config.archive[name]) if one not in names]
    context = Context(
        config=config,
        journal=journal,
        clock=clock,
        alyx=alyx,
        vocabulary=CachedVocabulary(Path(config.state_dir) / "vocabulary.json", clock=clock),
        people=People(alyx, clock),
        dependencies=Dependencies(names, clock, limits),
        wakeup=wakeup,
        speeds=Speeds(clock),
        globus=globus_access(config, clock, lambda: wakeup.stopping) if uses_globus(config) else None,
    )

    shared = Shared(journal, context.dependencies, limits, wakeup, clock)
    detect = DetectLane(config, journal, wakeup, clock)
    # What is begun is finished first.
    registering: dict[Stage, StageRun] = {Stage.REGISTER: Register(context), Stage.RESOLVE: Resolve(context)}
    lanes: list[LaneThread] = [detect]
    for number in range(1, config.worker.seal_workers + 1):
        lanes.append(Worker(f"seal-{number}", {Stage.SEAL: Seal(context)}, shared))
    for number in range(1, config.worker.register_workers + 1):
        lanes.append(Worker(f"register-{number}", registering, shared, needs=(ALYX,)))
    if any(root.registers for root in config.roots):
        lanes.append(HistoryLane("register-history", context))  # paused with the others of its kind
    lanes += [archive_lane(name, context, shared) for name in used_archives(config)]
    return Assembly(context, detect, tuple(lanes))


def used_archives(config: Config) -> list[str]:
    """Return the names of the archives that some root uses."""
    return sorted({name for root in config.roots for name in root.archive})


def uses_globus(config: Config) -> bool:
    """Tell whether some root's archive is a Globus collection."""
    return any(isinstance(config.archive[name], GlobusSettings) for name in used_archives(config))


def archive_lane(name: str, context: Context, shared: Shared) -> Worker:
    """Build the lane of one archive target."""
    settings = context.config.archive[name]
    lane, needs = f"archive-{name}", needs_of(name, settings)
    match settings:
        case ObserveSettings():
            return Worker(lane, {Stage.ARCHIVE: ObserveStage(context)}, shared, needs=needs, target=name)
        case GlobusSettings():
            assert context.globus is not None, "a Globus archive is used"
            service = context.globus.open()
            preflight = Preflight(context, name, settings, service)
            stage = GlobusStage(context, settings, service, preflight)
            tending = Tending(context, name, settings, service, preflight)
            return GlobusLane(lane, stage, tending, service, preflight, shared, needs=needs, target=name)
        case DirectorySettings():
            held = partial(context.journal.transfers.held, name)
            archive = DirectoryArchive(name, os.fsencode(settings.path), held=held)
            return Worker(lane, {Stage.ARCHIVE: ArchiveStage(context, archive)}, shared, needs=needs, target=name)


def globus_access(config: Config, clock: Clock, stop: Callable[[], bool] = lambda: False) -> GlobusAccess:
    """Return the way into Globus; secrets are read when they are needed, so a corrected file heals a login."""
    return GlobusAccess.of(config, clock, f"labferry/{__version__}", stop)


def require_available(config: Config) -> None:
    """Refuse what the configuration may say and this version cannot do yet.

    Raises
    ------
    ConfigError
    """
    for root in config.roots:
        layout(root.layout)


def alyx_client(config: Config, clock: Clock) -> AlyxClient:
    """Build the Alyx client; its secret is read when it is needed, so a corrected file heals a login."""
    settings = config.alyx
    secret = settings.token_file or settings.password_file
    return AlyxClient(
        settings.url,
        username=settings.username,
        timeout=settings.timeout,
        clock=clock,
        user_agent=f"labferry/{__version__}",
        password=None if settings.token_file else lambda: read_secret(secret),
        token=(lambda: read_secret(secret)) if settings.token_file else None,
        ca_file=settings.ca_file,
    )
