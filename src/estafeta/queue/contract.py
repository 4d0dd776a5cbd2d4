"""Contract: what the queue is handed from the rooms it may not import.

`assemble` gives it `relay.attempt` and the acceptor of `intake`; both are known here by shape only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec

from estafeta.mail.envelope import Envelope, Recipient
from estafeta.mail.outcome import Deferred, Outcome, Refused
from estafeta.mail.protocols import Content
from estafeta.store.engine import Tx
from estafeta.store.rows import Acceptance


class Note(Protocol):
    """One thing seen on the way: a DNS answer, a connection, a handshake, a reply.

    at: seconds since the attempt began. data: JSON-able.
    """

    @property
    def at(self) -> float: ...
    @property
    def kind(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def data(self) -> dict[str, Any]: ...


class HostSeen(Protocol):
    """A host that failed as a whole. failure: None where a probe found that it answers again."""

    @property
    def host(self) -> str: ...
    @property
    def failure(self) -> Deferred | None: ...


class Report(Protocol):
    """What one attempt came to. outcomes: one for each recipient, in their order.

    blocked: every host there is for them, where none has time for us. untried: and so none was
    asked at all; no attempt was made.
    """

    @property
    def outcomes(self) -> Sequence[Outcome]: ...
    @property
    def notes(self) -> Sequence[Note]: ...
    @property
    def seen(self) -> Sequence[HostSeen]: ...
    @property
    def blocked(self) -> Sequence[str]: ...
    @property
    def untried(self) -> bool: ...


Attempt = Callable[[str, Envelope, Content, Callable[[], None]], Awaitable[Report]]
"""destination, envelope, content, sent -> report. Does not raise for anything a peer does.

sent: called before a message goes out whole. Until then a cancelled attempt has done nothing; from
then on the message may be there, and would be there twice.
"""


class Prepared(Protocol):
    """An acceptance whose rows are ready; part of whatever unit applies it."""

    @property
    def id(self) -> int: ...

    @property
    def accounts(self) -> Sequence[int]:
        """Accounts the unit must declare."""
        ...

    def apply(self, tx: Tx) -> None: ...

    def committed(self) -> None:
        """To be called once the unit is durable."""
        ...

    def abandoned(self) -> None:
        """To be called instead when the unit failed."""
        ...

    def doubted(self) -> None:
        """To be called instead when it is not known whether the unit happened."""
        ...


class Notice(msgspec.Struct, frozen=True):
    """A message of our own about another: bounce, success report. id: of the acceptance it becomes.
    to: its one recipient."""

    id: int
    origin: str
    parent: Acceptance
    to: str
    message: bytes
    message_id: str
    utf8: bool


class Acceptor(Protocol):
    """The part of `intake` that opens acceptances."""

    async def prepare_notice(self, notice: Notice) -> Prepared: ...

    async def has_mailbox(self, address: str) -> bool:
        """Whether mail for it comes to a mailbox of ours."""
        ...

    async def prepare_again(
        self,
        parent: Acceptance,
        recipients: Sequence[Recipient],
        content: Content,
        *,
        origin: str = "alias",
    ) -> tuple[Prepared | None, dict[int, Refused | Deferred]]:
        """The same message for these recipients: a child acceptance for those we know or that are
        elsewhere, and by index those of ours we do not know, or whose mailbox is full. None where
        there is nobody else."""
        ...

    async def is_ours(self, destination: str) -> bool: ...
