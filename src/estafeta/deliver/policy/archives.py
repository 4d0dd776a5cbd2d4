"""Archives: which files lie in an archive, archives within it included.

zip, tar, and the packings of one file (gzip, bzip2, xz) are opened; of others (rar, 7z, cab) the
outside alone is known. Promises: never raises but TooMuch; bounded by the budget and
`ARCHIVES_DEPTH_MAX`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from estafeta.deliver.policy import zips
from estafeta.deliver.policy.budget import Budget, TooMuch
from estafeta.deliver.policy.limits import (
    ARCHIVES_DEPTH_MAX,
    FILE_OCTETS_MAX,
    HEAD_OCTETS,
)
from estafeta.deliver.policy.unpack import BZIP2, GZIP, XZ, Packing, unpack
from estafeta.mail.words import decode_charset

_PACKED: tuple[tuple[bytes, Packing, dict[str, str]], ...] = (
    (b"\x1f\x8b", GZIP, {".tgz": ".tar", ".gz": "", ".svgz": ".svg", ".emz": ".emf"}),
    (b"BZh", BZIP2, {".tbz2": ".tar", ".tbz": ".tar", ".bz2": "", ".bz": ""}),
    (b"\xfd7zXZ\x00", XZ, {".txz": ".tar", ".xz": ""}),
)
_BLOCK = 512
_RAR4, _RAR5 = b"Rar!\x1a\x07\x00", b"Rar!\x1a\x07\x01\x00"


class File(msgspec.Struct, frozen=True):
    """One file of an archive. names: what it is called. head: its first octets, b"" where they
    cannot be known. encrypted: they cannot for want of a password. inside: the archive's name."""

    names: tuple[str, ...]
    head: bytes
    inside: str
    encrypted: bool = False


def is_archive(data: bytes) -> bool:
    """Whether `files` would find something in it, if it is not broken."""
    return _is_zip(data) or _packing(data) is not None or _is_tar(data)


def _opens(names: Iterable[str], head: bytes) -> bool:
    """Whether a file of an archive is to be opened too. A zip may have anything in front of it."""
    return is_archive(head) or (bool(head) and any(each.lower().endswith(".zip") for each in names))


def files(data: bytes, name: str, budget: Budget, depth: int = 1) -> Iterator[File]:
    """Every file in an archive called `name`, and in those within it. Raises TooMuch."""
    if depth > ARCHIVES_DEPTH_MAX:
        raise TooMuch
    if _is_zip(data):
        yield from _in_zip(data, name, budget, depth)
    elif (found := _packing(data)) is not None:
        yield from _in_packed(data, name, found, budget, depth)
    elif _is_tar(data):
        yield from _in_tar(data, name, budget, depth)
    elif data.startswith((_RAR4, _RAR5)) and _is_locked_rar(data):
        yield File((), b"", name, encrypted=True)


def _in_zip(data: bytes, name: str, budget: Budget, depth: int) -> Iterator[File]:
    for entry in zips.entries(data, budget):
        names = tuple(decode_charset(each) for each in entry.names)
        budget.file(sum(map(len, names)))
        head = zips.head(data, entry, HEAD_OCTETS, budget)
        yield File(names, head, name, entry.encrypted)
        if _opens(names, head):
            yield from files(zips.whole(data, entry, budget), names[0], budget, depth + 1)


def _in_packed(
    data: bytes, name: str, found: tuple[Packing, dict[str, str]], budget: Budget, depth: int
) -> Iterator[File]:
    """One file, called as the archive without its ending, and as gzip's header says."""
    packing, endings = found
    head = unpack(packing, data, 0, len(data), HEAD_OCTETS, budget)
    lower = name.lower()
    ending = next((each for each in endings if lower.endswith(each)), None)
    names = [name[: -len(ending)] + endings[ending] if ending else name]
    if packing is GZIP and (own := _gzip_name(data)):
        names.append(own)
    budget.file(sum(map(len, names)))
    yield File(tuple(names), head, name)
    if _opens(names, head):
        inner = unpack(packing, data, 0, len(data), FILE_OCTETS_MAX + 1, budget)
        if len(inner) > FILE_OCTETS_MAX:
            raise TooMuch
        yield from files(inner, names[0], budget, depth + 1)


