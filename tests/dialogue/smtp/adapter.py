"""adapter: plays the server's part of a dialogue with the SMTP machine and a scripted driver.

Directives:
    [profile role=lmtp tls=yes auth=PLAIN,LOGIN auth_without_tls=yes size_max=100 ...]  at the top
    [EVENT -> NAME key=value ...]   the next EVENT is answered with that reply of the catalogue;
                                    several, for LMTP and PRDR (its final one too), separated
                                    by " | "
    [tls]                           the driver does its handshake
    [close]                         the client ends its stream
    [hang-up NAME key=value ...]    the driver ends the session
    [closed]                        the machine wants the connection closed

Without a decision the driver says yes. It knows the account user / pencil.
"""

from __future__ import annotations

import base64
import shlex

from tests.dialogue.script import Directive, Script

from estafeta.mail.outcome import Reply
from estafeta.wire import replies, sasl
from estafeta.wire.smtp_server import SmtpServer, events
from estafeta.wire.smtp_server.profile import Profile

HOST = "mx.example"
# The exchange of RFC 7677 §3.
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
KEYS = sasl.scram_keys("pencil", SALT, 4096)

_DECIDED = {
    events.Connected: "CONNECTED",
    events.Hello: "HELLO",
    events.AuthBegin: "AUTH",
    events.AuthData: "AUTH",
    events.Mail: "MAIL",
    events.Rcpt: "RCPT",
    events.Data: "DATA",
    events.EndOfData: "END",
    events.Vrfy: "VRFY",
}


def named(text: str) -> Reply:
    """The reply that `NAME key=value ...` stands for."""
    name, *pairs = shlex.split(text)
    entry = replies.CATALOGUE[name]
    if isinstance(entry, Reply):
        assert not pairs, f"{name} has no places"
        return entry
    return entry(**dict(pair.split("=", 1) for pair in pairs))


def profile(setting: str) -> Profile:
    """The profile that the arguments of [profile] describe."""
    values: dict[str, object] = {"role": "mx", "host_name": HOST, "banner": "estafeta"}
    for pair in setting.split():
        name, value = pair.split("=", 1)
        if name == "auth":
            values["auth_mechanisms"] = tuple(value.split(","))
        elif value in ("yes", "no"):
            values[{"tls": "tls_offered"}.get(name, name)] = value == "yes"
        else:
            values[name] = int(value) if value.isdigit() else value
    implicit = values.pop("implicit_tls", False)
    made = Profile(**values)
    assert isinstance(implicit, bool)
    return made


