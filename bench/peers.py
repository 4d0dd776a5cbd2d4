"""peers: the other sides. Postfix handing to Dovecot by LMTP, and Postfix relaying to a sink.

Settings are as shipped but for what an instance without root and without a network needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.support.peers.dovecot import PASSWORD, Dovecot
from tests.support.peers.packages import fetch
from tests.support.peers.postfix import Postfix

from bench.load import Sink
from bench.measure import Load, Run
from bench.side import DOMAIN, Side


class PostfixDovecot(Side):
    """Port 25 to mailbox: Postfix accepts and queues, Dovecot stores into a Maildir."""

    name = "Postfix + Dovecot LMTP"

    def __init__(self, folder: Path, trace: Sequence[str] = ()) -> None:
        self._dovecot = Dovecot(folder / "d", trace=trace)
        self._postfix = Postfix(
            folder / "p", domains=[DOMAIN], lmtp=self._dovecot.lmtp, trace=trace
        )
        super().__init__([self._dovecot, self._postfix])

    def run(self, load: Load, messages: int, turn: int) -> Run:
        return self.deliver(
            load,
            messages,
            to=(self._postfix.host, self._postfix.port),
            imap=(self._dovecot.host, self._dovecot.imap_port),
            user=f"turn{turn}",
            password=PASSWORD,
            recipient=f"turn{turn}@{DOMAIN}",
        )


class PostfixRelay(Side):
    """Submission to the next server: Postfix accepts, queues and sends to smtp-sink."""

    name = "Postfix"

    def __init__(self, folder: Path, trace: Sequence[str] = ()) -> None:
        self._sink = Sink(fetch(), folder)
        hop = (self._sink.host, self._sink.port)
        self._postfix = Postfix(folder / "p", relayhost=hop, trace=trace)
        super().__init__([self._sink, self._postfix])

    def run(self, load: Load, messages: int, turn: int) -> Run:
        to = (self._postfix.host, self._postfix.port)
        return self.relay(load, messages, to=to, sink=self._sink, turn=turn)
