"""Inspect: what is found in a message, by name, by type, by first octets, and inside archives."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from base64 import b64encode
from binascii import b2a_uu
from pathlib import Path

import pytest
from tests.deliver.policy.letters import EXE, MOV, attached, headed, mixed, part, zipped
from tests.support.require import suite

from estafeta.deliver.policy.finding import Finding
from estafeta.deliver.policy.inspect import inspect
from estafeta.deliver.policy.rules import Effective, HeaderRule, Rules, effective


def rules(*blocked: str, **more: object) -> Effective:
    return effective([Rules(blocked_types=blocked, **more)])  # type: ignore[arg-type]


def found(message: bytes, *blocked: str, **more: object) -> Finding | None:
    return inspect(message, rules(*blocked, **more))


# How a name may be written that ends in .mov for whoever opens it.
NAMES = {
    "plain": b'Content-Disposition: attachment; filename="film.mov"',
    "capitals": b'Content-Disposition: attachment; filename="FILM.MOV"',
    "name of the type": b'Content-Type: application/x; name="film.mov"',
    "unquoted": b"Content-Disposition: attachment; filename=film.mov",
    "continuations": (
        b"Content-Disposition: attachment; filename*0=film;\r\n filename*1=.m; filename*2=ov"
    ),
    "continuations, out of order": (
        b"Content-Disposition: attachment; filename*1=.mov; filename*0=film"
    ),
    "charset and percent": b"Content-Disposition: attachment; filename*=utf-8''film%2Em%6Fv",
    "both": b"Content-Disposition: attachment; filename*0*=iso-8859-1'es'a%F1o; filename*1=.mov",
    "encoded word": b'Content-Disposition: attachment; filename="=?utf-8?b?ZmlsbS5tb3Y=?="',
    "encoded words": (
        b'Content-Disposition: attachment; filename="=?utf-8?q?film=2E?=\r\n =?utf-8?q?mov?="'
    ),
    "encoded word in pieces": (
        b'Content-Disposition: attachment; filename*0="=?utf-8?b?Zmls"; filename*1="bS5tb3Y=?="'
    ),
    "harmless first, then not": b"Content-Disposition: attachment; filename=a.txt; filename=b.mov",
    "filename harmless, filename* not": (
        b"Content-Disposition: attachment; filename=a.txt; filename*=utf-8''b.mov"
    ),
    "filename harmless, name not": (
        b"Content-Type: application/x; name=b.mov\r\n"
        b"Content-Disposition: attachment; filename=a.txt"
    ),
    "second disposition": (
        b"Content-Disposition: inline\r\nContent-Disposition: attachment; filename=b.mov"
    ),
    "trailing dots and blanks": b'Content-Disposition: attachment; filename="film.mov. . "',
    "double extension": b'Content-Disposition: attachment; filename="film.txt.mov"',
    "folder": b'Content-Disposition: attachment; filename="a/b\\\\film.mov"',
    "NUL": b'Content-Disposition: attachment; filename="film.mov\x00.txt"',
    "NUL by percent": b"Content-Disposition: attachment; filename*=utf-8''film.mov%00.txt",
    "stream": b'Content-Disposition: attachment; filename="film.mov::$DATA"',
    "8 bit": b'Content-Disposition: attachment; filename="a\xf1o.mov"',
    "right to left": 'Content-Disposition: attachment; filename="a\u202etxt.mov"'.encode(),
    "direction inside": 'Content-Disposition: attachment; filename="a.m\u202eov"'.encode(),
    "zero width": 'Content-Disposition: attachment; filename="a.mo\u200bv"'.encode(),
    "wide letters": 'Content-Disposition: attachment; filename="a\uff0em\uff4f\uff56"'.encode(),
    "percent in plain": b'Content-Disposition: attachment; filename="film%2Emov"',
    "very long": b'Content-Disposition: attachment; filename="' + b"a" * 900 + b'.mov"',
    "cut at 255": (
        b'Content-Disposition: attachment; filename="' + b"a" * 251 + b".mov" + b'.txt"'
    ),
    "no semicolon": b'Content-Type: application/x name="film.mov"',
    "comment": b"Content-Disposition: attachment; filename=film.mov (a film)",
}


@pytest.mark.parametrize("how", NAMES)
def test_a_name_cannot_hide_its_ending(how: str) -> None:
    got = found(headed(NAMES[how]), ".mov")
    assert got is not None
    assert (got.kind, got.type) == ("type", ".mov")
    assert found(headed(NAMES[how]), ".exe") is None


@pytest.mark.parametrize("name", ["film.move", "mov", "film.mov.txt", "movie.txt", "a.mov/b.txt"])
def test_what_only_looks_like_it_comes_in(name: str) -> None:
    assert found(attached(name), ".mov") is None


@pytest.mark.parametrize("entry", [".mov", "video/quicktime", "video/*", "VIDEO/QuickTime", ".MOV"])
def test_one_entry_means_the_same_by_name_by_type_and_by_content(entry: str) -> None:
    for message in (
        attached("film.mov", b"hello"),
        attached("notes.txt", MOV),
        attached("notes.txt", MOV, "text/plain"),
        attached("notes.dat", b"hello", "video/quicktime"),
        headed(b"Content-Type: video/quicktime"),
        headed(b"Content-Type: application/octet-stream", MOV),
    ):
        got = found(message, entry)
        assert got is not None
        assert got.type == entry
    for message in (
        attached("film.mp4", b"\x00\x00\x00\x14ftypisom"),
        attached("a.txt", b"a text that begins with ftyp"),
        mixed(),
    ):
        assert found(message, ".mov") is None


@pytest.mark.parametrize(
    ("content", "entry"),
    [
        (EXE, "executable"),
        (b"\x7fELF\x02\x01", "executable"),
        (b"\xca\xfe\xba\xbe\x00\x00", "executable"),
        (b"Rar!\x1a\x07\x00", "archive"),
        (b"7z\xbc\xaf\x27\x1c", ".7z"),
        (b"%PDF-1.7", ".pdf"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/*"),
        (b"GIF89a", ".gif"),
        (b"RIFF\x00\x00\x00\x00AVI ", ".avi"),
        (b"\x00\x00\x00\x08moov", ".mov"),
        (b"\x00\x00\x00\x1cftypisom\x00\x00\x02\x00isomqt  ", ".mov"),
        (b"\x00\x00\x00\x18ftypM4A ", "audio/*"),
        (b"\x1a\x45\xdf\xa3", ".mkv"),
        (b"OggS\x00\x02", ".ogg"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ".doc"),
        (bytes(0x8001) + b"CD001" + bytes(100_000), "disk"),
        (bytes(257) + b"ustar", ".tar"),
        (b"\x78\x9f\x3e\x22", "application/ms-tnef"),
        (b"SQLite format 3\x00", ".sqlite"),
    ],
)
def test_what_a_file_is_shows_in_its_first_octets(content: bytes, entry: str) -> None:
    got = found(attached("notes.bin", content), entry)
    assert got is not None
    assert got.kind == "type"


def test_a_text_is_not_taken_for_a_file_by_its_first_letters() -> None:
    for text in (b"MZ is a mark.", b"BM and others", b"ID3 is a tag", b"FWS: hello", b"PK is it"):
        assert found(attached("a.txt", text, "text/plain"), "executable", "audio/*") is None
        assert found(mixed(part(b"Content-Type: text/plain", text)), "executable", ".swf") is None


def test_what_is_built_upon_an_archive_is_not_taken_for_one() -> None:
    office = zipped({"[Content_Types].xml": b"<x/>", "word/document.xml": b"<x/>"})
    assert found(attached("a.docx", office), ".zip", "archive") is None
    assert found(attached("a.dat", office), ".zip") is not None
    assert found(attached("a.msg", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), ".doc") is None
    assert found(attached("a.dll", EXE), ".exe") is None
    assert found(attached("a.dat", EXE), ".exe") is not None


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, 8, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_inside_a_zip(method: int) -> None:
    for files in ({"a/film.mov": b"x"}, {"b.txt": b"y" * 9, "notes.txt": MOV}):
        got = found(attached("a.zip", zipped(files, method)), ".mov")
        assert got is not None
        assert got.type == ".mov"
        assert got.inside == "a.zip"
        assert got.name in ("a/film.mov", "notes.txt")
        assert (
            found(attached("a.zip", zipped(files, method)), ".mov", inside_archives=False) is None
        )
        nested = zipped({"c.bin": zipped(files, method)}, method)
        assert found(attached("a.docx", nested), ".mov") is not None


def test_a_zip_with_something_in_front_of_it() -> None:
    both = b"\x89PNG\r\n\x1a\n" + bytes(999) + zipped({"film.mov": b"x"})
    assert found(attached("a.png", both), ".mov") is not None
    program = EXE + zipped({"film.mov": b"x"})
    assert found(attached("setup.dat", program), ".mov") is not None


def test_inside_what_packs_one_file_and_in_tar() -> None:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for name, data in (("deep/" * 40 + "a.txt", b"x"), ("notes.txt", MOV)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    for name, pack in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
        assert found(attached(f"film.mov.{name}", pack(b"x")), ".mov") is not None
        assert found(attached(f"a.{name}", pack(MOV)), ".mov") is not None
        got = found(attached(f"a.tar.{name}", pack(tar.getvalue())), ".mov")
        assert got is not None
        assert got.name == "notes.txt"
    assert found(attached("a.tar", tar.getvalue()), ".mov") is not None
    named = io.BytesIO()
    with gzip.GzipFile("film.mov", "wb", fileobj=named) as packed:
        packed.write(b"x")
    assert found(attached("a.gz", named.getvalue()), ".mov") is not None
    assert found(attached("a.tar.gz", gzip.compress(tar.getvalue())), ".tar.gz") is not None


def test_macros() -> None:
    assert found(attached("a.docm"), "macro") is not None
    office = zipped({"[Content_Types].xml": b"<x/>", "word/vbaProject.bin": b"x"})
    got = found(attached("a.docx", office), "macro")
    assert got is not None
    assert got.type == "macro"
    old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "_VBA_PROJECT".encode("utf-16-le")
    assert found(attached("a.doc", old), "macro", inside_archives=False) is not None
    assert found(attached("a.doc", old[:-4]), "macro") is None


def locked(files: dict[str, bytes]) -> bytes:
    """As if wanting a password: the flag is all that is looked at."""
    data = bytearray(zipped(files))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(mark)
        data[place + at] |= 1
    return bytes(data)


def test_archives_that_want_a_password() -> None:
    message = attached("a.zip", locked({"b.txt": b"x"}))
    assert found(message, ".mov") is None
    assert inspect(message, effective([Rules(encrypted_archives="refuse")])) == Finding(
        "archive", name="a.zip", type="encrypted"
    )
    # Its names can be read all the same.
    assert found(attached("a.zip", locked({"b.mov": b"x"})), ".mov") is not None
    for rar in (
        b"Rar!\x1a\x07\x00" + b"\x00\x00\x73\x80\x00\x0d\x00" + bytes(20),
        b"Rar!\x1a\x07\x01\x00" + b"\x00\x00\x00\x00\x21\x04" + bytes(20),
    ):
        got = inspect(attached("a.rar", rar), effective([Rules(encrypted_archives="refuse")]))
        assert got is not None
        assert got.type == "encrypted"
    plain = b"Rar!\x1a\x07\x01\x00" + b"\x00\x00\x00\x00\x0a\x01" + bytes(20)
    assert (
        inspect(attached("a.rar", plain), effective([Rules(encrypted_archives="refuse")])) is None
    )


def test_messages_within_messages() -> None:
    inner = attached("film.mov")
    forwarded = mixed(part(b"Content-Type: message/rfc822", inner, base64=False))
    assert found(forwarded, ".mov") is not None
    assert found(mixed(part(b"Content-Type: message/rfc822", inner)), ".mov") is not None
    assert found(attached("a.eml", inner), ".mov") is not None
    assert found(attached("a.eml", attached("b.eml", inner)), ".mov") is not None


def test_files_that_are_written_into_a_text() -> None:
    lines = b"".join(b2a_uu(MOV[n : n + 45]) for n in range(0, len(MOV), 45))
    for name in (b"film.mov", b"notes.txt"):
        text = b"hello\r\n\r\nbegin 644 " + name + b"\r\n" + lines + b"`\r\nend\r\n"
        assert found(b"Subject: x\r\n\r\n" + text, ".mov") is not None
        assert found(mixed(part(b"Content-Type: text/plain", text, base64=False)), ".mov")
    packed = zipped({"film.mov": b"x"})
    lines = b"".join(b2a_uu(packed[n : n + 45]) for n in range(0, len(packed), 45))
    assert found(b"Subject: x\r\n\r\nbegin 644 a.zip\r\n" + lines + b"`\r\nend\r\n", ".mov")
    assert found(b"Subject: x\r\n\r\nWe begin 644 of them today.\r\n", ".mov") is None


def test_base64_with_padding_in_front_and_between() -> None:
    for content in (b"====" + b64encode(MOV), b64encode(MOV[:10]) + b"\r\n" + b64encode(MOV[10:])):
        message = mixed(
            b"Content-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\n" + content
        )
        assert found(message, ".mov") is not None


def test_size_depth_and_parts() -> None:
    message = attached("a.txt", b"x" * 3000)
    assert inspect(message, effective([Rules(size_max=len(message))])) is None
    assert inspect(message, effective([Rules(size_max=len(message) - 1)])) == Finding("size")
    assert inspect(message, effective([Rules(parts_max=3)])) is None
    assert inspect(message, effective([Rules(parts_max=2)])) == Finding("parts")
    assert inspect(message, effective([Rules(depth_max=2)])) is None
    assert inspect(message, effective([Rules(depth_max=1)])) == Finding("depth")


def test_header_rules() -> None:
    said = effective(
        [
            Rules(
                headers=(
                    HeaderRule("subject", "(?i)lotter(y|ía)", "No lotteries."),
                    HeaderRule("X-Spam", "^yes"),
                )
            )
        ]
    )
    for subject in (b"The LOTTERY", b"=?utf-8?q?loter=C3=ADa lotter=C3=ADa?=", b"a\r\n lottery"):
        message = b"From: a@b\r\nSubject: " + subject + b"\r\n\r\nx"
        assert inspect(message, said) == Finding("header", "subject", "", "No lotteries.")
    assert inspect(b"X-Spam: no\r\nX-SPAM: yes\r\n\r\nx", said) == Finding("header", "X-Spam")
    assert inspect(b"Subject: hello\r\nX-Spam: oh yes\r\n\r\nlottery", said) is None


def test_a_name_is_repeated_on_one_line_and_not_too_long() -> None:
    name = "a\u202eb\u0007" + "c" * 500 + ".mov"
    header = b'Content-Disposition: attachment; filename="' + name.encode() + b'"'
    got = found(headed(header), ".mov")
    assert got is not None
    assert got.name.isprintable()
    assert len(got.name) <= 100
    assert got.name.endswith(".mov")


def test_third_party_messages_are_looked_through() -> None:
    """All of them, with everything that can be asked for; nothing is raised."""
    folder = suite(".")
    strict = effective(
        [
            Rules(
                blocked_types=(".mov", "executable", "macro", "archive", "disk"),
                encrypted_archives="refuse",
                depth_max=50,
                parts_max=500,
                headers=(HeaderRule("Subject", "(?i)lottery"),),
            )
        ]
    )
    names = rules("application/no-such-thing", encrypted_archives="refuse")
    count = 0
    for file in sorted(Path(folder).rglob("*")):
        if file.is_file():
            data = file.read_bytes()
            inspect(data, strict)
            got = inspect(data, names)
            # Some are no mail but one header without an end.
            assert got is None or got.type in ("encrypted", "unreadable"), file
            count += 1
    assert count > 1000


@pytest.mark.parametrize("front", range(4))
def test_the_end_of_a_zip_is_seen_wherever_its_letters_begin(front: int) -> None:
    data = b"\x89PNG\r\n\x1a\n" + bytes(200_000 + front) + zipped({"film.mov": b"x"})
    assert found(attached("a.png", data), ".mov") is not None


def test_a_text_with_a_name_is_a_file() -> None:
    header = b'Content-Type: text/plain; name="notes.txt"\r\nContent-Transfer-Encoding: binary'
    assert found(mixed(part(header, MOV, base64=False)), ".mov") is not None


def test_what_has_no_name_is_called_by_its_type() -> None:
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    assert found(headed(b"Content-Type: application/msword", ole), ".msi") is None
    assert found(headed(b"Content-Type: application/octet-stream", ole), ".msi") is not None


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_in_tar(form: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        name = "a" * 90 + "/" + "b" * (60 if form == tarfile.USTAR_FORMAT else 150) + ".mov"
        archive.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    got = found(attached("a.tar", out.getvalue()), ".mov")
    assert got is not None
    assert got.inside == "a.tar"
