"""replies: the one catalogue of every reply that our SMTP and LMTP server gives.

A reply is a `Reply` where its words are fixed, else a `Template` that is called with what it names:
`replies.UNKNOWN_USER(address=...)`. Codes are those of RFC 5321 §4.2.2 and §4.3.2 and of the
extensions; enhanced codes those of the IANA registry (RFC 3463, RFC 5248). The greeting, HELO, 334,
353 and 354 bear none (RFC 2034 §4, RFC 4954 §4). What refuses a client, a sender, a recipient or a
message, and is not about how a command was written, ends in its cause in brackets. `CATALOGUE`
lists them all by name; the dialogue tests fail on one that was never seen on the wire.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import Formatter

import msgspec

from estafeta.mail.outcome import Reply
from estafeta.wire.limits import REPLY_OCTETS_MAX, REPLY_VALUE_CHARACTERS_MAX

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_CAUSE = re.compile(r" \[([a-z]+(?:-[a-z]+)*)\]\Z")
_CUT = "..."


class Template(msgspec.Struct, frozen=True):
    """A reply with places for values: `{address}` in the text.

    cause: code of the catalogue of causes, "" where it says none.
    """

    code: int
    status: str
    text: str
    cause: str = ""

    def __call__(self, **values: object) -> Reply:
        """The reply with its values; what could break the line is taken out of them.

        Raises KeyError where a value is missing.
        """
        return said(
            self.code, self.status, self.text, f" [{self.cause}]" if self.cause else "", values
        )

    @property
    def places(self) -> tuple[str, ...]:
        """Names of the values it takes, in the order of the text."""
        return tuple(name for _, name, _, _ in Formatter().parse(self.text) if name)


def said(code: int, status: str, text: str, ending: str, values: Mapping[str, object]) -> Reply:
    """The reply of these words with the values put in, and the ending.

    The values are shortened, the longest most, so that a line keeps to what RFC 5321 §4.5.3.1.5
    allows.
    """
    put = {name: _clean(value) for name, value in values.items()}
    whole = text.format_map(put) + ending
    over = _octets_over(whole, status)
    while over > 0 and put:
        longest = max(put, key=lambda name: len(put[name].encode("utf-8", "replace")))
        kept = put[longest].removesuffix(_CUT)
        if not kept:
            break
        # A character is four octets at most: what is left over is taken in the next round.
        kept = kept[: max(0, len(kept) - max(1, (over + len(_CUT)) // 4))]
        put[longest] = kept + _CUT
        whole = text.format_map(put) + ending
        over = _octets_over(whole, status)
    return Reply(code, status, whole)


def _octets_over(text: str, status: str) -> int:
    """How far the longest line is above the limit; a guess that is never too low is made first."""
    if len(text) * 4 + 16 <= REPLY_OCTETS_MAX:
        return 0
    around = len("250 \r\n") + (len(status) + 1 if status else 0)
    longest = max(len(line.encode("utf-8", "surrogateescape")) for line in text.split("\n"))
    return longest + around - REPLY_OCTETS_MAX


def cause_of(entry: Reply | Template) -> str:
    """The cause that an entry of the catalogue says, "" for none."""
    if isinstance(entry, Template):
        return entry.cause
    found = _CAUSE.search(entry.text)
    return found[1] if found else ""


def words_of(entry: Reply | Template) -> str:
    """Its words without the cause."""
    return entry.text if isinstance(entry, Template) else _CAUSE.sub("", entry.text)


def _clean(value: object) -> str:
    text = str(value)
    if not text.isprintable():
        text = _CONTROL.sub(" ", text)
    if len(text) > REPLY_VALUE_CHARACTERS_MAX:
        text = text[: REPLY_VALUE_CHARACTERS_MAX - len(_CUT)] + _CUT
    return text


# --- The session -----------------------------------------------------------------------------
GREETING = Template(220, "", "{host} ESMTP {banner}")
GREETING_LMTP = Template(220, "", "{host} LMTP {banner}")
NO_SERVICE = Reply(554, "5.3.2", "No SMTP service here [host-takes-no-mail]")
NOT_WELCOME = Template(
    554, "5.7.1", "Connections from {client} are refused: {reason}", "blocked-ip"
)
EARLY_TALK = Reply(554, "5.5.1", "You spoke before the greeting (RFC 5321 section 3.1)")
FOREIGN_PROTOCOL = Reply(554, "5.5.1", "This is a mail server, not a web server")
HELLO = Template(250, "", "{host} at your service")
BYE = Reply(221, "2.0.0", "Bye")
OK = Reply(250, "2.0.0", "OK")
HELP = Template(214, "2.0.0", "Commands: {commands}\nRFC {rfc} says how they are used")
SHUTTING_DOWN = Template(421, "4.3.2", "{host} is shutting down, try again soon", "server-busy")
TOO_BUSY = Template(421, "4.3.2", "{host} has too many connections, try again later", "server-busy")
OVERLOADED = Template(
    421, "4.3.2", "{host} is too busy for more just now, try again later", "server-busy"
)
TOO_MANY_CONNECTIONS = Template(
    421, "4.7.0", "Too many connections from {client}, try again later", "too-many-connections"
)
TIMED_OUT = Template(421, "4.4.2", "{host} waited too long for you, closing")
TOO_MANY_ERRORS = Template(421, "4.7.0", "{host} saw too many errors, closing")
INTERNAL_CLOSING = Template(
    421, "4.3.0", "{host} has a fault of its own, try again later", "server-trouble"
)

# --- Commands --------------------------------------------------------------------------------
UNKNOWN_COMMAND = Reply(500, "5.5.1", "Command not recognised")
CONTROL_CHARACTER = Reply(500, "5.5.2", "Control character, bare CR or bare LF in a command")
NOT_UTF8 = Reply(500, "5.5.2", "Command is neither ASCII nor UTF-8")
LINE_TOO_LONG = Reply(500, "5.5.2", "Command line too long")
NOT_IMPLEMENTED = Reply(502, "5.5.1", "Command not implemented")
SYNTAX = Template(501, "5.5.4", "Syntax: {syntax}")
NO_ARGUMENT = Template(501, "5.5.4", "{verb} takes no argument")
HELLO_TOO_LONG = Reply(501, "5.5.4", "Host name too long")
HELLO_FIRST = Reply(503, "5.5.1", "Say HELO, EHLO or LHLO first")
MAIL_FIRST = Reply(503, "5.5.1", "Say MAIL first")
RCPT_FIRST = Reply(503, "5.5.1", "Say RCPT first")
NESTED_MAIL = Reply(503, "5.5.1", "A mail transaction is open already; RSET ends it")
CHUNKS_OPEN = Reply(503, "5.5.1", "Go on with BDAT, or end the transaction with RSET")
NOT_IN_TRANSACTION = Reply(503, "5.5.1", "Not within a mail transaction")
NO_VALID_RECIPIENTS = Reply(554, "5.5.1", "No valid recipients")
CANNOT_VERIFY = Reply(252, "2.1.5", "Send some mail, we will do our best")
VERIFIED = Template(250, "2.1.5", "<{address}>")
FORWARDED = Template(251, "2.1.5", "Not ours; will be forwarded to <{address}>")
NOT_LOCAL = Template(551, "5.1.6", "Not ours; try <{address}>")

# --- Parameters of MAIL and RCPT ---------------------------------------------------------------
UNKNOWN_PARAMETER = Template(555, "5.5.4", "Parameter {name} not recognised")
BAD_PARAMETER = Template(501, "5.5.4", "Bad value of parameter {name}")
REPEATED_PARAMETER = Template(501, "5.5.4", "Parameter {name} given twice")
PARAMETER_NOT_SERVED = Template(455, "4.5.0", "Parameter {name} cannot be served just now")
BAD_SENDER = Template(501, "5.1.7", "Bad sender address syntax: {reason}")
BAD_RECIPIENT = Template(501, "5.1.3", "Bad recipient address syntax: {reason}")
UTF8_NEEDED = Reply(553, "5.6.7", "Non-ASCII address without SMTPUTF8")

# --- TLS and authentication ----------------------------------------------------------------------
READY_FOR_TLS = Reply(220, "2.0.0", "Ready to start TLS")
TLS_ACTIVE = Reply(503, "5.5.1", "TLS is active already")
TLS_PIPELINED = Reply(501, "5.5.1", "Something was sent behind STARTTLS, closing")
TLS_UNAVAILABLE = Reply(454, "4.7.0", "TLS not available due to a temporary reason")
TLS_REQUIRED = Reply(530, "5.7.0", "Say STARTTLS first")
AUTH_REQUIRED = Reply(530, "5.7.0", "Authentication required")
AUTHENTICATED = Reply(235, "2.7.0", "Authentication successful")
CHALLENGE = Template(334, "", "{data}")
AUTH_ACTIVE = Reply(503, "5.5.1", "Authenticated already")
AUTH_NOT_HERE = Reply(502, "5.5.1", "Authentication is not offered here")
AUTH_NEEDS_TLS = Reply(538, "5.7.11", "Encryption required for authentication: say STARTTLS first")
AUTH_MECHANISM_UNKNOWN = Reply(504, "5.5.4", "Authentication mechanism not offered")
AUTH_CANCELLED = Reply(501, "5.7.0", "Authentication cancelled")
AUTH_BAD_BASE64 = Reply(501, "5.5.2", "That is not base64")
AUTH_LINE_TOO_LONG = Reply(500, "5.5.6", "Authentication exchange line is too long")
AUTH_MALFORMED = Reply(501, "5.5.2", "Authentication exchange malformed")
AUTH_FAILED = Reply(535, "5.7.8", "Authentication credentials invalid")
AUTH_TRANSITION = Reply(432, "4.7.12", "A password transition is needed")
AUTH_UNAVAILABLE = Reply(454, "4.7.0", "Authentication temporarily not possible, try again later")
AUTH_TOO_MANY = Template(421, "4.7.0", "{host} saw too many failed logins, closing")
ACCOUNT_DISABLED = Reply(535, "5.7.13", "Account disabled")

# --- Reverse-path --------------------------------------------------------------------------------
SENDER_OK = Reply(250, "2.1.0", "Sender OK")
SENDER_NOT_OWNED = Template(
    553, "5.7.1", "<{address}> does not belong to account {account}", "sender-rejected"
)
SENDER_DOMAIN_UNKNOWN = Template(
    550, "5.1.8", "Sender domain {domain} does not exist", "sender-domain-missing"
)
SENDER_DOMAIN_UNRESOLVED = Template(
    450, "4.4.3", "Sender domain {domain} cannot be looked up now", "dns-trouble"
)
SENDER_NULL_MX = Template(
    550, "5.7.27", "Sender domain {domain} takes no mail (null MX)", "sender-domain-missing"
)
SENDER_REFUSED = Template(
    550, "5.7.1", "Mail from <{address}> is refused: {reason}", "sender-rejected"
)
SIZE_TOO_BIG = Template(
    552, "5.3.4", "Message too big: the limit is {size_max} octets", "message-too-large"
)
SENDING_STOPPED = Template(
    550,
    "5.7.1",
    "Account {account} sent too much and was stopped; the notice in its mailbox says more",
    "sending-stopped",
)
SENDER_LISTED = Template(
    554, "5.7.1", "Mail from {domain} is refused, {zone} lists it{reason}", "sender-rejected"
)
BUSY = Reply(451, "4.3.2", "Too busy for another message just now, try again later [server-busy]")
NO_SPACE = Reply(452, "4.3.1", "Insufficient system storage, try again later [server-full]")

# --- Recipients ----------------------------------------------------------------------------------
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient OK")
UNKNOWN_USER = Template(550, "5.1.1", "<{address}>: there is no such mailbox here", "unknown-user")
UNKNOWN_DOMAIN = Template(
    550, "5.1.2", "Recipient domain {domain} does not exist", "domain-not-found"
)
RECIPIENT_NULL_MX = Template(
    556, "5.1.10", "Recipient domain {domain} takes no mail (null MX)", "null-mx"
)
RELAY_DENIED = Template(550, "5.7.1", "<{address}>: we do not relay for you", "relay-denied")
ALIAS_TOO_FAR = Template(550, "5.4.6", "<{address}>: leads through too many aliases", "loop")
USER_DISABLED = Template(550, "5.2.1", "<{address}>: mailbox disabled", "mailbox-disabled")
MAILBOX_FULL = Template(452, "4.2.2", "<{address}>: mailbox full, try again later", "mailbox-full")
MAILBOX_FULL_FOR_GOOD = Template(552, "5.2.2", "<{address}>: mailbox full", "mailbox-full")
TOO_BIG_FOR = Template(
    552,
    "5.3.4",
    "<{address}>: message too big, the limit is {size_max} octets",
    "message-too-large",
)
ENCRYPTION_NEEDED = Template(
    550,
    "5.7.10",
    "<{address}>: takes mail over encrypted connections only, say STARTTLS",
    "encryption-needed",
)
CLIENT_LISTED = Template(
    554, "5.7.1", "Mail from {client} is refused, {zone} lists it{reason}", "blocked-ip"
)
MAILBOX_NAME_NOT_ALLOWED = Template(
    553, "5.1.3", "<{address}>: mailbox name not allowed", "bad-address"
)
RECIPIENT_REFUSED = Template(550, "5.7.1", "<{address}>: refused: {reason}", "recipient-filter")
RECIPIENT_BUSY = Template(450, "4.2.1", "<{address}>: mailbox busy, try again later", "not-now")
GREYLISTED = Template(451, "4.7.1", "Greylisted: try again in {seconds} seconds", "greylisted")
RATE_LIMITED = Template(
    450, "4.7.1", "Too many messages: try again in {seconds} seconds", "rate-limited"
)
TOO_MANY_RECIPIENTS = Template(
    452, "4.5.3", "Too many recipients: the limit is {recipients_max}", "too-many-recipients"
)
OTHER_TRANSACTION = Template(
    452, "4.5.3", "<{address}>: send this recipient a message of its own", "too-many-recipients"
)
RECIPIENTS_REFUSED = Template(
    421, "4.7.0", "{host} refused too many recipients, closing", "rate-limited"
)

# --- The message ---------------------------------------------------------------------------------
GO_AHEAD = Reply(354, "", "Start mail input; end with <CRLF>.<CRLF>")
ANSWERS_FOLLOW = Reply(353, "", "An answer for each recipient follows, in the order of RCPT")
CHUNK_TAKEN = Template(250, "2.0.0", "{octets} octets received")
ACCEPTED = Template(250, "2.0.0", "Message accepted, queue id {queue_id}")
ACCEPTED_BEFORE = Template(250, "2.0.0", "Message accepted before, queue id {queue_id}")
ACCEPTED_FOR = Template(250, "2.0.0", "<{address}>: message accepted, queue id {queue_id}")
DELIVERED = Template(250, "2.0.0", "<{address}>: delivered, queue id {queue_id}")
DISCARDED = Template(250, "2.0.0", "Message {queue_id} accepted and discarded by a rule")
BARE_LINE_END = Reply(
    550, "5.5.2", "Bare CR or LF in the message (RFC 5321 section 2.3.8) [malformed-message]"
)
LOOP = Reply(550, "5.4.6", "Mail loop: too many Received fields [loop]")
POLICY = Template(554, "5.7.1", "Message refused by policy: {reason}", "policy")
ATTACHMENT_TYPE = Template(
    554, "5.7.1", "Attachments of type {type} are not accepted here: {name}", "policy-attachment"
)
ATTACHED_ARCHIVE = Template(
    554,
    "5.7.1",
    "Archives that cannot be looked into are not accepted here: {name}",
    "policy-attachment",
)
STRUCTURE = Template(
    554, "5.7.1", "Messages built like this are not accepted here: {reason}", "policy-content"
)
FROM_MISSING = Reply(
    554, "5.6.0", "No From field: no one could answer this message [malformed-message]"
)
FROM_SEVERAL = Reply(554, "5.6.0", "More than one From field [malformed-message]")
FROM_BAD = Template(554, "5.6.0", "From field cannot be understood: {reason}", "malformed-message")
FROM_NOT_OWNED = Template(
    553, "5.7.1", "From <{address}> does not belong to account {account}", "sender-rejected"
)
NO_RECIPIENT_TOOK_IT = Reply(554, "5.0.0", "No recipient took the message [other]")
NO_RECIPIENT_TOOK_IT_YET = Reply(
    450, "4.0.0", "No recipient took the message; some may later [not-now]"
)
TOO_COMPLEX = Reply(554, "5.6.0", "The structure of the message is too complex [malformed-message]")
LOCAL_ERROR = Reply(451, "4.3.0", "A fault of ours, try again later [server-trouble]")
STORE_UNAVAILABLE = Reply(
    451, "4.3.0", "The message store is not available, try again later [server-trouble]"
)
VERDICT_UNAVAILABLE = Reply(
    451, "4.7.1", "The message cannot be checked just now, try again later [server-trouble]"
)

CATALOGUE: dict[str, Reply | Template] = {
    name: value for name, value in globals().items() if isinstance(value, Reply | Template)
}
"""Every reply by its name, in the order of this file."""
