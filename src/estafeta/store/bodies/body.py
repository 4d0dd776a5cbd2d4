"""Body: content with an id, and its row.

Reading is synchronous, so that what has no need to wait does not. Octets that lie elsewhere are
brought near first: `bring`, once for each use, outside of any transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from estafeta.mail.protocols import Content
from estafeta.store.bodies.names import IN_FILE, IN_ROW
from estafeta.store.engine import StoreError, Tx
from estafeta.store.limits import BODY_PIECE_OCTETS, HEADS_AT_ONCE

T = TypeVar("T")

_PUT = "INSERT INTO body (id, size, filed) VALUES (?, ?, ?)"
_PUT_DATA = "INSERT INTO body_data (id, data) VALUES (?, ?)"


class BodyMissing(StoreError):
    """A body that something refers to is not there: a matter for `audit --full`."""


class NotBrought(RuntimeError):
    """Octets were read that nobody has brought: a bug of the caller."""


class Distant(Content, Protocol):
    """Content that lies elsewhere."""

    @property
    def filed(self) -> int: ...

    async def bring(self, end: int) -> None:
        """Makes the octets [0, end) readable. Raises StoreError."""
        ...


class Body:
    """Content with an id.

    stored: its row is committed already, `put` has nothing to do. distant: None where it can be
    read at once.
    """

    __slots__ = ("_content", "data", "distant", "id", "size", "stored")

    def __init__(
        self,
        id: int,
        content: Content | bytes,
        *,
        stored: bool = False,
        distant: Distant | None = None,
    ) -> None:
        self.id = id
        self.stored = stored
        self.distant = distant
        if isinstance(content, bytes):
            self.data: bytes | None = content
            self._content: Content | None = None
            self.size = len(content)
        else:
            self.data = None
            self._content = content
            self.size = content.size

    @property
    def filed(self) -> int:
        """Where it lies: names.IN_ROW, IN_FILE, IN_OBJECT."""
        if self.distant is not None:
            return self.distant.filed
        return IN_ROW if self.data is not None else IN_FILE

    def chunks(self) -> Iterator[bytes]:
        if self.data is None:
            assert self._content is not None
            yield from self._content.chunks()
        elif len(self.data) <= BODY_PIECE_OCTETS:
            yield self.data
        else:
            for start in range(0, len(self.data), BODY_PIECE_OCTETS):
                yield self.data[start : start + BODY_PIECE_OCTETS]

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        if self.data is None:
            assert self._content is not None
            return self._content.read(start, end)
        if start == 0 and end is None:
            return self.data
        return self.data[start:end]


async def bring(content: Content, end: int | None = None) -> None:
    """Has the octets [0, end) of a content ready to be read; None: all. At once for what is near.

    They stay readable as long as `content` is held. Raises BodiesUnavailable, BodyMissing.
    """
    if isinstance(content, Body) and content.distant is not None:
        await content.distant.bring(content.size if end is None else min(end, content.size))


async def bring_each(wanted: Iterable[tuple[Content, int | None]]) -> None:
    """`bring` for several, a few at once."""
    distant = [
        (content, end)
        for content, end in wanted
        if isinstance(content, Body) and content.distant is not None
    ]
    for at in range(0, len(distant), HEADS_AT_ONCE):
        await all_of(bring(*each) for each in distant[at : at + HEADS_AT_ONCE])


async def all_of(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All at once; with the first failure the others end too."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        return [await task for task in tasks]
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # seen: the first one is raised
        raise


def put(tx: Tx, body: Body) -> None:
    """Its row, unless it has one."""
    if not body.stored:
        tx.send(_PUT, (body.id, body.size, body.filed))
        if body.data is not None:
            tx.send(_PUT_DATA, (body.id, body.data))
