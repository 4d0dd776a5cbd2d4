"""Unpack: the beginning of what was packed by deflate, gzip, bzip2, LZMA or xz.

Promises: never raises but TooMuch; what is broken ends where it breaks. Memory is bounded by `most`
and, for a dictionary, by `XZ_MEMORY_OCTETS_MAX`; what goes in costs as what comes out, for octets
that unpack to nothing take time too.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Protocol

import msgspec

from estafeta.deliver.policy.budget import Budget, TooMuch
from estafeta.deliver.policy.limits import XZ_MEMORY_OCTETS_MAX

_PIECE_OCTETS = 64 * 1024
_PIECE_OCTETS_MIN = 2048


class _Stream(Protocol):
    """As bz2 and lzma have it."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class Packing(msgspec.Struct, frozen=True):
    """open: begins a stream. weight: how much dearer than deflate. begins: octets that the first
    ones cost, for it unpacks blocks."""

    open: Callable[[], _Stream]
    weight: int = 1
    begins: int = 0


class _Inflate:
    """zlib in that shape. bits: as zlib's wbits."""

    __slots__ = ("_inner", "_rest")

    def __init__(self, bits: int) -> None:
        self._inner = zlib.decompressobj(bits)
        self._rest = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._rest

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        found = self._inner.decompress(self._rest + data if self._rest else data, max_length)
        self._rest = self._inner.unconsumed_tail
        return found


DEFLATE = Packing(lambda: _Inflate(-zlib.MAX_WBITS))
GZIP = Packing(lambda: _Inflate(16 + zlib.MAX_WBITS))
BZIP2 = Packing(bz2.BZ2Decompressor, weight=8, begins=512 * 1024)
XZ = Packing(
    lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_OCTETS_MAX),
    weight=4,
    begins=64 * 1024,
)


def zip_lzma(properties: bytes) -> Packing | None:
    """LZMA as zip files have it: the five octets of its properties. None: it wants too much."""
    if len(properties) < 5 or properties[0] >= 225:
        return None
    rest, lc = divmod(properties[0], 9)
    pb, lp = divmod(rest, 5)
    size = int.from_bytes(properties[1:5], "little")
    if size > XZ_MEMORY_OCTETS_MAX or lc + lp > 4:
        return None
    chain = [
        {"id": lzma.FILTER_LZMA1, "dict_size": max(size, 4096), "lc": lc, "lp": lp, "pb": pb},
    ]
    return Packing(
        lambda: lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chain), weight=4, begins=64 * 1024
    )


def unpack(packing: Packing, data: bytes, start: int, end: int, most: int, budget: Budget) -> bytes:
    """The first `most` octets of what lies packed in [start, end). Raises TooMuch."""
    budget.spend(packing.begins)
    found = bytearray()
    step = min(_PIECE_OCTETS, max(_PIECE_OCTETS_MIN, most))
    at = start
    try:
        stream = packing.open()
        while len(found) < most and not stream.eof:
            piece = b""
            if stream.needs_input:
                piece = data[at : min(at + step, end)]
                at += len(piece)
                if not piece:
                    break
            some = stream.decompress(piece, min(most - len(found), _PIECE_OCTETS))
            budget.spend(packing.weight * (len(some) + len(piece)))
            found += some
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, MemoryError):
        pass  # broken here: what came before counts
    return bytes(found)


__all__ = ["BZIP2", "DEFLATE", "GZIP", "XZ", "Packing", "TooMuch", "unpack", "zip_lzma"]
