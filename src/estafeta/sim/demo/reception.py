"""Reception: what an installation does not take, or not yet: sent, waited for, and judged.

Seen from outside: what the sender's server was answered, by its own log; the report in the writer's
mailbox, or the letter in the recipient's, by IMAP; and the list of who tried to reach them, as the
recipient reads it and lets somebody in from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from estafeta.explain.causes import cause
from estafeta.explain.words import say
from estafeta.mail.header import new_message_id
from estafeta.sim.demo import clients
from estafeta.sim.demo.failures import MOVIE
from estafeta.sim.demo.internet import DemoError, Internet
from estafeta.sim.demo.letters import Letter, body_of, compose, parse
from estafeta.sim.demo.places import ANA, PASSWORD, SUDOMINIO
from estafeta.sim.demo.receptions import (
    HUERTA_LANGUAGE,
    RECEPTIONS,
    SERVER,
    Reception,
)
from estafeta.sim.demo.reports import causes_of, status_fields, text_of
from estafeta.sim.demo.scene import Row
from estafeta.sim.demo.tour import CLIENT_ERRORS

T = TypeVar("T")

SECONDS_MAX = 60.0
"""Until a letter must have come to its end, and its recipient have let it in."""

POLL_SECONDS = 0.1
TOLD_SECONDS_MAX = 5.0
"""Until the recipient must find in the list who tried."""

UNHEARD = "451 4.4."
"""What the sender's server says itself where it heard nothing: nobody listens while the other is
started again, and on a machine with much else to do an answer may take longer than a second."""


BUSY = "[busy]\ndisk_free_min = 1000000000000000000\n"
"""Settings of a server that has less disk left than it wants."""

LINE = "Un renglón más, que no dice nada nuevo.\n"
MORE = "\nUn abrazo,\nAna\n"

Outcome = tuple[str, str]
"""How an attempt of the sender's server ended, and what it was answered."""


@dataclass(slots=True)
class Sent:
    """One letter. reply: what its writer was answered as they handed it in. copy: as its recipient
    has it."""

    raw: bytes
    message_id: str
    reply: str = ""
    outcomes: Sequence[Outcome] = ()
    copy: bytes | None = None

    @property
    def queue_id(self) -> str:
        return self.reply.rpartition(" ")[2]

    @property
    def ended(self) -> str:
        """ "delivered", "refused" or "": it waits."""
        event = self.outcomes[-1][0] if self.outcomes else ""
        return "" if event == "deferred" else event

    @property
    def whole(self) -> bool:
        return self.copy is not None and body_of(self.copy) == body_of(self.raw)


@dataclass(slots=True)
class Call:
    """What came of one reception. report: what came back about the last letter. knock: the row of
    who tried, as the recipient has it. again: the letter that is sent once its writer is let in.
    error: what kept us from seeing more."""

    reception: Reception
    letters: list[Sent]
    report: bytes | None = None
    knock: dict[str, Any] = field(default_factory=dict)
    again: Sent | None = None
    error: str = ""

    @property
    def refusals(self) -> list[str]:
        """What the sender's server was told in place of yes."""
        return [
            reply
            for letter in self.letters
            for event, reply in letter.outcomes
            if event != "delivered"
        ]


