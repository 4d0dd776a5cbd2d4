"""Notices: the messages we make ourselves about another message (RFC 3464, RFC 3461 §5.2).

A notice names the address the sender wrote, never the target of an alias; all recipients that
failed together are in one. Its words come from `explain`, its form from `mail.report`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Literal

import msgspec

from estafeta.explain.bounce import bounce, delay, success, undeliverable
from estafeta.explain.causes import cause
from estafeta.explain.judge import judge
from estafeta.explain.refusal import Refusal, Verdict
from estafeta.explain.told import About, Told
from estafeta.mail.address import is_ascii
from estafeta.mail.envelope import Recipient
from estafeta.mail.header import find
from estafeta.mail.outcome import Delivered, Outcome, Reply
from estafeta.mail.protocols import Content
from estafeta.mail.report import Explanation, Kind, ReportRecipient, build_report
from estafeta.mail.words import decode_text
from estafeta.queue.conceal import conceal, written_in
from estafeta.queue.contract import Notice
from estafeta.store.ids import Ids, queue_id
from estafeta.store.rows import Acceptance
from estafeta.store.tokens import Tokens
from estafeta.world.seams import World

SUBJECT_OCTETS_READ = 64 * 1024  # of the header, to name the message by its subject

Origin = Literal["bounce", "delay", "success", "double-bounce"]

WITHOUT_NOTICE = frozenset(("delay", "success", "double-bounce", "fault"))
"""Origins of what has no return address and nobody misses when it fails."""


class NoticeSettings(msgspec.Struct, frozen=True):
    """support: who helps people, "" for the postmaster. delay_after: seconds until a sender is told
    of a delay, 0 for never. double_bounce: who gets what has no return address and fails."""

    support: str = ""
    delay_after: float = 4 * 3600.0
    double_bounce: Literal["postmaster", "drop"] = "postmaster"


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One recipient that has not got the message. outcome: of the last attempt. at: when that was,
    in milliseconds since 1970, as first, of the first one, and next_try and until, which are 0 for
    one that has ended. first: 0 where nobody knows; about when the message was accepted.

    written: the address as the sender wrote it, where the ledger is to tell and not ORCPT. meant:
    the one that was probably meant.
    """

    recipient: Recipient
    outcome: Outcome
    at: int
    attempts: int
    expired: bool = False
    first: int = 0
    written: str = ""
    next_try: int = 0
    until: int = 0
    meant: str = ""


class Notices:
    """Makes notices. language: address of the sender -> "es" or "en", as far as we know it.

    settings: may be set anew at any time.
    """

    def __init__(
        self,
        world: World,
        *,
        ids: Ids,
        tokens: Tokens,
        host_name: str,
        postmaster: str,
        language: Callable[[str], Awaitable[str]],
        settings: NoticeSettings | None = None,
    ) -> None:
        self._world = world
        self._ids = ids
        self._tokens = tokens
        self._host_name = host_name
        self.postmaster = postmaster
        self._language = language
        self.settings = settings or NoticeSettings()

    async def failure(
        self, acceptance: Acceptance, failures: Sequence[Failure], content: Content, *, partly: bool
    ) -> Notice:
        """The bounce. partly: the message has other recipients."""
        about = await self._about(acceptance, content, partly=partly)
        known = _distinct(_known(failure, _final_status(failure)) for failure in failures)
        explanation = bounce([_told(each, acceptance) for each in known], about)
        recipients = [_reported(each, "failed") for each in known]
        return self._notice("bounce", "failed", acceptance, recipients, content, explanation)

    async def delayed(
        self, acceptance: Acceptance, failures: Sequence[Failure], content: Content
    ) -> Notice:
        """That these have not got it yet (RFC 3464 §2.3.3)."""
        about = await self._about(acceptance, content)
        known = _distinct(_known(failure, _passing_status(failure)) for failure in failures)
        explanation = delay([_told(each, acceptance) for each in known], about)
        recipients = [_reported(each, "delayed") for each in known]
        return self._notice("delay", "delayed", acceptance, recipients, content, explanation)

    @property
    def substitute(self) -> str:
        """Who gets a bounce whose addressee is nobody here, "" for nobody."""
        return self.postmaster if self.settings.double_bounce == "postmaster" else ""

    def tells_postmaster(self, acceptance: Acceptance) -> bool:
        """Whether he is to get it, if it fails and has no return address."""
        return (
            not acceptance.reverse_path
            and acceptance.origin not in WITHOUT_NOTICE
            and self.substitute != ""
        )

    async def undeliverable(
        self, acceptance: Acceptance, failures: Sequence[Failure], content: Content
    ) -> Notice:
        """To the postmaster: what failed, and has no return address (RFC 5321 §4.5.5)."""
        about = await self._about(acceptance, content, to=self.postmaster)
        known = [_known(failure, _final_status(failure)) for failure in failures]
        explanation = undeliverable([_told(each, acceptance) for each in known], about)
        recipients = [_reported(each, "failed") for each in known]
        return self._notice(
            "double-bounce",
            "failed",
            acceptance,
            recipients,
            content,
            explanation,
            to=self.postmaster,
        )

    async def success(
        self,
        acceptance: Acceptance,
        reached: Sequence[Recipient],
        content: Content,
        *,
        relayed: Reply | None = None,
        host: str = "",
        written: str = "",
    ) -> Notice:
        """For NOTIFY=SUCCESS. relayed: the reply of a server that does not report itself. written:
        see Failure."""
        about = await self._about(acceptance, content)
        kind: Kind = "relayed" if relayed else "delivered"
        recipients = []
        for recipient in reached:
            address = written or written_in(recipient.orcpt) or recipient.address
            reply, shown = _concealed(recipient, address, relayed, host)
            recipients.append(
                ReportRecipient(
                    final_recipient=address,
                    action=kind,
                    original_recipient=recipient.orcpt,
                    diagnostic=reply,
                    remote_mta=_name(shown),
                )
            )
        addresses = list(dict.fromkeys(each.final_recipient for each in recipients))
        explanation = success(addresses, about, relayed=relayed is not None)
        return self._notice("success", kind, acceptance, recipients, content, explanation)

    async def _about(
        self, acceptance: Acceptance, content: Content, *, partly: bool = False, to: str = ""
    ) -> About:
        await self._tokens.ready()
        return About(
            language=await self._language(to or acceptance.reverse_path),
            support=self.settings.support or self.postmaster,
            subject=_subject(content),
            partly=partly,
            queue_id=queue_id(acceptance.id),
            message_id=acceptance.message_id,
            accepted=acceptance.at / 1000,
            reported=self._world.clock.now(),
        )

    def _notice(
        self,
        origin: Origin,
        kind: Kind,
        acceptance: Acceptance,
        recipients: list[ReportRecipient],
        content: Content,
        explanation: Explanation,
        to: str = "",
    ) -> Notice:
        to = to or acceptance.reverse_path
        id = self._ids.next()
        message_id = self._tokens.message_id(id, self._host_name)
        utf8 = not is_ascii(to)
        message = build_report(
            kind=kind,
            reporting_mta=self._host_name,
            arrival=acceptance.at / 1000,
            envid=acceptance.envid,
            recipients=recipients,
            explanation=explanation,
            from_=f"MAILER-DAEMON <{self.postmaster}>",
            to=to,
            date=self._world.clock.now(),
            message_id=message_id,
            original=content,
            ret=acceptance.ret,
            utf8=utf8,
        )
        return Notice(id, origin, acceptance, to, message, message_id, utf8)


