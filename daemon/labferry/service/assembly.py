"""Puts the rooms together as the configuration says: dependencies, lanes, and what they share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from labferry import __version__
from labferry.alyx.client import AlyxClient
from labferry.alyx.vocabulary import CachedVocabulary
from labferry.archive.base import Archive
from labferry.archive.directory import DirectoryArchive
from labferry.config import Config, read_secret
from labferry.config import DirectoryArchive as DirectorySettings
from labferry.engine.archive import ArchiveStage
from labferry.engine.context import ALYX, Context
from labferry.engine.dependencies import Dependencies
from labferry.engine.detecting import DetectLane
from labferry.engine.lanes import LaneThread
from labferry.engine.policy import Limits
from labferry.engine.register import Register
from labferry.engine.resolve import Resolve
from labferry.engine.seal import Seal
from labferry.engine.wakeup import Wakeup
from labferry.engine.worker import StageRun, Worker
from labferry.errors import ConfigError
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
    limits = Limits(config.worker.max_attempts, config.worker.backoff_max)
    archives = {name: archive_of(name, config) for name in used_archives(config)}
    names = [ALYX, *(f"archive:{name}" for name in archives)]
    context = Context(
        config=config,
        journal=journal,
        clock=clock,
        alyx=alyx_client(config, clock),
        vocabulary=CachedVocabulary(Path(config.state_dir) / "vocabulary.json", clock=clock),
        archives=archives,
        dependencies=Dependencies(names, clock, limits),
        wakeup=wakeup,
    )

    def worker(name: str, stages: dict[Stage, StageRun], *, needs: str = "", target: str = "") -> Worker:
        return Worker(
            name,
            stages,
            journal=journal,
            dependencies=context.dependencies,
            limits=limits,
            wakeup=wakeup,
            clock=clock,
            needs=needs,
            target=target,
        )

    detect = DetectLane(config, journal, wakeup, clock)
    # What is begun is finished first.
    registering: dict[Stage, StageRun] = {Stage.REGISTER: Register(context), Stage.RESOLVE: Resolve(context)}
    lanes: list[LaneThread] = [detect]
    lanes += [worker(f"seal-{n}", {Stage.SEAL: Seal(context)}) for n in range(1, config.worker.seal_workers + 1)]
    lanes += [worker(f"register-{n}", registering, needs=ALYX) for n in range(1, config.worker.register_workers + 1)]
    lanes += [
        worker(
            f"archive-{name}",
            {Stage.ARCHIVE: ArchiveStage(context, archive)},
            needs=f"archive:{name}",
            target=name,
        )
        for name, archive in archives.items()
    ]
    return Assembly(context, detect, tuple(lanes))


def used_archives(config: Config) -> list[str]:
    """Return the names of the archives that some root uses."""
    return sorted({name for root in config.roots for name in root.archive})


def archive_of(name: str, config: Config) -> Archive:
    """Build one archive target."""
    settings = config.archive[name]
    if not isinstance(settings, DirectorySettings):
        raise ConfigError(
            f'[archive.{name}] kind = "{settings.kind}" is not available in this version',
            'Use kind = "directory", or remove the archive from the roots that name it.',
        )
    return DirectoryArchive(name, os.fsencode(settings.path))


def require_available(config: Config) -> None:
    """Refuse what the configuration may say and this version cannot do yet.

    Raises
    ------
    ConfigError
    """
    for root in config.roots:
        layout(root.layout)
    for name in used_archives(config):
        archive_of(name, config)


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
