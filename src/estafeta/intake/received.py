"""Received: the trace field on top of what we take (RFC 5321 §4.4, RFC 3848, RFC 6531 §4.3)."""

from __future__ import annotations

from estafeta.intake.role import Client, Transaction
from estafeta.mail.dates import format_date
from estafeta.store.ids import queue_id


def received_field(
    client: Client, transaction: Transaction, *, role: str, host_name: str, now: float
) -> bytes:
    """The field with its CRLF. now: seconds since 1970."""
    literal = f"IPv6:{client.peer.host}" if ":" in client.peer.host else client.peer.host
    tls = client.tls
    secured = f"\r\n\t(using {tls.version} with cipher {tls.cipher})" if tls else ""
    only = transaction.recipients[0].address if len(transaction.recipients) == 1 else ""
    recipient = f"\r\n\tfor <{only}>" if only else ""
    return (
        f"Received: from {client.hello} ([{literal}]){secured}\r\n"
        f"\tby {host_name} with {protocol_name(client, transaction, role)}"
        f" id {queue_id(transaction.id)}{recipient};\r\n"
        f"\t{format_date(now)}\r\n"
    ).encode("utf-8", "surrogateescape")


def protocol_name(client: Client, transaction: Transaction, role: str) -> str:
    """Keyword of the IANA registry of mail transmission types (RFC 3848, RFC 6531 §4.3)."""
    if role != "lmtp" and not client.esmtp:
        return "SMTP"
    base = "LMTP" if role == "lmtp" else "SMTP"
    suffix = ("S" if client.tls else "") + ("A" if client.account else "")
    if transaction.mail.smtputf8:
        return f"UTF8{base}{suffix}"
    return f"{base}{suffix}" if role == "lmtp" else f"ESMTP{suffix}"
