"""limits: what the SMTP and LMTP server and SASL take from a stranger, in one place.

Each is at least what RFC 5321 §4.5.3.1 asks for. The sizes of IMAP and POP3 stand in `imap/limits`.
"""

from __future__ import annotations

from typing import Final

COMMAND_OCTETS_MAX: Final = 4096
"""A command line with its CRLF. RFC 5321 §4.5.3.1.4 asks for 512, and the extensions of MAIL and
RCPT for up to 1000 more (RFC 1870 §3, RFC 3461 §5.1 and §5.2, RFC 6531 §3.4)."""

AUTH_LINE_OCTETS_MAX: Final = 12_288
"""A line of an AUTH exchange with its CRLF, and an AUTH command (RFC 4954 §4)."""

MESSAGE_OCTETS_MAX: Final = 52_428_800
"""A message, where the profile says nothing else (RFC 5321 §4.5.3.1.7: at least 64 KiB)."""

DISCARDED_OCTETS_MAX: Final = 268_435_456
"""Octets of a message already known to be refused that are read away before the connection ends."""

RECIPIENTS_MAX: Final = 1000
"""Accepted recipients of one message (RFC 5321 §4.5.3.1.8: at least 100); then 452 4.5.3."""

RECIPIENTS_OVERSHOOT_MAX: Final = 10_000
"""RCPT commands answered 452 4.5.3 in one session; then 421 4.7.0."""

RECIPIENTS_REFUSED_MAX: Final = 100
"""Recipients refused for good in one session without a message accepted; then 421 4.7.0."""

ERRORS_MAX: Final = 20
"""Unknown, malformed or misplaced commands in one session without a message accepted; the last
one is answered 421 4.7.0."""

AUTH_FAILURES_MAX: Final = 5
"""Failed AUTH exchanges in one session; the last one is answered 421 4.7.0."""

IDLE_COMMANDS_MAX: Final = 100
"""NOOP, RSET, HELP, VRFY and HELO in one session without a message accepted; each one more is an
error."""

ENVID_OCTETS_MAX: Final = 100
"""ENVID, xtext-encoded (RFC 3461 §4.4)."""

ORCPT_OCTETS_MAX: Final = 500
"""ORCPT, xtext-encoded (RFC 3461 §4.2)."""

SIZE_DIGITS_MAX: Final = 20
"""Digits of a SIZE value or of a BDAT size (RFC 1870 §3)."""

HELLO_OCTETS_MAX: Final = 255
"""The name given to HELO, EHLO or LHLO (RFC 5321 §4.5.3.1.2)."""

REPLY_OCTETS_MAX: Final = 512
"""A line of a reply with its CRLF (RFC 5321 §4.5.3.1.5)."""

REPLY_VALUE_CHARACTERS_MAX: Final = 320
"""What a reply repeats of an address or of another server's words; less where the line would be
longer than REPLY_OCTETS_MAX."""

SASL_FIELD_OCTETS_MAX: Final = 1024
"""A name or password in a SASL exchange (RFC 4616 §2 asks for 255)."""

SASL_RESPONSE_OCTETS_MAX: Final = 8192
"""A whole response in a SASL exchange, decoded."""

SCRAM_ITERATIONS_ACCEPTED_MAX: Final = 10_000_000
"""Rounds of SCRAM that a server may ask of our client; some seconds of work."""

POP3_LINE_OCTETS_MAX: Final = 512
"""A POP3 command, CRLF included (RFC 2449 §4 asks for 255)."""

POP3_AUTH_LINE_OCTETS_MAX: Final = 16_384
"""A POP3 line before login: it may hold a SASL response in base64 (RFC 5034 §4)."""

POP3_ERRORS_MAX: Final = 20
"""POP3 commands answered with a syntax error before the session is ended."""

PROXY_HEADER_OCTETS_MAX: Final = 8192
"""A header of the PROXY protocol. Version 1 has at most 107; version 2 may carry certificates."""
