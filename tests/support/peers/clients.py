"""clients: other people's mail clients, each run once against a server in a HOME of its own.

Every function returns when the program has ended; one that fails raises `Failed` with all it said.
"""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .packages import Peers

CLIENT_TIMEOUT_S = 20

# Fields that mutt writes into the files it saves to.
MUTT_ADDS = frozenset({"content-length", "lines", "status"})


class Failed(AssertionError):
    """A client ended with an error; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Account:
    """Where and as whom a client logs in.

    host: a name in the server's certificate. ca: PEM the client trusts.
    """

    host: str
    user: str
    password: str
    ca: Path


class Clients:
    """The programs, run in `home`."""

    def __init__(self, peers: Peers, home: Path) -> None:
        self.peers = peers
        self.home = home
        home.mkdir(parents=True, exist_ok=True)

    def run(self, name: str, *words: str | Path, data: bytes = b"") -> bytes:
        """Runs one program; gives its standard output. Raises: Failed."""
        done = subprocess.run(
            [str(self.peers.program(name)), *map(str, words)],
            input=data,
            capture_output=True,
            env=self.peers.environment(self.home, USER="user", LOGNAME="user"),
            cwd=self.home,
            timeout=CLIENT_TIMEOUT_S,
        )
        if done.returncode:
            said = (done.stdout + done.stderr).decode(errors="replace")
            raise Failed(f"{name} ended with {done.returncode}:\n{said[-4000:]}")
        return done.stdout

    def curl(self, account: Account, url: str, *words: str | Path, data: bytes = b"") -> bytes:
        """curl on an imap(s), pop3(s) or smtp(s) URL; demands TLS in every case."""
        return self.run(
            "curl",
            *("--silent", "--show-error", "--ssl-reqd", "--cacert", account.ca),
            *("--user", f"{account.user}:{account.password}", url, *words),
            data=data,
        )

    def curl_send(
        self, account: Account, url: str, sender: str, recipients: Iterable[str], message: bytes
    ) -> None:
        """curl as a submission client. message: lines end in CRLF, as curl sends it unchanged."""
        to = [word for recipient in recipients for word in ("--mail-rcpt", recipient)]
        self.curl(account, url, "--mail-from", sender, *to, "--upload-file", "-", data=message)

    def swaks(
        self,
        account: Account,
        port: int,
        sender: str,
        recipients: Sequence[str],
        message: bytes,
        *,
        tls: str = "starttls",
        auth: str | None = "PLAIN",
    ) -> bytes:
        """swaks, which shows the dialogue: returned. tls: "starttls", "implicit" or "none"."""
        how = {"starttls": ["--tls"], "implicit": ["--tls-on-connect"], "none": []}[tls]
        if tls != "none":
            how += ["--tls-verify", "--tls-ca-path", str(account.ca)]
        if auth:
            how += ["--auth", auth, "--auth-user", account.user]
            how += ["--auth-password", account.password]
        return self.run(
            "swaks",
            *("--server", account.host, "--port", str(port), "--helo", "swaks.example"),
            *("--from", sender, "--to", ",".join(recipients), *how, "--data", "-"),
            # swaks ends the data with a line end of its own
            data=message.replace(b"\r\n", b"\n").removesuffix(b"\n"),
        )

    def msmtp(
        self,
        account: Account,
        port: int,
        sender: str,
        recipients: Sequence[str],
        message: bytes,
        *,
        starttls: bool = True,
        auth: str = "plain",
    ) -> None:
        """msmtp, always under TLS. auth: plain, login or scram-sha-256."""
        secret = self.home / "msmtp.secret"
        secret.write_text(account.password + "\n")
        self.run(
            "msmtp",
            *(f"--host={account.host}", f"--port={port}", "--tls=on", "--file=/dev/null"),
            *(f"--tls-starttls={'on' if starttls else 'off'}", f"--tls-trust-file={account.ca}"),
            *(f"--auth={auth}", f"--user={account.user}", f"--passwordeval=cat {secret}"),
            *(f"--from={sender}", "--domain=msmtp.example", "--", *recipients),
            data=message.replace(b"\r\n", b"\n"),
        )

    def mbsync(self, account: Account, port: int, *, tls: str = "IMAPS") -> Path:
        """mbsync between all mailboxes of the account and a Maildir tree, whose folder it returns.

        tls: "IMAPS" or "STARTTLS".
        """
        boxes = self.home / "mbsync"
        boxes.mkdir(exist_ok=True)
        configuration = self.home / "mbsyncrc"
        configuration.write_text(
            f"IMAPAccount server\nHost {account.host}\nPort {port}\nUser {account.user}\n"
            f'Pass "{account.password}"\nSSLType {tls}\nSystemCertificates no\n'
            f"CertificateFile {account.ca}\nAuthMechs LOGIN\nTimeout 10\n\n"
            "IMAPStore far\nAccount server\n\n"
            f"MaildirStore near\nPath {boxes}/\nInbox {boxes}/INBOX\nSubFolders Verbatim\n\n"
            "Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\n"
            "SyncState *\n"
        )
        self.run("mbsync", "--config", configuration, "--all")
        return boxes

    def fetchmail(
        self, account: Account, port: int, *, protocol: str = "IMAP", keep: bool = False
    ) -> list[bytes]:
        """fetchmail over implicit TLS; gives the messages as handed to the delivery program.

        It is told to add and rewrite nothing. protocol: "IMAP" or "POP3".
        """
        inbox = self.home / "fetched"
        inbox.mkdir(exist_ok=True)
        configuration = self.home / "fetchmailrc"
        configuration.write_text(
            "set invisible\nset no bouncemail\n"
            f"poll {account.host} protocol {protocol} service {port}\n"
            f'  user "{account.user}" password "{account.password}" is user here\n'
            f'  ssl sslcertck sslcertfile "{account.ca}" {"keep" if keep else "no keep"}\n'
            f"  no rewrite no mimedecode fetchall mda \"/bin/sh -c 'cat > {inbox}/$$'\"\n"
        )
        configuration.chmod(0o600)
        before = set(inbox.iterdir())
        self.run("fetchmail", "--fetchmailrc", configuration, "--nosyslog", "--nodetach")
        new = sorted(set(inbox.iterdir()) - before, key=lambda path: os.stat(path).st_mtime_ns)
        return [path.read_bytes() for path in new]

    def mutt(self, account: Account, port: int, keys: str) -> None:
        """mutt on a terminal of its own, at the account's INBOX over implicit TLS.

        keys: what the person types, as mutt's `push` takes it; `<quit>` should come last. `=NAME`
        is a mailbox of the account. Raises: Failed, also if mutt does not end.
        """
        configuration = self.home / "muttrc"
        url = f"imaps://{account.host}:{port}/"
        settings = {
            "folder": url,
            "spoolfile": f"{url}INBOX",
            "imap_user": account.user,
            "imap_pass": account.password,
            "certificate_file": str(account.ca),
            "tmpdir": str(self.home),
            "mbox_type": "Maildir",
            **dict.fromkeys(("quit", "delete"), "yes"),
            **dict.fromkeys(("move", "mark_old", "confirmcreate", "confirmappend"), "no"),
            **dict.fromkeys(("wait_key", "help", "beep"), "no"),
            "sleep_time": "0",
        }
        lines = [f"set {name}='{value}'" for name, value in settings.items()]
        configuration.write_text("\n".join([*lines, f'push "{keys}"']) + "\n")
        command = [str(self.peers.program("mutt")), "-n", "-F", str(configuration)]
        said = bytearray()
        near, far = pty.openpty()
        with subprocess.Popen(
            command,
            stdin=far,
            stdout=far,
            stderr=far,
            env=self.peers.environment(self.home, USER="user", LOGNAME="user", TERM="vt100"),
            cwd=self.home,
            start_new_session=True,
        ) as mutt:
            os.close(far)
            end = time.monotonic() + CLIENT_TIMEOUT_S
            while time.monotonic() < end:
                if not select.select([near], [], [], 0.1)[0]:
                    continue
                try:
                    said += os.read(near, 65536)
                except OSError:  # the terminal's other side is closed: it has ended
                    break
            else:
                mutt.kill()
            os.close(near)
        if mutt.returncode:
            text = said.decode(errors="replace")
            raise Failed(f"mutt ended with {mutt.returncode}:\n{text[-4000:]}")
