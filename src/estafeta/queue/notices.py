"""Notices: the messages we make ourselves about another message (RFC 3464, RFC 3461 §5.2).

A bounce names the address the sender wrote, never the target of an alias; all recipients that
failed together are in one. Its words come from `explain`, its form from `mail.report`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from estafeta.explain.bounce import FailedRecipient, bounce_text, success_text
from estafeta.mail.address import is_ascii
from estafeta.mail.envelope import Recipient
from estafeta.mail.header import find
from estafeta.mail.outcome import Delivered, Outcome, Reply
from estafeta.mail.protocols import Content
from estafeta.mail.report import Kind, ReportRecipient, build_report
from estafeta.mail.words import decode_text
from estafeta.queue.contract import Notice
from estafeta.store.ids import Ids
from estafeta.store.rows import Acceptance
from estafeta.store.tokens import Tokens
from estafeta.world.seams import World

SUBJECT_OCTETS_READ = 64 * 1024  # of the header, to name the message by its subject


class Failure(msgspec.Struct, frozen=True):
    """One recipient that ended without arriving. at: milliseconds since 1970."""

    recipient: Recipient
    outcome: Outcome
    at: int
    attempts: int
    expired: bool


class Notices:
    """Makes notices. language: address of the sender -> "es" or "en", as far as we know it."""

    def __init__(
        self,
        world: World,
        *,
        ids: Ids,
        tokens: Tokens,
        host_name: str,
        postmaster: str,
        language: Callable[[str], Awaitable[str]],
    ) -> None:
        self._world = world
        self._ids = ids
        self._tokens = tokens
        self._host_name = host_name
        self._postmaster = postmaster
        self._language = language

    async def failure(
        self, acceptance: Acceptance, failures: Sequence[Failure], content: Content, *, partly: bool
    ) -> Notice:
        """The bounce. partly: the message has other recipients."""
        await self._tokens.ready()
        language = await self._language(acceptance.reverse_path)
        title, text = bounce_text(
            [_in_words(acceptance, failure) for failure in failures],
            language,
            self._postmaster,
            subject=_subject(content),
            partly=partly,
        )
        recipients = [
            ReportRecipient(
                final_recipient=_written(failure.recipient),
                action="failed",
                status=_status(failure),
                original_recipient=failure.recipient.orcpt,
                diagnostic=failure.outcome.reply,
                remote_mta=failure.outcome.host,
                last_attempt=failure.at / 1000,
                cause="expired" if failure.expired else _cause(failure.outcome),
            )
            for failure in failures
        ]
        return self._notice(
            "bounce", "failed", acceptance, recipients, content, title, text, language
        )

    async def success(
        self,
        acceptance: Acceptance,
        reached: Sequence[Recipient],
        content: Content,
        *,
        relayed: Reply | None = None,
        host: str = "",
    ) -> Notice:
        """For NOTIFY=SUCCESS. relayed: the reply of a server that does not report itself."""
        await self._tokens.ready()
        language = await self._language(acceptance.reverse_path)
        title, text = success_text(
            [_written(recipient) for recipient in reached], language, relayed=relayed is not None
        )
        kind: Kind = "relayed" if relayed else "delivered"
        recipients = [
            ReportRecipient(
                final_recipient=_written(recipient),
                action=kind,
                original_recipient=recipient.orcpt,
                diagnostic=relayed,
                remote_mta=host,
            )
            for recipient in reached
        ]
        return self._notice("success", kind, acceptance, recipients, content, title, text, language)

    def _notice(
        self,
        origin: str,
        kind: Kind,
        acceptance: Acceptance,
        recipients: list[ReportRecipient],
        content: Content,
        title: str,
        text: str,
        language: str,
    ) -> Notice:
        id = self._ids.next()
        message_id = self._tokens.message_id(id, self._host_name)
        utf8 = not is_ascii(acceptance.reverse_path)
        message = build_report(
            kind=kind,
            reporting_mta=self._host_name,
            arrival=acceptance.at / 1000,
            envid=acceptance.envid,
            recipients=recipients,
            explanation=text,
            explanation_language=language,
            subject=title,
            from_=f"MAILER-DAEMON <{self._postmaster}>",
            to=acceptance.reverse_path,
            date=self._world.clock.now(),
            message_id=message_id,
            original=content,
            ret=acceptance.ret,
            utf8=utf8,
        )
        return Notice(id, origin, acceptance, acceptance.reverse_path, message, message_id, utf8)


def _written(recipient: Recipient) -> str:
    """The address as the sender wrote it: ORCPT tells, also behind an alias."""
    kind, _, address = recipient.orcpt.partition(";")
    return address.strip() if address and kind.lower() in ("rfc822", "utf-8") else recipient.address


def _in_words(acceptance: Acceptance, failure: Failure) -> FailedRecipient:
    return FailedRecipient(
        address=_written(failure.recipient),
        cause=_cause(failure.outcome),
        reply=str(failure.outcome.reply),
        host=failure.outcome.host,
        first_try=acceptance.at / 1000,
        last_try=failure.at / 1000,
        attempts=failure.attempts,
        expired=failure.expired,
    )


def _cause(outcome: Outcome) -> str:
    return "other" if isinstance(outcome, Delivered) else outcome.cause


def _status(failure: Failure) -> str:
    """Permanent, whatever the reply was: RFC 3464 §2.3.4; 4.4.7 becomes 5.4.7 (RFC 3463 §3.5)."""
    status = failure.outcome.reply.status
    if not failure.expired:
        return status
    return "5.4.7" if not status or status.endswith(".0.0") else f"5{status[1:]}"


def _subject(content: Content) -> str:
    found = find(content.read(0, SUBJECT_OCTETS_READ), "Subject")
    return decode_text(found[0]) if found else ""
