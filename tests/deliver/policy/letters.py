"""Letters: messages and archives for tests of what a policy finds in them."""

from __future__ import annotations

import asyncio
import functools
import io
import zipfile
from base64 import encodebytes
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

MOV = b"\x00\x00\x00\x14ftypqt  " + bytes(64)
EXE = b"MZ\x90\x00\x03" + bytes(64)


def part(header: bytes, content: bytes, *, base64: bool = True) -> bytes:
    """A part with that header (fields, joined by CRLF)."""
    if base64:
        header += b"\r\nContent-Transfer-Encoding: base64"
        content = encodebytes(content).replace(b"\n", b"\r\n")
    return header + b"\r\n\r\n" + content


def mixed(*parts: bytes, top: bytes = b"Subject: x") -> bytes:
    """A multipart message of a text and these."""
    head = top + b"\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=limit\r\n\r\n"
    text = b"Content-Type: text/plain\r\n\r\nhello\r\n"
    pieces = b"".join(b"--limit\r\n" + each + b"\r\n" for each in (text, *parts))
    return head + pieces + b"--limit--\r\n"


def attached(name: str, content: bytes = b"x", type: str = "application/octet-stream") -> bytes:
    """A message with one file of that name."""
    header = f'Content-Type: {type}\r\nContent-Disposition: attachment; filename="{name}"'
    return mixed(part(header.encode(), content))


def headed(header: bytes, content: bytes = b"x") -> bytes:
    """A message with one part of that header."""
    return mixed(part(header, content))


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def in_loop(work: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine."""

    @functools.wraps(work)
    def run(*given: Any, **named: Any) -> None:
        asyncio.run(work(*given, **named))

    return run
