"""limits: what a server may make our SMTP client hold."""

from __future__ import annotations

REPLY_LINE_OCTETS_MAX = 4096
"""RFC 5321 §4.5.3.1.5 says 512; real servers put URLs and translations into one line."""

REPLY_LINES_MAX = 128
"""Lines of one reply; EHLO has the longest, with one line for each extension."""

REPLY_OCTETS_MAX = 32 * 1024
"""All lines of one reply together."""

AUTH_ROUNDS_MAX = 8
"""Challenges in one AUTH exchange; SCRAM takes two, LOGIN two."""
