"""login: who is at the other end: passwords and SASL exchanges, the same for IMAP and POP3."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from estafeta.store.credentials import Authenticator
from estafeta.store.rows import Account
from estafeta.wire.sasl import (
    MECHANISMS,
    Challenge,
    CheckPassword,
    Failure,
    LookUpKeys,
    server_mechanism,
)
from estafeta.world.seams import World

# Sends a challenge; gives the decoded response, None where the client cancelled.
Ask = Callable[[bytes], Awaitable[bytes | None]]


class LoginFailed(Exception):
    """reason: for the log. malformed: the client broke the grammar of the exchange.

    cancelled: it said so, and has been answered.
    """

    def __init__(self, reason: str, *, malformed: bool = False, cancelled: bool = False) -> None:
        super().__init__(reason)
        self.malformed = malformed
        self.cancelled = cancelled


class Logins:
    """Checks who logs in."""

    def __init__(self, authenticator: Authenticator, world: World, secret: bytes = b"") -> None:
        self._authenticator = authenticator
        self._world = world
        self._secret = secret

    async def password(self, user: str, password: str, authzid: str = "") -> Account:
        """Raises LoginFailed."""
        account = await self._authenticator.check(user, password)
        if account is None:
            raise LoginFailed("wrong password or no such account")
        # To act for another account is for administrators, who have no such right here.
        if authzid and authzid.lower() != account.address:
            raise LoginFailed("may not act for another account")
        return account

    async def exchange(self, mechanism: str, initial: bytes | None, ask: Ask) -> Account:
        """A SASL exchange by one of MECHANISMS. Raises LoginFailed."""
        nonce = f"{self._world.dice.getrandbits(144):036x}"
        running = server_mechanism(mechanism, nonce=nonce, secret=self._secret)
        account: Account | None = None
        step = running.step(initial)
        while True:
            match step:
                case Challenge(data=data):
                    response = await ask(data)
                    if response is None:
                        raise LoginFailed("cancelled", cancelled=True)
                    step = running.step(response)
                case CheckPassword(authcid=user, authzid=authzid, password=password):
                    return await self.password(user, password, authzid)
                case LookUpKeys(authcid=user):
                    account, keys = await self._authenticator.scram(user)
                    step = running.keys(keys)
                case Failure(reason=reason, malformed=malformed):
                    raise LoginFailed(reason, malformed=malformed)
                case success:
                    if account is None:
                        raise LoginFailed("no such account")
                    if success.authzid and success.authzid.lower() != account.address:
                        raise LoginFailed("may not act for another account")
                    if success.data is not None:
                        # A protocol that carries no data with success sends it as a challenge.
                        await ask(success.data)
                    return account


__all__ = ["MECHANISMS", "Ask", "LoginFailed", "Logins"]