class SmtpAdapter:
    """`recorded` is each answer given, in order; `replay` gives them again by their order alone,
    because in another splitting of the octets a decision's place in the script means nothing."""

    def __init__(self, script: Script, replay: list[list[Reply] | bytes] | None = None) -> None:
        self._profile = profile(script.setting)
        self.machine = SmtpServer(self._profile, tls="implicit_tls=yes" in script.setting)
        self.recorded: list[list[Reply] | bytes] = []
        self._replay = None if replay is None else list(replay)
        self._decisions: dict[str, list[list[Reply]]] = {}
        self._told: list[str] = []
        self._octets = 0
        self._recipients: list[str] = []
        self._prdr = False
        self._login: sasl.ServerMechanism | None = None
        for directive in script.first_directives:
            self.do(directive)
        if not script.client_begins:
            self._run()

    def feed(self, data: bytes) -> None:
        self.machine.receive(data)
        self._run()

    def output(self) -> bytes:
        return self.machine.take_output()

    def told(self) -> list[str]:
        return self._told

    def unused(self) -> dict[str, list[list[Reply]]]:
        """Decisions that no event asked for."""
        return {event: left for event, left in self._decisions.items() if left}

    def do(self, directive: Directive) -> None:
        if directive.arguments.startswith("-> "):
            answers = [named(part) for part in directive.arguments[3:].split(" | ")]
            self._decisions.setdefault(directive.word, []).append(answers)
        elif directive.word == "tls":
            self.machine.tls_started()
        elif directive.word == "close":
            self.feed(b"")
        elif directive.word == "hang-up":
            self.machine.hang_up(named(directive.arguments))
        elif directive.word == "closed":
            assert self.machine.closing, f"line {directive.line}: not closing"
        else:
            assert directive.word == "profile", f"line {directive.line}: {directive.word}?"

    def _run(self) -> None:
        while (event := self.machine.next_event()) is not None:
            self._tell(event)
            kind = _DECIDED.get(type(event))
            if kind is not None:
                self._answer(kind, event)

    def _tell(self, event: events.Event) -> None:
        match event:
            case events.Chunk(data):
                self._octets += len(data)
            case events.Data():
                self._octets = 0
            case events.Mail():
                self._recipients = []
                self._prdr = event.prdr
            case events.EndOfData(None):
                self._told.append(f"Message of {self._octets} octets")
            case events.Lost(during):
                self._told.append(f"Lost during {during}")
            case events.EarlyTalk() | events.Reset() | events.AuthCancelled() | events.StartTls():
                self._told.append(type(event).__name__)

    def _answer(self, kind: str, event: events.Event) -> None:
        if self._replay is not None:
            answer = self._replay.pop(0)
        elif self._decisions.get(kind):
            answer = self._decisions[kind].pop(0)
        else:
            answer = self._default(event)
        self.recorded.append(answer)
        if isinstance(event, events.Rcpt) and isinstance(answer, list) and answer[0].positive:
            self._recipients.append(event.recipient.address)
        if isinstance(answer, bytes):
            self.machine.challenge(answer)
        elif len(answer) == 1:
            self.machine.reply(answer[0])
        elif self._prdr:
            self.machine.reply_each(answer[:-1], answer[-1])
        else:
            self.machine.reply_each(answer)

    def _default(self, event: events.Event) -> list[Reply] | bytes:
        match event:
            case events.Connected():
                lmtp = self._profile.role == "lmtp"
                greeting = replies.GREETING_LMTP if lmtp else replies.GREETING
                return [greeting(host=HOST, banner=self._profile.banner)]
            case events.Hello():
                return [replies.HELLO(host=HOST)]
            case events.AuthBegin(mechanism, initial):
                self._login = sasl.server_mechanism(
                    mechanism, nonce=SERVER_NONCE, secret=b"of the installation"
                )
                return self._log_in(initial)
            case events.AuthData(data):
                return self._log_in(data)
            case events.Mail():
                return [replies.SENDER_OK]
            case events.Rcpt():
                return [replies.RECIPIENT_OK]
            case events.Data():
                return [replies.GO_AHEAD]
            case events.EndOfData(problem):
                if problem is not None:
                    return [problem]
                if self._profile.role == "lmtp" or self._prdr:
                    taken = replies.ACCEPTED_FOR if self._prdr else replies.DELIVERED
                    each = [taken(address=a, queue_id="4T") for a in self._recipients]
                    return [*each, replies.ACCEPTED(queue_id="4T")] if self._prdr else each
                return [replies.ACCEPTED(queue_id="4T")]
            case _:
                return [replies.CANNOT_VERIFY]

    def _log_in(self, response: bytes | None) -> list[Reply] | bytes:
        assert self._login is not None
        step = self._login.step(response)
        if isinstance(step, sasl.LookUpKeys):
            step = self._login.keys(KEYS if step.authcid == "user" else None)
        elif isinstance(step, sasl.CheckPassword):
            ok = (step.authcid, step.password) == ("user", "pencil")
            step = self._login.password_checked(ok)
        if isinstance(step, sasl.Challenge):
            return step.data
        if isinstance(step, sasl.Success):
            return [replies.AUTHENTICATED]
        assert isinstance(step, sasl.Failure)
        return [replies.AUTH_MALFORMED if step.malformed else replies.AUTH_FAILED]
