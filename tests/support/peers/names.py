"""names: a name server for one test, in a thread, on loopback: real packets, records from a table.

Answers over UDP and TCP. A name that is not in the table does not exist (NXDOMAIN); one that is,
but not with the type asked for, gets an empty answer (NODATA, RFC 2308 §2).
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from .process import LOOPBACK, free_port

TTL_S = 60

# Name -> type -> values as a zone file writes them.
Records = Mapping[str, Mapping[str, list[str]]]


class NameServer:
    """A running name server. records: what it knows. asked: questions so far, "NAME TYPE"."""

    def __init__(self, records: Records) -> None:
        self.records = {dns.name.from_text(name): kinds for name, kinds in records.items()}
        self.host = LOOPBACK
        self.port = free_port()
        self.asked: list[str] = []
        answer = self.answer

        class Udp(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                packet, replies = self.request
                with contextlib.suppress(dns.exception.DNSException):
                    replies.sendto(answer(packet), self.client_address)

        class Tcp(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while len(head := self.rfile.read(2)) == 2:
                    wire = answer(self.rfile.read(int.from_bytes(head, "big")))
                    self.wfile.write(len(wire).to_bytes(2, "big") + wire)

        self._servers: list[socketserver.BaseServer] = [
            socketserver.UDPServer((self.host, self.port), Udp),
            _TcpServer((self.host, self.port), Tcp),
        ]

    @property
    def address(self) -> str:
        """As a setting names it: address and port."""
        return f"{self.host}:{self.port}"

    def answer(self, wire: bytes) -> bytes:
        """The answer to one packet."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append(f"{question.name} {kind}")
        reply = dns.message.make_response(query, recursion_available=True)
        reply.flags |= dns.flags.AA
        found = self.records.get(question.name)
        if found is None:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif values := found.get(kind):
            reply.answer.append(dns.rrset.from_text_list(question.name, TTL_S, "IN", kind, values))
        return reply.to_wire()

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


class _TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    address_family = socket.AF_INET
