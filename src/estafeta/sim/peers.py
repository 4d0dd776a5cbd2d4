"""Peers: servers of others on the simulated internet, each as good or bad as its manner.

They speak SMTP in their own few lines, not through `wire`, and keep their own record of what they
took. A *mood* is what a peer does to one connection, a *manner* which moods it has and what it
refuses. `heal` makes every peer a good one but for its lasting refusals.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from dataclasses import dataclass, field
from typing import Literal

from estafeta.world.seams import Endpoint, Stream, TlsError

from .letters import number_of
from .net import SimNet
from .stream import SimStream
from .tls import SimServerTls, sim_server_tls

Mood = Literal[
    "well",
    "busy",  # 421 instead of 220
    "unwilling",  # 554 instead of 220
    "mute",  # no word at all
    "shut",  # closed without a word
    "shut-at-mail",
    "421-at-rcpt",
    "cut-in-content",
    "cut-before-taking",  # after the final dot, the message not taken
    "lose-reply",  # taken, and closed without the reply
    "reset-reply",  # the same with RST
    "421-at-dot",
    "451-at-dot",
    "554-at-dot",
    "slow",  # each reply takes a while
]

SLOW_SECONDS = (1.0, 20.0)
GREYLIST_SECONDS = 90.0
LINE_OCTETS_MAX = 4096
_PATH = re.compile(rb"<([^>]*)>")


@dataclass(frozen=True, slots=True)
class Manner:
    """moods: drawn from, as often as they stand there.

    greylists: 451 to the first tries of a (client, sender, recipient). unknown: recipients whose
    local part begins so get 550; full: those get 452 until the peer is healed.
    """

    moods: tuple[Mood, ...] = ("well",)
    greylists: bool = False
    unknown: str = ""
    full: str = ""
    extended: bool = True
    pipelining: bool = True
    eight_bit: bool = True
    tls: bool = False
    recipients_max: int = 0


@dataclass(slots=True)
class Taken:
    """One message a peer took responsibility for. replied: a 250 was sent, heard or not."""

    at: float
    client: str
    sender: str
    recipients: tuple[str, ...]
    octets: bytes
    letter: int | None
    replied: bool


@dataclass(slots=True)
class _Session:
    mood: Mood
    client: str
    sender: str = ""
    mailed: bool = False
    recipients: list[str] = field(default_factory=list)


class Peer:
    """One server of a domain. also: domains it takes mail for besides."""

    def __init__(
        self,
        domain: str,
        net: SimNet,
        manner: Manner,
        dice: random.Random,
        also: tuple[str, ...] = (),
    ) -> None:
        self.domain = domain
        self.domains = (domain, *also)
        self.net = net
        self.manner = manner
        self.taken: list[Taken] = []
        self.sessions = 0
        self._dice = dice
        self._healed = False
        self._seen: dict[tuple[str, str, str], float] = {}
        self._tls: SimServerTls | None = sim_server_tls(f"mx.{domain}") if manner.tls else None

    @property
    def address(self) -> str:
        return self.net.addresses[0]

    async def open(self) -> None:
        for address in self.net.addresses:
            await self.net.listen(Endpoint(address, 25), self._serve)

    def heal(self) -> None:
        self._healed = True

    def _mood(self) -> Mood:
        return "well" if self._healed else self._dice.choice(self.manner.moods)

    # -- one connection --------------------------------------------------------------------------

    async def _serve(self, stream: Stream) -> None:
        with contextlib.suppress(TlsError):  # the other side's end of a handshake
            await self._talk(stream)

    async def _talk(self, stream: Stream) -> None:
        self.sessions += 1
        session = _Session(self._mood(), stream.peer.host)
        if session.mood == "mute":
            while await stream.read():
                pass
            return
        if session.mood == "shut":
            await stream.close()
            return
        talk = _Talk(stream, self._dice if session.mood == "slow" else None)
        greeting = {"busy": "421 too busy, try later", "unwilling": "554 nobody here for you"}
        refusal = greeting.get(session.mood)
        await talk.say(refusal or f"220 mx.{self.domain} ESMTP at your service")
        if refusal:
            await stream.close()
            return
        while (line := await talk.line()) is not None:
            if not await self._command(talk, session, line):
                return
        await stream.close()

    async def _command(self, talk: _Talk, session: _Session, line: bytes) -> bool:
        """False: the connection is over."""
        verb = line[:4].upper()
        path = _PATH.search(line)
        argument = path[1].decode() if path else ""
        if verb == b"EHLO" and not self.manner.extended:
            await talk.say("502 what?")
        elif verb == b"EHLO":
            await talk.say(*self._offer(talk))
        elif verb == b"HELO":
            await talk.say(f"250 mx.{self.domain}")
        elif verb == b"STAR" and self._tls is not None and talk.stream.tls is None:
            await talk.say("220 go ahead")
            await talk.stream.start_tls(self._tls)
        elif verb == b"MAIL":
            if session.mood == "shut-at-mail":
                await talk.stream.close()
                return False
            session.sender, session.mailed, session.recipients = argument, True, []
            await talk.say("250 2.1.0 sender noted")
        elif verb == b"RCPT":
            if session.mood == "421-at-rcpt":
                await talk.say("421 4.3.2 closing down")
                await talk.stream.close()
                return False
            refusal = self._refusal(session, argument)
            if not refusal:
                session.recipients.append(argument)
            await talk.say(refusal or "250 2.1.5 recipient noted")
        elif verb == b"DATA":
            if not session.recipients:
                await talk.say("503 5.5.1 nobody to give it to")
                return True
            await talk.say("354 go ahead")
            return await self._content(talk, session)
        elif verb == b"RSET":
            session.mailed, session.recipients = False, []
            await talk.say("250 2.0.0 forgotten")
        elif verb == b"QUIT":
            await talk.say("221 2.0.0 goodbye")
            await talk.stream.close()
            return False
        else:
            await talk.say("500 5.5.2 what?")
        return True

    def _offer(self, talk: _Talk) -> list[str]:
        words = [f"mx.{self.domain}", "ENHANCEDSTATUSCODES", "SIZE 10000000"]
        if self.manner.pipelining:
            words.append("PIPELINING")
        if self.manner.eight_bit:
            words.append("8BITMIME")
        if self._tls is not None and talk.stream.tls is None:
            words.append("STARTTLS")
        return [f"250-{word}" for word in words[:-1]] + [f"250 {words[-1]}"]

    def _refusal(self, session: _Session, recipient: str) -> str:
        manner = self.manner
        local, _, domain = recipient.partition("@")
        if domain not in self.domains:
            return "550 5.7.1 not one of ours"
        if manner.unknown and local.startswith(manner.unknown):
            return "550 5.1.1 no such person"
        if manner.full and local.startswith(manner.full) and not self._healed:
            return "452 4.2.2 mailbox full"
        if manner.recipients_max and len(session.recipients) >= manner.recipients_max:
            return "452 4.5.3 too many recipients"
        if manner.greylists:
            now = asyncio.get_running_loop().time()
            first = self._seen.setdefault((session.client, session.sender, recipient), now)
            if now - first < GREYLIST_SECONDS:
                return "451 4.7.1 greylisted, come again"
        return ""

    async def _content(self, talk: _Talk, session: _Session) -> bool:
        if session.mood == "cut-in-content":
            await talk.some()
            talk.stream.abort()
            return False
        octets = await talk.content()
        if octets is None:
            return False
        mood = session.mood
        if mood == "cut-before-taking":
            talk.stream.abort()
            return False
        if mood in ("421-at-dot", "451-at-dot", "554-at-dot"):
            text = {"421": "4.3.0 not now", "451": "4.3.0 not now", "554": "5.7.1 not this one"}
            await talk.say(f"{mood[:3]} {text[mood[:3]]}")
            if mood == "421-at-dot":
                await talk.stream.close()
                return False
            session.recipients = []
            return True
        replied = mood not in ("lose-reply", "reset-reply")
        self.taken.append(
            Taken(
                asyncio.get_running_loop().time(),
                session.client,
                session.sender,
                tuple(session.recipients),
                octets,
                number_of(octets),
                replied,
            )
        )
        session.recipients = []
        if mood == "reset-reply":
            talk.stream.abort()
        elif mood == "lose-reply":
            await talk.stream.close()
        else:
            await talk.say("250 2.0.0 taken")
        return replied


class _Talk:
    """Lines over a stream. dice: where every reply is to take a while."""

    def __init__(self, stream: Stream, dice: random.Random | None) -> None:
        assert isinstance(stream, SimStream)
        self.stream = stream
        self._dice = dice
        self._held = b""

    async def say(self, *lines: str) -> None:
        if self._dice is not None:
            await asyncio.sleep(self._dice.uniform(*SLOW_SECONDS))
        self.stream.write("".join(f"{line}\r\n" for line in lines).encode())

    async def line(self) -> bytes | None:
        """Without its CRLF; None at the end of the stream."""
        while b"\r\n" not in self._held:
            if len(self._held) > LINE_OCTETS_MAX or not await self.some():
                return None
        line, _, self._held = self._held.partition(b"\r\n")
        return line

    async def some(self) -> bool:
        data = await self.stream.read()
        self._held += data
        return bool(data)

    async def content(self) -> bytes | None:
        """The message, a dot that begins a line taken away (RFC 5321 §4.5.2)."""
        held = bytearray(b"\r\n" + self._held)
        self._held = b""
        searched = 0
        while (end := held.find(b"\r\n.\r\n", searched)) < 0:
            searched = max(0, len(held) - 4)
            data = await self.stream.read()
            if not data:
                return None
            held += data
        self._held = bytes(held[end + 5 :])
        lines = bytes(held[2 : end + 2]).split(b"\r\n")
        return b"\r\n".join(line[1:] if line[:1] == b"." else line for line in lines)
