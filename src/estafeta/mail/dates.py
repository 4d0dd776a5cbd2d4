"""Dates of header fields, to and from seconds since 1970 UTC (RFC 5322 §3.3, obsolete forms §4.3).

Promises: reading never raises and gives None for what is no date; writing is independent of locale
and of the system's time zone.
"""

from __future__ import annotations

import re
from calendar import timegm
from functools import lru_cache
from math import floor
from time import gmtime

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTH = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}
_LENGTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

_DATE_CHARACTERS_MAX = 200
"""Of a Date field, what is looked at."""

# RFC 5322 §4.3; a single letter says nothing (RFC 5322 §4.3: "SHOULD be considered -0000").
_ZONES = {
    "edt": -4,
    "est": -5,
    "cdt": -5,
    "cst": -6,
    "mdt": -6,
    "mst": -7,
    "pdt": -7,
    "pst": -8,
}

_DATE = re.compile(
    r"\s*(?:[^\W\d]+\.?\s*,?\s*)?"
    r"(\d{1,2})[\s-]+([A-Za-z]{3})[a-z]*\.?,?[\s-]+(\d{2,5})\s*,?\s+"
    r"(\d{1,2})\s*[:.]\s*(\d{1,2})(?:\s*[:.]\s*(\d{1,2})(?:\.\d+)?)?"
    r"\s*(?:([+-])\s*(\d{4})|([A-Za-z]{1,5}))?"
)
_COMMENT = re.compile(r"\([^()]*\)")


def parse_date(value: str) -> float | None:
    """Seconds since 1970-01-01 UTC of a Date field's value, or None. Never raises."""
    value = value[:_DATE_CHARACTERS_MAX]
    if "(" in value:
        value = _COMMENT.sub(" ", value)
    match = _DATE.match(value)
    if match is None:
        return None
    day, month, year = int(match[1]), _MONTH.get(match[2].lower(), 0), int(match[3])
    if len(match[3]) == 2:  # RFC 5322 §4.3: 00-49 are 20xx
        year += 2000 if year < 50 else 1900
    elif len(match[3]) == 3:
        year += 1900
    hour, minute, second = int(match[4]), int(match[5]), int(match[6] or 0)
    if not (month and 1 <= day <= _LENGTH[month - 1] and 1900 <= year <= 9999):
        return None
    if hour > 23 or minute > 59 or second > 60:
        return None
    offset = 0
    if match[8]:
        offset = int(match[8][:2]) * 3600 + int(match[8][2:]) * 60
        if match[7] == "-":
            offset = -offset
    elif match[9]:
        offset = _ZONES.get(match[9].lower(), 0) * 3600
    return float(timegm((year, month, day, hour, minute, second)) - offset)


def format_date(seconds: float) -> str:
    """An RFC 5322 date in UTC: `Tue, 01 Jul 2003 08:52:37 +0000`."""
    return _format_second(floor(seconds))


@lru_cache(maxsize=16)  # all messages of one second bear the same date
def _format_second(second: int) -> str:
    t = gmtime(second)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} +0000"
    )
