"""Limits of reading reports: how much of a stranger's message is looked at for what it tells.

What lies beyond is not an error: it is not read. A reading takes at most some tenths of a second.
"""

from __future__ import annotations

REPORT_OCTETS_MAX = 4 * 1024 * 1024
"""Of a message, the octets in which a report is looked for; its own parts come first."""

PARTS_READ_MAX = 200
"""Parts of one report that are looked at."""

WRAPPED_MAX = 3
"""Messages within messages in which a report is looked for."""

TEXT_OCTETS_MAX = 128 * 1024
"""Of one text part."""

TEXT_CHARACTERS_MAX = 128 * 1024
"""Of all text for people in one report."""

LINES_MAX = 4_000
"""Lines of that text."""

LINE_CHARACTERS_MAX = 4_000
"""Of one line; what follows is not looked at."""

SENTENCES_CHARACTERS_MAX = 8_192
"""Of all text, the beginning that is searched as a whole: for what it says, and of whom."""

FIELD_OCTETS_MAX = 16 * 1024
"""Of one field for programs."""

STATUS_OCTETS_MAX = 512 * 1024
"""Of one part with fields for programs (delivery-status, feedback-report)."""

FIELDS_MAX = 10_000
"""Fields of that part."""

RECIPIENTS_MAX = 1_000
"""Recipients of one report."""

REASONS_MAX = 20
"""Reasons that are compared: of one recipient, and of all."""

WORDS_CHARACTERS_MAX = 4_000
"""A server's words about one recipient."""

RETURNED_OCTETS_MAX = 64 * 1024
"""Of the header of the returned message."""

MESSAGES_MAX = 100
"""Messages of one mbox that are read."""

READING_SECONDS_MAX = 5.0
"""Of a report that is read and judged for a message that waits to be accepted; the usual ones take
some thousandths."""
