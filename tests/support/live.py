"""live: estafeta as people run it, for one test: a real process, real ports on loopback.

`Estafeta` writes an `estafeta.toml`, makes domains and accounts with the commands, starts
`estafeta serve`, waits until it says that it is ready, and stops it the way an init system would.
"""

from __future__ import annotations

import imaplib
import os
import select
import signal
import ssl
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.commands import run_command
from tests.support.peers.process import (
    LOOPBACK,
    START_TIMEOUT_S,
    DidNotHappen,
    Running,
    free_port,
    parent_of,
    session_members,
    wait_for,
)

PASSWORD = "correct horse"

COMMAND_TIMEOUT_S = 60

ROLES = {
    # name: (role, tls without a certificate, tls with one)
    "mx": ("mx", "none", "starttls"),
    "submission": ("submission", "none", "starttls"),
    "submissions": ("submission", None, "implicit"),
    "imap": ("imap", "none", "starttls"),
    "imaps": ("imap", None, "implicit"),
    "pop3": ("pop3", "none", "starttls"),
    "pop3s": ("pop3", None, "implicit"),
    "http": ("http", "none", "none"),
}


class Estafeta:
    """One installation below `folder`.

    hostname: what it calls itself. accounts: addresses; their domains are made with them, their
    password is `PASSWORD`. certificate: PEM with key and chain; without it nothing offers TLS.
    ca: PEM of the authority that `imap` trusts; without it that logs in in the clear.
    routes: domain (or `*`) -> where its mail goes. dns: resolvers as "address:port"; none: a port
    where nobody answers, so that no test asks the real DNS. relay_port: port of other servers.
    settings: further lines of estafeta.toml, by table. trace: a command that runs the server.
    ports: by listener name, as in `ROLES`; made here.
    """

    def __init__(
        self,
        folder: Path,
        *,
        hostname: str = "mail.estafeta.example",
        accounts: Sequence[str] = (),
        certificate: Path | None = None,
        ca: Path | None = None,
        routes: Mapping[str, tuple[str, int]] | None = None,
        dns: Sequence[str] = (),
        relay_port: int = 25,
        settings: Mapping[str, Sequence[str]] | None = None,
        trace: Sequence[str | Path] = (),
        host: str = LOOPBACK,
    ) -> None:
        self.folder = folder
        self.host = host
        self.hostname = hostname
        self.ca = ca
        self.config = folder / "estafeta.toml"
        self.log_file = folder / "log"
        self._accounts = list(accounts)
        self._trace = trace
        self._running: Running | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.ports = {
            name: free_port(host)
            for name, (_, plain, secure) in ROLES.items()
            if (secure if certificate else plain)
        }
        tables: dict[str, list[str]] = {
            "server": [f'hostname = "{hostname}"', f'data_dir = "{folder / "data"}"'],
            "log": ['format = "json"'],
            "dns": [f"servers = {_list(dns or [f'{host}:{free_port(host)}'])}", 'timeout = "1s"'],
            "relay": [f"port = {relay_port}", 'allow_networks = ["127.0.0.0/8", "::1/128"]'],
        }
        for table, lines in (settings or {}).items():
            tables.setdefault(table, []).extend(lines)
        parts = [f"[{table}]\n" + "\n".join(lines) + "\n" for table, lines in tables.items()]
        for name, port in self.ports.items():
            role, plain, secure = ROLES[name]
            tls = secure if certificate else plain
            tls_line = "" if role == "http" else f'tls = "{tls}"\n'
            parts.append(
                f'[[listener]]\nrole = "{role}"\naddress = "{host}"\nport = {port}\n{tls_line}'
            )
        if certificate:
            parts.append(
                f'[[tls.certificates]]\ncertificate = "{certificate}"\nkey = "{certificate}"\n'
            )
        for domain, (address, port) in (routes or {}).items():
            parts.append(
                f'[[relay.routes]]\ndomain = "{domain}"\nhosts = ["{address}"]\nport = {port}\n'
            )
        self.config.write_text("\n".join(parts))

    def command(self, *words: str | Path, given: str = "") -> str:
        """Runs `estafeta WORDS --config …`; gives its standard output. given: standard input."""
        done = run_command(
            [*map(str, words), "--config", str(self.config)],
            given=given,
            environment=self._environment(),
            timeout=COMMAND_TIMEOUT_S,
        )
        if done.returncode:
            said = done.stdout + done.stderr
            raise DidNotHappen(f"estafeta {words} ended with {done.returncode}:\n{said[-4000:]}")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self.folder)}

    def add_account(self, address: str, password: str = PASSWORD) -> None:
        """Makes an account of a domain that is there."""
        self.command("account", "add", address, "--password-stdin", given=password + "\n")

    @property
    def serve_command(self) -> list[str]:
        return [sys.executable, "-m", "estafeta", "serve", "--config", str(self.config)]

    def failing_start(self) -> subprocess.CompletedProcess[str]:
        """What a server that cannot start says before it ends with 1."""
        done = subprocess.run(
            self.serve_command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S
        )
        assert done.returncode == 1
        return done

    def start(self) -> None:
        """Makes what was asked for, starts the server, returns when every port is open.

        Raises: DidNotHappen, with its log.
        """
        if not (self.folder / "data").exists():
            for domain in dict.fromkeys(address.partition("@")[2] for address in self._accounts):
                self.command("domain", "add", domain)
            for address in self._accounts:
                self.add_account(address)
        reader, writer = os.pipe()
        try:
            self._running = Running(
                [*self._trace, *self.serve_command, "--ready-fd", str(writer)],
                self.log_file,
                self._environment(),
                pass_fds=[writer],
            )
            os.close(writer)
            waiting = select.poll()  # select() itself takes no descriptor above 1023
            waiting.register(reader, select.POLLIN)
            ready = waiting.poll(START_TIMEOUT_S * 1000)
            said = os.read(reader, 100) if ready else b""
        finally:
            os.close(reader)
        if said != b"ready\n":
            code = self.stop()
            raise DidNotHappen(f"estafeta did not become ready ({code=}):\n{self.log()[-4000:]}")

    def stop(self, stop_signal: int = signal.SIGTERM) -> int:
        """Stops it; gives its exit code, which a clean stop makes 0."""
        assert self._running is not None, "it was not started"
        code = self._running.stop(stop_signal)
        self._running = None
        return code

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._running is not None:
            code = self.stop()
            if kind is None:
                assert code == 0, f"the server ended with {code}:\n{self.log()[-4000:]}"

    @property
    def session(self) -> int:
        """The session of its processes, for `process.cpu_seconds` and the like."""
        assert self._running is not None, "it is not running"
        return self._running.pid

    @property
    def workers(self) -> list[int]:
        """The processes that its first one has started to serve; none where it serves itself."""
        return [pid for pid in session_members(self.session) if parent_of(pid) == self.session]

    @property
    def running(self) -> bool:
        """Started and not stopped by us; it may have ended by itself."""
        return self._running is not None

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def page(self, name: str) -> tuple[int, str]:
        """Status and text of a page of its HTTP port."""
        asking = HTTPConnection(self.host, self.ports["http"], timeout=START_TIMEOUT_S)
        with closing(asking):
            asking.request("GET", f"/{name}")
            answer = asking.getresponse()
            return answer.status, answer.read().decode()

    def imap(self, address: str, password: str = PASSWORD) -> imaplib.IMAP4:
        """A client that has logged in; over TLS if there is a `ca`."""
        if self.ca is None:
            client = imaplib.IMAP4(self.host, self.ports["imap"], timeout=START_TIMEOUT_S)
        else:
            context = ssl.create_default_context(cafile=str(self.ca))
            client = imaplib.IMAP4_SSL(
                "localhost", self.ports["imaps"], ssl_context=context, timeout=START_TIMEOUT_S
            )
        client.login(address, password)
        return client

    def wait_messages(self, client: imaplib.IMAP4, count: int = 1) -> list[bytes]:
        """The messages of INBOX as IMAP gives them, once there are that many."""

        def look() -> bool:
            return int(client.select("INBOX")[1][0] or b"0") >= count

        wait_for(f"{count} messages in INBOX", look, log=self.log)
        _, parts = client.fetch("1:*", "(BODY.PEEK[])")
        return [part[1] for part in parts if isinstance(part, tuple)]

    def marked(self, address: str, mark: str) -> list[bytes]:
        """Waits for messages with that left side of a Message-ID in an account's INBOX."""
        client = self.imap(address)

        def look() -> list[bytes]:
            client.select("INBOX")
            numbers = client.search(None, "HEADER", "Message-ID", f"<{mark}@")[1][0].split()
            if not numbers:
                return []
            _, parts = client.fetch(b",".join(numbers).decode(), "(BODY.PEEK[])")
            return [part[1] for part in parts if isinstance(part, tuple)]

        try:
            return wait_for(f"a message {mark} for {address}", look)
        finally:
            client.logout()


def _list(texts: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{text}"' for text in texts) + "]"
