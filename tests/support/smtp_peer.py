"""A scripted SMTP or LMTP server in memory: says what a test wants, keeps what it heard."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.streams import MemoryStream

CUT = "CUT"
"""In place of a reply: the connection is reset."""
CLOSE = "CLOSE"
"""In place of a reply: the connection is closed in order."""
SILENCE = "SILENCE"
"""In place of a reply: nothing, and the connection stays open."""

Say = str | Callable[[str], str]

_KEYS = {"greeting": "greeting", "dot": ".", "early": "early"}


class _Gone(Exception):
    pass


class Peer:
    """says: replies by what they answer: "greeting", a verb ("EHLO", "MAIL" …), "." after the
    message; a string, or a function of the line. offers: lines of the EHLO reply. Sequences: a list
    gives one reply a time, the last one for ever. messages: (reverse-path line, rcpt lines, data).
    """

    def __init__(self, name: str = "mx.b.example", *, lmtp: bool = False, **says: object) -> None:
        self.name = name
        self.lmtp = lmtp
        self.offers = ["PIPELINING", "8BITMIME", "SIZE 10000000", "ENHANCEDSTATUSCODES"]
        self.says: dict[str, object] = {}
        for verb, say in says.items():
            self.says[_KEYS.get(verb, verb.upper())] = say
        self.lines: list[str] = []
        self.messages: list[tuple[str, list[str], bytes]] = []
        self.sessions = 0
        self.after_tls: list[str] | None = None
        self.stuffed = b""
        self.stop_reading_after: int | None = None

    async def __call__(self, stream: MemoryStream) -> None:
        self.sessions += 1
        try:
            await _Session(self, stream).run()
        except (_Gone, ConnectionError):
            return

    def verbs(self) -> list[str]:
        return [line.split(" ")[0].split(":")[0].upper() for line in self.lines]

    def reply(self, key: str, line: str, default: str) -> str:
        say = self.says.get(key, default)
        if isinstance(say, list):
            say = say.pop(0) if len(say) > 1 else say[0]
        if callable(say):
            say = say(line)
        assert isinstance(say, str)
        return say


class _Session:
    def __init__(self, peer: Peer, stream: MemoryStream) -> None:
        self.peer = peer
        self.stream = stream
        self.buffer = b""
        self.mail = ""
        self.rcpts: list[str] = []

    async def run(self) -> None:
        await self.say(self.peer.reply("greeting", "", f"220 {self.peer.name} ESMTP"))
        while True:
            line = (await self.until(b"\r\n")).decode()
            self.peer.lines.append(line)
            await self.command(line)

    async def command(self, line: str) -> None:
        peer = self.peer
        verb = line.split(" ")[0].split(":")[0].upper()
        if verb in ("EHLO", "LHLO"):
            offers = peer.offers
            if self.stream.tls is not None and peer.after_tls is not None:
                offers = peer.after_tls
            words = [peer.name, *offers]
            default = "\r\n".join(
                f"250{' ' if n == len(words) - 1 else '-'}{word}" for n, word in enumerate(words)
            )
            await self.say(peer.reply(verb, line, default))
        elif verb == "MAIL":
            reply = peer.reply(verb, line, "250 2.1.0 ok")
            self.mail, self.rcpts = (line, []) if reply.startswith("2") else ("", [])
            await self.say(reply)
        elif verb == "RCPT":
            reply = peer.reply(verb, line, "250 2.1.5 ok" if self.mail else "503 5.5.1 MAIL first")
            if reply.startswith("2"):
                self.rcpts.append(line)
            await self.say(reply)
        elif verb == "DATA":
            reply = peer.reply(verb, line, "354 go" if self.rcpts else "554 5.5.1 no recipients")
            await self.say(reply)
            if reply.startswith("3"):
                await self.data()
        elif verb == "QUIT":
            await self.say(peer.reply(verb, line, "221 2.0.0 bye"))
            raise _Gone
        elif verb == "STARTTLS":
            reply = peer.reply(verb, line, "220 2.0.0 go")
            await self.say(reply)
            if reply.startswith("220"):
                await self.stream.start_tls("server")  # type: ignore[arg-type]
        else:
            await self.say(peer.reply(verb, line, "250 2.0.0 ok"))

    async def data(self) -> None:
        peer = self.peer
        if peer.stop_reading_after is not None:
            while len(self.buffer) < peer.stop_reading_after:
                self.buffer += await self.more()
            await self.say(peer.reply("early", "", SILENCE))
        if self.buffer.startswith(b".\r\n"):
            body, self.buffer = b"", self.buffer[3:]
        else:
            while b"\r\n.\r\n" not in self.buffer:
                self.buffer += await self.more()
                if self.buffer.startswith(b".\r\n"):
                    break
            if self.buffer.startswith(b".\r\n"):
                body, self.buffer = b"", self.buffer[3:]
            else:
                body, _, self.buffer = self.buffer.partition(b"\r\n.\r\n")
                body += b"\r\n"
        peer.stuffed = body
        lines = body.split(b"\r\n")
        content = b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)
        if peer.lmtp:
            for rcpt in self.rcpts:
                await self.say(peer.reply(".", rcpt, "250 2.0.0 stored"))
        else:
            reply = peer.reply(".", "", "250 2.0.0 queued as 1")
            await self.say(reply)
        peer.messages.append((self.mail, self.rcpts, content))
        self.mail, self.rcpts = "", []

    async def say(self, reply: str) -> None:
        if reply == CUT:
            self.stream.abort()
            raise _Gone
        if reply == CLOSE:
            await self.stream.close()
            raise _Gone
        if reply == SILENCE:
            await self.more_for_ever()
        text, _, then = reply.partition("|")
        self.stream.write(text.encode("utf-8", "surrogateescape") + b"\r\n")
        if then == CLOSE or text.startswith("421"):
            await self.stream.close()
            raise _Gone

    async def more_for_ever(self) -> None:
        while True:
            await self.more()

    async def until(self, end: bytes) -> bytes:
        while end not in self.buffer:
            self.buffer += await self.more()
        line, _, self.buffer = self.buffer.partition(end)
        return line

    async def more(self) -> bytes:
        data = await self.stream.read()
        if not data:
            raise _Gone
        return data
