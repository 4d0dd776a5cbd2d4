"""Login: every mechanism, right and wrong, against real accounts."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.whole import PASSWORD, Whole, whole

from estafeta.intake.login import Login
from estafeta.read.login import LoginFailed, Logins
from estafeta.sim.loop import run
from estafeta.store import accounts
from estafeta.store.engine import StoreError
from estafeta.wire.sasl import client_mechanism

ANA = "ana@mx.example"


def with_house(work: Callable[[Whole], Awaitable[None]]) -> None:
    async def main() -> None:
        async with whole(queue=False) as (house, _):
            await work(house)

    run(main())


async def exchanged(
    house: Whole, mechanism: str, authcid: str = ANA, password: str = PASSWORD
) -> tuple[Login, int]:
    """(the finished login, how many challenges it took)."""
    client = client_mechanism(
        mechanism, authcid=authcid, password=password, nonce="fyko+d2lbbFgONRv9qkx"
    )
    login = Login(mechanism, house.built.authenticator, random.Random(1))
    challenges = 0
    challenge = await login.step(client.initial())
    while challenge is not None:
        challenges += 1
        challenge = await login.step(client.respond(challenge))
    return login, challenges


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "SCRAM-SHA-256"])
def test_the_right_password(mechanism: str) -> None:
    async def work(house: Whole) -> None:
        for name in (ANA, "Ana@MX.Example"):
            login, _ = await exchanged(house, mechanism, name)
            assert login.account is not None
            assert login.account.address == ANA
            assert (login.failure, login.malformed) == ("", False)

    with_house(work)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "SCRAM-SHA-256"])
@pytest.mark.parametrize(
    ("authcid", "password", "why"),
    [
        (ANA, "wrong", "wrong password"),
        ("gone@mx.example", PASSWORD, "no such account"),
        ("luis@mx.example", PASSWORD, "the account is disabled"),
        ("ana", PASSWORD, "no such account"),
    ],
)
def test_whoever_may_not_come_in_sees_the_same_steps(
    mechanism: str, authcid: str, password: str, why: str
) -> None:
    async def work(house: Whole) -> None:
        login, challenges = await exchanged(house, mechanism, authcid, password)
        assert login.account is None
        assert login.failure == why
        assert login.user == authcid
        assert not login.malformed
        _, expected = await exchanged(house, mechanism, ANA, "wrong")
        assert challenges == expected

    with_house(work)


@pytest.mark.parametrize("response", [b"", b"no nul", b"a\0b", b"\0ana@mx.example\0\xff", b"\0\0"])
def test_nonsense_is_told_apart(response: bytes) -> None:
    async def work(house: Whole) -> None:
        login = Login("PLAIN", house.built.authenticator, random.Random(1))
        assert await login.step(response) is None
        assert login.account is None

    with_house(work)


@pytest.mark.parametrize(
    ("authzid", "may"),
    [("", True), (ANA, True), ("ANA@mx.EXAMPLE", True), ("eva@mx.example", False)],
)
def test_acting_for_another(authzid: str, may: bool) -> None:
    async def work(house: Whole) -> None:
        login = Login("PLAIN", house.built.authenticator, random.Random(1))
        response = f"{authzid}\0{ANA}\0{PASSWORD}".encode()
        assert await login.step(response) is None
        assert (login.account is not None) is may
        assert bool(login.failure) is not may

    with_house(work)


def test_an_idn_domain_in_either_form() -> None:
    async def work(house: Whole) -> None:
        password = await house.store.read(lambda tx: tx.row("SELECT password FROM account"))
        assert password

        def unit(tx: Any) -> None:
            accounts.add_domain(tx, "xn--and-6ma2c.example", 0)
            account = accounts.add_account(tx, "ana@xn--and-6ma2c.example", 0)
            tx.run("UPDATE account SET password = ? WHERE id = ?", (password[0], account.id))

        await house.store.run(unit)
        for name in ("ana@ñandú.example", "ana@xn--and-6ma2c.example"):
            login, _ = await exchanged(house, "PLAIN", name)
            assert login.account is not None

    with_house(work)


def test_the_store_is_away() -> None:
    async def work(house: Whole) -> None:
        house.store.failing_reads = StoreError("busy")
        with pytest.raises(StoreError):
            await exchanged(house, "PLAIN")

    with_house(work)


@pytest.mark.parametrize("name", ["gone@mx.example", "luis@mx.example", ANA])
def test_imap_and_pop3_log_the_same_reasons(name: str) -> None:
    async def work(house: Whole) -> None:
        logins = Logins(house.built.authenticator, house.machine.world)
        with pytest.raises(LoginFailed) as failed:
            await logins.password(name, "wrong")
        login, _ = await exchanged(house, "PLAIN", name, "wrong")
        assert str(failed.value) == login.failure

    with_house(work)
