"""Limits of the nouns: how much of what a stranger wrote is looked at, and how much is made.

Every figure has its unit in its name. What lies beyond is not lost: it is stored and sent as it
came, it is only not taken apart.
"""

from __future__ import annotations

LOCAL_OCTETS_MAX = 64
"""Local part (RFC 5321 §4.5.3.1.1), in UTF-8 and without quoting."""

DOMAIN_OCTETS_MAX = 255
"""Domain, as A-labels (RFC 5321 §4.5.3.1.2)."""

LABEL_OCTETS_MAX = 63
"""One label of a domain (RFC 1035 §2.3.4)."""

PATH_OCTETS_MAX = 256
"""Reverse-path or forward-path, "<" and ">" included (RFC 5321 §4.5.3.1.3)."""

HEADER_OCTETS_MAX = 256 * 1024
"""Of one header, the octets in which fields are looked for."""

DEPTH_MAX = 100
"""Parts within parts; what lies deeper is text of the part that holds it."""

PARTS_MAX = 10_000
"""Parts of one message; the last one holds whatever follows."""

BOUNDARY_OCTETS_MAX = 250
"""A boundary; RFC 2046 §5.1.1 allows 70, some programs write more."""

PARAMETERS_MAX = 100
"""Parameters of one Content-Type or Content-Disposition."""

PREVIEW_CHARACTERS_MAX = 200
"""The preview of a message (RFC 8970 §3.1 allows 256)."""

PREVIEW_OCTETS_MAX = 32 * 1024
"""Of a text part, the octets from which a preview is made."""

LINE_OCTETS_WANTED = 78
"""A line of a header that we write, without CRLF (RFC 5322 §2.1.1)."""

LINE_OCTETS_MAX = 998
"""A line of any header, without CRLF (RFC 5322 §2.1.1)."""

REPORT_FULL_OCTETS_MAX = 1024 * 1024
"""A message that a report returns whole; of a larger one it returns the header."""

ORGANISATIONS_CACHED_MAX = 4096
"""Domains of which is remembered who registered them."""
