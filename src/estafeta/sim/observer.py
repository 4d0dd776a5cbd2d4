"""Observer: what passes between the machines, seen from outside and understood as SMTP.

It hangs on the tap of the internet and shares no code with the programs under test. Promises: a
`Handover` for every message whose final dot reached a server, with the reply that reached the
client or none; an `Asked` for every RCPT; a digest of every octet, its place and its moment, by
which two runs are compared.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from estafeta.world.seams import Endpoint

from .letters import number_of

Moment = Literal[
    "taking",  # a message has reached it whole
    "refused",  # it was told so
    "answered",  # what it handed on was
]
"""What a machine is about to write down: the moments at which a death is worst."""

SMTP_PORTS = frozenset((25, 587))
_PATH = re.compile(rb"<([^>]*)>")
_END = b"\r\n.\r\n"


@dataclass(slots=True)
class Asked:
    """One RCPT that reached a server. replied_at: when the reply reached the client.

    process: the client's, as `Internet.connected` names it.
    """

    at: float
    client: str
    server: str
    address: str
    code: int = 0
    replied_at: float | None = None
    process: str = ""


@dataclass(slots=True)
class Handover:
    """One message that reached a server whole. letter: its number, None where it has none.

    recipients: those taken at RCPT. code: of the reply that reached the client, 0 for none.
    process, served_by: the client's and the server's, as the `Internet` names them.
    """

    at: float
    client: str
    server: str
    port: int
    sender: str
    letter: int | None
    recipients: tuple[str, ...]
    code: int = 0
    replied_at: float | None = None
    process: str = ""
    served_by: str = ""


@dataclass(slots=True)
class _Conversation:
    client: str
    server: str
    port: int
    process: str
    served_by: str
    from_client: bytes = b""
    from_server: bytes = b""
    expected: deque[object] = field(default_factory=lambda: deque(["greeting"]))
    sender: str = ""
    recipients: list[Asked] = field(default_factory=list)
    content: bytearray | None = None
    searched: int = 0


class Observer:
    """Give `tap` to `Internet.tap`. Times are the loop's.

    connected, served: see `Internet`.
    """

    def __init__(
        self,
        connected: Mapping[Endpoint, str] | None = None,
        served: Mapping[Endpoint, str] | None = None,
    ) -> None:
        self._connected: Mapping[Endpoint, str] = {} if connected is None else connected
        self._served: Mapping[Endpoint, str] = {} if served is None else served
        self.asked: list[Asked] = []
        self.handovers: list[Handover] = []
        self.pieces = 0
        self._awaited: list[tuple[Moment, frozenset[str], asyncio.Future[None]]] = []
        self._digest = hashlib.blake2b(digest_size=16)
        self._open: dict[tuple[Endpoint, Endpoint], _Conversation] = {}

    def tap(self, source: Endpoint, to: Endpoint, data: bytes) -> None:
        at = asyncio.get_running_loop().time()
        self.pieces += 1
        self.note(f"{at!r} {source} {to} {len(data)} ".encode() + data)
        if to.port in SMTP_PORTS:
            self._conversation(source, to).from_client += data
            self._hear_client(self._conversation(source, to), at)
        elif source.port in SMTP_PORTS:
            self._conversation(to, source).from_server += data
            self._hear_server(self._conversation(to, source), at)

    async def next(self, moment: Moment, whose: Iterable[str]) -> None:
        """Returns at the next such moment of the machine with these addresses, or of a process of
        that name."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.append((moment, frozenset(whose), future))
        await future

    def _now_is(self, moment: Moment, address: str, process: str) -> None:
        for entry in list(self._awaited):
            if entry[0] == moment and (address in entry[1] or process in entry[1]):
                self._awaited.remove(entry)
                if not entry[2].done():
                    entry[2].set_result(None)

    def note(self, what: bytes) -> None:
        """Makes something else part of what two runs of a seed must have in common."""
        self._digest.update(what)

    def digest(self) -> str:
        return self._digest.hexdigest()

    def _conversation(self, client: Endpoint, server: Endpoint) -> _Conversation:
        found = self._open.get((client, server))
        if found is None:
            found = _Conversation(
                client.host,
                server.host,
                server.port,
                self._connected.get(client, ""),
                self._served.get(client, ""),
            )
            self._open[client, server] = found
        return found

    # -- the client's side -----------------------------------------------------------------------

    def _hear_client(self, on: _Conversation, at: float) -> None:
        while on.from_client:
            if on.content is not None:
                on.content += on.from_client
                on.from_client = b""
                end = on.content.find(_END, on.searched)
                if end < 0:
                    on.searched = max(0, len(on.content) - len(_END) + 1)
                    return
                on.from_client = bytes(on.content[end + len(_END) :])
                self._handed_over(on, bytes(on.content[2 : end + 2]), at)
                continue
            if on.from_client[0] == 0x16:  # a toy handshake
                _, end_of_line, rest = on.from_client.partition(b"\n")
                if not end_of_line:
                    return
                on.from_client = rest
                continue
            line, end_of_line, rest = on.from_client.partition(b"\r\n")
            if not end_of_line:
                return
            on.from_client = rest
            self._command(on, line, at)

    def _command(self, on: _Conversation, line: bytes, at: float) -> None:
        verb = line[:4].upper()
        path = _PATH.search(line)
        if verb == b"RCPT" and path:
            asked = Asked(at, on.client, on.server, path[1].decode(), process=on.process)
            self.asked.append(asked)
            on.recipients.append(asked)
            on.expected.append(asked)
            return
        if verb == b"MAIL":
            on.sender = path[1].decode() if path else ""
            on.recipients = []
        on.expected.append("data" if verb == b"DATA" else "other")

    def _handed_over(self, on: _Conversation, message: bytes, at: float) -> None:
        on.content = None
        taken = tuple(asked.address for asked in on.recipients if asked.code // 100 == 2)
        if not taken:
            on.expected.append("other")  # RFC 2920 §3.1: an empty message to nobody
            return
        number = number_of(message.replace(b"\r\n.", b"\r\n"))
        handover = Handover(
            at,
            on.client,
            on.server,
            on.port,
            on.sender,
            number,
            taken,
            process=on.process,
            served_by=on.served_by,
        )
        self.handovers.append(handover)
        self._now_is("taking", on.server, on.served_by)
        on.expected.append(handover)

    # -- the server's side -----------------------------------------------------------------------

    def _hear_server(self, on: _Conversation, at: float) -> None:
        while on.from_server:
            if on.from_server[0] == 0x16:
                _, end_of_line, rest = on.from_server.partition(b"\n")
                if not end_of_line:
                    return
                on.from_server = rest
                continue
            line, end_of_line, rest = on.from_server.partition(b"\r\n")
            if not end_of_line:
                return
            on.from_server = rest
            if line[3:4] != b"-" and line[:3].isdigit() and on.expected:
                self._reply(on, on.expected.popleft(), int(line[:3]), at)

    def _reply(self, on: _Conversation, to: object, code: int, at: float) -> None:
        if isinstance(to, Asked | Handover):
            to.code, to.replied_at = code, at
            if code >= 500:
                self._now_is("refused", on.client, on.process)
            elif isinstance(to, Handover):
                self._now_is("answered", on.client, on.process)
        elif to == "data" and code == 354:
            on.content = bytearray(b"\r\n")
            on.searched = 0
