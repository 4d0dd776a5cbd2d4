"""Finding: one thing that is not as it should be."""

from __future__ import annotations

import msgspec


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """kind: a stable word for programs. text: a sentence for people, with the ids."""

    kind: str
    text: str
    acceptance: int | None = None
    n: int | None = None
    account: int | None = None
    mailbox: int | None = None
    uid: int | None = None
    body: int | None = None
    day: int | None = None


def day_name(day: int) -> str:
    """2026-11-24."""
    # Civil from days since 1970 (Gregorian, proleptic), so that no clock or zone is asked.
    shifted = day + 719_468
    era, of_era = divmod(shifted, 146_097)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    return (
        f"{year + era * 400 + (month >= 10):04}-{month + 3 if month < 10 else month - 9:02}"
        f"-{of_year - (153 * month + 2) // 5 + 1:02}"
    )
