"""Login: every mechanism, right and wrong, against real accounts."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support.whole import PASSWORD, Whole, whole

from estafeta.intake.login import Login, offered
from estafeta.read.login import LoginFailed, Logins
from estafeta.sim.loop import run
from estafeta.store import accounts
from estafeta.store.engine import StoreError
from estafeta.wire.sasl import MECHANISMS, client_mechanism
from estafeta.world.seams import TlsInfo

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


def under_tls(*addresses: str, end_point: bytes = b"bound") -> TlsInfo:
    return TlsInfo("TLSv1.3", "X", end_point=end_point, peer_addresses=addresses)


def test_what_is_offered_where() -> None:
    assert offered(None) == MECHANISMS
    assert offered(under_tls()) == ("SCRAM-SHA-256-PLUS", *MECHANISMS)
    assert offered(under_tls(end_point=b"")) == MECHANISMS
    assert offered(under_tls(ANA)) == ("EXTERNAL", "SCRAM-SHA-256-PLUS", *MECHANISMS)


@pytest.mark.parametrize(
    ("certified", "authzid", "failure"),
    [
        ((ANA,), "", ""),
        ((ANA,), ANA, ""),
        (("ANA@mx.EXAMPLE",), "Ana@mx.example", ""),
        ((ANA, "gone@mx.example"), "", ""),
        ((ANA, "ana@MX.example"), "", ""),
        ((ANA, "eva@mx.example"), ANA, ""),
        (
            (ANA, "eva@mx.example"),
            "",
            "the certificate is for several accounts, and none was named",
        ),
        ((ANA,), "eva@mx.example", "the certificate is not for the account it wants"),
        (("luis@mx.example",), "", "the account is disabled"),
        (("luis@mx.example",), "luis@mx.example", "the account is disabled"),
        (("gone@mx.example",), "", "no such account"),
        (("sales@mx.example",), "", "no such account"),  # an alias
        (("ana@pen.example",), "", "no such account"),  # an address she may write as
        ((ANA,), "sales@mx.example", "the certificate is not for the account it wants"),
        ((), "", "the client has shown no certificate"),
    ],
)
def test_whom_a_certificate_lets_in(certified: tuple[str, ...], authzid: str, failure: str) -> None:
    async def work(house: Whole) -> None:
        login = Login(
            "EXTERNAL", house.built.authenticator, random.Random(1), under_tls(*certified)
        )
        assert await login.step(authzid.encode()) is None
        assert login.failure == failure
        assert (login.account is None) is bool(failure)
        if login.account is not None:
            assert login.account.address == ANA
        assert not login.malformed

    with_house(work)


def test_a_login_bound_to_another_certificate() -> None:
    async def work(house: Whole) -> None:
        for seen, failure in ((b"bound", ""), (b"his", "channel bindings do not match")):
            client = client_mechanism(
                "SCRAM-SHA-256-PLUS", authcid=ANA, password=PASSWORD, nonce="n", end_point=seen
            )
            login = Login(
                "SCRAM-SHA-256-PLUS", house.built.authenticator, random.Random(1), under_tls()
            )
            challenge = await login.step(client.initial())
            while challenge is not None:
                challenge = await login.step(client.respond(challenge))
            assert login.failure == failure
            assert (login.account is None) is bool(failure)

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
