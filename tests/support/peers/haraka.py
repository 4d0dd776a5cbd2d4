"""haraka: a private Haraka, as sender and as receiver, from npm's packages.

They are installed below the cache folder from the lock file in haraka_files, whose plugin says
whose mail it takes and where it goes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import signal
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .maildirs import MaildirServer
from .node import node, run
from .packages import kept
from .process import Running
from .server import Direction, Feature, ServerSpec

FILES = Path(__file__).parent / "haraka_files"

# The four octets ahead of the envelope in a queue file: its length, most significant first.
ENVELOPE_LENGTH_OCTETS = 4

_NO_DSN = "does not have DSN"
CANNOT: Mapping[tuple[Direction, Feature], str] = {
    (Direction.SENDS, Feature.PRDR): "does not have it",
    (Direction.SENDS, Feature.IMPLICIT_TLS): "has TLS from the first octet as a server only",
    (Direction.SENDS, Feature.SMTPUTF8): "says SMTPUTF8 for the sender's address only",
    (Direction.SENDS, Feature.CHUNKING): "does not have it",
    (Direction.SENDS, Feature.PIPELINING): "waits for each answer",
    (Direction.SENDS, Feature.DSN_PARAMETERS): _NO_DSN,
    (Direction.SENDS, Feature.DSN_SUCCESS): _NO_DSN,
    (Direction.SENDS, Feature.DSN_NEVER): _NO_DSN,
    (Direction.RECEIVES, Feature.CHUNKING): "does not have it",
    (Direction.RECEIVES, Feature.DSN_PARAMETERS): _NO_DSN,
}


class RunningHaraka(MaildirServer):
    """One instance; see `RunningServer`."""

    def __init__(self, spec: ServerSpec, folder: Path) -> None:
        super().__init__(spec, folder / "box")
        self.folder = folder
        self.pid = 0

    def queue(self) -> str:
        return "\n".join(_shown(path) for path in sorted((self.folder / "queue").glob("*")))

    def flush(self) -> None:
        os.kill(self.pid, signal.SIGUSR2)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


class Haraka:
    """Haraka; see `ForeignServer`."""

    name = "Haraka"
    cannot = CANNOT
    refolds: Collection[str] = ()

    def version(self) -> str:
        package = json.loads((installed() / "Haraka/package.json").read_text())
        return str(package["version"])

    @contextmanager
    def start(self, workspace: Path, spec: ServerSpec) -> Iterator[RunningHaraka]:
        program = installed() / "Haraka/haraka.js"
        for name in ("config", "plugins", "queue", "box/tmp", "box/new"):
            (workspace / name).mkdir(parents=True, exist_ok=True)
        server = RunningHaraka(spec, workspace)
        _configure(server, spec)
        running = Running(
            [node().node, program], workspace / "log", _environment(workspace, spec), cwd=workspace
        )
        server.pid = running.pid
        try:
            running.wait_listening(spec.host, server.ports)
            yield server
        finally:
            running.stop(signal.SIGKILL)  # asked kindly it waits for its connections


def _shown(path: Path) -> str:
    """A file of the queue as a line: its name, and the envelope where it is written already."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(ENVELOPE_LENGTH_OCTETS), "big")
            envelope = json.loads(file.read(length))
    except (OSError, ValueError):
        return path.name
    recipients = (f"{to['user']}@{to['original_host']}" for to in envelope["rcpt_to"])
    return f"{path.name} to {' '.join(recipients)}"


def _environment(folder: Path, spec: ServerSpec) -> dict[str, str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "HARAKA": str(folder)}
    if spec.ca:
        environment["NODE_EXTRA_CA_CERTS"] = str(spec.ca)
    return environment


def _configure(server: RunningHaraka, spec: ServerSpec) -> None:
    """All files of config, and the plugin."""
    folder = server.folder
    hop = spec.next_hop
    plugins = ["peer"]
    tls = ["[outbound]"]
    if hop and hop.tls == "starttls":
        tls.append(f"force_tls_hosts[]={hop.host}")
    if spec.certificate:
        plugins.insert(0, "tls")
        for name in ("tls_key.pem", "tls_cert.pem"):
            shutil.copyfile(spec.certificate, folder / "config" / name)
    own = installed() / "Haraka/config"
    connection = (own / "connection.ini").read_text()
    login = "[core]\nmethods=PLAIN,LOGIN\nconstrain_sender=false\n[users]"
    if spec.credentials:
        plugins.insert(0, "auth/flat_file")
        login += "\n{}={}".format(*spec.credentials)
    enable_tls = "true" if hop and hop.tls != "none" else "false"
    listen = ",".join(f"{spec.host}:{port}" for port in server.ports)
    settings = {
        "domains": {domain: list(users) for domain, users in spec.domains.items()},
        "answers": dict(spec.answers),
        "forbidden": spec.forbidden,
        "maildir": str(folder / "box"),
        "host": spec.host,
        "port": server.smtp_port,
        "submission_port": server.submission_port,
        "next_hop": {"host": hop.host, "port": hop.port} if hop else None,
        "pipelining": spec.pipelining,
    }
    files = {
        "me": spec.hostname,
        "plugins": "\n".join(plugins),
        "peer.json": json.dumps(settings),
        "smtp.ini": f"listen={listen}\nsmtps_port={server.smtps_port or 0}\nnodes=0",
        "connection.ini": re.sub(r"(?m)^bytes=.*", f"bytes={spec.size_max}", connection),
        "outbound.ini": f"enable_tls={enable_tls}\nlocal_mx_ok=true\ninet_prefer=v4",
        "tls.ini": "\n".join(tls),
        "auth_flat_file.ini": login,
        "loglevel": "protocol",
        "outbound.bounce_message": (own / "outbound.bounce_message").read_text(),
    }
    for name, text in files.items():
        (folder / "config" / name).write_text(text + "\n")
    shutil.copyfile(FILES / "peer.js", folder / "plugins/peer.js")


@functools.cache
def installed() -> Path:
    """The node_modules folder with Haraka in it, installed at the first call.

    Raises: Unavailable.
    """
    lock = (FILES / "package-lock.json").read_bytes()
    name = f"haraka-{hashlib.sha256(lock).hexdigest()[:10]}"
    return kept(name, "lock-haraka", _install) / "node_modules"


def _install(folder: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(FILES / name, folder / name)
    # what is optional are further plugins; no package's own scripts are run
    flags = ("--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund")
    run([*node().npm, "ci", *flags], folder)


SERVER = Haraka()
