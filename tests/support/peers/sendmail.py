"""sendmail: a private sendmail, as sender and as receiver, from the unpacked packages.

Its configuration is made with m4 from the package's own pieces, as people make theirs. Mail for its
own domains goes to a mailer that appends to a Maildir. It runs as whoever runs the test and changes
nothing outside its folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .maildirs import MaildirServer
from .packages import Peers, fetch
from .process import DidNotHappen, Running
from .server import MAIL_TIMEOUT_S, Direction, Feature, ServerSpec

PACKAGES = (
    "libnss-wrapper",
    "libsasl2-modules",
    "libsasl2-modules-db",
    "libuid-wrapper",
    "m4",
    "sasl2-bin",
    "sendmail-base",
    "sendmail-bin",
    "sendmail-cf",
)

# What it takes for the machine's name.
HOST_NAME = "sendmail.host.example"

# Who runs the test, to sendmail; and whom it delivers as where that is root.
TESTER = "tester"
DELIVERER = 1

# It writes lists of addresses anew.
REFOLDS = frozenset({"from", "to", "cc", "reply-to", "sender"})

_NO_UTF8 = "the package is built without it"
CANNOT: Mapping[tuple[Direction, Feature], str] = {
    (Direction.SENDS, Feature.PRDR): "does not have it",
    (Direction.SENDS, Feature.IMPLICIT_TLS): "has TLS from the first octet as a server only",
    (Direction.SENDS, Feature.SMTPUTF8): _NO_UTF8,
    (Direction.SENDS, Feature.CHUNKING): "does not have it",
    (Direction.SENDS, Feature.NO_PIPELINING): "no setting keeps it from using what is offered",
    (Direction.RECEIVES, Feature.SMTPUTF8): _NO_UTF8,
    (Direction.RECEIVES, Feature.CHUNKING): "does not have it",
    (Direction.RECEIVES, Feature.FORBIDDEN): "looks into messages only with a program beside it",
}

# What the box mailer runs: standard input becomes a file of the Maildir.
DELIVER = """\
#!/bin/sh
umask 077
cd "$1" || exit 75
name=$$.$(date +%s%N)
{ printf 'Delivered-To: %s\\n' "$2"; cat; } > "tmp/$name" && mv "tmp/$name" "new/$name" || exit 75
"""

CONFIGURATION = """\
include(`@CF@/m4/cf.m4')
OSTYPE(`linux')
define(`confDOMAIN_NAME', `@HOSTNAME@')
define(`QUEUE_DIR', `@FOLDER@/queue')
define(`STATUS_FILE', `@FOLDER@/status')
define(`confPID_FILE', `@FOLDER@/pid')
define(`HELP_FILE', `@FOLDER@/help')
define(`ALIAS_FILE', `')
define(`confSERVICE_SWITCH_FILE', `@FOLDER@/service.switch')
define(`confHOSTS_FILE', `/etc/hosts')
define(`confDONT_BLAME_SENDMAIL', `GroupReadableKeyFile,GroupWritableDirPathSafe,\
MapInUnsafeDirPath,RunProgramInUnsafeDirPath,TrustStickyBit')
define(`confDEF_USER_ID', `1:1')
define(`confPRIVACY_FLAGS', `noexpn')
define(`confTO_IDENT', `0')
define(`confTO_ICONNECT', `5s')
define(`confCON_EXPENSIVE', `False')
define(`confMIN_FREE_BLOCKS', `0')
define(`confQUEUE_LA', `1000')
define(`confREFUSE_LA', `1000')
define(`confDELAY_LA', `0')
define(`confMAX_MESSAGE_SIZE', `@SIZE@')
@MORE@
FEATURE(`nocanonify')
FEATURE(`accept_unresolvable_domains')
FEATURE(`no_default_msa')
FEATURE(`relay_hosts_only')
FEATURE(`access_db', `hash -o -T<TMPF> @FOLDER@/access.db')
FEATURE(`blocklist_recipients')
MAILER(`local')
MAILER(`smtp')
LOCAL_CONFIG
Kboxes hash -o @FOLDER@/boxes.db
C{Boxed}@DOMAINS@
CR@DOMAINS@
ESASL_PATH=@SASL@
ESASL_CONF_PATH=@FOLDER@/sasl
LOCAL_RULE_0
R$+ < @ $={Boxed} . >	$: $1 < @ $2 . > $| $(boxes $1@$2 $: NONE $)
R$+ < @ $+ . > $| NONE	$#error $@ 5.1.1 $: "550 User unknown"
R$+ < @ $+ . > $| $*	$#box $@ $2 $: $1 < @ $2 . >
MAILER_DEFINITIONS
Mbox, P=/bin/sh, F=lDFMn8, S=EnvFromSMTP/HdrFromSMTP, R=EnvToSMTP/HdrFromSMTP,
	T=DNS/RFC822/X-Unix, A=sh @FOLDER@/deliver @FOLDER@/box $u
"""


class RunningSendmail(MaildirServer):
    """One instance; see `RunningServer`."""

    def __init__(self, spec: ServerSpec, folder: Path) -> None:
        super().__init__(spec, folder / "box")
        self.folder = folder

    def queue(self) -> str:
        shown = self._run("-bp")
        return "" if "is empty" in shown else shown

    def flush(self) -> None:
        self._run("-qf")

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def _run(self, *words: str) -> str:
        command: list[str | Path] = [self.folder / "sendmail", "-C", self.folder / "cf", *words]
        return run(self.folder, command, may_fail=True)  # its exit code tells of the messages


class Sendmail:
    """sendmail; see `ForeignServer`."""

    name = "sendmail"
    refolds = REFOLDS
    cannot = CANNOT

    def version(self) -> str:
        return _peers().versions["sendmail-bin"]

    @contextmanager
    def start(self, workspace: Path, spec: ServerSpec) -> Iterator[RunningSendmail]:
        for name in ("queue", "box/tmp", "box/new"):
            (workspace / name).mkdir(parents=True, exist_ok=True)
        for name in ("tmp", "new"):
            (workspace / "box" / name).chmod(0o777)  # root's sendmail delivers as another user
        server = RunningSendmail(spec, workspace)
        _write(server, spec)
        running = Running(
            [workspace / "sendmail", "-C", workspace / "cf", "-bD", "-X", workspace / "log"],
            workspace / "out",
            _environment(workspace),
        )
        try:
            running.wait_listening(spec.host, server.ports)
            yield server
        finally:
            running.stop()


def _peers() -> Peers:
    return fetch(*PACKAGES)


def _environment(folder: Path) -> dict[str, str]:
    """With a host name that has a dot: without one it waits a minute before it starts.

    And with a name for who runs the test, which makes him somebody whom it trusts.
    """
    return _peers().environment(
        folder,
        NSS_WRAPPER_GROUP=str(folder / "group"),
        NSS_WRAPPER_PASSWD=str(folder / "passwd"),
        LD_PRELOAD=str(_peers().library("libnss_wrapper.so")),
        NSS_WRAPPER_HOSTNAME=HOST_NAME,
        NSS_WRAPPER_HOSTS=str(folder / "hosts"),
    )


def run(
    folder: Path, command: Sequence[str | Path], given: str = "", *, may_fail: bool = False
) -> str:
    """Runs one of its programs; gives standard output. Raises: DidNotHappen."""
    done = subprocess.run(
        list(map(str, command)),
        input=given,
        capture_output=True,
        text=True,
        timeout=MAIL_TIMEOUT_S,
        env=_environment(folder),
    )
    if done.returncode and not may_fail:
        said = done.stdout[-2000:] + done.stderr[-2000:]
        raise DidNotHappen(f"{command[0]} ended with {done.returncode}: {said}")
    return done.stdout


def _write(server: RunningSendmail, spec: ServerSpec) -> None:
    """All its files."""
    folder, peers = server.folder, _peers()
    # a copy without the set-group-id bit, with which it would not find our libraries
    program = folder / "sendmail"
    if not program.exists():
        shutil.copyfile(peers.root / "usr/libexec/sendmail/sendmail", program)
        program.chmod(0o755)
    (folder / "deliver").write_text(DELIVER)
    (folder / "service.switch").write_text("hosts files\naliases files\n")
    (folder / "help").touch()
    user, group = os.geteuid(), os.getegid()
    people = ["root:x:0:0::/:/bin/sh", f"daemon:x:{DELIVERER}:{DELIVERER}::/:/bin/sh"]
    groups = ["root:x:0:", f"daemon:x:{DELIVERER}:"]
    if user:
        people.append(f"{TESTER}:x:{user}:{group}::/:/bin/sh")
        groups.append(f"{TESTER}:x:{group}:")
    (folder / "passwd").write_text("\n".join(people) + "\n")
    (folder / "group").write_text("\n".join(groups) + "\n")
    (folder / "hosts").write_text(f"127.0.0.1 localhost {HOST_NAME}\n")
    _write_maps(folder, spec)
    (folder / "ca").mkdir(exist_ok=True)
    if authorities := spec.ca or spec.certificate:
        shutil.copyfile(authorities, folder / "ca/ca.pem")
    if spec.certificate:
        shutil.copyfile(spec.certificate, folder / "key.pem")
        (folder / "key.pem").chmod(0o600)
    if spec.credentials:
        _write_users(folder, spec.hostname, *spec.credentials)
    cf = peers.root / "usr/share/sendmail/cf"
    marks = {
        "CF": cf,
        "HOSTNAME": spec.hostname,
        "FOLDER": folder,
        "SIZE": spec.size_max,
        "SASL": peers.library("sasl2/libsasldb.so").parent,
        "MORE": "\n".join(_more(server, spec)),
        "DOMAINS": " ".join(spec.domains),
    }
    text = CONFIGURATION
    for mark, value in marks.items():
        text = text.replace(f"@{mark}@", str(value))
    (folder / "mc").write_text(text)
    made = run(folder, [peers.program("m4"), f"-D_CF_DIR_={cf}/", folder / "mc"])
    (folder / "cf").write_text(made)


def _write_maps(folder: Path, spec: ServerSpec) -> None:
    boxes = [f"{user}@{domain}" for domain, users in spec.domains.items() for user in users]
    access = []
    for address, reply in spec.answers.items():
        code, status, words = reply.split(maxsplit=2)
        access.append(f"To:{address}\tERROR:{status}:{code} {words}")
    if not spec.pipelining:
        access.append("Srv_Features:\tP")
    if spec.next_hop:
        access.append("Try_TLS:\tNO" if spec.next_hop.tls == "none" else "TLS_Srv:\tVERIFY")
    for name, lines in (("boxes", [f"{box}\there" for box in boxes]), ("access", access)):
        made = folder / f"{name}.db"
        made.unlink(missing_ok=True)
        text = "".join(f"{line}\n" for line in lines)
        run(folder, [_peers().program("makemap"), "-C", "/dev/null", "hash", made], text)


def _write_users(folder: Path, realm: str, user: str, password: str) -> None:
    """One login, where Cyrus SASL looks it up for sendmail."""
    database = folder / "sasl/users.db"
    database.parent.mkdir(exist_ok=True)
    (database.parent / "Sendmail.conf").write_text(
        f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {database}\n"
        "mech_list: PLAIN LOGIN\n"
    )
    database.unlink(missing_ok=True)
    words = ("-c", "-p", "-f", database, "-u", realm, user)
    run(folder, [_peers().program("saslpasswd2"), *words], password + "\n")


def _more(server: RunningSendmail, spec: ServerSpec) -> Iterator[str]:
    """The lines of the configuration that depend on the specification."""

    def listen(name: str, port: int, modifiers: str = "") -> str:
        how = f"Name={name}, Family=inet, Addr={spec.host}, Port={port}"
        return f"DAEMON_OPTIONS(`{how}{modifiers}')"

    if os.geteuid():
        yield f"define(`confTRUSTED_USER', `{TESTER}')"
    yield listen("MTA", server.smtp_port)
    yield f"CLIENT_OPTIONS(`Family=inet, Addr={spec.host}')"
    if server.smtps_port:
        yield listen("MTAS", server.smtps_port, ", M=s")
    if server.submission_port:
        yield listen("MSA", server.submission_port, ", M=Ea")
        yield "TRUST_AUTH_MECH(`PLAIN LOGIN')"
        yield "define(`confAUTH_MECHANISMS', `PLAIN LOGIN')"
        yield f"define(`confAUTH_OPTIONS', `A{' p' if spec.certificate else ''}')"
    if spec.certificate:
        for what in ("SERVER_CERT", "SERVER_KEY"):
            yield f"define(`conf{what}', `{server.folder / 'key.pem'}')"
    # without authorities it offers no TLS as a server either
    yield f"define(`confCACERT', `{server.folder / 'ca/ca.pem'}')"
    yield f"define(`confCACERT_PATH', `{server.folder / 'ca'}')"
    if hop := spec.next_hop:
        yield f"define(`SMART_HOST', `esmtp:[{hop.host}]')"
        yield f"define(`ESMTP_MAILER_ARGS', `TCP $h {hop.port}')"


SERVER = Sendmail()
