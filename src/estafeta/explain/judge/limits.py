"""Limits of judging: a server's words are a stranger's, and are looked at only so far."""

from __future__ import annotations

WORDS_CHARACTERS_MAX = 2_000
"""Of what a server said; what follows is not looked at."""

GAP_CHARACTERS_MAX = 80
"""What "…" in a phrase may stand for."""
