"""Credentials: who comes in, what it costs, what takes effect when."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import Stand, with_stand

from estafeta.store import accounts, credentials
from estafeta.store.credentials import Authenticator, hash_password, make_password

pytestmark = pytest.mark.usefixtures("each_engine")


@pytest.fixture
def hashings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every argon2id run there is. Cheaper ones, so that the test is quick."""
    runs: list[str] = []
    real = credentials._matches
    monkeypatch.setattr(
        credentials, "_HASHER", credentials.PasswordHasher(time_cost=1, memory_cost=64)
    )

    def counted(hashed: str, plain: str) -> bool:
        runs.append(hashed)
        return real(hashed, plain)

    monkeypatch.setattr(credentials, "_matches", counted)
    return runs


async def ready(stand: Stand) -> tuple[int, Authenticator]:
    id = await stand.account("ana@a.example", password=make_password("correct horse", stand.dice))
    return id, Authenticator(stand.store, stand.world)


def test_the_right_password_and_no_other(tmp_path: Path, hashings: list[str]) -> None:
    async def work(stand: Stand) -> None:
        id, authenticator = await ready(stand)
        found = await authenticator.check("ANA@a.example", "correct horse")
        assert found is not None
        assert found.id == id
        for address, password in (
            ("ana@a.example", "correct horse "),
            ("ana@a.example", ""),
            ("bob@a.example", "correct horse"),
            ("bob@a.example", ""),
            ("", ""),
        ):
            assert await authenticator.check(address, password) is None
        # Whoever does not exist costs as much as who does.
        assert len(hashings) == 6

    with_stand(tmp_path, work)


def test_an_account_without_password_lets_nobody_in(tmp_path: Path, hashings: list[str]) -> None:
    async def work(stand: Stand) -> None:
        await stand.account("ana@a.example")
        authenticator = Authenticator(stand.store, stand.world)
        assert await authenticator.check("ana@a.example", "") is None
        assert (await authenticator.scram("ana@a.example"))[0] is None

    with_stand(tmp_path, work)


def test_a_busy_client_pays_once_and_changes_work_at_once(
    tmp_path: Path, hashings: list[str]
) -> None:
    async def work(stand: Stand) -> None:
        id, authenticator = await ready(stand)

        async def set_(**given: Any) -> None:
            await stand.run(lambda tx: accounts.set_account(tx, id, **given))

        async def right(password: str = "correct horse") -> bool:
            return await authenticator.check("ana@a.example", password) is not None

        for _ in range(5):
            assert await right()
        assert len(hashings) == 1
        assert not await right("wrong")  # failures are not remembered
        assert not await right("wrong")
        assert len(hashings) == 3
        await set_(disabled=True)
        assert not await right()
        await set_(disabled=False)
        assert await right()
        await set_(password=await hash_password("new one", stand.dice))
        assert not await right()
        assert await right("new one")
        await stand.run(lambda tx: accounts.remove_account(tx, id))
        assert not await right("new one")

    with_stand(tmp_path, work)


def test_the_cache_is_bounded_in_number_and_time(
    tmp_path: Path, hashings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(stand: Stand) -> None:
        _, authenticator = await ready(stand)
        monkeypatch.setattr(credentials, "LOGINS_CACHED_MAX", 2)
        for n in range(5):
            authenticator._remember(bytes([n]), 1.0)
        assert len(authenticator._known) == 2
        monkeypatch.setattr(credentials, "LOGIN_CACHE_SECONDS", 0.0)
        for _ in range(2):
            assert await authenticator.check("ana@a.example", "correct horse")
        assert len(hashings) == 2

    with_stand(tmp_path, work)


def test_scram_keys_of_nobody_look_like_somebodys(tmp_path: Path, hashings: list[str]) -> None:
    async def work(stand: Stand) -> None:
        id, authenticator = await ready(stand)
        account, keys = await authenticator.scram("Ana@a.example")
        assert account is not None
        assert account.id == id
        nobody, fake = await authenticator.scram("bob@a.example")
        assert nobody is None
        assert (len(fake.salt), fake.iterations) == (len(keys.salt), keys.iterations)
        assert (len(fake.stored_key), len(fake.server_key)) == (32, 32)
        # Stable: over calls, and over a restart with other dice.
        assert (await authenticator.scram("BOB@a.example"))[1] == fake
        stand.world.dice.seed(99)
        again = Authenticator(stand.store, stand.world)
        assert (await again.scram("bob@a.example"))[1] == fake
        assert (await again.scram("eva@a.example"))[1].salt != fake.salt
        await stand.run(lambda tx: accounts.set_account(tx, id, disabled=True))
        assert (await authenticator.scram("ana@a.example"))[0] is None

    with_stand(tmp_path, work)


def test_the_real_parameters_are_dear() -> None:
    made = make_password("x", random.Random(1))
    assert made.argon2id.startswith("$argon2id$v=19$m=32768,t=3,p=1$")
    assert make_password("x", random.Random(2)).argon2id != made.argon2id
