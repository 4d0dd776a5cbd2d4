"""Letters: messages with a number, whose octets are hard to carry unharmed.

A letter is complete as its client hands it over, so that what arrives must end in exactly these
octets: lines of dots, empty lines, line breaks at every border, octets above 127, and bodies of
several hundred kilobytes in which nearly every place is a border.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

NUMBER = re.compile(rb"^X-Letter: (\d+)\r$", re.MULTILINE)
LARGE_OCTETS = (257 * 1024, 330 * 1024)
"""Above what the store keeps in its rows, and above one write of the relay."""

_LINES = (
    b"",
    b".",
    b"..",
    b"...",
    b". ",
    b".QUIT",
    b"From here on",
    b" leading blank",
    "Adiós, señor Núñez, ¿cómo está?".encode(),
    b"x" * 998,
    b"trailing blank ",
    b"\t",
)


@dataclass(slots=True)
class Letter:
    """One message and what its client knows of it.

    recipients: as written. acknowledged: those a 250 was heard for; refused: those a 5xx was.
    machine, port: where the client hands it in. sender: reverse-path, "" for the null one.
    """

    number: int
    sender: str
    recipients: tuple[str, ...]
    machine: str
    port: int
    octets: bytes
    eight_bit: bool
    acknowledged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    acknowledged_at: float = 0.0

    @property
    def settled(self) -> bool:
        return len(self.acknowledged) + len(self.refused) == len(self.recipients)


def write_letter(
    number: int,
    sender: str,
    recipients: tuple[str, ...],
    machine: str,
    port: int,
    dice: random.Random,
) -> Letter:
    body = _body(dice)
    author = sender or "nobody@accept.example"
    head = (
        f"From: <{author}>\r\nTo: {', '.join(f'<{each}>' for each in recipients)}\r\n"
        f"Subject: letter {number}\r\nDate: Sun, 15 Jun 2025 15:06:40 +0000\r\n"
        f"Message-ID: <letter-{number}@letters.example>\r\nX-Letter: {number}\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Transfer-Encoding: {'7bit' if body.isascii() else '8bit'}\r\n\r\n"
    )
    octets = head.encode() + body
    return Letter(number, sender, recipients, machine, port, octets, not body.isascii())


def _body(dice: random.Random) -> bytes:
    """CRLF lines; the last one is ended too, as DATA cannot say otherwise."""
    ascii_only = dice.random() < 0.6
    lines = [line for line in _LINES if line.isascii()] if ascii_only else list(_LINES)
    body = b"".join(dice.choice(lines) + b"\r\n" for _ in range(dice.randint(1, 40)))
    if dice.random() < 0.06:
        # A line break or a dot stands wherever a buffer may happen to end.
        filler = dice.choice((b".\r\n", b"..\r\n", b"\r\n", b"\r\n.\r\n", b"a\r\n."))
        body += filler * (dice.randint(*LARGE_OCTETS) // len(filler)) + b"\r\n"
    return body


def number_of(message: bytes) -> int | None:
    """Of the letter itself, or None: a bounce names it only within its parts."""
    found = NUMBER.search(message[: message.find(b"\r\n\r\n") + 2])
    return int(found[1]) if found else None


def returned_number(message: bytes) -> int | None:
    """Of the letter that this report is about, or None where it is none."""
    head = message[: message.find(b"\r\n\r\n")]
    if b"multipart/report" not in head:
        return None
    found = NUMBER.search(message)
    return int(found[1]) if found else None


def failed_recipients(report: bytes) -> list[tuple[str, float]]:
    """(recipient, seconds from its acceptance to its last attempt) of each group of a report."""
    begin = report.find(b"\r\nReporting-MTA: ")
    head, *groups = report[begin : report.find(b"\r\n--", begin)].split(b"\r\n\r\n")
    found = []
    for group in groups:
        address = re.search(rb"^Final-Recipient: rfc822;\s*(\S+)\r?$", group, re.MULTILINE)
        if address is not None:
            age = _moment(group, b"Last-Attempt-Date") - _moment(head, b"Arrival-Date")
            found.append((address[1].decode(), age))
    return found


def _moment(fields: bytes, name: bytes) -> float:
    found = re.search(rb"^" + name + rb": (.*?)\r?$", fields, re.MULTILINE)
    return parsedate_to_datetime(found[1].decode()).timestamp() if found else 0.0


def failed_addresses(report: bytes) -> set[str]:
    """Recipients that a report says have failed (RFC 3464 §2.3)."""
    found = re.findall(
        rb"^(?:Final|Original)-Recipient: rfc822;\s*(\S+)\r$", report, re.MULTILINE | re.IGNORECASE
    )
    return {address.decode() for address in found}