class Receptions:
    """Runs them, all together but for the one where the server has no time for anybody.

    language: of what is said about them.
    """

    def __init__(self, internet: Internet, language: str) -> None:
        self._internet = internet
        self._language = language

    async def rows(self) -> AsyncIterator[tuple[Reception, Row]]:
        """One for each, in their order."""
        calls = [self._call(reception) for reception in RECEPTIONS]
        await asyncio.gather(
            *(self._watched(call) for call in calls if not call.reception.busy),
        )
        for call in calls:
            if call.reception.busy:
                await self._watched(call)
        for call in calls:
            yield call.reception, judged(call, self._language)

    # -- what is done --------------------------------------------------------------------------

    def _call(self, reception: Reception) -> Call:
        return Call(reception, [self._letter(reception) for _ in range(reception.letters)])

    def _letter(self, reception: Reception) -> Sent:
        world = self._internet.world
        message_id = new_message_id(world.dice.randbytes(12), "laptop.example")
        name = reception.person or "Nadie"
        letter = Letter(
            reception.name,
            ANA,
            reception.address,
            name,
            "remote",
            f"Tomates para {name}",
            f"Hola, {name}:\n\nya hay tomates en la huerta.\n"
            + LINE * (reception.size // len(LINE) + 1 if reception.size else 0)
            + MORE,
            stranger="",
            attachment=(reception.attachment, MOVIE, "video/quicktime")
            if reception.attachment
            else None,
        )
        return Sent(compose(letter, message_id), message_id)

    async def _watched(self, call: Call) -> None:
        try:
            async with asyncio.timeout(SECONDS_MAX):
                await (self._while_busy(call) if call.reception.busy else self._follow(call))
        except (*CLIENT_ERRORS, DemoError, TimeoutError) as error:
            call.error = f"{type(error).__name__}: {error}"

    async def _while_busy(self, call: Call) -> None:
        """Its server has no room when the letter comes, and has some later."""
        await self._internet.restart(SERVER, BUSY)
        await self._hand_in(call, call.letters)
        await self._until(lambda: self._told(call.letters[-1]).outcomes)
        await self._internet.restart(SERVER)
        await self._end(call)

    async def _follow(self, call: Call) -> None:
        reception = call.reception
        await self._hand_in(call, call.letters)
        if reception.quota and reception.arrives:
            await self._until(lambda: self._told(call.letters[-1]).outcomes)
            more_room = ("account", "set", reception.address, "--quota", "none")
            await self._internet.command(SERVER, *more_room)
        await self._end(call)
        if reception.told:
            await self._look_up(call)
        if reception.let_in and call.knock:
            await self._api(reception, "POST", f"/{call.knock['row']}/let-in")
            call.again = self._letter(reception)
            await self._hand_in(call, [call.again])
            await self._arrival(call, call.again)

    async def _hand_in(self, call: Call, letters: Sequence[Sent]) -> None:
        internet = self._internet
        replies = await asyncio.to_thread(
            clients.submit_all,
            *(SUDOMINIO.address, internet.ports.submission, internet.authority),
            internet.world.clock,
            login=(ANA.address, PASSWORD),
            messages=[(call.reception.address, each.raw) for each in letters],
        )
        for each, reply in zip(letters, replies, strict=True):
            each.reply = reply

    async def _end(self, call: Call) -> None:
        """Waits for what is to become of the letters."""
        for each in call.letters:
            await self._until(lambda each=each: self._told(each).ended)  # type: ignore[misc]
        if call.reception.arrives:
            for each in call.letters:
                await self._arrival(call, each)
            return
        last = call.letters[-1]
        if last.ended:
            found = await self._fetched(
                SUDOMINIO.address, ANA.address, "In-Reply-To", last.message_id
            )
            call.report = None if found is None else found.raw

    async def _arrival(self, call: Call, letter: Sent) -> None:
        await self._until(lambda: self._told(letter).ended)
        if letter.ended != "delivered":
            return
        found = await self._fetched(
            SERVER.address, call.reception.address, "Message-ID", letter.message_id
        )
        letter.copy = None if found is None else found.raw

    async def _look_up(self, call: Call) -> None:
        """The list of who tried is written once a second."""
        end = asyncio.get_running_loop().time() + TOLD_SECONDS_MAX
        while not call.knock and asyncio.get_running_loop().time() < end:
            rows = (await self._api(call.reception, "GET"))["rows"]
            found = [row for row in rows if row["cause"] == call.reception.cause]
            call.knock = found[0] if found else {}
            await asyncio.sleep(POLL_SECONDS)

    async def _api(self, reception: Reception, method: str, path: str = "") -> Any:
        """What the recipient's own program is told about who tried to reach them."""
        internet = self._internet
        return await asyncio.to_thread(
            clients.ask_api,
            *(SERVER.address, internet.ports.http, internet.tokens[reception.address]),
            *(method, f"/api/v1/accounts/{reception.address}/tried{path}", HUERTA_LANGUAGE),
        )

    async def _fetched(
        self, host: str, account: str, name: str, value: str
    ) -> clients.Fetched | None:
        internet = self._internet

        def fetch() -> clients.Fetched | None:
            mailbox = clients.Mailbox(
                *(host, internet.ports.imaps, internet.authority),
                *(internet.world.clock, (account, PASSWORD)),
            )
            try:
                return mailbox.wait_for(name, value)
            finally:
                mailbox.close()

        return await asyncio.to_thread(fetch)

    def _told(self, letter: Sent) -> Sent:
        """With what the sender's server has been answered by now."""
        letter.outcomes = self._internet.outcomes(SUDOMINIO, letter.queue_id)
        return letter

    async def _until(self, look: Callable[[], T]) -> T:
        """What it gives, once that is something."""
        while not (found := look()):  # noqa: ASYNC110 (a log is looked at)
            await asyncio.sleep(POLL_SECONDS)
        return found


# -- what was seen -----------------------------------------------------------------------------


def judged(call: Call, language: str) -> Row:
    """Whether all is as the table has it. language: of what is said about it."""
    reception = call.reception
    met = _met(call)
    ended, ended_lines, explanation = _arrived(call) if reception.arrives else _came_back(call)
    told, told_lines = _told_them(call, language)
    let_in, let_in_lines = _let_in(call, language)
    lines = [*dict.fromkeys(call.refusals), *ended_lines, *told_lines, *let_in_lines, call.error]
    return Row(
        f"reception {reception.name}",
        say(f"reception.{reception.name}-expect", language),
        "; ".join(line for line in lines if line) or say("tour.nothing", language),
        met and ended and told and let_in and not call.error,
        explanation,
    )


def _met(call: Call) -> bool:
    """Whether it was answered as it should be, and no more often than it must."""
    reception, refusals = call.reception, call.refusals
    right = [
        reply
        for reply in refusals
        if reply.startswith(f"{reception.begins} ")
        and f"[{reception.cause}]" in reply
        and reception.names in reply
    ]
    handed_in = all(each.reply.startswith("250 ") for each in call.letters)
    said = [reply for reply in refusals if not reply.startswith(UNHEARD)]
    return handed_in and bool(right) and right == said


def _arrived(call: Call) -> tuple[bool, list[str], str]:
    reception = call.reception
    words = cause(reception.cause).in_words(
        SUDOMINIO.language, address=reception.address, host=SERVER.host
    )
    lines = [reply for each in call.letters[-1:] for event, reply in each.outcomes[-1:]]
    ok = all(each.ended == "delivered" and each.whole for each in call.letters)
    return ok, lines, f"{words.title}. {words.explanation} {words.remedy}"


def _came_back(call: Call) -> tuple[bool, list[str], str]:
    """By a report that quotes the server: its words, the cause it names, what it names besides."""
    reception, raw = call.reception, call.report
    if raw is None:
        return False, [], ""
    report = parse(raw)
    fields = status_fields(report)
    text = text_of(report)
    told = (causes_of(report).get("recipients") or [{}])[0]
    said = " ".join(str(told.get("remote_text", "")).split())
    ok = (
        str(report["Return-Path"]) == "<>"
        and fields.get("Action") == "failed"
        and fields.get("Final-Recipient") == f"rfc822; {reception.address}"
        and fields.get("Status") == reception.begins.partition(" ")[2]
        and fields.get("X-Estafeta-Cause") == told.get("cause") == reception.cause
        and f"[{reception.cause}]" in said
        and reception.names in said
        and said in " ".join(text.split())
        and call.letters[-1].raw in raw
    )
    names = ("Status", "X-Estafeta-Cause")
    return ok, [f"{name}: {fields[name]}" for name in names if name in fields], text


def _told_them(call: Call, language: str) -> tuple[bool, list[str]]:
    """Whether the recipient finds the writer in the list, in the words of the answer."""
    reception, knock = call.reception, call.knock
    if not reception.told:
        return True, []
    if not knock:
        return False, []
    words = " ".join(knock["words"])
    ok = (
        knock["sender"] == ANA.address
        and knock["proven"]
        and knock["reply"].startswith(reception.begins)
        and ANA.address in words
    )
    return ok, [say("reception.told", language, name=reception.person, words=words)]


def _let_in(call: Call, language: str) -> tuple[bool, list[str]]:
    if not call.reception.let_in:
        return True, []
    again = call.again
    if again is None or not again.outcomes:
        return False, []
    reply = again.outcomes[-1][1]
    words = say("reception.let-in", language, name=call.reception.person, reply=reply)
    return again.ended == "delivered" and again.whole, [words]
