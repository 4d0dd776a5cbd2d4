"""Correspondence: who writes to whom in the simulated world, and where it is handed in."""

from __future__ import annotations

import random

from .letters import Letter, write_letter
from .names import BY_ACCEPT, INSTALLATIONS, MANNERS, NOWHERE


def draw_letter(number: int, dice: random.Random) -> Letter:
    """Who writes to whom, where it is handed in."""
    machine = dice.choice(list(INSTALLATIONS))
    domain = INSTALLATIONS[machine]
    if dice.random() < 0.7:
        sender, port = f"{dice.choice(domain.people[:2])}@{domain.name}", 587
        pool = [_recipient(number, n, machine, dice) for n in range(dice.choice((1, 1, 2, 3, 5)))]
    else:
        sender = dice.choice((f"s{number}@accept.example", ""))
        port = 25
        pool = [_local(number, machine, dice) for _ in range(dice.choice((1, 2, 3)))]
        if dice.random() < 0.1:
            pool.append(f"r{number}.9@accept.example")
    recipients = tuple(dict.fromkeys(pool))
    return write_letter(number, sender, recipients, machine, port, dice)


def _recipient(number: int, n: int, machine: str, dice: random.Random) -> str:
    kind = dice.random()
    if kind < 0.25:
        return _local(number, dice.choice(list(INSTALLATIONS)), dice)
    if kind < 0.68:
        domain = dice.choice(list(MANNERS))
    elif kind < 0.8:
        domain = dice.choice(BY_ACCEPT)
    else:
        domain = dice.choice(NOWHERE)
    first = dice.choice("rrxf") if domain == "picky.example" else "r"
    return f"{first}{number}.{n}@{domain}"


def _local(number: int, machine: str, dice: random.Random) -> str:
    domain = INSTALLATIONS[machine]
    aliases = sorted({alias for alias, _ in domain.aliases})
    kind = dice.random()
    if kind < 0.7:
        return f"{dice.choice(domain.people[:2])}+{number}@{domain.name}"
    if kind < 0.9:
        return dice.choice(aliases)
    return f"nobody{number}@{domain.name}"
