"""when: how long another server asks us to wait, by the words of its reply.

Servers say it in many ways: "try again in 300 seconds", "come back in 00:04:59", "not before
2026-11-30T17:25:00Z". Read are waits of which the text says that they are ours to wait; a number of
minutes within which something was too much is none.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

SECONDS_MAX = 7 * 86400.0
"""What claims to last longer is not believed to be a wait."""

_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "segundo", "segundos"), 1.0),
    **dict.fromkeys(("sekunde", "sekunden", "seconde", "secondes"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes", "minuto", "minutos"), 60.0),
    **dict.fromkeys(("minuten",), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "hora", "horas"), 3600.0),
    **dict.fromkeys(("stunde", "stunden", "heure", "heures"), 3600.0),
}
_UNIT = "|".join(sorted(_UNITS, key=len, reverse=True))
_BEFORE = (
    r"(?:\b(?:in|for|after|wait|wait(?:ing)?\s+(?:for|at\s+least)|at\s+least|another|next|retry|delay"
    r"(?:ed)?(?:\s+(?:for|by))?|en|dentro\s+de|durante|espere|nach|dans|pendant|apr[eè]s)\b"
    r"|\b(?:wait|delay|retry|time|left|remaining|period)\b\s*[:=(])"
)
_NUMBER = rf"(?P<number>\d{{1,6}}(?:\.\d+)?)\s*(?:more\s+|further\s+)?(?P<unit>{_UNIT})\b"
_MORE = rf"(?:\s*(?:,|and|y)?\s*(?P<number2>\d{{1,4}})\s*(?P<unit2>{_UNIT})\b)?"
_SPAN = re.compile(
    rf"{_BEFORE}[\s:=(]*(?:about\s+|another\s+|approximately\s+|at\s+least\s+|~)?{_NUMBER}{_MORE}"
)
_LEFT = re.compile(rf"{_NUMBER}{_MORE}\s+(?:left|remaining|to\s+go)\b")
_CLOCK = re.compile(
    r"\b(?:in|for|after|wait|left|remaining|retry|another)\b[\s:=(]*"
    r"(?P<hours>\d{1,2}):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d)\b(?!\s*(?:utc|gmt|[+-]\d))"
)
_COUNTED = re.compile(
    r"(?:messages?|mails?|e-mails?|connections?|recipients?|attempts?|sessions?|times?|deliveries"
    r"|commands?|errors?|mensajes?|correos?|conexiones)(?:\s+\w+)?\s*$"
)
"""What stands before a time within which there was too much of it."""

_MOMENT = re.compile(
    r"\b(?P<date>\d{4}-\d{2}-\d{2})[t ](?P<time>\d{2}:\d{2}(?::\d{2})?)(?:\.\d+)?"
    r"\s*(?P<zone>z|utc|gmt|[+-]\d{2}:?\d{2})?(?![\d:])"
)
_UNTIL = re.compile(
    r"\b(?:after|until|till|before|at|later\s+than|despu[eé]s\s+de|hasta)\s*[:=(]*\s*$"
)


def seconds_to_wait(text: str, now: float) -> float | None:
    """Seconds until the other side wants us back; None where it does not say.

    text: of a reply. now: seconds since 1970 UTC.
    """
    text = text.lower()
    found = _of_clock(text)
    if found is None:
        found = _of_span(text)
    if found is None:
        found = _of_moment(text, now)
    return found if found is not None and 0 < found <= SECONDS_MAX else None


def _of_span(text: str) -> float | None:
    for pattern in (_SPAN, _LEFT):
        for match in pattern.finditer(text):
            if _COUNTED.search(text[: match.start()]):
                continue
            seconds = float(match["number"]) * _UNITS[match["unit"]]
            if match["number2"] and _UNITS[match["unit2"]] < _UNITS[match["unit"]]:
                seconds += float(match["number2"]) * _UNITS[match["unit2"]]
            return seconds
    return None


def _of_clock(text: str) -> float | None:
    match = _CLOCK.search(text)
    if match is None or _COUNTED.search(text[: match.start()]):
        return None
    return 3600.0 * int(match["hours"]) + 60.0 * int(match["minutes"]) + int(match["seconds"])


def _of_moment(text: str, now: float) -> float | None:
    for match in _MOMENT.finditer(text):
        if not _UNTIL.search(text[: match.start()]):
            continue
        zone = match["zone"] or "z"
        zone = "+00:00" if zone in ("z", "utc", "gmt") else zone
        try:
            moment = datetime.fromisoformat(f"{match['date']}T{match['time']}{zone}")
        except ValueError:
            continue
        return moment.astimezone(UTC).timestamp() - now
    return None
