"""Clients: a person's programs, made of the standard library: what they see is seen from outside."""

from __future__ import annotations

import email
import email.policy
import imaplib
import re
import smtplib
import ssl
import time
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path

ARRIVAL_SECONDS = 30.0
TIMEOUT_SECONDS = 20.0


@dataclass(slots=True)
class Transcript:
    """Lines of an SMTP dialogue, "C: …" and "S: …", without passwords and message text."""

    lines: list[str] = field(default_factory=list)

    def reply(self, code: int) -> str:
        """The last server line with that code, or ""."""
        return next((x[3:] for x in reversed(self.lines) if x.startswith(f"S: {code}")), "")


class Smtp(smtplib.SMTP):
    """smtplib that keeps the dialogue."""

    def __init__(self, host: str, port: int, *, name: str) -> None:
        self.transcript = Transcript()
        self._quiet = False
        super().__init__(host, port, local_hostname=name, timeout=TIMEOUT_SECONDS)

    def putcmd(self, cmd: str, args: str = "") -> None:
        shown = "AUTH …" if cmd.upper() == "AUTH" else f"{cmd} {args}".strip()
        self.transcript.lines.append(f"C: {shown}")
        super().putcmd(cmd, args)

    def getreply(self) -> tuple[int, bytes]:
        code, text = super().getreply()
        self.transcript.lines.extend(f"S: {code} {x}" for x in text.decode(errors="replace").split("\n"))
        return code, text


def submit(
    host: str, port: int, name: str, authority: Path, login: tuple[str, str], message: EmailMessage
) -> Transcript:
    """Hands a message to a submission server on 587's likes: STARTTLS, AUTH, the message."""
    context = ssl.create_default_context(cafile=str(authority))
    client = Smtp(host, port, name=name)
    try:
        client._host = name  # the name on the certificate; the address is a loopback one
        client.starttls(context=context)
        client.login(*login)
        client.send_message(message)
        client.quit()
    except smtplib.SMTPException:
        client.close()
    return client.transcript


def ask_recipient(host: str, port: int, name: str, recipient: str) -> str:
    """What the server of a recipient's domain says to RCPT, as a stranger asks it."""
    client = Smtp(host, port, name=name)
    client.ehlo()
    client.mail("")
    code, text = client.rcpt(recipient)
    client.quit()
    return f"{code} {text.decode(errors='replace')}"


def ask_sender(
    host: str, port: int, name: str, authority: Path, login: tuple[str, str], sender: str
) -> str:
    """What the submission server says to MAIL FROM somebody else's address."""
    client = Smtp(host, port, name=name)
    client._host = name
    client.starttls(context=ssl.create_default_context(cafile=str(authority)))
    client.login(*login)
    code, text = client.mail(sender)
    client.quit()
    return f"{code} {text.decode(errors='replace')}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A message as IMAP gave it."""

    uid: int
    raw: bytes
    message: EmailMessage


class Mailbox:
    """A person's INBOX over IMAP with TLS."""

    def __init__(self, host: str, port: int, authority: Path, login: tuple[str, str]) -> None:
        context = ssl.create_default_context(cafile=str(authority))
        self._client = imaplib.IMAP4_SSL(host, port, ssl_context=context, timeout=TIMEOUT_SECONDS)
        self._client.login(*login)
        self._client.select("INBOX")

    def close(self) -> None:
        self._client.logout()

    def wait_for(self, header: str, value: str) -> Fetched | None:
        """The message whose header field holds `value`; waits by IDLE until it has arrived."""
        end = time.monotonic() + ARRIVAL_SECONDS
        while True:
            found = self._search(header, value)
            if found is not None or time.monotonic() > end:
                return found
            self._idle()

    def _search(self, header: str, value: str) -> Fetched | None:
        _, answer = self._client.uid("SEARCH", "HEADER", header, f'"{value}"')
        uids = (answer[0] or b"").split()
        if not uids:
            return None
        uid = uids[-1].decode()
        _, parts = self._client.uid("FETCH", uid, "(BODY.PEEK[])")
        raw = next(part[1] for part in parts if isinstance(part, tuple))
        message = email.message_from_bytes(raw, policy=email.policy.default)
        return Fetched(int(uid), raw, message)

    def _idle(self) -> None:
        """Returns when the server speaks of a change (RFC 2177)."""
        client = self._client
        tag = client._new_tag()
        client.send(tag + b" IDLE\r\n")
        line = client.readline()
        while line.startswith(b"+") or b"EXISTS" not in line:
            if re.match(rb"[^*+]", line):
                return
            line = client.readline()
        client.send(b"DONE\r\n")
        while not line.startswith(tag):
            line = client.readline()
