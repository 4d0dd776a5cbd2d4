"""Protocols: the shapes by which rooms that are blind to each other meet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Content(Protocol):
    """The bytes of a message, CRLF lines, not dot-stuffed: in memory when small, else on disk.

    size: octets. An implementation may be read more than once and by several readers.
    """

    @property
    def size(self) -> int: ...

    def chunks(self) -> Iterator[bytes]:
        """All bytes in order, in pieces of at most 64 KiB."""
        ...

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """The octets [start, end)."""
        ...


class Machine(Protocol):
    """A sans-IO protocol machine, as the pump drives it."""

    def receive(self, data: bytes) -> None:
        """Bytes from the peer; b"" is the end of its stream."""
        ...

    def take_output(self) -> bytes:
        """What is to be sent, once."""
        ...


class Meter(Protocol):
    """Counts and times; the office gives it to Prometheus, tests read it back."""

    def count(self, name: str, by: float = 1, **labels: str) -> None: ...

    def observe(self, name: str, value: float, **labels: str) -> None: ...

    def gauge(self, name: str, value: float, **labels: str) -> None: ...


class NoMeter:
    """A meter that keeps nothing."""

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        return

    def observe(self, name: str, value: float, **labels: str) -> None:
        return

    def gauge(self, name: str, value: float, **labels: str) -> None:
        return


class Bytes:
    """Content held in memory."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    @property
    def size(self) -> int:
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self.data), 65536):
            yield self.data[start : start + 65536]

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        return self.data[start:end]
