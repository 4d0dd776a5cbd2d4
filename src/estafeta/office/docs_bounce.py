"""Docs: a bounce as a sender gets it, for whoever wants to look at one: docs/example-bounce-*.eml.

`example_bounce(language)` is the message, the same each time; a mail client opens it as a file. To
see its HTML alone:

    python -c "import email, email.policy as p; print(email.message_from_file(
        open('docs/example-bounce-es.eml'), policy=p.default).get_body(('html',)).get_content())"
"""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any, cast

from estafeta.explain.cause import cause_of
from estafeta.mail.envelope import Recipient
from estafeta.mail.outcome import Deferred, Refused, Reply
from estafeta.mail.protocols import Bytes
from estafeta.queue.notices import Failure, Notices, NoticeSettings
from estafeta.store.ids import Ids, queue_id
from estafeta.store.rows import Acceptance
from estafeta.trust.token import KEY_OCTETS, Keys, make

_AT = 1_795_000_000_000
_DAYS_MS = 5 * 86_400_000
_HOST = "mail.example.org"
_SUBJECTS = {"en": "The minutes of Tuesday", "es": "El acta del martes"}
_LETTERS = {
    "en": "Dear all,\r\n\r\nthe minutes are below.\r\n\r\nAna\r\n",
    "es": "Hola a todos:\r\n\r\nel acta va a continuación.\r\n\r\nAna\r\n",
}

_UNKNOWN = Reply(
    550,
    "5.1.1",
    "The email account that you tried to reach does not exist.\nPlease check the spelling",
)
_GONE = Reply(550, "5.1.2", "domain sudomenio.example does not exist")
_FULL = Reply(452, "4.2.2", "<luis@lejos.example>: mailbox is over its quota")


class _Clock:
    def now(self) -> float:
        return (_AT + _DAYS_MS) / 1000


class _Tokens:
    async def ready(self) -> None:
        return

    def message_id(self, acceptance: int, domain: str) -> str:
        token = make(Keys(bytes(KEY_OCTETS)), queue_id(acceptance), "message-id")
        return f"<{token}@{domain}>"


def example_bounce(language: str) -> bytes:
    """The octets of the message, CRLF lines. language: "en" or "es"."""

    async def spoken(_: str) -> str:
        return language

    notices = Notices(
        cast(Any, SimpleNamespace(clock=_Clock())),
        ids=Ids(_Clock(), random.Random(1)),  # noqa: S311  (the same each time)
        tokens=cast(Any, _Tokens()),
        host_name=_HOST,
        postmaster=f"postmaster@{_HOST}",
        language=spoken,
        settings=NoticeSettings(support="help@example.org"),
    )
    letter = (
        f"Received: from laptop ([192.0.2.7])\r\n\tby {_HOST} with ESMTPSA;\r\n"
        "\tWed, 18 Nov 2026 11:06:40 +0000\r\nDate: Wed, 18 Nov 2026 11:06:38 +0000\r\n"
        "From: Ana <ana@example.org>\r\nTo: emma@correo.example, info@sudomenio.example,\r\n"
        f" luis@lejos.example\r\nSubject: {_SUBJECTS[language]}\r\n"
        "Message-ID: <minutes@laptop.example>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        f"{_LETTERS[language]}"
    ).encode()
    acceptance = Acceptance(
        id=Ids(_Clock(), random.Random(2)).next(),  # noqa: S311
        at=_AT,
        origin="submission",
        reverse_path="ana@example.org",
        body=0,
        size=len(letter),
        recipients=4,
        message_id="<minutes@laptop.example>",
    )
    made = notices.failure(acceptance, _failures(), Bytes(letter), partly=True)
    return asyncio.run(made).message


def _failures() -> list[Failure]:
    remote = "mx.correo.example [192.0.2.25]:25"
    far = "mx.lejos.example [2001:db8::25]:25"
    end = _AT + _DAYS_MS
    return [
        Failure(
            recipient=Recipient("emma@correo.example"),
            outcome=Refused(_UNKNOWN, cause_of(_UNKNOWN, host=remote), remote),
            at=_AT + 2000,
            attempts=1,
        ),
        Failure(
            recipient=Recipient("info@sudomenio.example"),
            outcome=Refused(_GONE, "domain-not-found"),
            at=_AT + 1000,
            attempts=1,
            meant="info@sudominio.example",
        ),
        Failure(
            recipient=Recipient("luis@lejos.example"),
            outcome=Deferred(_FULL, cause_of(_FULL, host=far), far),
            at=end,
            attempts=26,
            expired=True,
        ),
    ]
