"""Limits of the IMAP machine. What goes beyond is answered (BAD, NO [TOOBIG], BYE), never kept."""

from __future__ import annotations

from typing import Final

# One line of a command, CRLF excluded. RFC 7162 §4 asks for at least 8192 octets.
LINE_OCTETS_MAX: Final = 65_536
# All literals of one command but those of APPEND, which are streamed.
LITERALS_OCTETS_MAX: Final = 262_144
LITERALS_OCTETS_MAX_BEFORE_LOGIN: Final = 8_192
LITERALS_MAX: Final = 128
# A refused literal that the client sends without waiting is read past up to here; then BYE.
DISCARD_OCTETS_MAX: Final = 64 * 1024 * 1024
# Parentheses and NOTs within each other in SEARCH.
SEARCH_DEPTH_MAX: Final = 32
SEARCH_KEYS_MAX: Final = 1_000
# Ranges of one sequence set.
SEQUENCE_RANGES_MAX: Final = 10_000
FETCH_ITEMS_MAX: Final = 200
HEADER_FIELDS_MAX: Final = 200
SECTION_DEPTH_MAX: Final = 50
FLAGS_MAX: Final = 100
KEYWORD_OCTETS_MAX: Final = 100
MAILBOX_OCTETS_MAX: Final = 1_000
LIST_PATTERN_WILDCARDS_MAX: Final = 20
# RFC 2971 §3.3: 30 fields, names of 30 octets, values of 1024.
ID_FIELDS_MAX: Final = 30
# Commands answered BAD before the session is ended.
ERRORS_MAX: Final = 20
ERRORS_MAX_BEFORE_LOGIN: Final = 5
# One line of a SASL exchange (RFC 4422 leaves it open).
SASL_LINE_OCTETS_MAX: Final = 16_384
