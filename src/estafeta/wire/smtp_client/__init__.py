"""smtp_client: the client's machine for SMTP and LMTP, sans-IO (RFC 5321, 2033, 2920, 3207).

Promises: replies of any malice cost bounded memory and end in an event, never in an exception; a
message is sent dot-stuffed with a final dot exactly once, and `dot_sent` says whether it was.
Content goes by DATA also where CHUNKING is offered (docs/decisions/0030): stuffing is cheap, BDAT
would save nothing but a round trip, and send the content before a recipient is known to be taken.
"""

from __future__ import annotations

from estafeta.wire.smtp_client.commands import xtext
from estafeta.wire.smtp_client.dots import DotStuffer
from estafeta.wire.smtp_client.events import (
    Authenticated,
    AuthenticationFailed,
    Broken,
    Bye,
    Closing,
    ContentWanted,
    Declined,
    Event,
    Finished,
    Ready,
    TlsDeclined,
    TlsProceed,
)
from estafeta.wire.smtp_client.machine import SmtpClient, State
from estafeta.wire.smtp_client.offer import Offer, parse_offer
from estafeta.wire.smtp_client.replies import MalformedReply, ReplyReader

__all__ = [
    "Authenticated",
    "AuthenticationFailed",
    "Broken",
    "Bye",
    "Closing",
    "ContentWanted",
    "Declined",
    "DotStuffer",
    "Event",
    "Finished",
    "MalformedReply",
    "Offer",
    "Ready",
    "ReplyReader",
    "SmtpClient",
    "State",
    "TlsDeclined",
    "TlsProceed",
    "parse_offer",
    "xtext",
]
