"""prep: SASLprep, the form in which names and passwords are compared (RFC 4013).

Code points that Unicode 3.2 did not assign pass, as in a query (RFC 3454 §7): a password may hold
an emoji.
"""

from __future__ import annotations

import stringprep
import unicodedata

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """`text` prepared. Raises ValueError where it holds what RFC 4013 §2.3 or §2.4 forbids."""
    if text.isascii() and text.isprintable():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if any(table(c) for c in prepared for table in _PROHIBITED):
        raise ValueError("a character that SASLprep forbids")
    if any(stringprep.in_table_d1(c) for c in prepared):
        # RFC 3454 §6: right-to-left text is not mixed, and stands at both ends.
        ends = (prepared[0], prepared[-1])
        if any(stringprep.in_table_d2(c) for c in prepared) or not all(
            stringprep.in_table_d1(c) for c in ends
        ):
            raise ValueError("left-to-right and right-to-left text mixed")
    return prepared


def prepared_password(text: str) -> str:
    """A password as it is hashed and compared: by SASLprep where that allows it, else as it is.

    What sets a password must use it too, so that both sides agree.
    """
    try:
        return saslprep(text)
    except ValueError:
        return text
