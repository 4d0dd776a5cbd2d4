"""Clients: a person's programs, of the standard library: what they see is seen from outside."""

from __future__ import annotations

import imaplib
import json
import re
import smtplib
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from estafeta.world.seams import Clock

ARRIVAL_SECONDS = 20.0
"""A letter that is not there after so long has failed its step."""

TIMEOUT_SECONDS = 20.0
STRANGER = "stranger.example"

Login = tuple[str, str]


@dataclass(slots=True)
class Transcript:
    """An SMTP dialogue: (seconds since 1970, "C" or "S", line), without passwords and text.

    tls: version and cipher, "" where in the clear. error: what ended it too soon, or "".
    """

    clock: Clock
    lines: list[tuple[float, str, str]] = field(default_factory=list)
    tls: str = ""
    error: str = ""

    def add(self, side: str, line: str) -> None:
        self.lines.append((self.clock.now(), side, line))

    def reply_to(self, command: str) -> tuple[float, str]:
        """When and what was last answered to a command that begins so; (0.0, "") without one."""
        found = (0.0, "")
        asked = False
        for at, side, line in self.lines:
            if side == "C":
                asked = line.startswith(command)
            elif asked:
                found = (at, line)
        return found


class Smtp(smtplib.SMTP):
    """smtplib that keeps the dialogue."""

    def __init__(self, host: str, port: int, *, name: str, clock: Clock) -> None:
        self.transcript = Transcript(clock)
        super().__init__(host, port, local_hostname=name, timeout=TIMEOUT_SECONDS)

    def putcmd(self, cmd: str, args: str = "") -> None:
        shown = " ".join(args.split()[:1]) if cmd.upper() == "AUTH" else args
        self.transcript.add("C", f"{cmd.upper()} {shown}".strip())
        super().putcmd(cmd, args)

    def getreply(self) -> tuple[int, bytes]:
        code, text = super().getreply()
        last = text.decode(errors="replace").rpartition("\n")[2]
        self.transcript.add("S", f"{code} {last}")
        return code, text

    def data(self, msg: bytes | str) -> tuple[int, bytes]:  # type: ignore[override]
        """The reply to the message is told apart from the one to DATA."""
        self.putcmd("data")
        code, text = self.getreply()
        if code != 354:
            return code, text
        self.transcript.add("C", ".")
        content = msg if isinstance(msg, bytes) else msg.encode("ascii")
        self.send(re.sub(rb"(?m)^\.", b"..", content) + b".\r\n")
        return self.getreply()


def submit(
    host: str,
    port: int,
    authority: Path,
    clock: Clock,
    *,
    login: Login,
    recipient: str,
    message: bytes,
    forged: str,
) -> Transcript:
    """Hands a message to a submission server: STARTTLS, AUTH, first a sender that is somebody
    else's (`forged`), then the message. The transcript tells how far it came."""
    client = Smtp(host, port, name="laptop.example", clock=clock)
    try:
        client.starttls(context=ssl.create_default_context(cafile=str(authority)))
        assert isinstance(client.sock, ssl.SSLSocket)
        cipher = client.sock.cipher()
        client.transcript.tls = f"{client.sock.version()} {cipher[0] if cipher else ''}"
        client.login(*login)
        client.mail(forged)
        client.rset()
        client.sendmail(login[0], [recipient], message)
        client.quit()
    except (smtplib.SMTPException, OSError) as error:
        client.transcript.error = " ".join(str(error).split())
        client.close()
    return client.transcript


def submit_all(
    host: str,
    port: int,
    authority: Path,
    clock: Clock,
    *,
    login: Login,
    messages: Sequence[tuple[str, bytes]],
) -> list[str]:
    """Hands messages to a submission server, each for one recipient. Returns what each was answered
    with, "" for those that it did not come to."""
    client = Smtp(host, port, name="laptop.example", clock=clock)
    replies: list[str] = []
    try:
        client.starttls(context=ssl.create_default_context(cafile=str(authority)))
        client.login(*login)
        for recipient, message in messages:
            client.sendmail(login[0], [recipient], message)
            replies.append(client.transcript.lines[-1][2])
        client.quit()
    except (smtplib.SMTPException, OSError):
        client.close()
    return replies + [""] * (len(messages) - len(replies))


def ask_recipients(
    host: str, port: int, clock: Clock, recipients: tuple[str, ...]
) -> tuple[str, ...]:
    """What the server of a recipient's domain says to each RCPT, as a stranger asks it."""
    client = Smtp(host, port, name=STRANGER, clock=clock)
    try:
        client.ehlo()
        client.mail("")
        replies = [client.rcpt(recipient) for recipient in recipients]
        client.quit()
    finally:
        client.close()
    return tuple(f"{code} {text.decode(errors='replace')}" for code, text in replies)


