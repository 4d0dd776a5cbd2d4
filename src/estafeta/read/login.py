"""login: who is at the other end: passwords and SASL exchanges, the same for IMAP and POP3."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from estafeta.intake.limits import LOGGED_USER_CHARACTERS_MAX
from estafeta.intake.login import Login, account_name, offered
from estafeta.store.credentials import Authenticator
from estafeta.store.rows import Account
from estafeta.world.seams import TlsInfo, World

# Sends a challenge; gives the decoded response, None where the client cancelled.
Ask = Callable[[bytes], Awaitable[bytes | None]]


class LoginFailed(Exception):
    """reason, user: for the log. malformed: the client broke the grammar of the exchange.

    cancelled: it said so, and has been answered.
    """

    def __init__(
        self, reason: str, *, user: str = "", malformed: bool = False, cancelled: bool = False
    ) -> None:
        super().__init__(reason)
        self.user = user
        self.malformed = malformed
        self.cancelled = cancelled


class Logins:
    """Checks who logs in."""

    def __init__(self, authenticator: Authenticator, world: World) -> None:
        self._authenticator = authenticator
        self._world = world

    async def password(self, user: str, password: str) -> Account:
        """Raises LoginFailed."""
        name = account_name(user)
        account = await self._authenticator.check(name, password)
        if account is None:
            raise LoginFailed(
                await self._authenticator.why_refused(name),
                user=name[:LOGGED_USER_CHARACTERS_MAX],
            )
        return account

    async def exchange(
        self, mechanism: str, initial: bytes | None, ask: Ask, tls: TlsInfo | None = None
    ) -> Account:
        """A SASL exchange by one of those `offered` under `tls`. Raises LoginFailed."""
        login = Login(mechanism, self._authenticator, self._world.dice, tls)
        challenge = await login.step(initial)
        while challenge is not None:
            response = await ask(challenge)
            if response is None:
                raise LoginFailed("cancelled", cancelled=True)
            challenge = await login.step(response)
        if login.account is None:
            raise LoginFailed(login.failure, user=login.user, malformed=login.malformed)
        return login.account


__all__ = ["Ask", "LoginFailed", "Logins", "offered"]
