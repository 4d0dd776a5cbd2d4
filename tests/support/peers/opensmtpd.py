"""opensmtpd: a private OpenSMTPD, as sender and as receiver, from the unpacked package.

It insists on starting as root, on two users and on fixed paths, so it gets a root folder of its own
(see chrooted.py), in which nobody but the test is at home.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .chrooted import Tree
from .maildirs import MaildirServer
from .packages import Peers, fetch
from .process import DidNotHappen, Running
from .server import Direction, Feature, ServerSpec

PACKAGES = ("opensmtpd", "libnss-wrapper", "libuid-wrapper")
USERS = ("opensmtpd", "opensmtpq")

# The user to whom everything is delivered, and his home below the tree's root.
BOX = "box"

# Stands where mail.maildir is expected: that refuses to run as root, and outside of the wrappers
# that is who it is.
DELIVERY = "usr/libexec/opensmtpd/mail.maildir"
DELIVER = f"""\
#!/bin/sh
for which in R E S; do export UID_WRAPPER_INITIAL_${{which}}UID=901; done
LD_PRELOAD=/lib/libuid_wrapper.so UID_WRAPPER=1 exec /{DELIVERY}.real "$@"
"""

PROGRAMS = ("usr/sbin/smtpctl", "usr/sbin/smtpd", "usr/libexec/opensmtpd/encrypt", DELIVERY)

# A filter: what has an attachment of that type is refused once it has been heard to the end.
_ATTACHMENTS = """\
#!/bin/sh
bad=
while IFS= read -r line; do
    case $line in
    'config|ready')
        echo 'register|filter|smtp-in|data-line'
        echo 'register|filter|smtp-in|commit'
        echo 'register|ready' ;;
    'filter|'*'|data-line|'*)
        rest=${line#*|data-line|}
        session=${rest%%|*}
        rest=${rest#*|}
        case ${rest#*|} in *name=*'@NAME@"'*) bad="$bad $session " ;; esac
        printf 'filter-dataline|%s|%s\\n' "$session" "$rest" ;;
    'filter|'*'|commit|'*)
        rest=${line#*|commit|}
        session=${rest%%|*}
        rest=${rest#*|}
        answer=proceed
        case $bad in
        *" $session "*)
            bad=${bad%%" $session "*}${bad#*" $session "}
            answer='reject|550 5.7.1 Attachments of type @NAME@ are not allowed' ;;
        esac
        printf 'filter-result|%s|%s|%s\\n' "$session" "${rest%%|*}" "$answer" ;;
    esac
done
"""

# It compiles in where it finds the authorities that it trusts as a client.
AUTHORITIES = "etc/ssl/certs/ca-certificates.crt"

CANNOT = {
    (Direction.SENDS, Feature.PRDR): "does not have it",
    (Direction.SENDS, Feature.SMTPUTF8): "does not have it",
    (Direction.SENDS, Feature.CHUNKING): "does not have it",
    (Direction.SENDS, Feature.PIPELINING): "waits for each answer",
    (Direction.RECEIVES, Feature.SMTPUTF8): "does not have it",
    (Direction.RECEIVES, Feature.CHUNKING): "does not have it",
    (Direction.RECEIVES, Feature.PIPELINING): "does not offer it",
}

# Its issue 1171: it marks its key as one that another process holds; OpenSSL 3 hands it a copy.
_NO_TLS = "6.8 offers TLS, but built with OpenSSL 3 fails at each handshake as server"
CANNOT_6 = {
    (Direction.RECEIVES, Feature.STARTTLS): _NO_TLS,
    (Direction.RECEIVES, Feature.IMPLICIT_TLS): _NO_TLS,
    (Direction.RECEIVES, Feature.SMARTHOST): f"{_NO_TLS}; it asks for logins under TLS only",
}


class RunningOpensmtpd(MaildirServer):
    """One instance; see `RunningServer`."""

    def __init__(self, spec: ServerSpec, tree: Tree, log_file: Path) -> None:
        super().__init__(spec, tree.root / BOX / "Maildir")
        if not spec.certificate:
            self.submission_port = None  # it asks for logins under TLS only
        self.tree = tree
        self.log_file = log_file

    def queue(self) -> str:
        return self.tree.run("/usr/sbin/smtpctl", "show", "queue").strip()

    def flush(self) -> None:
        self.tree.run("/usr/sbin/smtpctl", "schedule", "all")

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")


class Opensmtpd:
    """OpenSMTPD; see `ForeignServer`."""

    name = "OpenSMTPD"
    refolds: Collection[str] = ()

    @property
    def cannot(self) -> Mapping[tuple[Direction, Feature], str]:
        return CANNOT | CANNOT_6 if self.version().startswith("6.") else CANNOT

    def version(self) -> str:
        return _peers().versions["opensmtpd"]

    @contextmanager
    def start(self, workspace: Path, spec: ServerSpec) -> Iterator[RunningOpensmtpd]:
        tree = Tree(workspace / "root", _peers(), PROGRAMS, USERS, [BOX])
        for folder in ("var/empty", "var/lib/opensmtpd/empty", "var/spool"):
            (tree.root / folder).mkdir(parents=True, exist_ok=True)
        delivery = tree.root / DELIVERY
        delivery.rename(f"{delivery}.real")
        tree.write(DELIVERY, DELIVER)
        delivery.chmod(0o755)
        server = RunningOpensmtpd(spec, tree, workspace / "log")
        _write_configuration(server, spec)
        try:
            tree.run("/usr/sbin/smtpd", "-n")
        except subprocess.CalledProcessError as error:
            raise DidNotHappen(f"smtpd does not take its configuration:\n{error.stderr}") from None
        running = Running(
            tree.command("/usr/sbin/smtpd", "-d", "-v"), server.log_file, tree.environment
        )
        try:
            running.wait_listening(spec.host, server.ports)
            yield server
        finally:
            running.stop()


def _peers() -> Peers:
    return fetch(*PACKAGES)


def _write_configuration(server: RunningOpensmtpd, spec: ServerSpec) -> None:
    tree = server.tree
    lines = [f"smtp max-message-size {spec.size_max}"]
    boxes = [f"{user}@{domain}" for domain, users in spec.domains.items() for user in users]
    tables = {
        "boxes": [f"{address} {BOX}" for address in boxes],
        "domains": list(spec.domains),
        "known": boxes,
    }
    for name, entries in tables.items():
        tree.write(f"etc/mail/{name}", "".join(f"{entry}\n" for entry in entries))
        lines.append(f"table {name} file:/etc/mail/{name}")
    listen = f"listen on {spec.host} hostname {spec.hostname} port"
    plain = f"{listen} {server.smtp_port}"
    names = []
    for number, (address, reply) in enumerate(spec.answers.items()):
        how = "disconnect" if reply.startswith("421") else "reject"
        when = f'phase rcpt-to match rcpt-to {{ "{address}" }}'
        lines.append(f'filter answer{number} {when} {how} "{reply}"')
        names.append(f"answer{number}")
    if spec.forbidden:
        tree.write("usr/bin/attachments", _ATTACHMENTS.replace("@NAME@", spec.forbidden))
        (tree.root / "usr/bin/attachments").chmod(0o755)
        lines.append('filter attachments proc-exec "/usr/bin/attachments"')
        names.append("attachments")
    if names:
        lines.append(f"filter all chain {{ {', '.join(names)} }}")
        plain += " filter all"
    if spec.certificate:
        key = tree.root / "etc/key.pem"
        shutil.copy(spec.certificate, key)
        key.chmod(0o600)
        lines += ['pki own cert "/etc/key.pem"', 'pki own key "/etc/key.pem"']
        plain += " tls pki own"
        lines.append(f"{listen} {server.smtps_port} smtps pki own")
    lines.append(plain)
    if server.submission_port and spec.credentials:
        user, password = spec.credentials
        hashed = tree.run("/usr/sbin/smtpctl", "encrypt", password).strip()
        tree.write("etc/mail/users", f"{user} {hashed}\n")
        lines.append("table users file:/etc/mail/users")
        lines.append(f"{listen} {server.submission_port} tls-require pki own auth <users>")
    lines.append('action "here" maildir virtual <boxes>')
    lines.append('match from any for rcpt-to <known> action "here"')
    lines.append("match from any for domain <domains> reject")
    if hop := spec.next_hop:
        if spec.ca:
            (tree.root / AUTHORITIES).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(spec.ca, tree.root / AUTHORITIES)
        scheme = {"none": "smtp+notls", "starttls": "smtp+tls", "implicit": "smtps"}[hop.tls]
        relay = f'relay host "{scheme}://{hop.host}:{hop.port}" helo {spec.hostname}'
        lines.append(f'action "on" {relay} src {spec.host}')
        lines.append('match from local for any action "on"')
        lines.append('match from any auth for any action "on"')
    tree.write("etc/smtpd.conf", "\n".join(lines) + "\n")


SERVER = Opensmtpd()