class _Known(msgspec.Struct, frozen=True):
    """A failure as the sender may know it."""

    failure: Failure
    address: str
    reply: Reply
    host: str
    cause: str
    status: str


def _known(failure: Failure, status: str) -> _Known:
    recipient, outcome = failure.recipient, failure.outcome
    written = failure.written or written_in(recipient.orcpt) or recipient.address
    reply, host = _concealed(recipient, written, outcome.reply, outcome.host)
    assert reply is not None
    return _Known(failure, written, reply, host, _cause(failure), status)


def _distinct(found: Iterable[_Known]) -> list[_Known]:
    """Those behind one address that failed for one reason are one to who wrote to it."""
    by_reason: dict[tuple[str, str], _Known] = {}
    for known in found:
        by_reason.setdefault((known.address, known.cause), known)
    return list(by_reason.values())


def _concealed(
    recipient: Recipient, written: str, reply: Reply | None, host: str
) -> tuple[Reply | None, str]:
    """(reply, host) as they may be shown to who wrote `written`."""
    target = recipient.address
    if written.lower() == target.lower():
        return reply, host
    shown = reply and conceal(reply, target, written)
    same_domain = written.rpartition("@")[2].lower() == target.rpartition("@")[2].lower()
    return shown, host if same_domain else ""


def _told(known: _Known, acceptance: Acceptance) -> Told:
    failure, judged = known.failure, _judged(known)
    return Told(
        address=known.address,
        cause=known.cause,
        reply=known.reply,
        host=known.host,
        status=known.reply.status or known.status,
        permanent=judged.permanent,
        hard=judged.hard,
        first_try=(failure.first or acceptance.at) / 1000 if failure.attempts else 0,
        last_try=failure.at / 1000,
        attempts=failure.attempts,
        expired=failure.expired,
        next_try=failure.next_try / 1000,
        until=failure.until / 1000,
        meant=failure.meant,
    )


def _judged(known: _Known) -> Verdict:
    """What `estafeta explain` would say of what the report says."""
    reply = known.reply
    return judge(
        Refusal(
            code=reply.code,
            status=reply.status,
            text=reply.text,
            host=known.host,
            action="failed" if known.status.startswith("5") else "delayed",
            address=known.address,
        )
    )


def _reported(known: _Known, action: Kind) -> ReportRecipient:
    failure = known.failure
    return ReportRecipient(
        final_recipient=known.address,
        action=action,
        status=known.status,
        original_recipient=failure.recipient.orcpt,
        diagnostic=known.reply,
        remote_mta=_name(known.host),
        last_attempt=failure.at / 1000 if failure.attempts else None,
        will_retry_until=failure.until / 1000 if failure.until else None,
        cause=known.cause,
        attempts=failure.attempts,
    )


def _name(host: str) -> str:
    """RFC 3464 §2.3.5: the name alone, of a host that we know by name, address and port."""
    return host.partition(" ")[0]


def _cause(failure: Failure) -> str:
    """What the last attempt came to; of one that was tried for long and says nothing, just that."""
    outcome = failure.outcome
    found = "other" if isinstance(outcome, Delivered) else outcome.cause
    return "expired" if failure.expired and cause(found).code == "other" else found


def _final_status(failure: Failure) -> str:
    """Permanent, whatever the reply was: RFC 3464 §2.3.4; 4.4.7 becomes 5.4.7 (RFC 3463 §3.5)."""
    status = failure.outcome.reply.status
    if not failure.expired:
        return status or "5.0.0"
    return "5.4.7" if not status or status.endswith(".0.0") else f"5{status[1:]}"


def _passing_status(failure: Failure) -> str:
    """Of one that is tried again, whatever the reply was."""
    status = failure.outcome.reply.status
    return f"4{status[1:]}" if status else "4.0.0"


def _subject(content: Content) -> str:
    found = find(content.read(0, SUBJECT_OCTETS_READ), "Subject")
    return decode_text(found[0]) if found else ""
