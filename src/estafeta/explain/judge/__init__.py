"""From what a server said to a cause of the catalogue. What is known of how servers speak is data,
`facts/*.toml`: a fact with its source, in the order in which they are asked.
"""

from __future__ import annotations

from estafeta.explain.judge.judging import judge, weigh
from estafeta.explain.judge.knowledge import Piece

__all__ = ["Piece", "judge", "weigh"]
