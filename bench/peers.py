"""peers: the other sides. Postfix handing to Dovecot by LMTP, and Postfix relaying to a sink.

Settings are as shipped but for what an instance without root and without a network needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.peers.dovecot import PASSWORD, Dovecot
from tests.support.peers.packages import fetch
from tests.support.peers.postfix import Postfix
from tests.support.peers.process import wait_for

from bench.load import Sink, send
from bench.measure import Load, Run, Stopwatch
from bench.visible import log_in, wait_visible

DOMAIN = "bench.example"
DRAIN_TIMEOUT_S = 120.0


class PostfixDovecot:
    """Port 25 to mailbox: Postfix accepts and queues, Dovecot stores into a Maildir."""

    name = "Postfix + Dovecot LMTP"

    def __init__(self, folder: Path, trace: Sequence[str] = ()) -> None:
        self.peers = fetch()
        self._dovecot = Dovecot(folder / "d", trace=trace)
        self._postfix = Postfix(
            folder / "p", domains=[DOMAIN], lmtp=self._dovecot.lmtp, trace=trace
        )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._dovecot)
            stack.enter_context(self._postfix)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def sessions(self) -> list[int]:
        return [self._postfix.session, self._dovecot.session]

    def facts(self) -> dict[str, int | str]:
        return {}

    def run(self, load: Load, messages: int, turn: int) -> Run:
        user = f"turn{turn}"
        client = log_in(self._dovecot.host, self._dovecot.imap_port, user, PASSWORD)
        watch = Stopwatch(self.sessions)
        address = (self._postfix.host, self._postfix.port)
        send(self.peers, address, f"{user}@{DOMAIN}", load, messages)
        accepted = watch.elapsed_s()
        wait_visible(client, messages)
        run = watch.run(messages, accepted)
        client.logout()
        return run


class PostfixRelay:
    """Submission to the next server: Postfix accepts, queues and sends to smtp-sink."""

    name = "Postfix"

    def __init__(self, folder: Path, trace: Sequence[str] = ()) -> None:
        self.peers = fetch()
        self._sink = Sink(self.peers, folder)
        hop = (self._sink.host, self._sink.port)
        self._postfix = Postfix(folder / "p", relayhost=hop, trace=trace)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._sink)
            stack.enter_context(self._postfix)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def sessions(self) -> list[int]:
        return [self._postfix.session]

    def facts(self) -> dict[str, int | str]:
        return {}

    def run(self, load: Load, messages: int, turn: int) -> Run:
        before = self._sink.count()
        watch = Stopwatch(self.sessions, [self._sink.session])
        address = (self._postfix.host, self._postfix.port)
        send(self.peers, address, f"turn{turn}@elsewhere.example", load, messages)
        accepted = watch.elapsed_s()
        wait_for(
            f"{messages} messages at the sink",
            lambda: self._sink.count() - before >= messages,
            DRAIN_TIMEOUT_S,
        )
        return watch.run(messages, accepted)
