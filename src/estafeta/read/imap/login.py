"""login: CAPABILITY's words, STARTTLS, AUTHENTICATE, LOGIN, ENABLE (RFC 3501 §6.2, RFC 5161)."""

from __future__ import annotations

import asyncio

from estafeta.read.imap.session import Goodbye, Refusal, Session
from estafeta.read.limits import LOGIN_FAILURES_MAX
from estafeta.read.login import LoginFailed, offered
from estafeta.store.rows import Account
from estafeta.wire.imap import commands as a
from estafeta.wire.imap.commands import State
from estafeta.wire.imap.machine import Ended, SaslResponse

_ALWAYS = "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE"
_INSIDE = (
    "IDLE NAMESPACE UIDPLUS MOVE UNSELECT CHILDREN SPECIAL-USE CREATE-SPECIAL-USE ESEARCH"
    " MULTIAPPEND QUOTA QUOTA=RES-STORAGE"
)


def capabilities(s: Session) -> str:
    """What can be done in the state at hand, "CAPABILITY …"."""
    if s.account is not None:
        return f"CAPABILITY {_ALWAYS} {_INSIDE}"
    words = ["CAPABILITY", _ALWAYS]
    if s.plain_starttls:
        words.append("STARTTLS")
    if s.house.settings.may_send_password(s.stream):
        words.extend(f"AUTH={name}" for name in offered(s.stream.tls))
    else:
        # RFC 3501 §6.2.3. SCRAM sends no password, yet what follows would be in the clear.
        words.append("LOGINDISABLED")
    return " ".join(words)


async def start_tls(s: Session, c: a.StartTls) -> None:
    """RFC 3501 §6.2.1. What the client sent behind it is an injection (RFC 3207 §4.2)."""
    config = s.house.settings.starttls
    if config is None or s.stream.tls is not None:
        raise Refusal("TLS is not offered here", bad=True)
    if s.machine.buffered or s.stream.buffered():
        s.machine.bad(c.tag, "nothing may follow STARTTLS before TLS has begun")
        raise Goodbye("octets in the clear behind STARTTLS")
    s.machine.ok(c.tag, "begin TLS now")
    await s.flush()
    await s.guest.start_tls(config)
    s.machine.forget_plaintext()
    s.plain_starttls = False


async def authenticate(s: Session, c: a.Authenticate) -> None:
    """RFC 3501 §6.2.2, initial response RFC 4959."""
    _guard(s)
    if c.mechanism not in offered(s.stream.tls):
        raise Refusal("no such mechanism; CAPABILITY names them", "CANNOT")

    async def ask(challenge: bytes) -> bytes | None:
        s.machine.challenge(challenge)
        event = await s.event()
        if isinstance(event, Ended):
            raise Goodbye(event.reason or "the client closed", said=not event.reason)
        assert isinstance(event, SaslResponse)
        return event.data

    try:
        account = await s.house.logins.exchange(c.mechanism, c.initial, ask, s.stream.tls)
    except LoginFailed as failure:
        await _failed(s, c, failure)
        return
    _enter(s, c, account)


async def login(s: Session, c: a.Login) -> None:
    """RFC 3501 §6.2.3."""
    _guard(s)
    try:
        user, password = c.user.decode("utf-8"), c.password.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal("name and password are UTF-8", "AUTHENTICATIONFAILED") from None
    try:
        account = await s.house.logins.password(user, password)
    except LoginFailed as failure:
        await _failed(s, c, failure)
        return
    _enter(s, c, account)


def _guard(s: Session) -> None:
    if not s.house.settings.may_send_password(s.stream):
        raise Refusal("begin TLS first", "PRIVACYREQUIRED")


def _enter(s: Session, c: a.Login | a.Authenticate, account: Account) -> None:
    if not s.guest.admit(account.id):
        raise Goodbye("too many connections for this account", "LIMIT")
    s.account = account
    s.machine.state = State.AUTHENTICATED
    tls = s.stream.tls
    s.house.log.info(
        "login",
        peer=str(s.stream.peer),
        account=account.address,
        method=c.mechanism if isinstance(c, a.Authenticate) else "LOGIN",
        tls=tls.version if tls else "",
    )
    s.house.meter.count("estafeta_logins_total", protocol="imap", result="ok")
    s.machine.ok(c.tag, "welcome", capabilities(s))


async def _failed(s: Session, c: a.Login | a.Authenticate, failure: LoginFailed) -> None:
    if failure.cancelled:
        return
    s.login_failures += 1
    s.house.meter.count("estafeta_logins_total", protocol="imap", result="failed")
    s.house.log.warning(
        "login failed", peer=str(s.stream.peer), user=failure.user, reason=str(failure)
    )
    # Guessing is slowed down; nobody else waits.
    await asyncio.sleep(s.house.settings.login_failure_seconds * s.login_failures)
    if failure.malformed:
        s.machine.bad(c.tag, "the exchange is not as its mechanism demands")
    else:
        s.machine.no(c.tag, "name or password is wrong", "AUTHENTICATIONFAILED")
    if s.login_failures >= LOGIN_FAILURES_MAX:
        raise Goodbye("too many failed logins")


async def enable(s: Session, c: a.Enable) -> None:
    """RFC 5161: of what can be enabled nothing is known yet; unknown names are no error."""
    s.machine.untagged(b"ENABLED")
    s.machine.ok(c.tag, "done")
