"""Abuse: bombs, lies and expressions that explode: nothing raises, nothing takes long, nothing that
cannot be looked through is the way past a rule."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import struct
import time
import tracemalloc
import zipfile
import zlib
from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.deliver.policy.letters import MOV, attached, headed, mixed, part, zipped

from estafeta.deliver.policy import archives
from estafeta.deliver.policy.budget import Budget, TooMuch
from estafeta.deliver.policy.finding import Finding
from estafeta.deliver.policy.inspect import inspect
from estafeta.deliver.policy.limits import ARCHIVES_DEPTH_MAX, ENTRIES_MAX, PATTERN_CHARACTERS_MAX
from estafeta.deliver.policy.pattern import Pattern, PatternError
from estafeta.deliver.policy.rules import HeaderRule, Rules, effective

RULES = effective([Rules(blocked_types=(".mov", "macro"), encrypted_archives="refuse")])
SECONDS_MAX = 10.0
"""Far above what any of them takes, on a machine that is busy with others."""


def timed(message: bytes) -> Finding | None:
    began = time.perf_counter()
    got = inspect(message, RULES)
    assert time.perf_counter() - began < SECONDS_MAX
    return got


def unreadable(message: bytes) -> bool:
    got = timed(message)
    return got is not None and got.kind in ("archive", "parts") and got.type == "unreadable"


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def raw_zip(
    entries: list[tuple[bytes, bytes, int, int, int]], *, overlapping: bytes | None = None
) -> bytes:
    """A zip whose headers say what they are told: (name, packed, method, size, packed size), each.
    overlapping: all entries of the directory point to one file with these octets."""
    out = bytearray()
    lines = bytearray()
    shared = -1
    for name, packed, method, size, packed_size in entries:
        at = len(out)
        if overlapping is None or shared < 0:
            data = packed if overlapping is None else overlapping
            out += struct.pack(
                "<4s5H3L2H", b"PK\x03\x04", 20, 0, method, 0, 0, 0, packed_size, size, len(name), 0
            )
            out += name + data
            shared = at if overlapping is not None else -1
        lines += struct.pack(
            "<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, method, 0, 0, 0, packed_size, size,
            len(name), 0, 0, 0, 0, 0, shared if overlapping is not None else at,
        ) + name  # fmt: skip
    at = len(out)
    out += lines
    count = min(len(entries), 0xFFFF)
    out += struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(lines), at, 0)
    return bytes(out)


def test_nested_as_42_zip() -> None:
    """16 zips in each, five levels, and 4 GB of nothing in each of a million files."""
    data = raw_zip([(b"0.dll", deflated(bytes(1 << 20)), 8, 0xFFFFFFFF, 4000)])
    for _ in range(5):
        data = zipped({f"lib {n}.zip": data for n in range(16)})
    assert unreadable(attached("42.zip", data))


def test_a_flat_bomb() -> None:
    data = zipped({"zeros.txt": bytes(48 << 20)})
    assert len(data) < 100_000
    # What is no archive is not unpacked: its beginning is enough.
    assert timed(attached("a.zip", data)) is None
    assert unreadable(attached("a.zip", zipped({"b.zip": b"PK\x03\x04" + bytes(66 << 20)})))


def test_as_many_files_as_fit() -> None:
    many = raw_zip([(b"%d" % n, b"", 0, 0, 0) for n in range(ENTRIES_MAX + 10)])
    assert unreadable(attached("a.zip", many))
    few = raw_zip([(b"%d" % n, b"x", 0, 1, 1) for n in range(ENTRIES_MAX // 2)])
    assert timed(attached("a.zip", few)) is None


def test_files_that_overlap() -> None:
    """One kernel that every line of the directory points to (a better zip bomb)."""
    inner = zipped({"x.txt": bytes(8 << 20)})
    entries = [(b"%d.zip" % n, b"", 8, 0xFFFFFFF0, 0xFFFFFFF0) for n in range(5000)]
    message = attached("a.zip", raw_zip(entries, overlapping=deflated(inner + bytes(8 << 20))))
    assert unreadable(message)


def test_an_archive_that_holds_itself() -> None:
    """As a quine does: each level opened is the same again."""
    data = zipped({"a.txt": b"x"})
    for _ in range(ARCHIVES_DEPTH_MAX + 3):
        data = zipped({"r.zip": data}, zipfile.ZIP_STORED)
    assert unreadable(attached("r.zip", data))
    data = b"x"
    for _ in range(ARCHIVES_DEPTH_MAX + 3):
        data = gzip.compress(data)
    assert unreadable(attached("r.gz", data))


def test_sizes_that_lie() -> None:
    film = deflated(MOV)
    for size, packed in ((0, 0), (1, 1), (0xFFFFFFFF, 0xFFFFFFFF), (5, 0x7FFFFFFF)):
        data = raw_zip([(b"notes.txt", film, 8, size, packed)])
        got = timed(attached("a.zip", data))
        assert got is not None
        assert got.type == ".mov"


def test_zip64() -> None:
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w") as archive,
        archive.open("notes.txt", "w", force_zip64=True) as file,
    ):
        file.write(MOV)
    got = timed(attached("a.zip", out.getvalue()))
    assert got is not None
    assert got.type == ".mov"
    # Where the offset stands in the field of zip64 alone.
    packed = deflated(MOV)
    local = struct.pack(
        "<4s5H3L2H", b"PK\x03\x04", 45, 0, 8, 0, 0, 0, len(packed), 99, 3, 0
    ) + b"abc" + packed  # fmt: skip
    extra = struct.pack("<HHQQQ", 1, 24, 99, len(packed), 7)
    none = 0xFFFFFFFF
    line = struct.pack(
        "<4s6H3L5H2L", b"PK\x01\x02", 45, 45, 0, 8, 0, 0, 0, none, none, 3, len(extra), 0, 0, 0, 0,
        none,
    ) + b"abc" + extra  # fmt: skip
    data = b"before:" + local + line
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, none, none, 0)
    assert timed(attached("a.zip", data + end)) is not None


def test_a_name_that_one_header_tells_and_the_other_does_not() -> None:
    data = zipped({"film.mov": b"x"})
    at = data.find(b"PK\x01\x02")
    for changed in (
        data[:at].replace(b"film.mov", b"film.txt") + data[at:],
        data[:at] + data[at:].replace(b"film.mov", b"film.txt"),
        data[:at],  # no directory at all
        data[:at] + b"PK\x05\x06" + bytes(18),  # one that says there is nothing
    ):
        got = timed(attached("a.zip", changed))
        assert got is not None
        assert got.type == ".mov"


def test_broken_archives_are_nothing_and_raise_nothing() -> None:
    whole = zipped({"a.txt": b"hello" * 99, "b.zip": zipped({"c.txt": b"x"})})
    dice = random.Random(5)
    for n in range(200):
        data = bytearray(whole)
        for _ in range(dice.randrange(1, 20)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        timed(attached("a.zip", bytes(data[: dice.randrange(1, len(data))] if n % 2 else data)))


@settings(max_examples=200)
@given(
    st.sampled_from(
        [b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b"Rar!\x1a\x07"]
    ),
    st.binary(max_size=600),
)
def test_whatever_stands_behind_a_mark(mark: bytes, rest: bytes) -> None:
    try:
        for file in archives.files(mark + rest, "a", Budget(1 << 20, 100)):
            assert isinstance(file.names, tuple)
    except TooMuch:
        pass


@settings(max_examples=300)
@given(st.binary(max_size=2000))
def test_whatever_a_message_is(data: bytes) -> None:
    inspect(data, RULES)
    inspect(headed(data.replace(b"\n\n", b"\n")), RULES)


def test_what_unpacks_to_nothing_costs_too() -> None:
    """Empty blocks of deflate: input without output."""
    packed = b"\x1f\x8b\x08\x00" + bytes(6) + b"\x00\x00\x00\xff\xff" * (1 << 20)
    with pytest.raises(TooMuch):
        list(archives.files(packed, "a.gz", Budget(1 << 20)))


def test_dear_packings() -> None:
    for pack in (bz2.compress, lambda data: lzma.compress(data, preset=1)):
        bomb = pack(b"ustar".rjust(262, b"a") + bytes(24 << 20))
        got = timed(attached("a.tar.x", bomb))
        assert got is None or got.type == "unreadable"
    # A dictionary of 1.5 GB.
    greedy = lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 3 << 29}])
    assert timed(attached("a.xz", greedy)) is None
    many = raw_zip([(b"%d" % n, bz2.compress(b"x"), 12, 1, 40) for n in range(2000)])
    assert unreadable(attached("a.zip", many))


def test_little_memory_is_taken() -> None:
    """A message of 300 KiB that would be 48 MiB."""
    message = attached("a.zip", zipped({"b.zip": zipped({"zeros.txt": bytes(48 << 20)})}))
    tracemalloc.start()
    inspect(message, RULES)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20 << 20


def test_marks_of_a_zip_and_nothing_else() -> None:
    for mark in (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x03\x04" + b"\x14\x00" * 13):
        got = timed(attached("a.zip", b"PK\x03\x04" + mark * ((1 << 20) // len(mark))))
        assert got is None or got.type == "unreadable"


def test_mime_bombs() -> None:
    deep = b"Subject: x\r\n"
    for n in range(300):
        deep += b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
    assert unreadable(deep + b"Content-Disposition: attachment; filename=a.mov\r\n\r\nx")
    many = b"".join([b"\r\n--limit\r\n\r\nx"] * 12_000)
    assert unreadable(
        b"Content-Type: multipart/mixed; boundary=limit\r\n\r\n"
        + many
        + b"\r\n--limit\r\nContent-Disposition: attachment; filename=a.mov\r\n\r\nx"
    )
    nested = attached("a.mov")
    for _ in range(12):
        nested = mixed(part(b"Content-Type: message/rfc822", nested))
    assert unreadable(nested)


def test_a_header_longer_than_anybody_reads() -> None:
    header = b"X-Long: " + b"a" * 300_000 + b"\r\nContent-Disposition: attachment; filename=a.mov"
    assert unreadable(headed(header))
    rules = effective([Rules(headers=(HeaderRule("Subject", "lottery"),))])
    message = b"X-Long: " + b"a" * 300_000 + b"\r\nSubject: lottery\r\n\r\nx"
    assert inspect(message, rules) == Finding("parts", type="unreadable")


def test_names_without_end() -> None:
    pieces = b"".join(b";\r\n filename*%d*=%%41%%42" % n for n in range(5000))
    assert timed(headed(b"Content-Disposition: attachment" + pieces)) is None
    odd = "\u202e\uff0e" * 60_000
    name = f'Content-Disposition: attachment; filename="{odd}"'.encode()
    timed(mixed(*[part(name, b"x")] * 40))
    words = b"=?utf-8?b?" + b64encode(b"a" * 90) + b"?= "
    timed(headed(b'Content-Disposition: attachment; filename="' + words * 2000 + b'"'))
    timed(attached("a.zip", raw_zip([(("\u202e" * 300).encode(), b"", 0, 0, 0)] * 10_000)))


def test_padding_and_nothing_else() -> None:
    for octets in (b"=" * (4 << 20), b"=A" * (2 << 20), b"!" * (4 << 20)):
        message = mixed(
            b"Content-Type: application/zip; name=a.zip\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\n" + octets
        )
        assert timed(message) is None


def test_a_text_full_of_beginnings() -> None:
    timed(b"Subject: x\r\n\r\n" + b"begin 644 a.zip\r\n" * 100_000)
    timed(b"Subject: x\r\n\r\n" + b"begin 644 a.zip\r\n$4$L#!```\r\n" * 50_000)


CATASTROPHIC = [
    "(a+)+$",
    "(a|aa)+$",
    "(a|a?)+$",
    r"(\w+\s?)+!$",
    "(.*a){12}$",
    "^(([a-z])+.)+[A-Z]",
]


@pytest.mark.parametrize("expression", CATASTROPHIC)
def test_an_expression_that_explodes_elsewhere_takes_linear_time(expression: str) -> None:
    rules = effective([Rules(headers=tuple([HeaderRule("Subject", expression)] * 20))])
    message = b"Subject: " + b"a" * 200_000 + b"\r\n\r\nx"
    began = time.perf_counter()
    inspect(message, rules)
    assert time.perf_counter() - began < SECONDS_MAX


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("a" * (PATTERN_CHARACTERS_MAX + 1), "too long: 1000 characters at most"),
        ("((a{30}){30}){30}", "cannot be read: invalid repetition size"),
        (r"(\pL{100}){9}", "too large: fewer repetitions"),
        ("(.{0,200}a){4}", "too large: fewer repetitions"),
        ("(", "cannot be read: missing )"),
        (r"(a)\1", "no back-references"),
        ("(?=a)", "no look-around"),
        ("\ud800", "is no text"),
    ],
)
def test_an_expression_that_cannot_be_used_is_refused_with_a_sentence(
    expression: str, sentence: str
) -> None:
    with pytest.raises(PatternError, match=r"^the regular expression ") as refused:
        Pattern(expression)
    assert sentence in str(refused.value)
