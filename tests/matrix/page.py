"""page: the rows of a run of the matrix, and docs/interop.md, which is made from them.

Each case gives a row. With ESTAFETA_INTEROP naming a file the rows are written there, a JSON line
each (workers append whole lines), and `python -m tests.matrix.page FILE` makes the page of them.
Without it each case holds its row against the page.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.support.peers.packages import PROJECT
from tests.support.peers.server import Direction, Feature

PAGE = PROJECT / "docs/interop.md"

BEHIND = "Dovecot (behind us, by LMTP)"  # it sends nothing

_INTRODUCTION = """\
<!-- Made by `make interop` from a run of tests/matrix; edit that. -->

# Other servers

What `make test-peers` showed with the servers that other people run, each from its distribution's \
package, on loopback: real processes, real sockets. *Sends*: it is the client and we are the \
server; *receives*: we are the client. In every case the body's hash and the order of the original \
header fields are compared, the envelope, and what our ledger says became of the message; where we \
refuse or put off, our words as they went over the wire with those of its bounce or its log, and \
with what the recipient is told of who tried. "No" \
says why; it is tried all the same, and the run fails when it works after all.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One cell. why: reason or remark, a short sentence, or ""."""

    peer: str
    version: str
    direction: str
    feature: str
    result: str
    why: str

    def same(self, other: Row) -> bool:
        """Equal but for the package's patch level."""
        return (
            self.key == other.key
            and upstream(self.version) == upstream(other.version)
            and (self.result, self.why) == (other.result, other.why)
        )

    @property
    def key(self) -> tuple[str, str, str]:
        return self.peer, self.direction, self.feature

    @property
    def cell(self) -> str:
        return f"{self.result}: {self.why}" if self.why else self.result


def upstream(version: str) -> str:
    """The program's own version without its patch level: 1:2.3.19.1+dfsg1-2.1 -> 2.3."""
    found = re.search(r"(?:\d+:)?(\d+(?:\.\d+)?)", version)
    return found[1] if found else version


def written_to() -> Path | None:
    """Where rows are to be written, or None."""
    name = os.environ.get("ESTAFETA_INTEROP")
    return Path(name) if name else None


def append(path: Path, row: Row) -> None:
    """One line, in one write: several workers append to one file."""
    line = json.dumps(asdict(row), ensure_ascii=False) + "\n"
    with path.open("ab", buffering=0) as file:
        file.write(line.encode())


def render(rows: Iterable[Row]) -> str:
    """The page. Rows of one key: the last counts."""
    by_peer: dict[str, dict[tuple[str, str], Row]] = {}
    for row in rows:
        by_peer.setdefault(row.peer, {})[row.feature, row.direction] = row
    parts = [_INTRODUCTION]
    for peer in sorted(by_peer, key=lambda peer: (peer == BEHIND, peer.lower())):
        cells = by_peer[peer]
        version = next(iter(cells.values())).version
        lines = [f"\n## {peer} {version}\n", "| feature | sends | receives |", "|---|---|---|"]
        for feature in Feature:
            found = [cells.get((feature.value, direction.value)) for direction in Direction]
            if any(found):
                shown = " | ".join(row.cell if row else "" for row in found)
                lines.append(f"| {feature.value} | {shown} |")
        parts.append("\n".join(lines) + "\n")
    return "".join(parts)


def read(text: str) -> dict[tuple[str, str, str], Row]:
    """The rows of a page, by (peer, direction, feature)."""
    rows: dict[tuple[str, str, str], Row] = {}
    peer = version = ""
    for line in text.splitlines():
        if line.startswith("## "):
            peer, _, version = line[3:].rpartition(" ")
        elif line.startswith("| ") and peer and not line.startswith("| feature "):
            feature, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            for direction, cell in zip(Direction, cells, strict=True):
                if cell:
                    result, _, why = cell.partition(": ")
                    row = Row(peer, version, direction.value, feature, result, why)
                    rows[row.key] = row
    return rows


def main() -> None:
    rows = [Row(**json.loads(line)) for line in Path(sys.argv[1]).read_text().splitlines()]
    PAGE.write_text(render(rows))


if __name__ == "__main__":
    main()
