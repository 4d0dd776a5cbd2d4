"""Ledger: what the installations say of themselves, beside what was seen from outside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from estafeta.explain.words import say
from estafeta.sim.demo.evidence import Evidence
from estafeta.sim.demo.internet import DemoError, Internet
from estafeta.sim.demo.places import PLACES, Place
from estafeta.sim.demo.scene import Row

TRACE_ROWS = "50"
FATES = {"remote": "relayed", "local": "stored", "returned": "returned"}


async def ask_ledgers(internet: Internet, letters: Sequence[Evidence], language: str) -> list[Row]:
    """The fate of each letter as `estafeta trace` tells it; what `estafeta audit` finds."""
    told = asyncio.gather(*(_journeys(internet, place, letters, language) for place in PLACES))
    audits = asyncio.gather(*(_audit(internet, place, language) for place in PLACES))
    journeys: dict[str, Any] = {}
    for found in await told:
        journeys |= found
    rows = [_fate(letter, journeys.get(letter.queue_id, {}), language) for letter in letters]
    return rows + await audits


async def _journeys(
    internet: Internet, place: Place, letters: Sequence[Evidence], language: str
) -> dict[str, Any]:
    """Queue id -> journey of everything that the people of a place sent."""
    here = [one for one in letters if one.letter.origin is place and one.queue_id]
    found: dict[str, Any] = {}
    for sender in sorted({one.letter.sender.address for one in here}):
        words = ("trace", sender, "--limit", TRACE_ROWS, "--json", "--lang", language)
        try:
            said = await internet.command(place, *words)
        except DemoError:
            continue
        found |= {journey["queue_id"]: journey for journey in json.loads(said)}
    return found


def _fate(seen: Evidence, journey: dict[str, Any], language: str) -> Row:
    """relayed: with the queue id that the other server's Received field bears, too."""
    wanted = FATES[seen.letter.kind]
    ways = journey.get("recipients") or [{}]
    steps = {step["number"]: step for step in ways[0].get("steps", [])}
    words = " | ".join(steps.get(6, {}).get("lines", [])[-1:])
    ok = ways[0].get("fate") == wanted
    if wanted == "relayed":
        ok = ok and bool(seen.relay_id) and seen.relay_id in words
    if wanted == "returned":
        words = str(ways[0].get("ending", ""))
        ok = ok and any(child in words for child in journey.get("children", []))
    return Row(
        f"{seen.letter.name}.ledger",
        say(f"tour.expect-{wanted}", language),
        f"{seen.queue_id}: {words}" if words else say("tour.nothing", language),
        ok,
    )


async def _audit(internet: Internet, place: Place, language: str) -> Row:
    try:
        found = json.loads(await internet.command(place, "audit", "--full", "--json"))
        ok, seen = bool(found["ok"]), say("tour.balances", language)
    except DemoError as error:
        ok, seen = False, str(error)
    return Row(f"audit {place.domain}", say("tour.expect-audit", language), seen, ok)
