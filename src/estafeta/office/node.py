"""Node: which of several machines this is, where they share one store.

A data folder that was used before is the same node again: what it left leased is given back when it
starts. The machine's name is part of it, so that a copy of the folder elsewhere is another node.
"""

from __future__ import annotations

import os
import random
import socket
from contextlib import suppress
from pathlib import Path

from estafeta.office.config import Config
from estafeta.queue.holders import Life
from estafeta.store.open import is_postgres

FILE = "node"
_ID_OCTETS = 12
_RUN_BITS = 62


def life_of(config: Config, dice: random.Random) -> Life:
    """Of a service that begins now and holds the tenure. Raises OSError."""
    run = dice.getrandbits(_RUN_BITS)
    if not is_postgres(config.server.store):
        return Life(node="", run=run)  # whoever holds a file has no other beside it
    return Life(node=node_of(Path(config.server.data_dir), dice), run=run, alone=False)


def node_of(data_dir: Path, dice: random.Random) -> str:
    """Made once, kept in the folder."""
    file = data_dir / FILE
    fresh = dice.randbytes(_ID_OCTETS).hex()
    with suppress(FileExistsError):
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as made:
            made.write(fresh)
    kept = file.read_text(encoding="ascii", errors="replace").strip()
    # Empty after a power cut: a node of which nobody has heard.
    return f"{socket.gethostname()} {kept or fresh}"
