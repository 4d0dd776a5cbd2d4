"""side: what takes part in a contest: programs that run together, and the load they are given."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, Protocol, Self

from tests.support.peers.packages import fetch
from tests.support.peers.process import wait_for

from bench.load import Sink, send
from bench.measure import Load, Run, Stopwatch
from bench.visible import log_in, wait_visible

DOMAIN = "bench.example"
DRAIN_TIMEOUT_S = 120.0

Address = tuple[str, int]


class Program(AbstractContextManager[Any], Protocol):
    """A running peer. session: its process group's session id, whose CPU and memory count."""

    @property
    def session(self) -> int: ...


class Side:
    """Runs `programs` while it is entered, in their order. countable: its syncs can be counted."""

    name = ""
    countable = True

    def __init__(self, programs: Sequence[Program]) -> None:
        self.peers = fetch()
        self._programs = list(programs)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for program in self._programs:
                stack.enter_context(program)
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
        """Sessions of what is measured; a sink is not."""
        return [p.session for p in self._programs if not isinstance(p, Sink)]

    def facts(self) -> dict[str, int | str]:
        """What the report tells of this side besides its figures."""
        return {}

    def deliver(
        self,
        load: Load,
        messages: int,
        *,
        to: Address,
        imap: Address,
        user: str,
        password: str,
        recipient: str,
    ) -> Run:
        """From the first connection until all messages are counted in the mailbox by IMAP."""
        client = log_in(*imap, user, password)
        watch = Stopwatch(self.sessions)
        send(self.peers, to, recipient, load, messages)
        accepted = watch.elapsed_s()
        wait_visible(client, messages)
        run = watch.run(messages, accepted)
        client.logout()
        return run

    def relay(self, load: Load, messages: int, *, to: Address, sink: Sink, turn: int) -> Run:
        """From the first connection until the sink has taken all messages."""
        before = sink.count()
        watch = Stopwatch(self.sessions, [sink.session])
        send(self.peers, to, f"turn{turn}@elsewhere.example", load, messages)
        accepted = watch.elapsed_s()
        wait_for(
            f"{messages} messages at the sink",
            lambda: sink.count() - before >= messages,
            DRAIN_TIMEOUT_S,
        )
        return watch.run(messages, accepted)
