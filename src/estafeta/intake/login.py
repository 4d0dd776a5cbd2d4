"""Login: one SASL exchange against our accounts (RFC 4422), for every protocol that has one.

Promises: an unknown account takes the same steps and time as a wrong password; a disabled account
fails like one; acting for another identity (authzid) is refused unless it is the same. What the
connection's TLS tells is used where it is ours: the channel binding of its certificate (RFC 5929
§4), and whom a client's certificate names.
"""

from __future__ import annotations

import random

from estafeta.intake.limits import LOGGED_USER_CHARACTERS_MAX
from estafeta.mail.address import AddressError, canonical
from estafeta.store.credentials import Authenticator
from estafeta.store.rows import Account
from estafeta.wire import sasl
from estafeta.world.seams import TlsInfo


def offered(tls: TlsInfo | None) -> tuple[str, ...]:
    """The mechanisms for a connection as it is now, best first. tls: None in the clear."""
    if tls is None:
        return sasl.MECHANISMS
    return sasl.mechanisms(binding=bool(tls.end_point), certificate=bool(tls.peer_addresses))


class Login:
    """Feed it responses until `step` returns None: then `account`, or None and `failure`.

    failure, user: why, and who was named; for the log, never for the client. malformed: the client
    broke the grammar of the exchange; the password was not the matter.
    """

    def __init__(
        self,
        mechanism: str,
        authenticator: Authenticator,
        dice: random.Random,
        tls: TlsInfo | None = None,
    ) -> None:
        bound = tls is not None and tls.end_point
        self._machine = sasl.server_mechanism(
            mechanism,
            nonce=f"{dice.getrandbits(144):036x}",
            channel_bindings={sasl.END_POINT: bound} if bound else None,
        )
        self._certified = tls.peer_addresses if tls is not None else ()
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
                case sasl.CheckCertificate():
                    answer = self._machine.certificate_checked(await self._certificate(answer))
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
                    if not self.failure:
                        refused = answer.reason == sasl.REFUSED
                        self.failure = await self._why_refused() if refused else answer.reason
                    self.malformed = answer.malformed
                    return None

    async def _certificate(self, asked: sasl.CheckCertificate) -> str:
        """The account that the client's certificate names, "" for none: see `failure`.

        RFC 4422 appendix A: without an authorization identity the server derives one, which it
        can where the certificate is for one account alone.
        """
        names = list(dict.fromkeys(map(account_name, self._certified)))
        self.user = ",".join(names)[:LOGGED_USER_CHARACTERS_MAX]
        if not names:
            self.failure = "the client has shown no certificate"
            return ""
        if asked.authzid:
            names = [name for name in names if name == account_name(asked.authzid)]
            if not names:
                self.failure = "the certificate is not for the account it wants"
                return ""
        found = [await self._authenticator.certified(name) for name in names]
        accounts = [each for each in found if isinstance(each, Account)]
        if len(accounts) > 1:
            self.failure = "the certificate is for several accounts, and none was named"
            return ""
        if not accounts:
            self.failure = next(why for why in found if isinstance(why, str))
            return ""
        self._found = accounts[0]
        return self._found.address

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