def _gzip_name(data: bytes) -> str:
    """FNAME of the header (RFC 1952 §2.3)."""
    if len(data) < 10 or not data[3] & 8:
        return ""
    at = 10
    if data[3] & 4:
        at += 2 + int.from_bytes(data[10:12], "little")
    end = data.find(b"\0", at, at + 1024)
    return data[at:end].decode("latin-1") if end > at else ""


def _in_tar(data: bytes, name: str, budget: Budget, depth: int) -> Iterator[File]:
    """By its blocks (POSIX.1-1988 ustar, with GNU's and pax' long names)."""
    at, long = 0, ""
    while at + _BLOCK <= len(data):
        block = data[at : at + _BLOCK]
        budget.spend(_BLOCK)
        if not block.strip(b"\0"):
            at += _BLOCK  # an end; what is behind it some programs read too
            continue
        size = _number(block[124:136])
        kind, begins = block[156:157], at + _BLOCK
        at = begins + (size + _BLOCK - 1) // _BLOCK * _BLOCK
        if kind in (b"L", b"x"):
            long = _long_name(kind, data[begins : begins + min(size, 4096)]) or long
            continue
        own = decode_charset(block[:100].partition(b"\0")[0])
        front = decode_charset(block[345:500].partition(b"\0")[0]) if block[257:262] else ""
        names = tuple(dict.fromkeys(n for n in (long, f"{front}/{own}" if front else own) if n))
        long = ""
        budget.file(sum(map(len, names)))
        head = data[begins : begins + min(size, HEAD_OCTETS)]
        yield File(names, head, name)
        if _opens(names, head):
            if size > FILE_OCTETS_MAX:
                raise TooMuch
            budget.spend(size)
            inner = data[begins : begins + size]
            yield from files(inner, names[0] if names else "", budget, depth + 1)


def _number(field: bytes) -> int:
    """Octal, or GNU's binary; what is none is 0."""
    if field[0] & 0x80:
        return min(int.from_bytes(field[1:], "big"), 1 << 62)
    digits = field.strip(b" \0")
    return int(digits, 8) if digits and not digits.strip(b"01234567") else 0


def _long_name(kind: bytes, value: bytes) -> str:
    if kind == b"L":
        return decode_charset(value.partition(b"\0")[0])
    _, found, rest = value.partition(b" path=")
    return decode_charset(rest.partition(b"\n")[0]) if found else ""


def _is_zip(data: bytes) -> bool:
    """A file may stand in front of it, such as a program that unpacks it."""
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08PK", b"PK00PK")):
        return True
    return ends_as_zip(data) and data.find(zips.CENTRAL) >= 0


def ends_as_zip(data: bytes) -> bool:
    """Whether the end of a directory stands where it may (APPNOTE §4.3.16)."""
    return data.rfind(zips.END, max(0, len(data) - 65_536 - 22)) >= 0


def _packing(data: bytes) -> tuple[Packing, dict[str, str]] | None:
    for mark, packing, endings in _PACKED:
        if data.startswith(mark):
            return packing, endings
    return None


def _is_tar(data: bytes) -> bool:
    """By its mark, or by the sum over its first block (before POSIX there was no mark)."""
    if data[257:262] == b"ustar":
        return True
    block = data[:_BLOCK]
    if len(block) < _BLOCK or not block[0]:
        return False
    digits = block[148:156].strip(b" \0")
    if not digits or digits.strip(b"01234567"):
        return False
    return sum(block[:148]) + 8 * 32 + sum(block[156:]) == int(digits, 8)


def _is_locked_rar(data: bytes) -> bool:
    """Whether its headers say that it wants a password: those of all files (RAR 4: flag 0x80 of the
    archive, RAR 5: a header of kind 4), or of the first one."""
    if data.startswith(_RAR4):
        return len(data) > 12 and (
            bool(int.from_bytes(data[10:12], "little") & 0x80) or _first_file_locked(data)
        )
    # RAR 5: CRC of four octets, the size of the header, then its kind.
    at = len(_RAR5) + 4
    while at < len(data) and data[at] & 0x80:
        at += 1
    return data[at + 1 : at + 2] == b"\x04"


def _first_file_locked(data: bytes) -> bool:
    """RAR 4: the header behind that of the archive, kind 0x74, flag 4."""
    at = 7 + int.from_bytes(data[12:14], "little")
    return data[at + 2 : at + 3] == b"\x74" and bool(
        int.from_bytes(data[at + 3 : at + 5], "little") & 4
    )