def ask_api(host: str, port: int, token: str, method: str, path: str, language: str) -> Any:
    """What the HTTP API answers to whom the token is. Raises OSError, also where it says no."""
    asking = HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    headers = {"Authorization": f"Bearer {token}", "Accept-Language": language}
    with closing(asking):
        asking.request(method, path, "{}" if method == "POST" else None, headers)
        answer = asking.getresponse()
        text = answer.read().decode()
    if answer.status >= 300:
        raise OSError(f"{method} {path}: {answer.status} {text}")
    return json.loads(text)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A message as IMAP gave it. at: seconds since 1970 when its arrival was told."""

    uid: int
    raw: bytes
    at: float
    waited: bool


class Mailbox:
    """A person's INBOX over IMAP with TLS."""

    def __init__(self, host: str, port: int, authority: Path, clock: Clock, login: Login) -> None:
        context = ssl.create_default_context(cafile=str(authority))
        self._clock = clock
        self._client = imaplib.IMAP4_SSL(host, port, ssl_context=context, timeout=TIMEOUT_SECONDS)
        self._client.login(*login)
        self._client.select("INBOX")
        self._idling = b""
        self._told = False

    def close(self) -> None:
        """Logs out; a connection that has failed before is only closed."""
        try:
            if self._idling:
                self._end_idle()
            self._client.logout()
        except (OSError, imaplib.IMAP4.error):
            self._client.shutdown()

    def idle(self) -> None:
        """Asks to be told of what arrives (RFC 2177); returns once the server listens."""
        self._idling = self._client._new_tag()
        self._client.send(self._idling + b" IDLE\r\n")
        while not (line := self._client.readline()).startswith(b"+"):
            if not line:
                raise OSError("the IMAP server closed the connection")
            self._told = self._told or b"EXISTS" in line

    def wait_for(self, header: str, value: str) -> Fetched | None:
        """The message whose header field holds `value`, as soon as the server tells of it."""
        end = time.monotonic() + ARRIVAL_SECONDS
        waited = False
        while time.monotonic() < end:
            if self._idling:
                waited = True
                if not self._wait():
                    return None
            at = self._clock.now()
            found = self._find(header, value)
            if found is not None:
                return Fetched(*found, at, waited)
            self.idle()
        return None

    def gather(self, enough: Callable[[Sequence[bytes]], bool], seconds: float) -> None:
        """Hands every message of the INBOX to `enough` each time there are further ones, until that
        says so, or until it takes too long."""
        end = time.monotonic() + seconds
        known: dict[int, bytes] = {}
        while True:
            self._client.noop()
            for uid in self._uids():
                if uid not in known:
                    _, parts = self._client.uid("FETCH", str(uid), "(BODY.PEEK[])")
                    known[uid] = next(part[1] for part in parts if isinstance(part, tuple))
            if enough(list(known.values())) or time.monotonic() > end:
                return
            self.idle()
            if not self._wait():
                return

    def _uids(self) -> list[int]:
        _, answer = self._client.uid("SEARCH", "ALL")
        return [int(uid) for uid in (answer[0] or b"").split()]

    def _find(self, header: str, value: str) -> tuple[int, bytes] | None:
        """(UID, octets) of the message whose header field holds `value`, if it is there."""
        self._client.noop()  # what the server knows, we know (RFC 3501 §6.1.2)
        _, answer = self._client.uid("SEARCH", "HEADER", header, f'"{value}"')
        uids = (answer[0] or b"").split()
        if not uids:
            return None
        uid = uids[-1].decode()
        _, parts = self._client.uid("FETCH", uid, "(BODY.PEEK[])")
        return int(uid), next(part[1] for part in parts if isinstance(part, tuple))

    def _wait(self) -> bool:
        """Returns when the server tells of a message; False when it does not in time."""
        try:
            while not self._told:
                line = self._client.readline()
                if not line or line.startswith(b"* BYE"):
                    return False
                self._told = b"EXISTS" in line
        except OSError:
            self._idling = b""  # nothing can be read from it any more
            return False
        self._told = False
        self._end_idle()
        return True

    def _end_idle(self) -> None:
        tag, self._idling = self._idling, b""
        self._client.send(b"DONE\r\n")
        while (line := self._client.readline()) and not line.startswith(tag):
            pass
