"""Letters: what the people of the demo write to each other, each in their own language."""

from __future__ import annotations

import email
import email.policy
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Literal

from estafeta.sim.demo.places import ANA, EMMA, LUIS, OLIVER, Person, Place, place_of

Kind = Literal["remote", "local", "returned"]


@dataclass(frozen=True, slots=True)
class Letter:
    """name: "A" …. to: an address, which may be nobody's. stranger: an address of the same domain
    that is nobody's, to ask the server about. attachment: (file name, content, MIME type), or
    None."""

    name: str
    sender: Person
    to: str
    to_name: str
    kind: Kind
    subject: str
    text: str
    stranger: str
    attachment: tuple[str, bytes, str] | None = None

    @property
    def origin(self) -> Place:
        return place_of(self.sender.address)

    @property
    def destination(self) -> Place:
        return place_of(self.to)


MAP = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 80">
  <title>La Caleta, Cádiz</title>
  <rect width="120" height="80" fill="#9fd3e6"/>
  <path d="M0 52 Q30 40 60 50 T120 44 V80 H0 Z" fill="#e9d8a6"/>
  <circle cx="94" cy="18" r="9" fill="#f4b942"/>
</svg>
"""

LETTERS = (
    Letter(
        "A",
        ANA,
        EMMA.address,
        EMMA.name,
        "remote",
        "¿Vienes a Cádiz en mayo? ☀",
        "Hola, Emma:\n\nla habitación da al mar y el café lo pongo yo.\n"
        "Te adjunto un dibujo de la playa.\n\nUn abrazo,\nAna\n",
        "nobody@correo.example",
        ("La Caleta, Cádiz.svg", MAP.encode(), "image/svg+xml"),
    ),
    Letter(
        "B",
        OLIVER,
        LUIS.address,
        LUIS.name,
        "remote",
        "The naïve façade, and £20",
        "Dear Luis,\n\nthe façade is finished – £20 below what we thought.\n"
        ".\nThe line above is a lone full stop; SMTP must not end there.\n\nYours, Oliver\n",
        "nadie@sudominio.example",
    ),
    Letter(
        "C",
        ANA,
        LUIS.address,
        LUIS.name,
        "local",
        "¿Comemos mañana?",
        "Luis, ¿comemos mañana donde siempre? A las dos.\n\nAna\n",
        "nadie@sudominio.example",
    ),
    Letter(
        "D",
        ANA,
        "ema@correo.example",
        EMMA.name,
        "returned",
        "Se me olvidó decirte",
        "Emma: trae el bañador.\n\nAna\n",
        "nobody@correo.example",
    ),
)


def compose(letter: Letter, message_id: str) -> bytes:
    """The letter as a mail client makes it: MIME, CRLF lines, 7-bit, and without a Date, which the
    submission server is to add (RFC 6409 §8.2)."""
    message = EmailMessage(policy=email.policy.SMTP)
    sender = letter.sender
    message["From"] = Address(sender.name, addr_spec=sender.address)
    message["To"] = Address(letter.to_name, addr_spec=letter.to)
    message["Subject"] = letter.subject
    message["Message-ID"] = message_id
    message.set_content(letter.text, cte="quoted-printable")
    if letter.attachment is not None:
        name, content, kind = letter.attachment
        maintype, _, subtype = kind.partition("/")
        message.add_attachment(content, maintype=maintype, subtype=subtype, filename=name)
    return message.as_bytes()


def parse(raw: bytes) -> EmailMessage:
    """A message as any client reads it."""
    return email.message_from_bytes(raw, policy=email.policy.default)


def body_of(raw: bytes) -> bytes:
    """All octets below the header."""
    return raw.partition(b"\r\n\r\n")[2]
