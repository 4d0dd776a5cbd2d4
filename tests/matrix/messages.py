"""messages: what is sent in the matrix, besides the troublesome `letter`."""

from __future__ import annotations

import re
from email.message import EmailMessage

from tests.support.peers.compare import fields, name_of
from tests.support.peers.letters import letter

KIB = 1024
LARGE_OCTETS = 10 * KIB * KIB
FILM = "summer.mov"


def plain(sender: str, recipient: str, mark: str) -> bytes:
    """A kibibyte of ASCII with the usual fields. mark: as for `letter`."""
    header = letter(sender, recipient, mark).partition(b"\r\n\r\n")[0]
    header = header.replace(b"8bit", b"7bit").replace(b'utf-8"', b'us-ascii"')
    line = b"A line of a letter that anybody can read, with nothing special about it.\r\n"
    return header + b"\r\n\r\n" + line * (KIB // len(line) + 1)


def large(sender: str, recipient: str, mark: str) -> bytes:
    """10 MiB."""
    return letter(sender, recipient, mark, size=LARGE_OCTETS)


def film(sender: str, recipient: str, mark: str) -> bytes:
    """A message with a film of QuickTime, summer.mov. mark: as for `letter`."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = "A film"
    message["Message-ID"] = f"<{mark}@letters.example>"
    message.set_content("See for yourself.\n")
    message.add_attachment(
        b"\0\0\0\x14ftypqt  ", maintype="video", subtype="quicktime", filename=FILM
    )
    return message.as_bytes(policy=message.policy.clone(linesep="\r\n"))


def refolded(sent: bytes, received: bytes) -> str:
    """Tells which fields have other white space, "" if none has."""
    got = set(fields(received))
    names = dict.fromkeys(name_of(field) for field in fields(sent) if field not in got)
    return f"white space in {', '.join(names).title()} changes" if names else ""


def spelt(report: bytes) -> bytes:
    """A report in lower case with one space behind each address type, for each server has its own
    way to write the same fields."""
    return re.sub(rb"rfc822; *", b"rfc822; ", report.lower())
