"""IMAP: who may come in, and how a session ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.read.rig import ADDRESS, PASSWORD, Client, House, filled, play

from estafeta.wire.sasl import client_mechanism

# Logging in ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "SCRAM-SHA-256"])
@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("initial", [True, False])
def test_authenticate(tmp_path: Path, mechanism: str, right: bool, initial: bool) -> None:
    import base64

    async def work(h: House) -> None:
        c = await h.imap_client(login=False)
        password = PASSWORD if right else "otro"
        client = client_mechanism(
            mechanism, authcid=ADDRESS, password=password, nonce="fyko+d2lbbFgONRv9qkxdawL"
        )
        first = client.initial() if initial else None
        word = b""
        if first is not None:
            word = b" " + (base64.b64encode(first) or b"=")
        c.send(b"a AUTHENTICATE " + mechanism.encode() + word + b"\r\n")
        while (line := await c.line()).startswith(b"+ "):
            challenge = base64.b64decode(line[2:])
            if not challenge and not initial:
                answer = client.initial() or b""
            else:
                answer = client.respond(challenge)
            c.send(base64.b64encode(answer) + b"\r\n")
        assert line.startswith(b"a OK [CAPABILITY" if right else b"a NO [AUTHENTICATIONFAILED]")

    play(tmp_path, work)


def test_three_failures_end_the_session(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        c = await h.imap_client(login=False)
        for _ in range(3):
            assert b"AUTHENTICATIONFAILED" in await c.no(f"LOGIN {ADDRESS} falso")
        assert (await c.line()).startswith(b"* BYE")

    play(tmp_path, work)


def test_no_password_in_the_clear(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        c = await h.imap_client(login=False)
        words = (await c.ok("CAPABILITY"))[0].split()
        assert b"LOGINDISABLED" in words
        assert b"STARTTLS" in words
        assert not any(word.startswith(b"AUTH=") for word in words)
        assert b"PRIVACYREQUIRED" in await c.no(f"LOGIN {ADDRESS} {PASSWORD}")
        assert b"PRIVACYREQUIRED" in await c.no("AUTHENTICATE PLAIN =")
        await c.ok("STARTTLS")
        words = (await c.ok("CAPABILITY"))[0].split()
        assert b"LOGINDISABLED" not in words
        assert b"STARTTLS" not in words
        await c.ok(f"LOGIN {ADDRESS} {PASSWORD}")

    play(tmp_path, work, plaintext_auth_networks=(), starttls="toy")


def test_octets_behind_starttls_are_an_attack(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        c = await h.imap_client(login=False)
        c.send(b"a STARTTLS\r\nb NOOP\r\n")
        assert (await c.line()).startswith(b"a BAD")
        assert (await c.line()).startswith(b"* BYE")
        assert await c.line() == b""

    play(tmp_path, work, starttls="toy")


def test_who_may_come_in(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        one = await h.imap_client()
        two = await h.imap_client(login=False)
        two.send(f"a LOGIN {ADDRESS} {PASSWORD}\r\n".encode())
        assert (await two.line()).startswith(b"* BYE [LIMIT]")
        await one.ok("LOGOUT")
        assert await one.line() == b""
        await (await h.imap_client()).ok("NOOP")
        await h.imap_client(login=False)
        assert (await Client(h.connect()).line()).startswith(b"* BYE [UNAVAILABLE]")

    play(tmp_path, work, sessions_max=2, sessions_max_per_account=1)


# Ends ---------------------------------------------------------------------------------------------


def test_drain_says_bye_to_who_is_silent_or_idle(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        one, two = await h.imap_client(), await filled(h, 1)
        two.send(b"i IDLE\r\n")
        assert await two.line() == b"+ idling"
        h.imap.drain()
        assert (await one.line()).startswith(b"* BYE [UNAVAILABLE]")
        assert (await two.line()).startswith(b"* BYE [UNAVAILABLE]")
        await h.imap.stop()
        assert (await Client(h.connect()).line()).startswith(b"* BYE")

    play(tmp_path, work)


def test_silence_ends_a_session(tmp_path: Path) -> None:
    async def work(h: House) -> None:
        one = await h.imap_client(login=False)
        two = await h.imap_client()
        assert (await one.line()).startswith(b"* BYE")
        two.send(b"i IDLE\r\n")
        assert await two.line() == b"+ idling"
        assert (await two.line()).startswith(b"* BYE")

    play(tmp_path, work, idle_seconds=0.2, login_seconds=0.05, poll_seconds=0.05)
