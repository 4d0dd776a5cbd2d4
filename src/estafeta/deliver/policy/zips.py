"""Zips: what lies in a zip file (APPNOTE 6.3.10), whatever it says of itself.

Promises: time and memory are bounded by the budget; never raises but TooMuch. Both the directory at
the end and the header in front of each file are read, for programs differ in which they believe; no
size that is written there is relied on, nor that files do not overlap.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from estafeta.deliver.policy.budget import OBJECT_OCTETS, Budget, TooMuch
from estafeta.deliver.policy.limits import FILE_OCTETS_MAX
from estafeta.deliver.policy.unpack import BZIP2, DEFLATE, XZ, Packing, unpack, zip_lzma

LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
STORED = 0

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")  # of 46 octets
_METHODS = frozenset((*range(21), 93, 94, 95, 96, 97, 98, 99))
_VERSION_MAX = 63
_NAME_OCTETS_MAX = 1024
_ZIP64 = 0xFFFFFFFF
_UNICODE_PATH = 0x7075


class Entry(msgspec.Struct, frozen=True):
    """One file. names: as its headers call it, raw. data: where its octets begin, -1: nowhere.
    packed: their number as written, 0: unknown."""

    names: tuple[bytes, ...]
    encrypted: bool
    method: int
    data: int
    packed: int


def entries(data: bytes, budget: Budget) -> Iterator[Entry]:
    """Every file that some program may find in it. Raises TooMuch."""
    seen: set[int] = set()
    shift = _shift(data)
    at = data.find(CENTRAL)
    while at >= 0:
        budget.spend(OBJECT_OCTETS)
        found = _central(data, at, shift, seen)
        if found is None:
            at = data.find(CENTRAL, at + 4)
            continue
        entry, end = found
        yield entry
        at = data.find(CENTRAL, end)
    at = data.find(LOCAL)
    while at >= 0:
        budget.spend(OBJECT_OCTETS)
        if at not in seen and (local := _local(data, at)) is not None:
            yield local
        at = data.find(LOCAL, at + 4)


def _shift(data: bytes) -> int:
    """Octets in front of the archive: a program that unpacks itself, or anything else. Offsets are
    counted from its beginning, or from where it seems to begin."""
    end = data.rfind(END)
    if end < 0 or end + 20 > len(data):
        return 0
    size, offset = struct.unpack_from("<LL", data, end + 12)
    return max(0, end - size - offset) if _ZIP64 not in (size, offset) else 0


def _central(data: bytes, at: int, shift: int, seen: set[int]) -> tuple[Entry, int] | None:
    """The file whose line of the directory begins at `at`, and where that ends."""
    if at + _CENTRAL.size > len(data):
        return None
    header = _CENTRAL.unpack_from(data, at)
    version, flags, method, packed, size = header[2], header[3], header[4], header[8], header[9]
    name_size, extra_size, note_size, local = header[10], header[11], header[12], header[16]
    if version & 0xFF > _VERSION_MAX or method not in _METHODS or not name_size:
        return None
    begins = at + _CENTRAL.size
    name = data[begins : begins + min(name_size, _NAME_OCTETS_MAX)]
    extra = data[begins + name_size : begins + name_size + extra_size]
    names = [name, *_other_names(extra)]
    packed, local = _long(extra, size, packed, local)
    start = -1
    for place in (local + shift, local):
        if data[place : place + 4] == LOCAL and place + _LOCAL.size <= len(data):
            own = _LOCAL.unpack_from(data, place)
            front = place + _LOCAL.size
            start = front + own[9] + own[10]
            names.append(data[front : front + min(own[9], _NAME_OCTETS_MAX)])
            flags |= own[2]
            if own[3] == method:
                seen.add(place)
            break
    entry = Entry(tuple(dict.fromkeys(names)), bool(flags & 1), method, start, packed)
    return entry, begins + name_size + extra_size + note_size


def _local(data: bytes, at: int) -> Entry | None:
    """A file that the directory does not tell of, by its own header."""
    if at + _LOCAL.size > len(data):
        return None
    _, version, flags, method, _, _, _, packed, _, name_size, extra_size = _LOCAL.unpack_from(
        data, at
    )
    if version & 0xFF > _VERSION_MAX or method not in _METHODS or not name_size:
        return None
    begins = at + _LOCAL.size
    name = data[begins : begins + min(name_size, _NAME_OCTETS_MAX)]
    extra = data[begins + name_size : begins + name_size + extra_size]
    names = dict.fromkeys((name, *_other_names(extra)))
    packed = 0 if flags & 8 or packed == _ZIP64 else packed
    return Entry(tuple(names), bool(flags & 1), method, begins + name_size + extra_size, packed)


def _fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        yield kind, extra[at + 4 : at + 4 + size]
        at += 4 + size


def _other_names(extra: bytes) -> list[bytes]:
    """The name in UTF-8 that some programs take instead (APPNOTE §4.6.9)."""
    return [v[5 : 5 + _NAME_OCTETS_MAX] for k, v in _fields(extra) if k == _UNICODE_PATH and v[5:]]


def _long(extra: bytes, size: int, packed: int, local: int) -> tuple[int, int]:
    """Packed size and offset as zip64 says them (APPNOTE §4.5.3): of size, packed size and offset
    those that did not fit."""
    if _ZIP64 not in (packed, local):
        return packed, local
    for kind, value in _fields(extra):
        if kind != 1:
            continue
        numbers = [int.from_bytes(value[n : n + 8], "little") for n in range(0, len(value) - 7, 8)]
        if size == _ZIP64 and numbers:
            numbers.pop(0)
        if packed == _ZIP64 and numbers:
            packed = numbers.pop(0)
        if local == _ZIP64 and numbers:
            local = numbers.pop(0)
        break
    return packed, local


def head(data: bytes, entry: Entry, octets: int, budget: Budget) -> bytes:
    """The first octets of a file; b"" where it is encrypted, or packed in a way we do not know.
    Raises TooMuch."""
    return _unpacked(data, entry, octets, budget)


def whole(data: bytes, entry: Entry, budget: Budget) -> bytes:
    """All of a file. Raises TooMuch: it is larger than `FILE_OCTETS_MAX`, or than the budget."""
    found = _unpacked(data, entry, FILE_OCTETS_MAX + 1, budget)
    if len(found) > FILE_OCTETS_MAX:
        raise TooMuch
    return found


def _unpacked(data: bytes, entry: Entry, most: int, budget: Budget) -> bytes:
    if entry.encrypted or entry.data < 0:
        return b""
    start = entry.data
    if entry.method == STORED:
        found = data[start : start + min(most, entry.packed or most)]
        budget.spend(len(found))
        return found
    packing: Packing | None = None
    match entry.method:
        case 8:  # deflate; 9, deflate64, is known to few
            packing = DEFLATE
        case 12:
            packing = BZIP2
        case 14:
            packing, start = zip_lzma(data[start + 4 : start + 9]), start + 9
        case 95:
            packing = XZ
    if packing is None:
        return b""
    return unpack(packing, data, start, len(data), most, budget)
