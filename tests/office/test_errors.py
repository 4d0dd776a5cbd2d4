"""Errors: one clear sentence for each way a start fails."""

from __future__ import annotations

import errno
import os
import ssl
from pathlib import Path

import pytest

from estafeta.office.errors import CommandError, explain_startup_error
from estafeta.office.privileges import PrivilegeError
from estafeta.store.engine import StoreError, StoreFull, StoreReadOnly


def os_error(number: int, file: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), file)


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (os_error(errno.EADDRINUSE), "the port is in use"),
        (os_error(errno.EADDRNOTAVAIL), "does not have that address"),
        (os_error(errno.EACCES), "ports below 1024"),
        (os_error(errno.EACCES, "/x.pem"), "no permission to use /x.pem"),
        (os_error(errno.ENOENT, "/etc/x.pem"), "the file /etc/x.pem does not exist"),
        (os_error(errno.ENOSPC), "no space is left"),
        (os_error(errno.EROFS, "/data"), "the disk of /data is read-only"),
        (os_error(errno.EMFILE), "too many open files"),
        (os_error(errno.ENOTDIR, "/a/b"), "not a directory /a/b"),
        (StoreFull("x"), "no space is left on the disk of the store"),
        (StoreReadOnly("x"), "the store cannot be written"),
        (StoreError("made by a newer estafeta"), "made by a newer estafeta"),
        (PrivilegeError("cannot become x"), "cannot become x"),
        (CommandError("no domain x"), "no domain x"),
        (RuntimeError("a\nb"), "RuntimeError: a b"),
    ],
)
def test_one_sentence(problem: BaseException, sentence: str) -> None:
    text = explain_startup_error(problem)
    assert sentence in text
    assert "\n" not in text
    assert explain_startup_error(problem, what="imap 127.0.0.1:143").startswith("imap 127")


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nothing")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(ssl.SSLError) as raised:
        context.load_cert_chain(tmp_path / "x.pem")
    assert "it is not a PEM file" in explain_startup_error(raised.value)
    with pytest.raises(OSError, match="No such file") as missing:
        context.load_cert_chain(tmp_path / "y.pem")
    assert "does not exist" in explain_startup_error(missing.value)
