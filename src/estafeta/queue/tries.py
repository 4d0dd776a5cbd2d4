"""Tries: when each recipient of a message was attempted last, as its journey tells."""

from __future__ import annotations

import msgspec

from estafeta.store.engine import Tx


def tries(tx: Tx, acceptance: int) -> dict[int, int]:
    """By recipient, when its last attempt ended, in milliseconds since 1970."""
    found: dict[int, int] = {}
    for (detail,) in tx.rows(
        "SELECT detail FROM event WHERE acceptance = ? AND kind = 'attempt' ORDER BY id",
        (acceptance,),
    ):
        tried = msgspec.json.decode(detail)
        found.update(dict.fromkeys(tried.get("recipients", ()), tried.get("ended", 0)))
    return found
