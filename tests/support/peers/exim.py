"""exim: a private Exim under the contract of `server.py`, from the unpacked package.

Needs no root. Exim takes a configuration of the caller's choice (`-C`) from root, or else gives up
what privileges it has; it is told that its own user is whoever runs the test (`nss_wrapper`), so
there are none to give up, and that it delivers without any (`deliver_drop_privilege`). Run by root,
`uid_wrapper` lets every change of user succeed without being one.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .maildirs import MaildirServer
from .packages import Peers, fetch
from .process import Running
from .server import MAIL_TIMEOUT_S, Direction, Feature, ServerSpec

PACKAGES = ("exim4-daemon-light", "libnss-wrapper", "libuid-wrapper")
FAKE_ID = 901

_MAIN = """\
exim_path = {program}
keep_environment = *
spool_directory = {folder}/spool
log_file_path = {folder}/log/%s
pid_file_path = {folder}/exim.pid
primary_hostname = {hostname}
disable_ipv6 = true
local_interfaces = {interfaces}
deliver_drop_privilege = true
exim_user = {user}
exim_group = {user}
trusted_users = {user}
never_users =
recipients_max = 1000
message_size_limit = {size_max}
host_lookup =
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
pipelining_advertise_hosts = {pipelining}
chunking_advertise_hosts = {chunking}
tls_advertise_hosts = {tls_hosts}
{tls}
auth_advertise_hosts = ${{if eq{{$received_port}}{{{submission}}}{{*}}{{}}}}
acl_smtp_rcpt = recipient
acl_smtp_data = content
message_body_visible = 10000
domainlist local_domains = {domains}

begin acl

recipient:
  accept condition = ${{if eq{{$received_port}}{{{submission}}}}}
         authenticated = *
  deny   condition = ${{if eq{{$received_port}}{{{submission}}}}}
         message = 5.7.0 Log in first
  drop   condition = ${{if match{{$acl_c_answer}}{{^421}}}}
         message = $acl_c_answer
  defer  set acl_c_answer = ${{lookup{{$local_part@$domain}}lsearch{{{folder}/etc/answers}}}}
         condition = ${{if match{{$acl_c_answer}}{{^4}}}}
         message = $acl_c_answer
  deny   condition = ${{if match{{$acl_c_answer}}{{^5}}}}
         message = $acl_c_answer
  deny   domains = +local_domains
         ! verify = recipient
         message = 5.1.1 No such user here
  accept hosts = 127.0.0.0/8

content:
{content}
  accept

begin routers

local:
  driver = accept
  domains = +local_domains
  condition = ${{lookup{{$local_part@$domain}}lsearch{{{folder}/etc/users}}{{yes}}{{no}}}}
  transport = maildir

nobody:
  driver = redirect
  domains = +local_domains
  allow_fail
  data = :fail: No such user here

{relay}

begin transports

maildir:
  driver = appendfile
  maildir_format
  directory = {folder}/mail/box
  user = {user}
  group = {user}
  message_prefix = "Return-Path: <$return_path>\\nDelivered-To: $local_part@$domain\\n"

{smtp}

begin retry

* * F,4d,2s

begin authenticators

{authenticator}
"""

_RELAY = """\
relay:
  driver = manualroute
  route_list = * {host} byname
  self = send
  host_find_failed = defer
  transport = smtp
"""

_SMTP = """\
smtp:
  driver = smtp
  port = {port}
  allow_localhost
  interface = {source}
  protocol = {protocol}
  hosts_avoid_pipelining = {avoid_pipelining}
  hosts_try_chunking = {try_chunking}
  hosts_avoid_tls = {avoid_tls}
  hosts_require_tls = {require_tls}
  tls_verify_certificates = {ca}
  tls_verify_hosts = *
