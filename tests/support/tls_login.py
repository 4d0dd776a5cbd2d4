"""tls_login: SASL over TLS at SMTP, IMAP and POP3, with a client of our own making.

The SCRAM of the client is `scramp`, another implementation; the sockets are Python's own.
"""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Self

from scramp import ScramClient

PROTOCOLS = ("submission", "imap", "pop3")

_ASK = {"submission": b"EHLO client.example", "imap": b"a CAPABILITY", "pop3": b"CAPA"}


def client_context(
    ca: Path | None, identity: tuple[Path, Path] | None = None, *, version: str = "TLSv1_3"
) -> ssl.SSLContext:
    """ca: whom it trusts; None: anybody. identity: (certificate, key) that it shows."""
    context = ssl.create_default_context(cafile=str(ca) if ca else None)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if identity is not None:
        context.load_cert_chain(*identity)
    return context


class Talk:
    """One connection. protocol: of PROTOCOLS. context: None stays in the clear."""

    def __init__(
        self,
        protocol: str,
        port: int,
        context: ssl.SSLContext | None,
        *,
        name: str = "localhost",
        implicit: bool = False,
        before: bytes = b"",
    ) -> None:
        self.protocol = protocol
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        if before:
            self.socket.sendall(before)
        if implicit and context is not None:
            self._secure(context, name)
        self._file = self.socket.makefile("rb")
        self.greeting = self._greeting()
        if context is not None and not implicit:
            if protocol == "submission":
                self.offered()
            start = {"submission": b"STARTTLS", "imap": b"s STARTTLS", "pop3": b"STLS"}[protocol]
            assert self._command(start)[-1].lstrip(b"s ").startswith((b"220", b"OK", b"+OK"))
            self._secure(context, name)
            self._file = self.socket.makefile("rb")
        if protocol == "submission":
            self.offered()  # its EHLO comes before everything else

    def _secure(self, context: ssl.SSLContext, name: str) -> None:
        self.socket = context.wrap_socket(self.socket, server_hostname=name)

    def _greeting(self) -> bytes:
        return self._file.readline()

    def _command(self, line: bytes) -> list[bytes]:
        """The lines of the answer."""
        self.socket.sendall(line + b"\r\n")
        return self._answer(line.split(b" ")[0] + b" ")

    def _answer(self, tag: bytes) -> list[bytes]:
        lines = []
        while line := self._file.readline().rstrip(b"\r\n"):
            lines.append(line)
            done = {
                "submission": line[3:4] == b" ",
                "imap": line.startswith((tag, b"+")),
                "pop3": True,
            }[self.protocol]
            if done:
                return lines
        raise ConnectionError(f"ended after {lines}")

    def offered(self) -> set[str]:
        """The SASL mechanisms."""
        lines = self._command(_ASK[self.protocol])
        if self.protocol == "pop3":
            while lines[-1] != b".":
                lines.append(self._file.readline().rstrip(b"\r\n"))
        words = b" ".join(lines).replace(b"250-", b"").replace(b"250 ", b"").decode().split()
        if self.protocol == "imap":
            return {word[5:] for word in words if word.startswith("AUTH=")}
        marker = {"submission": "AUTH", "pop3": "SASL"}[self.protocol]
        if marker not in words:
            return set()
        known = {"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN", "EXTERNAL"}
        return {word for word in words[words.index(marker) + 1 :] if word in known}

    def log_in(
        self, mechanism: str, initial: bytes | None, respond: Callable[[bytes], bytes]
    ) -> bytes:
        """One exchange; the last line of the answer. initial: None: not with the command."""
        verb = {"submission": "AUTH", "imap": "l AUTHENTICATE", "pop3": "AUTH"}[self.protocol]
        line = f"{verb} {mechanism}".encode()
        if initial is not None:
            line += b" " + (base64.b64encode(initial) or b"=")
        answer = self._command(line)[-1]
        while answer.startswith((b"334", b"+")) and not answer.startswith(b"+OK"):
            challenge = base64.b64decode(answer.partition(b" ")[2])
            self.socket.sendall(base64.b64encode(respond(challenge)) + b"\r\n")
            answer = self._answer(b"l ")[-1]
        return answer

    def scram(
        self,
        user: str,
        password: str,
        *,
        mechanisms: Iterable[str] = ("SCRAM-SHA-256-PLUS",),
        binds: bool = True,
    ) -> bytes:
        """By scramp, which takes the binding from the TLS that it sees. Raises what it raises."""
        binding = ("tls-server-end-point", self.socket) if binds else None
        client = ScramClient(list(mechanisms), user, password, channel_binding=binding)

        def respond(challenge: bytes) -> bytes:
            text = challenge.decode()
            if text.startswith("v="):
                client.set_server_final(text)
                return b""
            client.set_server_first(text)
            return client.get_client_final().encode()

        return self.log_in(client.mechanism_name, client.get_client_first().encode(), respond)

    def external(self, authzid: str = "", *, at_once: bool = True) -> bytes:
        """With the certificate that was shown in TLS."""
        name = authzid.encode()
        return self.log_in("EXTERNAL", name if at_once else None, lambda _: name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self._file.close()


def succeeded(answer: bytes) -> bool:
    """Whether the login's answer says so."""
    return answer.startswith((b"235 ", b"l OK", b"+OK"))
