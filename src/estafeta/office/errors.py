"""Errors: what stopped a command or the start, as one clear sentence that says what to do."""

from __future__ import annotations

import errno
import ssl
from pathlib import Path

from estafeta.office.privileges import PrivilegeError
from estafeta.store.accounts import AccountsError
from estafeta.store.engine import StoreError, StoreFull, StoreReadOnly

EXIT_FAILURE = 1
EXIT_USAGE = 2


class CommandError(Exception):
    """A command cannot do what was asked; the text is one clear sentence."""


class UsageMistake(CommandError):
    """What was typed has not the form it must have; nothing was looked up."""


class NoConfiguration(CommandError):
    """There is no file to read."""


class DoorError(Exception):
    """A listener cannot be opened. place: which one, such as "imap on 127.0.0.1:143"."""

    def __init__(self, place: str, cause: OSError) -> None:
        super().__init__(f"{place}: {explain_startup_error(cause)}")
        self.place = place


def explain_startup_error(problem: BaseException, *, what: str = "") -> str:
    """One sentence. what: which door or file it was about, where the exception does not say."""
    place = f"{what}: " if what else ""
    if isinstance(problem, PrivilegeError | CommandError | DoorError):
        return f"{place}{problem}"
    if isinstance(problem, AccountsError):
        return f"{place}{_sentence(problem)}"
    if isinstance(problem, StoreFull):
        return f"{place}no space is left on the disk of the store; free some and start again"
    if isinstance(problem, StoreReadOnly):
        return f"{place}the store cannot be written: its disk or file is read-only"
    if isinstance(problem, StoreError):
        return f"{place}{_sentence(problem)}"
    if isinstance(problem, ssl.SSLError):
        return f"{place}the certificate or key cannot be used: {_tls_reason(problem)}"
    if isinstance(problem, OSError):  # ssl.SSLError is one too: it went before
        return f"{place}{_explain_os_error(problem)}"
    if isinstance(problem, ValueError):
        return f"{place}{_sentence(problem)}"
    return f"{place}{type(problem).__name__}: {_sentence(problem)}"


def _explain_os_error(problem: OSError) -> str:
    file = problem.filename
    named = f" {Path(str(file))}" if file else ""
    match problem.errno:
        case errno.EADDRINUSE:
            return "the port is in use by another program; stop that one or choose another port"
        case errno.EADDRNOTAVAIL:
            return "this machine does not have that address"
        case errno.EACCES | errno.EPERM if not file:
            return "not permitted; ports below 1024 need root or CAP_NET_BIND_SERVICE"
        case errno.EACCES | errno.EPERM:
            return f"no permission to use{named}"
        case errno.ENOENT:
            return f"the file{named} does not exist"
        case errno.ENOSPC | errno.EDQUOT:
            return f"no space is left on the disk{' of' + named if named else ''}"
        case errno.EROFS:
            return f"the disk{' of' + named if named else ''} is read-only"
        case errno.EMFILE | errno.ENFILE:
            return "too many open files; raise the limit (ulimit -n, LimitNOFILE=)"
    return f"{(problem.strerror or _sentence(problem)).lower()}{named}"


def _tls_reason(problem: ssl.SSLError) -> str:
    reason = (problem.reason or str(problem)).replace("_", " ").lower()
    if "key values mismatch" in reason:
        return "the key does not belong to the certificate"
    if "no start line" in reason or "pem" in reason:
        return "it is not a PEM file"
    return reason


def _sentence(problem: BaseException) -> str:
    return " ".join(str(problem).split()) or type(problem).__name__
