"""Limits of policies: how much of a message is taken apart for them, and how much one may say."""

from __future__ import annotations

TYPES_MAX = 500
"""Entries of `blocked_types`."""

TYPE_CHARACTERS_MAX = 100
"""One entry of `blocked_types`."""

HEADER_RULES_MAX = 20
"""Entries of `headers`."""

PATTERN_CHARACTERS_MAX = 1000
"""A regular expression of a header rule."""

PATTERN_PROGRAM_MAX = 2000
"""Instructions that RE2 makes of it; with `PATTERN_MEMORY_OCTETS_MAX` it bounds the time of a
search, which is linear in the text."""

PATTERN_MEMORY_OCTETS_MAX = 1024 * 1024
"""Memory of one regular expression, compiled and while it searches."""

HEADER_RULE_OCTETS_MAX = 16 * 1024
"""Of all fields of a name, the octets in which one header rule searches."""

WORDS_CHARACTERS_MAX = 200
"""What a header rule, or `help`, says to who was refused."""

NAME_CHARACTERS_MAX = 100
"""Of a file's name, what a finding repeats."""

NAMES_MAX = 12
"""Names that one part may have; and readings of one name: as written, without what hides it."""

FILE_NAME_CHARACTERS_MAX = 255
"""Of a name, as much from its beginning and from its end is looked at: no system keeps more."""

HEAD_OCTETS = 1024
"""Of a file, the first octets by which its type is known, where they need not be more."""

HEAD_OCTETS_MAX = 64 * 1024
"""The same where the mark of a type lies further behind (a disk image)."""

MESSAGES_DEPTH_MAX = 8
"""Messages that lie encoded within messages and are looked into; what lies deeper cannot be."""

ARCHIVES_DEPTH_MAX = 6
"""Archives within archives that are looked into; what lies deeper cannot be."""

ENTRIES_MAX = 20_000
"""Files in all archives of a message that are looked at; with more it cannot be looked through."""

UNPACKED_OCTETS_MAX = 128 * 1024 * 1024
"""Octets that are decoded and unpacked for one message; with more it cannot be looked through."""

UNPACKED_OCTETS_MAX_INLINE = 128 * 1024
"""The same for a small message that is looked at beside other work; with more it goes apart."""

FILE_OCTETS_MAX = 64 * 1024 * 1024
"""One archive within an archive, unpacked; a larger one cannot be looked through."""

XZ_MEMORY_OCTETS_MAX = 64 * 1024 * 1024
"""Memory for unpacking xz; what wants more cannot be looked through."""

INSPECT_SECONDS_MAX = 20.0
"""A message is looked through no longer, waiting for its turn included; then the client is asked to
come again."""

INSPECTED_AT_ONCE = 4
"""Messages whose octets one process holds in hand to have them looked through apart."""

READ_PIECE_OCTETS = 1024 * 1024
"""Pieces in which a large message is read for that."""

SMALL_OCTETS_MAX = 16 * 1024
"""A message up to here is looked at beside other work, a larger one that has parts apart."""

POLICIES_CACHED_MAX = 10_000
"""Effective policies that one process remembers."""

LOOK_SECONDS = 1.0
"""A changed policy counts, in every process, after so long at most."""

REPLAY_SLICE_ROWS = 500
"""Messages whose rows are read at once for `policy test`."""

REPLAY_CASES_MAX = 1000
"""Messages that `policy test` lists; the others are counted."""

REPLAY_DAYS_MAX = 3660
"""How far back `policy test` may look."""
