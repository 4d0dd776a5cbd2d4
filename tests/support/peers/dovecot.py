"""dovecot: a private Dovecot (LMTP, IMAP, POP3, Maildir) from the unpacked packages.

Needs no root and changes nothing outside its folder. As an ordinary user it runs the way its manual
calls rootless; as root `uid_wrapper` lets it change users without doing so. Any user name logs in
with the password `PASSWORD` and owns a mailbox of the local part's name.
"""

from __future__ import annotations

import grp
import os
import pwd
import signal
import smtplib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from .packages import DOVECOT_MODULES_LINK, Peers, Unavailable, fetch
from .process import LOOPBACK, Running, free_port

PASSWORD = "pw"
FAKE_ID = 901

_CONFIGURATION = """\
base_dir = {folder}/run
state_dir = {folder}/state
libexec_dir = {root}/usr/lib/dovecot
mail_plugin_dir = {root}/usr/lib/dovecot/modules
login_plugin_dir = {root}/usr/lib/dovecot/modules/login
import_environment = {kept}
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
protocols = imap pop3 lmtp
listen = {host}
ssl = {ssl}
{certificate}
disable_plaintext_auth = no
log_path = {folder}/dovecot.log
mail_location = maildir:~/Maildir
auth_mechanisms = plain login
auth_username_format = %Ln
mail_max_userip_connections = 2000
passdb {{
  {passdb}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%n
}}
namespace inbox {{
  inbox = yes
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = {imaps_port}
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    port = {pop3_port}
  }}
  inet_listener pop3s {{
    port = {pop3s_port}
  }}
}}
service lmtp {{
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    port = {lmtp_port}
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service director {{
  chroot =
}}
service ipc {{
  chroot =
}}
service old-stats {{
  chroot =
}}
service dns-client {{
  chroot =
}}
{auth}
{more}
"""

_AUTH = """\
service auth {{
  unix_listener {folder}/auth {{
    mode = 0666
  }}
}}
"""


class Dovecot:
    """A running Dovecot.

    folder: where it lives; its path short enough for a Unix socket. certificate: PEM with key and
    chain: TLS on ports of its own and by STARTTLS. settings: further lines of its configuration.
    more: further text of it. password: everybody's. users: those that there are; none: any name is
    one. lmtp_port: 0 takes a free one. auth_for_others: other programs may ask it who may log in,
    at the socket `auth`. trace: a command that runs it (strace).
    """

    def __init__(
        self,
        folder: Path,
        *,
        certificate: Path | None = None,
        host: str = LOOPBACK,
        settings: Mapping[str, str] | None = None,
        password: str = PASSWORD,
        users: Sequence[str] = (),
        lmtp_port: int = 0,
        more: str = "",
        auth_for_others: bool = False,
        trace: Sequence[str] = (),
    ) -> None:
        self.peers: Peers = fetch()
        if not self.peers.versions["dovecot-core"].startswith("1:2.3."):
            raise Unavailable("written for Dovecot 2.3; 2.4 reads another configuration")
        self.folder = folder
        self.host = host
        self.imap_port = free_port(host)
        self.pop3_port = free_port(host)
        self.imaps_port = free_port(host) if certificate else 0
        self.pop3s_port = free_port(host) if certificate else 0
        self.lmtp = folder / "lmtp"
        self.lmtp_port = lmtp_port or free_port(host)
        self.auth = folder / "auth"
        self._trace = trace
        self._running: Running | None = None
        for name in ("run", "state", "mail"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        link = folder / "run" / DOVECOT_MODULES_LINK
        link.unlink(missing_ok=True)
        link.symlink_to(self.peers.root / "usr/lib/dovecot/modules")
        try:
            user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
            group = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
        except KeyError as error:
            raise Unavailable(f"Dovecot needs a user with a name: {error}") from error
        text = _CONFIGURATION.format(
            folder=folder,
            root=self.peers.root,
            kept=" ".join(self._kept()),
            user=user,
            group=group,
            host=host,
            passdb=self._who_there_is(users, password),
            lmtp_port=self.lmtp_port,
            auth=_AUTH.format(folder=folder) if auth_for_others else "",
            uid=os.geteuid() or FAKE_ID,
            gid=os.getegid() or FAKE_ID,
            imap_port=self.imap_port,
            pop3_port=self.pop3_port,
            imaps_port=self.imaps_port,
            pop3s_port=self.pop3s_port,
            ssl="yes" if certificate else "no",
            certificate=f"ssl_cert = <{certificate}\nssl_key = <{certificate}"
            if certificate
            else "",
            more="".join(f"{name} = {value}\n" for name, value in (settings or {}).items()) + more,
        )
        (folder / "dovecot.conf").write_text(text)

    def _who_there_is(self, users: Sequence[str], password: str) -> str:
        """The lines of the passdb."""
        if not users:
            return f"driver = static\n  args = password={password}"
        path = self.folder / "users"
        path.write_text("".join(f"{user}:{{PLAIN}}{password}\n" for user in users))
        return f"driver = passwd-file\n  args = username_format=%Ln {path}"

    def mailbox_messages(self, user: str) -> list[bytes]:
        """The messages in a user's INBOX, in no order; lines end in LF or CRLF."""
        folders = (self.folder / "mail" / user / "Maildir" / name for name in ("new", "cur"))
        return [path.read_bytes() for folder in folders for path in folder.glob("*")]

    def _environment(self) -> dict[str, str]:
        wrapper: dict[str, str] = {}
        if os.geteuid() == 0:
            wrapper = {
                "LD_PRELOAD": str(self.peers.library("libuid_wrapper.so")),
                "UID_WRAPPER": "1",
                "UID_WRAPPER_ROOT": "1",
            }
        kept = [*wrapper, "LD_LIBRARY_PATH", "TZ", "DOVECOT_PRESERVE_ENVS"]
        return self.peers.environment(
            self.folder, **wrapper, DOVECOT_PRESERVE_ENVS=" ".join(sorted(kept))
        )

    def _kept(self) -> list[str]:
        """The variables that its processes hand on."""
        return self._environment()["DOVECOT_PRESERVE_ENVS"].split()

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
        configuration = self.folder / "dovecot.conf"
        # dovecot itself would run /usr/bin/doveconf first; started by doveconf it need not
        command: list[str | Path] = [*self._trace]
        command += [self.peers.program("doveconf"), "-f", "service=master", "-c", configuration]
        command += ["-e", self.peers.program("dovecot"), "-F", "-c", configuration]
        self._running = Running(
            command,
            self.folder / "dovecot.log",
            self._environment(),
        )
        try:
            self._running.wait_listening(self.host, [self.imap_port, self.pop3_port])
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self._running:
            self._running.stop(signal.SIGKILL)  # asked kindly it takes its time
            self._running = None

    @property
    def session(self) -> int:
        """The session of its processes, for `process.cpu_seconds` and the like."""
        assert self._running is not None, "it is not running"
        return self._running.pid

    def deliver(self, sender: str, recipients: Sequence[str], message: bytes) -> None:
        """Hands it a message by LMTP. message: lines end in CRLF."""
        with smtplib.LMTP(str(self.lmtp)) as client:
            refused = client.sendmail(sender, list(recipients), message)
            assert not refused, refused

    def log(self) -> str:
        return (self.folder / "dovecot.log").read_text(errors="replace")
