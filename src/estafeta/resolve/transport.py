"""transport: one question to one server and its answer back, over UDP or TCP (RFC 1035 §4.2).

Against forged answers (RFC 5452 §9): unpredictable id, strewn over several sockets with ports the
system chose at random and that change; an answer counts only when it comes from the endpoint that
was asked, with the id and the question that were sent. All else is passed over, and the wait
goes on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import dns.exception
import dns.message

from estafeta.resolve.limits import QUESTIONS_PER_SOCKET, SOCKETS_PER_FAMILY
from estafeta.world.seams import Datagrams, Endpoint, World

_Waiting = dict[tuple[int, Endpoint], tuple[bytes, asyncio.Future[bytes]]]
"""(id, server asked) -> (question section, who waits)."""

_HEADER_OCTETS = 12
_CODES_WITHOUT_QUESTION = frozenset((1, 2, 4, 5))
"""FORMERR, SERVFAIL, NOTIMP, REFUSED: some servers leave the question out of these."""
_IDS = 0x10000
_ID_TRIES_MAX = 16


class Malformed(Exception):
    """The server's answer cannot be read."""


@dataclass(slots=True)
class _Socket:
    datagrams: Datagrams
    waiting: _Waiting = field(default_factory=dict)
    asked: int = 0
    reader: asyncio.Task[None] | None = None


class Transport:
    """The sockets of one resolver. Raises OSError and TimeoutError; the caller bounds the time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sockets: dict[bool, list[_Socket]] = {False: [], True: []}
        self._opening = asyncio.Lock()

    async def udp(self, question: dns.message.Message, server: Endpoint) -> dns.message.Message:
        """question's id is set here. Raises ConnectionError where the server's port is closed."""
        sock = await self._socket(":" in server.host)
        for _ in range(_ID_TRIES_MAX):
            question.id = self._world.dice.randrange(_IDS)
            key = (question.id, server)
            if key not in sock.waiting:
                break
        else:
            raise OSError("no free question id")
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        wire = question.to_wire()
        sock.waiting[key] = (_question_section(question), future)
        try:
            sock.datagrams.send(wire, server)
            received = await future
        finally:
            del sock.waiting[key]
            self._retire(sock)
        return _read(received)

    async def tcp(self, question: dns.message.Message, server: Endpoint) -> dns.message.Message:
        """RFC 7766: for answers that do not fit a datagram."""
        question.id = self._world.dice.randrange(_IDS)
        wire = question.to_wire()
        stream = await self._world.net.connect(server)
        try:
            stream.write(len(wire).to_bytes(2, "big") + wire)
            received = b""
            while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
                data = await stream.read()
                if not data:
                    raise ConnectionError("the server closed before its answer was whole")
                received += data
        finally:
            stream.abort()
        answer = _read(received[2 : 2 + int.from_bytes(received[:2], "big")])
        if not question.is_response(answer):
            raise Malformed("the answer is to another question")
        return answer

    async def close(self) -> None:
        for family in self._sockets.values():
            for sock in family:
                self._shut(sock)
            family.clear()

    async def _socket(self, six: bool) -> _Socket:
        family = self._sockets[six]
        if len(family) < SOCKETS_PER_FAMILY:
            async with self._opening:
                if len(family) < SOCKETS_PER_FAMILY:
                    await self._open(family, six)
        sock = family[self._world.dice.randrange(len(family))]
        sock.asked += 1
        if sock.asked >= QUESTIONS_PER_SOCKET:
            family.remove(sock)  # no new questions; closed once the last one is answered
        return sock

    async def _open(self, family: list[_Socket], six: bool) -> None:
        anywhere = Endpoint("::" if six else "0.0.0.0", 0)  # noqa: S104
        sock = _Socket(await self._world.net.datagrams(anywhere))
        sock.reader = asyncio.ensure_future(self._read_all(sock))
        family.append(sock)

    def _retire(self, sock: _Socket) -> None:
        if sock.asked >= QUESTIONS_PER_SOCKET and not sock.waiting:
            self._shut(sock)

    def _shut(self, sock: _Socket) -> None:
        for _, future in sock.waiting.values():
            if not future.done():
                future.set_exception(ConnectionAbortedError("the resolver is closed"))
        if sock.reader is not None:
            sock.reader.cancel()
        sock.datagrams.close()

    async def _read_all(self, sock: _Socket) -> None:
        while True:
            try:
                wire, source = await sock.datagrams.receive()
            except ConnectionError as error:
                # Which server's port is closed is not said. With one asked, it is that one.
                asked = {server for _, server in sock.waiting}
                if len(asked) == 1:
                    for _, future in sock.waiting.values():
                        if not future.done():
                            future.set_exception(ConnectionRefusedError(str(error)))
                continue
            if len(wire) < _HEADER_OCTETS:
                continue
            entry = sock.waiting.get((int.from_bytes(wire[:2], "big"), source))
            if entry is None:
                continue
            question, future = entry
            if not future.done() and _is_answer(question, wire):
                future.set_result(wire)


def _question_section(question: dns.message.Message) -> bytes:
    asked = question.question[0]
    name = asked.name.to_wire()
    assert name is not None
    return name + asked.rdtype.to_bytes(2, "big") + asked.rdclass.to_bytes(2, "big")


def _is_answer(question: bytes, wire: bytes) -> bool:
    """RFC 5452 §9.1: a response, and to this question (names compare without case)."""
    if not wire[2] & 0x80 or wire[2] & 0x78:
        return False
    count = int.from_bytes(wire[4:6], "big")
    if count == 0:
        return wire[3] & 0x0F in _CODES_WITHOUT_QUESTION
    repeated = wire[_HEADER_OCTETS : _HEADER_OCTETS + len(question)]
    return (
        count == 1
        and repeated[-4:] == question[-4:]
        and repeated[:-4].lower() == question[:-4].lower()
    )


def _read(wire: bytes) -> dns.message.Message:
    try:
        # What a truncated answer holds is not used (RFC 2181 §9), and may be cut off anywhere.
        truncated = len(wire) > 2 and bool(wire[2] & 0x02)
        return dns.message.from_wire(wire, ignore_trailing=True, question_only=truncated)
    except (dns.exception.DNSException, ValueError) as error:
        raise Malformed(f"unreadable answer: {error}") from None
