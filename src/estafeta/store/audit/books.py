"""Books: sealed days proven again, one slice of acceptances at a time."""

from __future__ import annotations

import msgspec

from estafeta.store.audit.finding import Finding, day_name
from estafeta.store.audit.open import audit_days
from estafeta.store.audit.seal import Totals, hash_slice
from estafeta.store.engine import Tx
from estafeta.store.ids import first_at
from estafeta.store.ledger import DAY_MS


def books(tx: Tx, after: int) -> tuple[list[Finding], int | None]:
    """The first sealed day at or after day `after`. See full.Step."""
    row = tx.row(
        "SELECT day, upto, totals, hash FROM seal WHERE sealed IS NOT NULL AND day >= ?"
        " ORDER BY day LIMIT 1",
        (after,),
    )
    if row is None:
        return [], None
    day, upto, encoded, sealed = row
    at, chain, done = first_at(day * DAY_MS) - 1, "", False
    totals: Totals = {}
    was = msgspec.json.decode(encoded, type=Totals)
    while not done:
        at, chain, done = hash_slice(tx, day, at, totals, chain, was["slice"])
    found = audit_days(tx, day - 1, day)
    if totals != was or chain != sealed or at != upto:
        wrong = [
            f"{name} {was.get(name, 0)} then, {totals.get(name, 0)} now"
            for name in sorted(was.keys() | totals.keys())
            if was.get(name, 0) != totals.get(name, 0)
        ]
        text = f"{day_name(day)} is not as it was sealed: {', '.join(wrong) or 'a row was changed'}"
        found.append(Finding("seal-broken", text, day=day))
    return found, day + 1
