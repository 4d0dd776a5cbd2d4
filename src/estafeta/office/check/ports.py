"""Ports: whether each listener's port could be opened now, or is open in our own server already.

A port is tried by binding a socket, closed again at once and never listened on: nobody can notice.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from estafeta.office.check.finding import Finding, error, ok, warning
from estafeta.office.check.processes import listeners_of
from estafeta.office.config import Config, Listener
from estafeta.office.doors import hosts_of, place_of
from estafeta.office.errors import explain_startup_error

DESCRIPTORS_BESIDE_CLIENTS = 200
"""Open files that are no client's: the store, the log, connections to other servers."""


def check_ports(config: Config, ours: Sequence[int]) -> Iterator[Finding]:
    """Every listener. ours: processes of the server that runs on this store, if one does."""
    open_already = listeners_of(ours)
    for listener in config.listener:
        if listener.path:
            yield _check_path(listener, bool(ours))
            continue
        about = f"{listener.role} on {place_of(listener)}"
        found = [_check(about, host, listener.port, open_already) for host in hosts_of(listener)]
        worst = next((f for f in found if f.level == "error"), None)
        yield worst or next((f for f in found if f.level == "warning"), found[0])


def check_limit(config: Config, limit: int) -> Finding:
    """limit: open files this process may have (RLIMIT_NOFILE)."""
    wanted = config.smtp.connections_max + DESCRIPTORS_BESIDE_CLIENTS
    if limit < wanted:
        return warning(
            "open files",
            f"{limit} allowed here, {wanted} wanted for connections_max = "
            f"{config.smtp.connections_max}; raise ulimit -n or LimitNOFILE=",
        )
    return ok("open files", f"{limit} allowed here, {wanted} wanted")


def _check(about: str, host: str, port: int, open_already: set[tuple[str, int]]) -> Finding:
    if not port:
        return ok(about, "a free one is taken")
    if (host, port) in open_already:
        return ok(about, "open, by the server that is running")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            trial.bind((host, port))
    except OSError as trouble:
        if trouble.errno in (errno.EACCES, errno.EPERM) and os.geteuid() != 0:
            return warning(
                about,
                "not permitted to whoever asks here; the server needs root or "
                "CAP_NET_BIND_SERVICE for ports below 1024",
            )
        return error(about, explain_startup_error(trouble))
    return ok(about, "free")


def _check_path(listener: Listener, running: bool) -> Finding:
    about, path = f"{listener.role} at {listener.path}", Path(listener.path)
    if not path.parent.is_dir():
        return error(about, f"the folder {path.parent} does not exist")
    if path.exists() and not path.is_socket():
        return error(about, "something that is no socket lies there")
    if path.is_socket() and not running:
        return ok(about, "a socket lies there; if nobody listens at it, it is replaced")
    return ok(about, "open, by the server that is running" if running else "free")
