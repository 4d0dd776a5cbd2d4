"""Messages that others collected: none breaks us, and what is well-formed is read alike."""

from __future__ import annotations

import email
import email.policy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.mail.test_imap_form import whole
from tests.mail.test_parts import check, content, walk
from tests.support.require import suite

from estafeta.mail.message import LEAF, Part, index, section, summary

SUITES = ("mime-mail-parser", "mime-cpython", "mime-nodemailer", "mime-mox", "mime-haraka")


def files(name: str) -> Iterator[Path]:
    for path in sorted(suite(name).rglob("*")):
        if path.is_file() and path.suffix != ".json" and path.stem not in ("LICENSE", "SOURCE"):
            yield path


@pytest.mark.parametrize("name", SUITES)
def test_none_breaks_us(name: str) -> None:
    seen = 0
    for path in files(name):
        for data in (raw := path.read_bytes(), raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")):
            root = index(data)
            check(data, root)
            made = summary(data)
            for form in (made.envelope, made.body, made.bodystructure):
                whole(form)
            assert section(made.index, "") == (0, len(data))
            assert section(made.index, "TEXT") == (root.body, root.end)
            seen += 1
    assert seen


def tree(part: Part) -> Any:
    """Types as a nested list, embedded messages included."""
    return [f"{part.type.decode()}/{part.subtype.decode()}", *map(tree, part.children)]


def their_tree(message: Any) -> Any:
    kind = message.get_content_type()
    if kind.startswith("multipart/") or kind in ("message/rfc822", "message/global"):
        return [kind, *map(their_tree, message.get_payload())]
    return [kind]


@pytest.mark.parametrize("name", SUITES)
def test_well_formed_messages_as_the_standard_library_reads_them(name: str) -> None:
    compared = 0
    for path in files(name):
        data = path.read_bytes()
        # as Latin-1, so that payloads are given octet by octet
        message = email.message_from_string(data.decode("latin-1"), policy=email.policy.compat32)
        if any(part.defects for part in message.walk()):
            continue
        root = index(data)
        key = "/".join(path.parts[-2:])
        same = tree(root) == their_tree(message) and [
            content(data, part)
            for part in walk(root)
            if part.kind == LEAF and part.type != b"message"
        ] == list(their_contents(message))
        assert same != (key in DIFFERENT), f"{key}: {tree(root)} / {their_tree(message)}"
        compared += same
    assert compared


def their_contents(message: Any) -> Iterator[bytes]:
    kind = message.get_content_type()
    if kind.startswith("multipart/") or kind in ("message/rfc822", "message/global"):
        for part in message.get_payload():
            yield from their_contents(part)
    elif not kind.startswith("message/"):  # the library takes those apart, we do not
        yield message.get_payload().encode("latin-1")


# Well-formed to the standard library, and read in another way by us; each with the reason.
DIFFERENT: dict[str, str] = {
    "malformed/000.eml": "two delimiters in a row enclose an empty part",
    "mime-cpython/msg_37.txt": "two delimiters in a row enclose an empty part",
}


def test_structure_as_another_parser_sees_it() -> None:
    """mail-parser's trees: kinds of parts and where contents begin and end."""
    same, seen, unlike = 0, 0, []
    for path in sorted((suite("mime-mail-parser") / "eml").rglob("*.json")):
        source = path.with_suffix(".eml")
        if not source.is_file():
            continue
        data = source.read_bytes().replace(b"\r\n", b"\n")
        seen += 1
        parts = json.loads(path.read_text())["parts"]
        theirs = [
            (part["offset_body"], part["offset_end"])
            for part in parts
            if not isinstance(part["body"], dict) or "Multipart" not in part["body"]
        ]
        if not inside_ours(data, index(data), theirs):
            unlike.append(source.name)
            continue
        same += 1
    assert same >= seen * 0.8, f"{same} of {seen}; unlike: {unlike}"


def inside_ours(data: bytes, root: Part, theirs: list[tuple[int, int]]) -> bool:
    """Whether every content of theirs is a content of ours, up to the line ends around it."""
    ours = {content(data, part).strip() for part in walk(root)}
    return all(data[start:end].strip() in ours for start, end in theirs)
