"""The daemon's life: from the lock to READY, the watch over its lanes, and the drain.

Crash-only: a kill at any moment is as good as a stop. SIGTERM and SIGINT stop claiming, wait a short grace for the
work at hand and leave; what was not finished goes on in the next life.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import threading
from pathlib import Path
from types import FrameType

import structlog

from labferry import __version__
from labferry.config import Config, load
from labferry.control.server import ControlServer, bind_socket
from labferry.engine.reports.live import LiveState
from labferry.engine.wakeup import Wakeup
from labferry.errors import ExitCode, LabferryError, UnavailableError
from labferry.journal import Journal
from labferry.model import Clock, SystemClock
from labferry.observe.logs import configure
from labferry.observe.notify import Notifier
from labferry.service.assembly import Assembly, assemble, require_available
from labferry.service.lock import StateLock

MALLOC_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h
GRACE = 10.0  # seconds a stop waits for the work at hand
SUPERVISE_EVERY = 1.0  # seconds between two looks at the lanes
HOUSEKEEPING_EVERY = 86_400.0
FIRST_HOUSEKEEPING = 600.0  # seconds after the start: a daemon that is restarted every day keeps house too
CLOCK_STEP = 5.0  # seconds the wall clock may lose against the monotonic one before it counts as set back
_log = structlog.get_logger()


def share_one_heap() -> None:
    """Let all threads allocate from one heap; glibc's heap per thread costs a small daemon several megabytes."""
    with contextlib.suppress(OSError, AttributeError):  # another C library: nothing is lost but memory
        ctypes.CDLL(None).mallopt(MALLOC_ARENA_MAX, 1)


def run(config_path: str | None) -> int:
    """Be the daemon until a signal ends it; return the exit code.

    Raises
    ------
    LabferryError
        It cannot start: the configuration, the lock, the socket or the journal; the message says which and why.
    """
    share_one_heap()
    config = load(config_path, os.environ)
    require_available(config)
    state_dir = Path(config.state_dir)
    lock = StateLock(state_dir)
    try:
        log_file = state_dir / "logs" / "labferry.jsonl"
        configure(config.log.format, config.log.level, log_file)
        for warning in config.warnings:
            _log.warning("config", why=warning)
        return Life(config, state_dir, log_file, SystemClock()).live()
    finally:
        lock.release()


class Life:
    """One life of the daemon in a locked state directory."""

    def __init__(self, config: Config, state_dir: Path, log_file: Path, clock: Clock) -> None:
        self._config = config
        self._state_dir = state_dir
        self._log_file = log_file
        self._clock = clock
        self._wakeup = Wakeup()
        self._stop = threading.Event()
        self._notifier = Notifier.from_environ()
        self._housekept_at = clock.monotonic() - HOUSEKEEPING_EVERY + FIRST_HOUSEKEEPING
        self._silent: frozenset[str] = frozenset()
        self._clock_offset = clock.now() - clock.monotonic()

    def live(self) -> int:
        """Start, be ready, supervise, drain."""
        listener = bind_socket(self._config.control.socket, self._config.control.group)
        try:
            journal = Journal(self._state_dir, self._clock)
            try:
                return self._with_journal(journal, listener)
            finally:
                journal.close()
        finally:
            listener.close()
            Path(self._config.control.socket).unlink(missing_ok=True)

    def _with_journal(self, journal: Journal, listener: socket.socket) -> int:
        unclean = journal.jobs.begin_life()
        journal.jobs.clamp_delays(self._config.worker.backoff_max)
        assembly = assemble(self._config, journal, self._wakeup, self._clock)
        live = LiveState(assembly.lanes, assembly.detect, started_at=self._clock.now(), log_file=self._log_file)
        server = ControlServer(listener, assembly.context, live)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        _log.info("starting", version=__version__, pid=os.getpid(), roots=len(self._config.roots))
        server.start()
        assembly.detect.first_scan()
        self._notifier.ready()
        _log.info("ready", socket=self._config.control.socket)
        if unclean and not self._is_sound(journal):
            return ExitCode.FAILURE
        for lane in assembly.lanes:
            lane.start()
        while not self._stop.wait(SUPERVISE_EVERY):
            self._supervise(assembly, journal)
        return self._drain(assembly, journal, server)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()

    @staticmethod
    def _is_sound(journal: Journal) -> bool:
        """Check the journal after an unclean stop, before anything is claimed (ruling 24)."""
        damage = journal.check()
        if damage:
            _log.error("journal_damaged", why=damage, hint="Restore the newest file of the backups folder.")
        else:
            _log.info("journal_is_sound", why="checked after a stop that was not clean")
        return damage is None

    def _supervise(self, assembly: Assembly, journal: Journal) -> None:
        """Tell systemd that we are alive only while every lane is; keep house once a day."""
        beats = {lane.name: lane.last_beat for lane in assembly.lanes if not lane.alive}
        for name in beats.keys() - self._silent:
            _log.error("lane_silent", lane=name, doing=beats[name].doing)
        self._silent = frozenset(beats)
        if not beats:
            self._notifier.watchdog()
        self.mind_the_clock(journal)
        if self._clock.monotonic() - self._housekept_at >= HOUSEKEEPING_EVERY:
            self._housekept_at = self._clock.monotonic()
            self._keep_house(journal)

    def mind_the_clock(self, journal: Journal) -> None:
        """Pull in waits when somebody set the wall clock back: they would last until it is there again."""
        offset = self._clock.now() - self._clock.monotonic()
        if offset < self._clock_offset - CLOCK_STEP:
            try:
                journal.jobs.clamp_delays(self._config.worker.backoff_max)
            except UnavailableError:
                return  # the journal is full: tried again at the next look
            _log.warning("clock_set_back", seconds=round(self._clock_offset - offset))
            self._wakeup.ring()
        self._clock_offset = offset

    def _keep_house(self, journal: Journal) -> None:
        try:
            journal.trim_events(self._config.journal.keep_events)
            if self._config.journal.backups:
                journal.back_up(self._config.journal.backups)
        except (LabferryError, OSError) as error:
            _log.warning("housekeeping_failed", why=str(error))

    @staticmethod
    def _end_life(journal: Journal) -> None:
        try:
            journal.jobs.end_life()
        except UnavailableError as error:  # costs the next start a check of the journal
            _log.warning("stop_not_recorded", why=error.message)

    def _drain(self, assembly: Assembly, journal: Journal, server: ControlServer) -> int:
        self._notifier.stopping()
        _log.info("stopping")
        self._wakeup.stop()
        assembly.detect.wake()
        deadline = self._clock.monotonic() + GRACE
        ended = [lane.join(max(0.0, deadline - self._clock.monotonic())) for lane in assembly.lanes]
        server.stop()
        if all(ended):
            self._end_life(journal)
            _log.info("stopped")
        else:
            names = [lane.name for lane, over in zip(assembly.lanes, ended, strict=True) if not over]
            _log.warning("stopped_with_work_open", lanes=names)
        assembly.context.alyx.close()
        return ExitCode.OK
