"""SMTP server: one sans-IO machine for MX, submission and LMTP."""

from estafeta.wire.smtp_server.events import (
    AuthBegin,
    AuthCancelled,
    AuthData,
    Chunk,
    Connected,
    Data,
    EarlyTalk,
    EndOfData,
    Event,
    Hello,
    Lost,
    Mail,
    Rcpt,
    Reset,
    StartTls,
    Vrfy,
)
from estafeta.wire.smtp_server.machine import SmtpServer
from estafeta.wire.smtp_server.order import ORDER, State
from estafeta.wire.smtp_server.profile import Profile, Role, capabilities
from estafeta.wire.smtp_server.session import LocalError

__all__ = [
    "ORDER",
    "AuthBegin",
    "AuthCancelled",
    "AuthData",
    "Chunk",
    "Connected",
    "Data",
    "EarlyTalk",
    "EndOfData",
    "Event",
    "Hello",
    "LocalError",
    "Lost",
    "Mail",
    "Profile",
    "Rcpt",
    "Reset",
    "Role",
    "SmtpServer",
    "StartTls",
    "State",
    "Vrfy",
    "capabilities",
]
