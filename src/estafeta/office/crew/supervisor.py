"""Supervisor: the process that starts workers, keeps them alive and ends them. It serves nobody.

Promises: ready when all are; a worker that dies is replaced at once, and after a pause where that
happens again and again, until it is given up; what a dead one held is handed to a living one; one
signal reaches all. It has no event loop and no thread, so that it may fork: a worker begins with
everything loaded, in hundredths of a second, and with the program that this run began with, even
where the files were replaced meanwhile. Where the supervisor itself is killed, its workers see
their channels end, and stop.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import structlog

from estafeta.office import notice
from estafeta.office.config import Config
from estafeta.office.crew.berths import Berth, close_others
from estafeta.office.crew.gathering import Gathering
from estafeta.office.crew.messages import (
    Answer,
    Ask,
    Buried,
    Bury,
    Failed,
    Family,
    Message,
    Ready,
    Reload,
    Reloaded,
    Reply,
    Sample,
    Stop,
    Topic,
)
from estafeta.office.crew.slot import Slot
from estafeta.office.crew.tally import lasting, summed
from estafeta.office.errors import CommandError
from estafeta.office.limits import GATHER_SECONDS_MAX, WORKER_END_SECONDS_MAX

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

log = structlog.get_logger("supervisor")


@dataclass(frozen=True, slots=True)
class Birth:
    """What a new worker is given. life: see queue.holders. channel: to the supervisor.

    first: the service has not been ready yet.
    """

    number: int
    life: int
    config: Config
    berth: Berth
    channel: socket.socket
    first: bool


class Supervisor:
    """work: what a worker does, in the new process; its exit code. read: the settings again;
    raises what is wrong with them. ready: to be said once all serve. died: a worker, by number."""

    def __init__(
        self,
        config: Config,
        berths: Sequence[Berth],
        *,
        work: Callable[[Birth], int],
        read: Callable[[Config], Config],
        ready: Callable[[], None],
        died: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._died = died
        self._config = config
        self._work = work
        self._read = read
        self._say_ready = ready
        self._slots = [Slot(number, berth) for number, berth in enumerate(berths, 1)]
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._lives = 0
        self._dead: list[int] = []  # lives that nobody has buried yet
        self._began = False  # all were ready once
        self._failure = ""
        self._stops = 0  # times it was asked to
        self._kill_at: float | None = None
        self._gatherings: dict[int, Gathering] = {}
        self._questions = 0
        self._departed: list[Family] = []
        self._deaths = 0  # without being told to
        self._reloading: set[int] = set()
        self._refused = ""

    def run(self) -> None:
        """Until it is asked to stop. Raises CommandError where it cannot start, or go on."""
        self._selector.register(self._wake, selectors.EVENT_READ)
        before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        woken_before = signal.set_wakeup_fd(self._waker)
        try:
            for slot in self._slots:
                self._start(slot)
            while self._stops == 0 or any(slot.pid for slot in self._slots):
                self._turn()
        finally:
            signal.set_wakeup_fd(woken_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            for descriptor in (self._wake, self._waker):
                os.close(descriptor)
        log.info("all workers have ended")
        if self._failure:
            raise CommandError(self._failure)

    # -- one turn ------------------------------------------------------------------------------

    def _turn(self) -> None:
        notice.still_here()
        now = time.monotonic()
        due = self._next_due()
        wait = None if due is None else max(0.0, due - now)
        for key, events in self._selector.select(wait):
            if key.fd == self._wake:
                self._on_signals(os.read(self._wake, 1024))
                continue
            slot: Slot = key.data
            if events & selectors.EVENT_WRITE and slot.flush():
                self._selector.modify(key.fd, selectors.EVENT_READ, slot)
            if events & selectors.EVENT_READ:
                self._hear(slot)
        self._on_time(time.monotonic())

    def _next_due(self) -> float | None:
        due = [slot.start_at for slot in self._slots if slot.start_at is not None]
        due += [gathering.until for gathering in self._gatherings.values()]
        if self._kill_at is not None:
            due.append(self._kill_at)
        if (interval := notice.watchdog_seconds()) is not None:
            due.append(time.monotonic() + interval / 2)
        return min(due, default=None)

    def _on_time(self, now: float) -> None:
        for slot in self._slots:
            if slot.start_at is not None and slot.start_at <= now:
                self._start(slot)
        for id, gathering in list(self._gatherings.items()):
            if gathering.complete or gathering.until <= now:
                del self._gatherings[id]
                besides = [*self._departed, self._deaths_counted()]
                self._send(self._slots[gathering.asker - 1], gathering.result(besides))
        if self._kill_at is not None and self._kill_at <= now:
            self._kill_at = None
            for slot in self._slots:
                if slot.pid:
                    log.warning("worker does not end and is killed", worker=slot.number)
                    slot.signal(signal.SIGKILL)

    def _on_signals(self, numbers: bytes) -> None:
        if signal.SIGCHLD in numbers:
            self._reap()
        for number in numbers:
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop()
        if signal.SIGHUP in numbers and not self._stops:
            self._reload()

    # -- births and deaths ---------------------------------------------------------------------

    def _start(self, slot: Slot) -> None:
        self._lives += 1
        ours, theirs = socket.socketpair()
        # A signal that came to it before it is itself would be told to us through our own pipe.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        pid = os.fork()
        if pid == 0:
            birth = Birth(
                slot.number,
                self._lives,
                self._config,
                slot.berth,
                theirs,
                first=not self._began,
            )
            self._be(birth, ours)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        theirs.close()
        slot.occupy(pid, self._lives, ours)
        self._selector.register(ours, selectors.EVENT_READ, slot)

    def _be(self, birth: Birth, ours: socket.socket) -> NoReturn:
        """In the new process, which never returns to what the supervisor was doing."""
        code = 1
        try:
            # From a terminal, Ctrl-C is for the supervisor.
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for number in SIGNALS:
                ignored = number in (signal.SIGINT, signal.SIGHUP)
                signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            # Held open here, a sibling would not see the end of the supervisor.
            ours.close()
            self._selector.close()
            for descriptor in (self._wake, self._waker):
                os.close(descriptor)
            for slot in self._slots:
                if slot.channel is not None:
                    slot.channel.close()
            close_others(birth.berth, [slot.berth for slot in self._slots])
            code = self._work(birth)
        except BaseException:
            log.exception("worker failed", worker=birth.number)
        finally:
            os._exit(code)

    def _reap(self) -> None:
        for slot in self._slots:
            if not slot.pid:
                continue
            pid, status = os.waitpid(slot.pid, os.WNOHANG)
            if pid:
                self._bury(slot, os.waitstatus_to_exitcode(status))

    def _bury(self, slot: Slot, code: int) -> None:
        self._hear(slot)  # its last words
        self._forget_channel(slot)
        self._died(slot.number)
        self._departed = summed([self._departed, lasting(slot.metrics)])
        for gathering in self._gatherings.values():
            gathering.give_up(slot.number)
        if slot.number in self._reloading:
            self._reloading.discard(slot.number)
            self._say_reloaded()
        self._dead.append(slot.life)
        ended, pid = _words(code), slot.pid
        again = slot.vacate(time.monotonic())
        if self._stops:
            slot.berth.close()
            return
        if not self._began:
            self._fail(self._failure or f"worker {slot.number} ended while it started: {ended}")
            return
        self._deaths += 1
        if again is None:
            self._fail(f"worker {slot.number} ends again and again ({ended}): given up")
            return
        pause = round(max(0.0, again - time.monotonic()), 1)
        log.error("worker ended", worker=slot.number, pid=pid, how=ended, restart_in=pause)
        slot.start_at = again
        if any(other.ready for other in self._slots):
            slot.berth.pause()
        self._pass_on()

    def _fail(self, text: str) -> None:
        self._failure = text
        if self._began:
            log.error(text)
        if not self._stops:
            self._stop()

    def _pass_on(self) -> None:
        """What the dead held passes on: a living worker gives it back."""
        undertaker = next((slot for slot in self._slots if slot.ready), None)
        if self._dead and undertaker is not None:
            self._send(undertaker, Bury(list(self._dead)))

    # -- talk ----------------------------------------------------------------------------------

    def _send(self, slot: Slot, message: Message) -> None:
        if slot.channel is not None and not slot.send(message):
            self._selector.modify(slot.channel, selectors.EVENT_READ | selectors.EVENT_WRITE, slot)

    def _hear(self, slot: Slot) -> None:
        if slot.channel is None:
            return
        try:
            for message in slot.receive():
                self._on_message(slot, message)
        except ValueError as error:
            log.error("worker talks nonsense", worker=slot.number, error=str(error))
            slot.signal(signal.SIGKILL)

        if slot.silent:
            self._forget_channel(slot)  # it ends; that it has ended comes as a signal

    def _forget_channel(self, slot: Slot) -> None:
        if slot.channel is not None:
            self._selector.unregister(slot.channel)
            slot.close_channel()

    def _on_message(self, slot: Slot, message: Message) -> None:
        match message:
            case Ready():
                self._on_ready(slot)
            case Failed(text):
                if self._began:
                    log.error("worker cannot start", worker=slot.number, reason=text)
                elif not self._failure:
                    self._failure = text
            case Reloaded(reason):
                self._refused = self._refused or reason
                self._reloading.discard(slot.number)
                self._say_reloaded()
            case Buried(lives):
                self._dead = [life for life in self._dead if life not in lives]
            case Ask(id, topic):
                self._gather(slot, id, topic)
            case Answer(id, reply):
                self._take_answer(slot, id, reply)

    def _on_ready(self, slot: Slot) -> None:
        slot.serve(time.monotonic())
        if not self._began and all(each.ready for each in self._slots):
            self._began = True
            self._say_ready()
        elif self._began:
            log.info("worker serves again", worker=slot.number)
        self._pass_on()

    def _gather(self, asker: Slot, id: int, topic: Topic) -> None:
        self._questions += 1
        numbers = [slot.number for slot in self._slots]
        until = time.monotonic() + GATHER_SECONDS_MAX
        gathering = self._gatherings[self._questions] = Gathering(asker.number, id, numbers, until)
        for slot in self._slots:
            if slot.ready:
                self._send(slot, Ask(self._questions, topic))
            else:
                gathering.give_up(slot.number)

    def _take_answer(self, slot: Slot, id: int, reply: Reply) -> None:
        if reply.metrics:
            slot.metrics = reply.metrics
        if (gathering := self._gatherings.get(id)) is not None:
            gathering.take(slot.number, reply)

    def _deaths_counted(self) -> Family:
        name = "estafeta_worker_deaths"
        return Family(name, "counter", "", [Sample(f"{name}_total", {}, self._deaths)])

    # -- signals -------------------------------------------------------------------------------

    def _stop(self) -> None:
        self._stops += 1
        if self._stops == 1:
            seconds = self._config.server.stop_seconds
            notice.stopping(seconds)
            log.info("stopping")
            self._kill_at = time.monotonic() + seconds + WORKER_END_SECONDS_MAX
        for slot in self._slots:
            slot.start_at = None
            if slot.pid:
                self._send(slot, Stop(at_once=self._stops > 1))
            else:
                slot.berth.close()

    def _reload(self) -> None:
        notice.reloading()
        try:
            self._config = self._read(self._config)
        except Exception as wrong:
            log.error("reload_refused", reason=str(wrong))
            notice.ready()
            return
        self._refused = ""
        for slot in self._slots:
            if slot.pid:
                self._reloading.add(slot.number)
                self._send(slot, Reload(self._config))
        self._say_reloaded()

    def _say_reloaded(self) -> None:
        if self._reloading:
            return
        if self._refused:
            log.error("reload_refused", reason=self._refused)
        else:
            log.info("reloaded", workers=len(self._slots))
        notice.ready()


def _words(code: int) -> str:
    """code: as of subprocess."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
