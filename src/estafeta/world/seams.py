"""Seams: everything outside that the program may touch, as one argument.

A room gets a `World` and nothing else from outside: no `time.time()`, no `random`, no `socket`, no
`open()`. Waiting (`asyncio.sleep`, `asyncio.timeout`) goes through the running event loop, whose
clock the simulation makes virtual. The real forms stand beside this file; the simulated ones in
`sim/`. Both pass tests/contract/test_streams.py.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec

T = TypeVar("T")


class Endpoint(msgspec.Struct, frozen=True):
    """An IP address (v4 or v6, no scope, no brackets) and a port; port 0 asks for a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """What a handshake agreed on. peer_certificate: DER or b""; verified: chain and name.

    A server's side only: own_certificate: DER. end_point: its tls-server-end-point, b"" where that
    is not defined (RFC 5929 §4). peer_addresses: the mail addresses that a client's certificate is
    for, where one was asked for and holds.
    """

    version: str
    cipher: str
    server_name: str = ""
    peer_certificate: bytes = b""
    own_certificate: bytes = b""
    verified: bool = False
    end_point: bytes = b""
    peer_addresses: tuple[str, ...] = ()


class Clock(Protocol):
    """Time of day. Durations use the event loop's own clock."""

    def now(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...


class TlsConfig(Protocol):
    """Opaque: `world.tls.server_config(...)` / `client_config(...)` make it, streams consume it."""


class Stream(Protocol):
    """A connection. All plaintext passes here, before and after TLS."""

    @property
    def peer(self) -> Endpoint: ...

    @property
    def local(self) -> Endpoint: ...

    @property
    def tls(self) -> TlsInfo | None:
        """None while in the clear."""
        ...

    async def read(self) -> bytes:
        """The next bytes, at most 64 KiB; b"" once the peer has closed in an orderly way.

        Raises ConnectionError when the connection was cut: reset, or under TLS an end without
        close_notify.
        """
        ...

    def introduce(self, peer: Endpoint, local: Endpoint, rest: bytes) -> None:
        """After a proxy's word on who is behind it: both ends as they are from now on, and what was
        read behind that word, to be read again. Before TLS only."""
        ...

    def buffered(self) -> int:
        """Octets that came from the peer, and that `read` would give at once."""
        ...

    def write(self, data: bytes) -> None:
        """Queues bytes; nothing is copied per call. Ignored once the connection is lost."""
        ...

    def congested(self) -> bool:
        """`drain` would wait, or raise."""
        ...

    async def drain(self) -> None:
        """Returns when less than the high-water mark (64 KiB) is unsent. Raises ConnectionError."""
        ...

    def interrupt(self, error: Exception) -> None:
        """Whoever waits in `read` or `drain` now is woken by `error`, and nothing else happens."""
        ...

    async def start_tls(self, config: TlsConfig, *, server_name: str = "") -> TlsInfo:
        """Handshake, as the side that `config` is for. `server_name`: SNI and the name checked.

        Plaintext that is already buffered is an error of the caller (RFC 3207 §4.2): the machine
        looks at its own buffer, the driver at `buffered()`. Raises ConnectionError or TlsError.
        """
        ...

    async def close(self) -> None:
        """Sends what is queued and ends in order (close_notify, FIN). Bounded: 5 s, then abort."""
        ...

    def abort(self) -> None:
        """Ends at once (RST)."""
        ...


class TlsError(Exception):
    """The handshake failed; the text says why in one line."""


class Listener(Protocol):
    @property
    def endpoint(self) -> Endpoint: ...

    async def close(self) -> None:
        """Takes no new connection; those that exist go on."""
        ...


class Datagrams(Protocol):
    """A UDP socket."""

    @property
    def local(self) -> Endpoint: ...

    def send(self, data: bytes, to: Endpoint) -> None: ...

    async def receive(self) -> tuple[bytes, Endpoint]:
        """Raises ConnectionError where the system reports the remote port as closed."""
        ...

    def close(self) -> None: ...


Handler = Callable[[Stream], Awaitable[None]]


class Net(Protocol):
    async def connect(self, to: Endpoint, *, source: str = "") -> Stream:
        """A TCP connection from address `source` ("" = any). Raises OSError; the caller bounds
        the time with asyncio.timeout."""
        ...

    async def listen(self, at: Endpoint, handler: Handler) -> Listener:
        """Runs `handler(stream)` as a task for each connection; when it returns or raises, the
        stream is aborted if still open. Raises OSError (port in use, not permitted)."""
        ...

    async def listen_unix(self, path: str, handler: Handler) -> Listener:
        """The same at a Unix socket, for programs of this machine: their `peer` is 127.0.0.1.

        A socket that nobody listens at any more is replaced. Raises OSError.
        """
        ...

    async def datagrams(self, at: Endpoint) -> Datagrams: ...


class Disk(Protocol):
    """Files outside the database: large bodies. Paths are relative to its root, "/"-separated.

    What `sync`ed may be relied on after power loss, nothing else.
    """

    def create(self, path: str) -> WritableFile:
        """A new file, parents made. Raises FileExistsError, OSError (ENOSPC, EROFS)."""
        ...

    async def sync_directory(self, path: str) -> None:
        """Makes the names in it durable, parents included."""
        ...

    def read(self, path: str, start: int, end: int) -> bytes: ...

    def size(self, path: str) -> int: ...

    def remove(self, path: str) -> None: ...

    def list(self, path: str) -> Iterator[str]: ...

    def scratch(self) -> ScratchFile:
        """A file without a name: gone with its last holder, or with the process. Raises OSError."""
        ...


class Files(Protocol):
    """What the administrator writes and we only read: certificates. Paths are absolute."""

    def stamp(self, path: str) -> tuple[int, ...]:
        """Another one whenever the file is another, or was written to; () where there is none."""
        ...

    def read(self, path: str) -> bytes:
        """All of it. Raises OSError."""
        ...


class WritableFile(Protocol):
    def write(self, data: bytes) -> None: ...

    async def sync(self) -> None:
        """fsync, off the loop."""
        ...

    def close(self) -> None: ...


class ScratchFile(Protocol):
    """Closed by nobody: it ends when nothing refers to it any more."""

    def write(self, data: bytes | memoryview) -> None:
        """Behind what is there. Raises OSError (ENOSPC)."""
        ...

    def read(self, start: int, end: int) -> bytes: ...


class ObjectsError(Exception):
    """The object store could not do it: it is away, slow, or in trouble. One line, for the log."""


class ObjectMissing(ObjectsError):
    """There is no object of that name."""


class ObjectExists(ObjectsError):
    """The name is taken; what is there was left as it is."""


class ObjectsRefused(ObjectsError):
    """Credentials, bucket or rights are wrong: waiting does not help, a person must."""


class Objects(Protocol):
    """A bucket, or the part of it below a prefix. Names are "/"-separated ASCII.

    An object is whole or not there, and durable once `put` has returned. Each call may last as
    long as the network does: the caller bounds it with asyncio.timeout. All raise ObjectsError.
    """

    async def put(self, name: str, data: bytes) -> None:
        """A new object; one that is there is never replaced. Raises ObjectExists."""
        ...

    async def get(self, name: str, start: int, end: int) -> bytes | memoryview:
        """The octets [start, end), end > start, both within it. Raises ObjectMissing."""
        ...

    async def list(self, prefix: str, after: str, limit: int) -> Sequence[tuple[str, int]]:
        """(name, octets) of the first so many below `prefix` ("" or ending in "/"), in order of
        names, behind `after`."""
        ...

    async def delete(self, names: Sequence[str]) -> None:
        """Those that are there."""
        ...


class Cpu(Protocol):
    """Where Python work of more than 2 ms goes; a process pool in the real world.

    run: what takes long only where its input is large. apart: what may take long for any input.
    """

    async def run(self, work: Callable[..., T], *arguments: Any) -> T: ...
    async def apart(self, work: Callable[..., T], *arguments: Any) -> T: ...


@dataclass(frozen=True, slots=True)
class World:
    """One machine's outside. objects: None where no object store was named."""

    clock: Clock
    dice: random.Random
    net: Net
    disk: Disk
    cpu: Cpu
    objects: Objects | None = None


__all__ = [
    "Clock",
    "Cpu",
    "Datagrams",
    "Disk",
    "Endpoint",
    "Files",
    "Handler",
    "Listener",
    "Net",
    "ObjectExists",
    "ObjectMissing",
    "Objects",
    "ObjectsError",
    "ObjectsRefused",
    "ScratchFile",
    "Stream",
    "TlsConfig",
    "TlsError",
    "TlsInfo",
    "World",
    "WritableFile",
]
