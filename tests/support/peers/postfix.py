"""postfix: a private Postfix, as sender and as receiver, from the unpacked package.

Needs no root and changes nothing outside its folder. Postfix insists on starting as root and on a
user and a group of its own; `uid_wrapper` lets every change of user succeed without being one, and
`nss_wrapper` gives it a user list in which its user is whoever runs the test. Its `master` is run
directly, on loopback, with every service outside a chroot.
"""

from __future__ import annotations

import json
import os
import re
import smtplib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .packages import Peers, fetch
from .process import LOOPBACK, Running, free_port, wait_for

QUEUES = (
    *("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming"),
    *("maildrop", "pid", "private", "public", "saved", "trace"),
)

# The one Maildir of all local recipients; each file tells its recipient in Delivered-To.
MAILDIR = "box"

# Numbers of users that exist in the private user list only.
FAKE_ID = 901

MAIL_TIMEOUT_S = 20.0

_CHROOT_YES = re.compile(
    r"^([^# ]\S*\s+(?:inet|unix|fifo|pass|unix-dgram)\s+\S+\s+\S+\s+)y(\s)", re.M
)


class Postfix:
    """A running Postfix.

    folder: where it lives; empty or not there. hostname: its name in greeting and Received.
    relayhost: next hop of everything not local. transport: domain -> next hop. domains: taken as
    local, any user, stored in a Maildir by virtual(8). lmtp: deliver those to this socket instead.
    certificate: PEM with key and chain: offers STARTTLS. ca: PEM of the CAs trusted as a client.
    settings: further lines of main.cf, which win. services: port -> settings of main.cf as they are
    for those who come there. trace: a command that runs it (strace).

    >>> with Postfix(tmp, relayhost=("127.0.0.1", 2525)) as postfix:
    ...     postfix.sendmail("a@a.example", ["b@b.example"], message)
    """

    def __init__(
        self,
        folder: Path,
        *,
        hostname: str = "postfix.example",
        relayhost: tuple[str, int] | None = None,
        transport: Mapping[str, tuple[str, int]] | None = None,
        domains: Sequence[str] = (),
        lmtp: Path | None = None,
        certificate: Path | None = None,
        ca: Path | None = None,
        settings: Mapping[str, str] | None = None,
        services: Mapping[int, Sequence[str]] | None = None,
        host: str = LOOPBACK,
        port: int | None = None,
        trace: Sequence[str] = (),
    ) -> None:
        self.peers: Peers = fetch()
        self.folder = folder
        self.host = host
        self.port = port or free_port(host)
        self._ports = [self.port, *(services or {})]
        self.hostname = hostname
        self._trace = trace
        self._running: Running | None = None
        etc = folder / "etc"
        for name in ("etc", "data", "mail", *(f"spool/{queue}" for queue in QUEUES)):
            (folder / name).mkdir(parents=True, exist_ok=True)
        main = self._main_cf()
        if relayhost:
            main["relayhost"] = f"[{relayhost[0]}]:{relayhost[1]}"
        if transport:
            lines = [f"{domain} smtp:[{hop[0]}]:{hop[1]}" for domain, hop in transport.items()]
            (etc / "transport").write_text("\n".join(lines) + "\n")
            main["transport_maps"] = f"texthash:{etc / 'transport'}"
        if domains:
            main["virtual_mailbox_domains"] = " ".join(domains)
            main["virtual_mailbox_maps"] = f"static:{MAILDIR}/"
        if lmtp:
            main["virtual_mailbox_maps"] = "static:all"
            main["virtual_transport"] = f"lmtp:unix:{lmtp}"
        if certificate:
            main["smtpd_tls_chain_files"] = str(certificate)
            main["smtpd_tls_security_level"] = "may"
        if ca:
            main["smtp_tls_CAfile"] = str(ca)
            main["smtp_tls_security_level"] = "may"
        main.update(settings or {})
        text = "".join(f"{name} = {value}\n" for name, value in main.items())
        (etc / "main.cf").write_text(text)
        for path in etc.iterdir():
            os.utime(path, (0, 0))  # a file just changed makes Postfix wait two seconds
        master = (self.peers.root / "usr/share/postfix/master.cf.dist").read_text()
        master = _CHROOT_YES.sub(r"\1n\2", master)
        master = re.sub(r"^smtp(\s+inet)", rf"{host}:{self.port}\1", master, flags=re.M)
        for number, given in (services or {}).items():
            options = "".join(f"\n  -o {line}" for line in given)
            master += f"{host}:{number} inet n - n - - smtpd{options}\n"
        (etc / "master.cf").write_text(master)

    def _main_cf(self) -> dict[str, str]:
        root, folder = self.peers.root, self.folder
        numbers = self._write_users()
        wrapper = self._environment()
        kept = " ".join(sorted(set(wrapper) - {"HOME", "PATH", "MAIL_CONFIG"}))
        return {
            "compatibility_level": "3.6",
            "queue_directory": str(folder / "spool"),
            "data_directory": str(folder / "data"),
            "command_directory": str(root / "usr/sbin"),
            "daemon_directory": str(root / "usr/lib/postfix/sbin"),
            "shlib_directory": str(root / "usr/lib/postfix"),
            "meta_directory": str(folder / "etc"),
            "mail_owner": "postfix",
            "setgid_group": "postdrop",
            "import_environment": f"MAIL_CONFIG {kept}",
            "export_environment": kept,
            "maillog_file": str(folder / "maillog"),
            "maillog_file_prefixes": str(folder),
            "myhostname": self.hostname,
            "mydestination": "",
            "inet_interfaces": self.host,
            "inet_protocols": "ipv6" if ":" in self.host else "ipv4",
            "smtp_bind_address": self.host,
            "mynetworks": "127.0.0.0/8 [::1]/128",
            "alias_maps": "",
            "alias_database": "",
            "local_recipient_maps": "",
            "virtual_mailbox_base": str(folder / "mail"),
            "virtual_uid_maps": f"static:{numbers[0]}",
            "virtual_gid_maps": f"static:{numbers[1]}",
            "virtual_minimum_uid": "1",
            "virtual_mailbox_limit": "0",
            "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
            "smtpd_peername_lookup": "no",
            "smtp_host_lookup": "native",
            "smtp_tls_security_level": "none",
            "message_size_limit": "52428800",
        }

    def _write_users(self) -> tuple[int, int]:
        """The private user list; gives the numbers of `postfix`, which never are root's.

        As an ordinary user they are our own: files may only be given to ourselves.
        """
        user, group = os.geteuid() or FAKE_ID, os.getegid() or FAKE_ID
        other = FAKE_ID + 1
        passwd = (
            "root:x:0:0::/:/bin/sh",
            f"postfix:x:{user}:{group}::/:/bin/false",
            f"nobody:x:{other}:{other}::/:/bin/false",
        )
        groups = (
            "root:x:0:",
            f"postfix:x:{group}:",
            f"nogroup:x:{other}:",
            f"postdrop:x:{other + 1}:",
        )
        (self.folder / "passwd").write_text("\n".join(passwd) + "\n")
        (self.folder / "group").write_text("\n".join(groups) + "\n")
        return user, group

    def _environment(self) -> dict[str, str]:
        wrappers = ("libnss_wrapper.so", "libuid_wrapper.so")
        return self.peers.environment(
            self.folder,
            LD_PRELOAD=":".join(str(self.peers.library(name)) for name in wrappers),
            UID_WRAPPER="1",
            UID_WRAPPER_ROOT="1",
            NSS_WRAPPER_PASSWD=str(self.folder / "passwd"),
            NSS_WRAPPER_GROUP=str(self.folder / "group"),
            MAIL_CONFIG=str(self.folder / "etc"),
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it; returns when it accepts connections. Raises: DidNotHappen."""
        self._running = Running(
            [*self._trace, self.peers.program("master"), "-c", self.folder / "etc", "-d"],
            self.folder / "maillog",
            self._environment(),
        )
        try:
            self._running.wait_listening(self.host, self._ports)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self._running:
            self._running.stop()
            self._running = None

    @property
    def session(self) -> int:
        """The session of its processes, for `process.cpu_seconds` and the like."""
        assert self._running is not None, "it is not running"
        return self._running.pid

    def command(self, *words: str) -> str:
        """Runs one of Postfix's commands (postqueue, postconf, …) on this instance."""
        done = subprocess.run(
            [str(self.peers.program(words[0])), *words[1:]],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=MAIL_TIMEOUT_S,
        )
        return done.stdout

    def sendmail(self, sender: str, recipients: Sequence[str], message: bytes) -> None:
        """Hands it a message by SMTP, as its own submission. message: lines end in CRLF."""
        with smtplib.SMTP(self.host, self.port, timeout=MAIL_TIMEOUT_S) as client:
            refused = client.sendmail(sender, list(recipients), message)
            assert not refused, refused

    def queue(self) -> list[dict[str, Any]]:
        """What is queued, as `postqueue -j` says it."""
        return [json.loads(line) for line in self.command("postqueue", "-j").splitlines()]

    def flush(self) -> None:
        """Has it try everything queued now."""
        self.command("postqueue", "-f")

    def mailbox_messages(self, recipient: str) -> list[bytes]:
        """The messages in one local recipient's mailbox, in no order; lines end in LF, and
        Return-Path, X-Original-To and Delivered-To of the delivery stand on top."""
        texts = (path.read_bytes() for path in (self.folder / "mail" / MAILDIR / "new").glob("*"))
        mark = f"\nDelivered-To: {recipient}\n".encode()
        return [text for text in texts if mark in text.partition(b"\n\n")[0] + b"\n"]

    def wait_messages(self, recipient: str, count: int = 1) -> list[bytes]:
        """Waits until that many messages lie in the mailbox. Raises: DidNotHappen."""

        def look() -> list[bytes] | None:
            found = self.mailbox_messages(recipient)
            return found if len(found) >= count else None

        return wait_for(f"{count} messages for {recipient}", look, MAIL_TIMEOUT_S, self.log)

    def wait_log(self, pattern: str) -> re.Match[str]:
        """Waits until a line of the log matches. Raises: DidNotHappen."""
        return wait_for(
            f"log line {pattern!r}",
            lambda: re.search(pattern, self.log()),
            MAIL_TIMEOUT_S,
            self.log,
        )

    def log(self) -> str:
        return (self.folder / "maillog").read_text(errors="replace")
