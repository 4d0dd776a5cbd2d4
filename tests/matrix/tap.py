"""tap: a TCP relay between two servers that remembers who said what, and in which order.

What a server really sent (BDAT or DATA, commands in one go or one by one, the parameters of MAIL
and RCPT) is told by nobody's log as surely as by the octets themselves. Only for talk in the clear.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from dataclasses import dataclass, field
from typing import Literal, Self

from tests.support.peers.process import LOOPBACK, DidNotHappen, free_port

CHUNK_OCTETS = 65536
CONNECT_TIMEOUT_S = 10

Who = Literal["client", "server"]


@dataclass(frozen=True, slots=True)
class Transaction:
    """One message on its way: the client's part from MAIL until the content began.

    mail, recipients: the commands, without line ends. content: "DATA" or "BDAT". pipelined: some
    command, this one included, was sent before the one ahead of it was answered.
    """

    mail: str
    recipients: tuple[str, ...]
    content: str
    pipelined: bool


@dataclass(slots=True)
class _Connection:
    said: list[tuple[Who, bytes]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, who: Who, data: bytes) -> None:
        with self.lock:
            self.said.append((who, data))

    def both(self) -> list[tuple[Who, bytes]]:
        with self.lock:
            return list(self.said)


class Tap:
    """Listens on `port` and passes on to (host, to) whatever comes, both ways."""

    def __init__(self, to: int, host: str = LOOPBACK) -> None:
        self.host = host
        self.to = to
        self.port = free_port(host)
        self._connections: list[_Connection] = []
        self._listener: socket.socket | None = None

    def __enter__(self) -> Self:
        self._listener = socket.create_server((self.host, self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((self.host, self.to), CONNECT_TIMEOUT_S)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            connection = _Connection()
            self._connections.append(connection)
            for who, source, sink in (("client", client, server), ("server", server, client)):
                threading.Thread(
                    target=_pass_on, args=(connection, who, source, sink), daemon=True
                ).start()

    def transaction(self, mark: str) -> Transaction:
        """That of the message with this left side of its Message-ID. Raises: DidNotHappen."""
        for connection in list(self._connections):
            if found := _transaction(connection.both(), f"<{mark}@".encode()):
                return found
        raise DidNotHappen(f"no message {mark} came through {self.port}")

    def refusals(self) -> list[str]:
        """All lines that began with 4 or 5 which the server has said so far."""
        return [
            line for connection in list(self._connections) for line in _refusals(connection.both())
        ]

    def offered(self, keyword: str) -> bool:
        """Whether a server's answer to EHLO named the keyword."""
        pattern = re.compile(rb"^250[- ]%s\b" % keyword.encode(), re.M)
        return any(
            who == "server" and pattern.search(data)
            for connection in list(self._connections)
            for who, data in connection.both()
        )


def _pass_on(connection: _Connection, who: Who, source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(CHUNK_OCTETS):
            connection.note(who, data)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            with contextlib.suppress(OSError):  # close alone leaves who reads there waiting
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _transaction(said: list[tuple[Who, bytes]], mark: bytes) -> Transaction | None:
    client = b"".join(data for who, data in said if who == "client")
    end = client.find(mark)
    begin = max(client.rfind(b"MAIL FROM:", 0, end), client.rfind(b"MAIL From:", 0, end))
    if end < 0 or begin < 0:
        return None
    commands: list[str] = []
    turns: list[int] = []
    for line in client[begin:end].split(b"\r\n"):
        commands.append(line.decode("utf-8", "replace"))
        turns.append(_event(said, begin))
        begin += len(line) + len(b"\r\n")
        if line[:4].upper() in (b"DATA", b"BDAT"):
            break
    recipients = tuple(line for line in commands if line[:8].upper() == "RCPT TO:")
    pipelined = len(set(turns)) < len(turns)
    return Transaction(commands[0], recipients, commands[-1][:4].upper(), pipelined)


def _refusals(said: list[tuple[Who, bytes]]) -> list[str]:
    text = b"".join(data for who, data in said if who == "server").decode("utf-8", "replace")
    return [line for line in text.split("\r\n") if re.match(r"[45]\d\d[ -]", line)]


def _event(said: list[tuple[Who, bytes]], offset: int) -> int:
    """How often the server had spoken when the client's octet at `offset` came."""
    passed = spoken = 0
    for who, data in said:
        if who == "server":
            spoken += 1
        else:
            passed += len(data)
            if passed > offset:
                break
    return spoken
