"""Names: where the octets of a body lie, made from its id alone."""

from __future__ import annotations

from estafeta.store.ids import parse_queue_id, queue_id
from estafeta.store.limits import OBJECT_OCTETS_MAX

FOLDER = "bodies"

# The column body.filed.
IN_ROW = 0
IN_FILE = 1
IN_OBJECT = 2


def folder_of(body: int) -> str:
    """One folder for every 4.7 hours."""
    return f"{FOLDER}/{queue_id(body)[:4]}"


def path_of(body: int) -> str:
    return f"{folder_of(body)}/{queue_id(body)}"


def object_of(body: int, part: int) -> str:
    """The object that holds the octets from part * OBJECT_OCTETS_MAX on.

    Names are in the order of ids: the base-32 alphabet is in the order of ASCII.
    """
    return f"{path_of(body)}-{part}"


def parse_object(name: str) -> tuple[int, int]:
    """(body, part). Raises ValueError for a name that `object_of` does not give."""
    text, _, number = name.rpartition("/")[2].partition("-")
    body, part = parse_queue_id(text), int(number)
    if object_of(body, part) != name:
        raise ValueError(f"{name!r} is not the name of a body's object")
    return body, part


def parts_of(size: int) -> int:
    """How many objects hold a body of so many octets."""
    return max(1, -(-size // OBJECT_OCTETS_MAX))
