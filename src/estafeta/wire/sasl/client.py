"""client: the mechanisms as the client plays them (RFC 4616, 5802, 7677, RFC 4422 appendix A).

For the relay's smarthost, and for tests. `initial()` is the initial response or None; each
challenge goes to `respond`, which gives the response; `finish` when the server said success.
"""

from __future__ import annotations

import hashlib
import hmac

from estafeta.wire.limits import SCRAM_ITERATIONS_ACCEPTED_MAX
from estafeta.wire.sasl import scram
from estafeta.wire.sasl.prep import prepared_password, saslprep
from estafeta.wire.sasl.server import END_POINT, SCRAM_PLUS


class SaslError(ValueError):
    """The server does not play by the rules, or could not prove that it knows the password."""


class ClientMechanism:
    """One exchange."""

    __slots__ = ("_authcid", "_authzid", "_password")
    name = ""

    def __init__(self, authcid: str, password: str, authzid: str) -> None:
        self._authcid = saslprep(authcid)
        self._password = prepared_password(password)
        self._authzid = saslprep(authzid) if authzid else ""

    def initial(self) -> bytes | None:
        """The initial response; None for a mechanism in which the server speaks first."""
        return None

    def respond(self, challenge: bytes) -> bytes:
        """The response to a challenge, both decoded. Raises SaslError: cancel with "*"."""
        raise SaslError("no challenge was expected")

    def finish(self) -> None:
        """The server said success. Raises SaslError where it has not proved itself."""


class _Plain(ClientMechanism):
    __slots__ = ()
    name = "PLAIN"

    def initial(self) -> bytes:
        return "\0".join((self._authzid, self._authcid, self._password)).encode()


class _Login(ClientMechanism):
    __slots__ = ("_sent",)
    name = "LOGIN"

    def __init__(self, authcid: str, password: str, authzid: str) -> None:
        super().__init__(authcid, password, authzid)
        self._sent = 0

    def respond(self, challenge: bytes) -> bytes:
        # Servers word the challenges differently: the order tells.
        self._sent += 1
        if self._sent > 2:
            raise SaslError("a third challenge of LOGIN")
        return (self._authcid if self._sent == 1 else self._password).encode()


class _External(ClientMechanism):
    __slots__ = ()
    name = "EXTERNAL"

    def initial(self) -> bytes:
        return self._authzid.encode()


class _Scram(ClientMechanism):
    __slots__ = ("_bare", "_end_point", "_flag", "_nonce", "_signature", "_verified", "name")

    def __init__(
        self, name: str, authcid: str, password: str, authzid: str, nonce: str, end_point: bytes
    ) -> None:
        super().__init__(authcid, password, authzid)
        self.name = name
        # RFC 5802 §6: "y" tells a server that offers -PLUS that we did not see it.
        self._flag = "y" if end_point else "n"
        self._end_point = b""
        if name == SCRAM_PLUS:
            if not end_point:
                raise ValueError("no channel to bind")
            self._flag, self._end_point = f"p={END_POINT}", end_point
        self._nonce = nonce
        self._bare = f"n={scram.encode_name(self._authcid)},r={nonce}"
        self._signature = b""
        self._verified = False

    @property
    def _header(self) -> str:
        authzid = f"a={scram.encode_name(self._authzid)}" if self._authzid else ""
        return f"{self._flag},{authzid},"

    def initial(self) -> bytes:
        return (self._header + self._bare).encode()

    def respond(self, challenge: bytes) -> bytes:
        try:
            text = challenge.decode()
            return self._verify(text) if self._signature else self._final(text)
        except ValueError as error:
            raise SaslError(f"SCRAM: {error}") from None

    def _final(self, server_first: str) -> bytes:
        parts = scram.attributes(server_first)
        if [key for key, _ in parts[:3]] != ["r", "s", "i"]:
            raise ValueError("a nonce, a salt and a count were expected")
        nonce, salt, count = (value for _, value in parts[:3])
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            # RFC 5802 §5.1: else an old exchange could be played to us.
            raise ValueError("the server's nonce does not continue ours")
        if not count.isascii() or not count.isdigit() or len(count) > 9:
            raise ValueError("bad iteration count")
        iterations = int(count)
        if not 1 <= iterations <= SCRAM_ITERATIONS_ACCEPTED_MAX:
            raise ValueError(f"iteration count {iterations} is not acceptable")
        binding = scram.to_base64(self._header.encode() + self._end_point)
        without_proof = f"c={binding},r={nonce}"
        message = f"{self._bare},{server_first},{without_proof}".encode()
        salted = scram.salted_password(self._password, scram.from_base64(salt), iterations)
        key = scram.client_key(salted)
        proof = scram.xor(key, scram.mac(hashlib.sha256(key).digest(), message))
        self._signature = scram.mac(scram.server_key(salted), message)
        return f"{without_proof},p={scram.to_base64(proof)}".encode()

    def _verify(self, server_final: str) -> bytes:
        key, value = scram.attributes(server_final)[0]
        if key != "v" or not hmac.compare_digest(scram.from_base64(value), self._signature):
            raise ValueError("the server does not know the password")
        self._verified = True
        return b""

    def finish(self) -> None:
        if not self._verified:
            raise SaslError("SCRAM: success without the server's proof")


def client_mechanism(
    name: str,
    *,
    authcid: str,
    password: str,
    nonce: str,
    authzid: str = "",
    end_point: bytes = b"",
) -> ClientMechanism:
    """A new exchange of the mechanism `name` (upper case; else KeyError). nonce: as for the server.

    end_point: data of tls-server-end-point where the channel has it (RFC 5929 §4). Raises
    ValueError for a name that SASLprep forbids, and for -PLUS without `end_point`.
    """
    if name in ("SCRAM-SHA-256", SCRAM_PLUS):
        return _Scram(name, authcid, password, authzid, nonce, end_point)
    return {"PLAIN": _Plain, "LOGIN": _Login, "EXTERNAL": _External}[name](
        authcid, password, authzid
    )
