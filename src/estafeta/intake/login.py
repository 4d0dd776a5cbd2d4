"""Login: one SASL exchange against our accounts (RFC 4422), for every protocol that has one.

Promises: an unknown account takes the same steps and time as a wrong password; a disabled account
fails like one; acting for another identity (authzid) is refused unless it is the same.
"""

from __future__ import annotations

import random

from estafeta.intake.limits import LOGGED_USER_CHARACTERS_MAX
from estafeta.mail.address import AddressError, canonical
from estafeta.store.credentials import Authenticator
from estafeta.store.rows import Account
from estafeta.wire import sasl


class Login:
    """Feed it responses until `step` returns None: then `account`, or None and `failure`.

    failure, user: why, and who was named; for the log, never for the client. malformed: the client
    broke the grammar of the exchange; the password was not the matter.
    """

    def __init__(self, mechanism: str, authenticator: Authenticator, dice: random.Random) -> None:
        self._machine = sasl.server_mechanism(mechanism, nonce=f"{dice.getrandbits(144):036x}")
        self._authenticator = authenticator
        self._found: Account | None = None
        self._name = ""
        self.account: Account | None = None
        self.failure = ""
        self.user = ""
        self.malformed = False

    async def step(self, response: bytes | None) -> bytes | None:
        """The next challenge, or None at the end. response None: the client has said nothing yet.

        Raises StoreError.
        """
        answer = self._machine.step(response)
        while True:
            match answer:
                case sasl.Challenge():
                    return answer.data
                case sasl.CheckPassword():
                    name = self._named(answer.authcid)
                    self._found = await self._authenticator.check(name, answer.password)
                    answer = self._machine.password_checked(self._found is not None)
                case sasl.LookUpKeys():
                    name = self._named(answer.authcid)
                    self._found, keys = await self._authenticator.scram(name)
                    answer = self._machine.keys(keys)
                case sasl.Success():
                    acting = account_name(answer.authzid) if answer.authzid else ""
                    if acting not in ("", account_name(answer.authcid)):
                        self.failure = "may not act for another account"
                    elif self._found is None:
                        self.failure = await self._why_refused()
                    else:
                        self.account = self._found
                    return None
                case sasl.Failure():
                    refused = answer.reason == sasl.REFUSED
                    self.failure = await self._why_refused() if refused else answer.reason
                    self.malformed = answer.malformed
                    return None

    def _named(self, authcid: str) -> str:
        name = account_name(authcid)
        self._name = name
        self.user = name[:LOGGED_USER_CHARACTERS_MAX]
        return name

    async def _why_refused(self) -> str:
        return await self._authenticator.why_refused(self._name)


def account_name(name: str) -> str:
    """An account's name is its address, in lower case."""
    try:
        return canonical(name).lower()
    except AddressError:
        return name.lower()
