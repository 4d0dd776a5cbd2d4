"""Dice: randomness from the system, fit for query ids, tokens and nonces."""

from __future__ import annotations

import random


def system_dice() -> random.Random:
    """Dice nobody can foretell or seed."""
    return random.SystemRandom()
