"""The daemon's life: from the lock to READY, the watch over its lanes, and the drain.

Crash-only: a kill at any moment is as good as a stop. SIGTERM and SIGINT stop claiming, wait a short grace for the
work at hand and leave; what was not finished goes on in the next life. SIGHUP ends a life in the same way, except that
it waits for the lanes, and begins the next one with the configuration read again: same process, same lock.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from labferry import __version__
from labferry.config import Config, load
from labferry.control.server import ControlServer, bind_socket
from labferry.engine.lanes import LaneThread
from labferry.engine.reports.live import LiveState
from labferry.engine.reports.status import current_conditions
from labferry.engine.wakeup import Wakeup
from labferry.errors import ExitCode, LabferryError, UnavailableError
from labferry.journal import Journal, JournalError, open_journal
from labferry.model import Clock, SystemClock
from labferry.observe.logs import configure
from labferry.observe.notify import Notifier
from labferry.service.assembly import Assembly, assemble, require_available
from labferry.service.lock import StateLock
from labferry.service.reload import RELOADED, answer, read_again
from labferry.service.signals import Signals
from labferry.service.summary import StatusLine, summary

MALLOC_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h
GRACE = 10.0  # seconds a stop waits for the work at hand
SUPERVISE_EVERY = 1.0  # seconds between two looks at the lanes
DRAIN_STEP = 0.2  # the same while they end
LONGEST_CHORE = 900.0  # seconds without a look at the lanes: a start, housekeeping in a large journal
HOUSEKEEPING_EVERY = 86_400.0
FIRST_HOUSEKEEPING = 600.0  # seconds after the start: a daemon that is restarted every day keeps house too
JUST_NOW = 60.0  # seconds: the recovery of a journal that is so old was told of before
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
    faulthandler.enable()  # systemd's watchdog ends us with SIGABRT: then every thread says where it was
    config = load(config_path, os.environ)
    require_available(config)
    state_dir = Path(config.state_dir)
    lock = StateLock(state_dir)
    try:
        signals = Signals()
        life = _begin(config, state_dir)
        while isinstance(end := life.live(signals), Config):
            life = _begin(end, state_dir, reloaded=not life.damage, damage=life.damage)
        return end
    finally:
        lock.release()


def _begin(config: Config, state_dir: Path, *, reloaded: bool = False, damage: str = "") -> Life:
    """Set up the log as the configuration has it, and make a life."""
    log_file = state_dir / "logs" / "labferry.jsonl"
    configure(config.log.format, config.log.level, log_file)
    for warning in config.warnings:
        _log.warning("config", why=warning)
    return Life(config, state_dir, log_file, SystemClock(), reloaded=reloaded, damage=damage)


def _tell_of_recovery(journal: Journal, now: float) -> None:
    """Say that the journal is another one, if it is since this moment."""
    for recovery in journal.recoveries()[-1:]:
        if now - recovery.at < JUST_NOW:
            what = f"{recovery.backup} was restored" if recovery.backup else "it begins anew"
            _log.error("journal_replaced", why=recovery.why, kept_as=recovery.kept_as, now=what)


class Life:
    """One life of the daemon in a locked state directory.

    Parameters
    ----------
    config : Config
    state_dir : Path
        Locked already.
    log_file : Path
        Where the log is written, for those who ask for it.
    clock : Clock
    reloaded : bool
        Whether another life ended for this one, so that somebody waits for the answer.
    damage : str
        What the life before found damaged in the journal; empty when it ended for another reason.

    Attributes
    ----------
    damage : str
        What this life found damaged: it ended for that, and the next one replaces the journal.
    """

    def __init__(
        self,
        config: Config,
        state_dir: Path,
        log_file: Path,
        clock: Clock,
        *,
        reloaded: bool = False,
        damage: str = "",
    ) -> None:
        self._config = config
        self._state_dir = state_dir
        self._log_file = log_file
        self._clock = clock
        self._reloaded = reloaded
        self._found_damaged = damage
        self.damage = ""
        self._refused = ""  # why the configuration was not taken when it was last read again
        self._wakeup = Wakeup()
        self._notifier = Notifier.from_environ()
        self._status = StatusLine(self._notifier, clock)
        self._housekept_at = clock.monotonic() - HOUSEKEEPING_EVERY + FIRST_HOUSEKEEPING
        self._silent: frozenset[str] = frozenset()
        self._clock_offset = clock.now() - clock.monotonic()

    def live(self, signals: Signals) -> ExitCode | Config:
        """Start, be ready, supervise, drain; return how the process ends, or the configuration of the next life."""
        self._notifier.expect_silence(LONGEST_CHORE)
        listener = bind_socket(self._config.control.socket, self._config.control.group)
        try:
            journal = open_journal(self._state_dir, self._clock, self._found_damaged)
            _tell_of_recovery(journal, self._clock.now())
            try:
                return self._with_journal(journal, listener, signals)
            except JournalError as error:
                return self._after_damage(error)
            finally:
                journal.close()
        finally:
            listener.close()
            Path(self._config.control.socket).unlink(missing_ok=True)

    def _with_journal(self, journal: Journal, listener: socket.socket, signals: Signals) -> ExitCode | Config:
        unclean = journal.jobs.begin_life()
        journal.jobs.clamp_delays(self._config.worker.backoff_max)
        assembly = assemble(self._config, journal, self._wakeup, self._clock)
        live = LiveState(assembly.lanes, assembly.detect, started_at=self._clock.now(), log_file=self._log_file)
        server = ControlServer(listener, assembly.context, live)
        try:
            end = self._work(assembly, live, server, signals, check=bool(unclean))
        except JournalError as error:
            end = self._after_damage(error)
        return self._drain(assembly, journal, server, signals, end)

    def _work(
        self, assembly: Assembly, live: LiveState, server: ControlServer, signals: Signals, *, check: bool
    ) -> ExitCode | Config:
        """Be ready and supervise; return how this life ends, or the configuration of the next one.

        Raises
        ------
        JournalError
            `journal_damaged`.
        """
        journal = assembly.context.journal
        _log.info("starting", version=__version__, pid=os.getpid(), roots=len(self._config.roots))
        self._status.say("starting: the first look at every root")
        server.start()
        assembly.detect.first_scan()
        self._keep_status(assembly, live)
        self._notifier.ready()
        _log.info("ready", socket=self._config.control.socket)
        if self._reloaded:
            answer(RELOADED)
        if check:
            self._require_sound(journal)
        for lane in assembly.lanes:
            lane.start()
        self._notifier.expect_beats()
        while not signals.stop:
            signals.wait(SUPERVISE_EVERY)
            if signals.take_reload() and (following := self._read_again()) is not None:
                return following
            if journal.damage:
                raise JournalError("journal_damaged", journal.damage)
            self._supervise(assembly, journal)
            self._keep_status(assembly, live)
        return ExitCode.OK

    def _after_damage(self, error: JournalError) -> ExitCode | Config:
        """End this life, so that the next one replaces the journal; one that has just been replaced ends the process.

        Raises
        ------
        JournalError
            It is another one than `journal_damaged`.
        """
        if error.code != "journal_damaged":
            raise error
        if not self.damage:
            _log.error("journal_damaged", why=error.message)
        self.damage = error.message
        return ExitCode.FAILURE if self._found_damaged else self._config

    def _read_again(self) -> Config | None:
        """Return the configuration that a reload asks for; None when it cannot be used, and we go on as we are."""
        self._notifier.reloading()
        try:
            following = read_again(self._config)
        except LabferryError as error:
            why = error.message.splitlines()
            _log.error("reload_refused", why="; ".join(why), hint=error.hint)
            self._refused = why[0]
            self._notifier.ready()
            answer(f"refused: {error.message}")
            return None
        _log.info("reload", config=following.path)
        return following

    def _keep_status(self, assembly: Assembly, live: LiveState) -> None:
        seen = (self._wakeup.rings, self._silent, self._refused)
        self._status.keep(lambda: self._summary(assembly, live), seen)

    def _summary(self, assembly: Assembly, live: LiveState) -> str:
        try:
            sessions, attention = assembly.context.journal.sessions.counts()
            conditions = current_conditions(assembly.context, live, attention)
        except UnavailableError as error:
            return error.message
        line = summary(sessions, attention, conditions, live.paused(), self._clock.now())
        return f"reload refused, the old configuration counts: {self._refused}; {line}" if self._refused else line

    @staticmethod
    def _require_sound(journal: Journal) -> None:
        """Check the journal after an unclean stop, before anything is claimed (ruling 24)."""
        damage = journal.check()
        if damage:
            raise JournalError("journal_damaged", damage)
        _log.info("journal_is_sound", why="checked after a stop that was not clean")

    def _supervise(self, assembly: Assembly, journal: Journal) -> None:
        """Look at the lanes; keep house once a day."""
        self._feed_watchdog([lane for lane in assembly.lanes if not lane.alive])
        self.mind_the_clock(journal)
        if self._clock.monotonic() - self._housekept_at >= HOUSEKEEPING_EVERY:
            self._housekept_at = self._clock.monotonic()
            self._notifier.expect_silence(LONGEST_CHORE)
            self._keep_house(journal)
            self._notifier.expect_beats()

    def _feed_watchdog(self, silent: Sequence[LaneThread]) -> None:
        """Tell systemd that we are alive, unless a lane is silent."""
        beats = {lane.name: lane.last_beat for lane in silent}
        for name in beats.keys() - self._silent:
            _log.error("lane_silent", lane=name, doing=beats[name].doing)
        self._silent = frozenset(beats)
        if not beats:
            self._notifier.watchdog()

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
        except LabferryError as error:  # costs the next start a check of the journal
            _log.warning("stop_not_recorded", why=error.message)

    def _drain(
        self,
        assembly: Assembly,
        journal: Journal,
        server: ControlServer,
        signals: Signals,
        end: ExitCode | Config,
    ) -> ExitCode | Config:
        """End this life: with work open after the grace, or, where another one follows, when the last lane ended."""
        self._wakeup.stop()
        assembly.detect.wake()
        if isinstance(end, Config):
            self._wait_for(assembly.lanes, lambda: signals.stop)
        if signals.stop or not isinstance(end, Config):
            end = ExitCode.OK if isinstance(end, Config) else end
            self._notifier.stopping()
            _log.info("stopping")
            deadline = self._clock.monotonic() + GRACE
            self._wait_for(assembly.lanes, lambda: self._clock.monotonic() >= deadline)
        still_working = [lane.name for lane in assembly.lanes if not lane.join(0)]
        server.stop()
        if self.damage:
            _log.info("life_ended", why="the journal is damaged")  # no clean stop: the next life must not trust it
        elif not still_working:
            self._end_life(journal)
            _log.info("life_ended" if isinstance(end, Config) else "stopped")
        else:
            _log.warning("stopped_with_work_open", lanes=still_working)
        assembly.context.alyx.close()
        return end

    def _wait_for(self, lanes: Sequence[LaneThread], enough: Callable[[], bool]) -> None:
        """Wait until all lanes have ended, or it is enough.

        A reload waits for as long as the work at hand takes, which no life may share with the next one; it is the
        watchdog that ends a lane which does not come back.
        """
        while (open_lanes := [lane for lane in lanes if not lane.join(0)]) and not enough():
            self._status.say(f"finishing the work at hand: {', '.join(lane.name for lane in open_lanes)}")
            open_lanes[0].join(DRAIN_STEP)
            self._feed_watchdog([lane for lane in open_lanes if not lane.alive and not lane.join(0)])