"""

_CONTENT = """\
  deny   condition = ${{if match{{$message_body}}{{\\Nname=.*{pattern}"\\N}}}}
         message = 5.7.1 Attachments of type {name} are not allowed"""

_AUTHENTICATOR = """\
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_set_id = $auth2
  server_condition = ${{if and{{{{eq{{$auth2}}{{{user}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_advertise_condition = {condition}
"""


class EximServer:
    """See `server.ForeignServer`."""

    name = "Exim"
    refolds: Collection[str] = ()
    cannot: Mapping[tuple[Direction, Feature], str] = {}

    def version(self) -> str:
        return fetch(*PACKAGES).versions["exim4-daemon-light"]

    @contextmanager
    def start(self, workspace: Path, spec: ServerSpec) -> Iterator[RunningExim]:
        running = RunningExim(workspace, spec, fetch(*PACKAGES))
        running.start()
        try:
            yield running
        finally:
            running.stop()


class RunningExim(MaildirServer):
    """See `server.RunningServer`."""

    def __init__(self, folder: Path, spec: ServerSpec, peers: Peers) -> None:
        super().__init__(spec, folder / "mail/box")
        self._folder = folder
        self._peers = peers
        self._running: Running | None = None
        for name in ("etc", "log", "mail", "spool"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._write_users()
        self._configuration = folder / "etc/exim.conf"
        users = (f"{user}@{domain}" for domain, names in spec.domains.items() for user in names)
        for name, lines in (("users", dict.fromkeys(users, "yes")), ("answers", spec.answers)):
            text = "".join(f"{address}: {value}\n" for address, value in lines.items())
            (folder / "etc" / name).write_text(text)
        self._configuration.write_text(self._configure(spec))

    def _configure(self, spec: ServerSpec) -> str:
        tls = ""
        if spec.certificate:
            tls = (
                f"tls_certificate = {spec.certificate}\ntls_privatekey = {spec.certificate}\n"
                f"tls_on_connect_ports = {self.smtps_port}"
            )
        relay = smtp = authenticator = content = ""
        if spec.forbidden:
            content = _CONTENT.format(pattern=re.escape(spec.forbidden), name=spec.forbidden)
        if hop := spec.next_hop:
            relay = _RELAY.format(host=hop.host)
            smtp = _SMTP.format(
                port=hop.port,
                source=spec.host,
                protocol="smtps" if hop.tls == "implicit" else "smtp",
                avoid_pipelining="" if spec.pipelining else "*",
                try_chunking="*" if spec.chunking else "",
                avoid_tls="*" if hop.tls == "none" else "",
                require_tls="" if hop.tls == "none" else "*",
                ca=spec.ca or "system",
            )
        if spec.credentials:
            user, password = spec.credentials
            condition = "${if def:tls_in_cipher}" if spec.certificate else "yes"
            authenticator = _AUTHENTICATOR.format(user=user, password=password, condition=condition)
        return _MAIN.format(
            program=self._program,
            folder=self._folder,
            user=self._user,
            hostname=spec.hostname,
            interfaces="<; " + " ; ".join(f"[{spec.host}]:{port}" for port in self.ports),
            size_max=spec.size_max,
            pipelining="*" if spec.pipelining else "",
            chunking="*" if spec.chunking else "",
            tls_hosts="*" if spec.certificate else "",
            tls=tls,
            submission=self.submission_port or "none",
            domains=" : ".join(spec.domains),
            content=content,
            relay=relay,
            smtp=smtp,
            authenticator=authenticator,
        )

    _user = "Debian-exim"

    @property
    def _program(self) -> Path:
        return self._peers.root / "usr/sbin/exim4"

    def _write_users(self) -> None:
        """The private user list: Exim's user is ours, or, as that must not be root, nobody's."""
        user, group = os.geteuid() or FAKE_ID, os.getegid() or FAKE_ID
        (self._folder / "etc/passwd").write_text(
            f"root:x:0:0::/:/bin/sh\n{self._user}:x:{user}:{group}::/:/bin/false\n"
        )
        (self._folder / "etc/group").write_text(f"root:x:0:\n{self._user}:x:{group}:\n")

    def _environment(self) -> dict[str, str]:
        wrappers = [self._peers.library("libnss_wrapper.so")]
        faked: dict[str, str] = {}
        if os.geteuid() == 0:
            wrappers.append(self._peers.library("libuid_wrapper.so"))
            faked = {"UID_WRAPPER": "1", "UID_WRAPPER_ROOT": "1"}
        return self._peers.environment(
            self._folder,
            LD_PRELOAD=":".join(map(str, wrappers)),
            NSS_WRAPPER_PASSWD=str(self._folder / "etc/passwd"),
            NSS_WRAPPER_GROUP=str(self._folder / "etc/group"),
            **faked,
        )

    def start(self) -> None:
        """Returns when it accepts connections. Raises: DidNotHappen."""
        command: list[str | Path] = [self._program, "-C", self._configuration, "-bdf", "-q5s"]
        self._running = Running(command, self._folder / "log/output", self._environment())
        try:
            self._running.wait_listening(self.host, self.ports)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None

    def _command(self, *words: str) -> str:
        done = subprocess.run(
            [str(self._program), "-C", str(self._configuration), *words],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=MAIL_TIMEOUT_S,
        )
        return done.stdout

    def queue(self) -> str:
        return self._command("-bp").strip()

    def flush(self) -> None:
        self._command("-qff")

    def log(self) -> str:
        parts = (self._folder / "log" / name for name in ("output", "main", "panic", "reject"))
        return "".join(p.read_text(errors="replace") for p in parts if p.exists())


SERVER = EximServer()
