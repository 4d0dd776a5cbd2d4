"""Slot: the place of one worker: its berth, its process, and what is known of it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress

from estafeta.office.crew.berths import Berth
from estafeta.office.crew.messages import Decoder, Family, Message, encode
from estafeta.office.limits import WORKER_PAUSES, WORKER_STEADY_SECONDS

_READ_OCTETS = 65_536


class Slot:
    """number: from 1, as the log shows it. life: of its worker, 0 before the first."""

    def __init__(self, number: int, berth: Berth) -> None:
        self.number = number
        self.berth = berth
        self.pid = 0  # 0: nobody is in
        self.life = 0
        self.channel: socket.socket | None = None
        self.silent = False  # it has closed its end
        self.serves_since: float | None = None  # as the times below: monotonic
        self.start_at: float | None = None
        self.young_deaths = 0
        self.metrics: list[Family] = []
        self._decoder = Decoder()
        self._unsent = bytearray()

    @property
    def ready(self) -> bool:
        return self.serves_since is not None

    def occupy(self, pid: int, life: int, channel: socket.socket) -> None:
        channel.setblocking(False)
        self.pid, self.life, self.channel = pid, life, channel
        self.silent = False
        self.serves_since = None
        self.start_at = None
        self.metrics = []
        self._decoder = Decoder()
        self._unsent.clear()

    def serve(self, now: float) -> None:
        """Its worker is ready."""
        self.serves_since = now

    def vacate(self, now: float) -> float | None:
        """Its worker is dead. When to start another, or None: that is no use."""
        self.close_channel()
        self.pid = 0
        since, self.serves_since = self.serves_since, None
        if since is not None and now - since >= WORKER_STEADY_SECONDS:
            self.young_deaths = 0
        self.young_deaths += 1
        if self.young_deaths > len(WORKER_PAUSES):
            return None
        return now + WORKER_PAUSES[self.young_deaths - 1]

    def close_channel(self) -> None:
        if self.channel is not None:
            self.channel.close()
            self.channel = None

    def send(self, message: Message) -> bool:
        """Whether all of it went out; else `flush` when the channel takes more."""
        self._unsent += encode(message)
        return self.flush()

    def flush(self) -> bool:
        if self.channel is None:
            return True
        try:
            while self._unsent:
                del self._unsent[: self.channel.send(self._unsent)]
        except BlockingIOError:
            return False
        except OSError:  # it is about to be found dead
            self._unsent.clear()
        return True

    def receive(self) -> Iterator[Message]:
        """What has come by now. Raises ValueError for what is no message."""
        assert self.channel is not None
        while True:
            try:
                data = self.channel.recv(_READ_OCTETS)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                self.silent = True
                return
            yield from self._decoder.feed(data)

    def signal(self, number: signal.Signals) -> None:
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
