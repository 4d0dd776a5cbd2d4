"""Reports for tests, put together of parts."""

from __future__ import annotations

HEAD = (
    "Return-Path: <>",
    "From: Mail Delivery System <MAILER-DAEMON@mx.one.example>",
    "To: me@sender.example",
    "Subject: Undelivered Mail Returned to Sender",
    "Message-ID: <report@mx.one.example>",
    "MIME-Version: 1.0",
)
RETURNED = (
    "Message-ID: <original@sender.example>\nFrom: me@sender.example\nTo: Ana <ana@one.example>\n"
    "Subject: hello\n\ntext\n"
)
STATUS = (
    "Reporting-MTA: dns; mx.one.example\nOriginal-Envelope-Id: E1.ABC\n"
    "Arrival-Date: Mon, 3 Mar 2025 10:00:00 +0100\n\n"
    "Original-Recipient: rfc822;ana@one.example\nFinal-Recipient: rfc822; ana.ruiz@in.one.example\n"
    "Action: failed\nStatus: 5.1.1\nRemote-MTA: dns; in.one.example (192.0.2.7)\n"
    "Diagnostic-Code: smtp; 550 5.1.1 <ana.ruiz@in.one.example>: nobody here\n"
    "Last-Attempt-Date: Mon, 3 Mar 2025 10:00:05 +0100\n"
)


def report(*parts: tuple[str, str], head: tuple[str, ...] = HEAD, kind: str = "") -> bytes:
    """A multipart of (type, content), or where there is one without a type, that content."""
    lines = [*head]
    if len(parts) == 1 and not kind:
        lines += [f"Content-Type: {parts[0][0]}", "", parts[0][1]]
    else:
        kind = kind or "multipart/report; report-type=delivery-status"
        lines += [f'Content-Type: {kind}; boundary="=="', ""]
        for type_, content in parts:
            lines += ["--==", f"Content-Type: {type_}", "", content]
        lines += ["--==--", ""]
    return "\n".join(lines).replace("\r", "").replace("\n", "\r\n").encode()


def dsn(status: str = STATUS, text: str = "It could not be delivered.\n") -> bytes:
    """A report of the three standard parts."""
    return report(
        ("text/plain; charset=utf-8", text),
        ("message/delivery-status", status),
        ("message/rfc822", RETURNED),
    )
