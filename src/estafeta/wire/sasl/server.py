"""server: the mechanisms as the server plays them (RFC 4616, 5802, 7677, RFC 4422 appendix A).

A mechanism knows no accounts: where it must know a password, keys or whom a certificate names it
says so, and is told. The driver's loop, the same for SMTP, IMAP and POP3: `step(initial response
or None)`; Challenge: send it and `step` the response; CheckPassword: `password_checked`;
LookUpKeys: `keys`; CheckCertificate: `certificate_checked`; until Success or Failure.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

import msgspec

from estafeta.wire.limits import SASL_FIELD_OCTETS_MAX, SASL_RESPONSE_OCTETS_MAX
from estafeta.wire.sasl import scram
from estafeta.wire.sasl.prep import prepared_password, saslprep
from estafeta.wire.sasl.scram import ScramKeys

MECHANISMS = ("SCRAM-SHA-256", "PLAIN", "LOGIN")
"""Those that need nothing but a password, best first."""

SCRAM_PLUS = "SCRAM-SHA-256-PLUS"
END_POINT = "tls-server-end-point"
"""The one type of channel binding (RFC 5929 §4)."""


def mechanisms(*, binding: bool = False, certificate: bool = False) -> tuple[str, ...]:
    """Those that may be offered, best first.

    binding: the channel has one. certificate: the client has shown one that names accounts.
    """
    external = ("EXTERNAL",) if certificate else ()
    return (*external, *((SCRAM_PLUS,) if binding else ()), *MECHANISMS)


REFUSED = "wrong password, no such account, or disabled"
"""For the log, where the caller does not know better; the client is told that it was refused."""


class Challenge(msgspec.Struct, frozen=True):
    """Send this and `step` the response."""

    data: bytes


class CheckPassword(msgspec.Struct, frozen=True):
    """Is this the password of authcid? Names and password are prepared by SASLprep.

    authzid: whom to act as; "" for authcid itself. May authcid do so? The driver decides.
    """

    authcid: str
    authzid: str
    password: str


class LookUpKeys(msgspec.Struct, frozen=True):
    """What are the keys of authcid?"""

    authcid: str
    authzid: str


class CheckCertificate(msgspec.Struct, frozen=True):
    """Which account does the client's certificate name? authzid: the one it wants, or ""."""

    authzid: str


class Success(msgspec.Struct, frozen=True):
    """The client is authcid. data: for protocols that carry it with success, else None."""

    authcid: str
    authzid: str
    data: bytes | None = None


class Failure(msgspec.Struct, frozen=True):
    """It is not. malformed: the client broke the grammar (501 5.5.2, not 535 5.7.8).

    reason: for the log; tells the client nothing.
    """

    reason: str
    malformed: bool = False


Step = Challenge | CheckPassword | LookUpKeys | CheckCertificate | Success | Failure


class ServerMechanism:
    """One exchange. Calls out of order are a bug of the driver and raise RuntimeError."""

    __slots__ = ("_asked", "_over")
    name = ""

    def __init__(self) -> None:
        self._asked: CheckPassword | LookUpKeys | CheckCertificate | None = None
        self._over = False

    def step(self, response: bytes | None) -> Step:
        """What to do next. response: decoded; None where the client began without one."""
        if self._over or self._asked is not None:
            raise RuntimeError("the exchange waits for the driver, or is over")
        if response is not None and len(response) > SASL_RESPONSE_OCTETS_MAX:
            return self._note(Failure("response too long", malformed=True))
        try:
            return self._note(self._step(response))
        except ValueError as error:
            return self._note(Failure(str(error), malformed=True))

    def password_checked(self, ok: bool) -> Success | Failure:
        """The answer to CheckPassword."""
        asked = self._asked
        if not isinstance(asked, CheckPassword):
            raise RuntimeError("no password was asked for")
        self._asked = None
        self._over = True
        return Success(asked.authcid, asked.authzid) if ok else Failure(REFUSED)

    def keys(self, keys: ScramKeys | None) -> Challenge | Failure:
        """The answer to LookUpKeys. None: no such account, which the client cannot tell."""
        raise RuntimeError("no keys were asked for")

    def certificate_checked(self, authcid: str) -> Success | Failure:
        """The answer to CheckCertificate: the account, "" for none."""
        asked = self._asked
        if not isinstance(asked, CheckCertificate):
            raise RuntimeError("no certificate was asked for")
        self._asked = None
        self._over = True
        return Success(authcid, asked.authzid) if authcid else Failure(REFUSED)

    def _step(self, response: bytes | None) -> Step:
        raise NotImplementedError

    def _note(self, step: Step) -> Step:
        if isinstance(step, CheckPassword | LookUpKeys | CheckCertificate):
            self._asked = step
        elif not isinstance(step, Challenge):
            self._over = True
        return step


class _Plain(ServerMechanism):
    """RFC 4616: one message, [authzid] NUL authcid NUL password."""

    __slots__ = ()
    name = "PLAIN"

    def _step(self, response: bytes | None) -> Step:
        if response is None:
            return Challenge(b"")
        parts = response.split(b"\0")
        if len(parts) != 3:
            return Failure("PLAIN has three parts", malformed=True)
        authzid, authcid, password = (_text(part) for part in parts)
        return _check(authcid, authzid, password)


class _Login(ServerMechanism):
    """LOGIN: a name, then a password. Never standardised; draft-murchison-sasl-login-00."""

    __slots__ = ("_authcid",)
    name = "LOGIN"

    def __init__(self) -> None:
        super().__init__()
        self._authcid: str | None = None

    def _step(self, response: bytes | None) -> Step:
        if response is None:
            return Challenge(b"Username:")
        if self._authcid is None:
            self._authcid = _text(response)
            return Challenge(b"Password:")
        return _check(self._authcid, "", _text(response))


class _External(ServerMechanism):
    """RFC 4422 appendix A: one message, whom to act as; who it is, the channel has told."""

    __slots__ = ()
    name = "EXTERNAL"

    def _step(self, response: bytes | None) -> Step:
        if response is None:
            return Challenge(b"")
        authzid = _text(response)
        return CheckCertificate(_name(authzid) if authzid else "")


class _Scram(ServerMechanism):
    """SCRAM-SHA-256: client-first, server-first, client-final, server-final (RFC 5802 §5).

    plus: the form that binds the channel.
    """

    __slots__ = (
        "_binding",
        "_bindings",
        "_client_bare",
        "_done",
        "_keys",
        "_last",
        "_nonce",
        "_plus",
        "_secret",
        "_server_first",
    )
    name = "SCRAM-SHA-256"

    def __init__(
        self, nonce: str, secret: bytes, bindings: Mapping[str, bytes], *, plus: bool
    ) -> None:
        super().__init__()
        self._plus = plus
        self._nonce = nonce
        self._secret = secret
        self._bindings = bindings
        self._binding = b""
        self._client_bare = ""
        self._server_first = ""
        self._keys: ScramKeys | None = None
        self._done: Success | None = None
        self._last = LookUpKeys("", "")

    def _step(self, response: bytes | None) -> Step:
        if response is None:
            return Challenge(b"")
        if self._done is not None:
            # The client has read the server's proof and says nothing more.
            return self._done if not response else Failure("empty response expected", True)
        if self._server_first:
            return self._client_final(_text(response, octets_max=SASL_RESPONSE_OCTETS_MAX))
        return self._client_first(_text(response, octets_max=SASL_RESPONSE_OCTETS_MAX))

    def _client_first(self, text: str) -> Step:
        flag, comma, rest = text.partition(",")
        authzid, comma2, bare = rest.partition(",")
        if not comma or not comma2:
            return Failure("no GS2 header", malformed=True)
        refused = self._refuse_binding(flag)
        if refused is not None:
            return refused
        self._binding = f"{flag},{authzid},".encode() + self._bindings.get(flag[2:], b"")
        if authzid and not authzid.startswith("a="):
            return Failure("bad authorization identity", malformed=True)
        parts = scram.attributes(bare)
        if parts[0][0] == "m":
            # RFC 5802 §5.1: a mandatory extension that we do not know.
            return Failure("extensions not supported", malformed=True)
        if len(parts) < 2 or parts[0][0] != "n" or parts[1][0] != "r":
            return Failure("a name and a nonce were expected", malformed=True)
        client_nonce = parts[1][1]
        if not client_nonce or not client_nonce.isascii() or not client_nonce.isprintable():
            return Failure("bad nonce", malformed=True)
        self._client_bare = bare
        self._nonce = client_nonce + self._nonce
        name = _name(scram.decode_name(parts[0][1]))
        return LookUpKeys(name, _name(scram.decode_name(authzid[2:])) if authzid else "")

    def _refuse_binding(self, flag: str) -> Failure | None:
        """RFC 5802 §6: "n" no binding, "y" the client thinks that we cannot, "p=" it wants it."""
        if flag.startswith("p="):
            if not self._plus:
                return Failure("a channel binding belongs to -PLUS")
            known = flag[2:] in self._bindings
            return None if known else Failure("no such channel binding is offered")
        if flag not in ("n", "y"):
            return Failure("no channel binding flag", malformed=True)
        if self._plus:
            return Failure("-PLUS binds the channel", malformed=True)
        if flag == "y" and self._bindings:
            # Somebody between us has taken -PLUS off the list that the client saw.
            return Failure("channel binding was offered and is said not to be")
        return None

    def keys(self, keys: ScramKeys | None) -> Challenge | Failure:
        asked = self._asked
        if not isinstance(asked, LookUpKeys):
            raise RuntimeError("no keys were asked for")
        self._keys = keys
        if keys is None:
            # The same name gets the same salt each time, as a real one would.
            salt = scram.mac(self._secret, asked.authcid.encode())[:16]
            iterations = scram.ITERATIONS
        else:
            salt, iterations = keys.salt, keys.iterations
        self._server_first = f"r={self._nonce},s={scram.to_base64(salt)},i={iterations}"
        self._asked, self._last = None, asked
        return Challenge(self._server_first.encode())

    def _client_final(self, text: str) -> Step:
        without_proof, comma, proof_part = text.rpartition(",p=")
        if not comma:
            return Failure("no proof", malformed=True)
        parts = dict(scram.attributes(without_proof))
        proof = scram.from_base64(proof_part)
        if scram.from_base64(parts.get("c", "")) != self._binding:
            return Failure("channel bindings do not match")
        if parts.get("r") != self._nonce:
            return Failure("nonce differs")
        message = f"{self._client_bare},{self._server_first},{without_proof}".encode()
        keys = self._keys
        if keys is None or len(proof) != len(keys.stored_key):
            return Failure(REFUSED)
        signature = scram.mac(keys.stored_key, message)
        client_key = scram.xor(proof, signature)
        if not hmac.compare_digest(hashlib.sha256(client_key).digest(), keys.stored_key):
            return Failure(REFUSED)
        self._done = Success(self._last.authcid, self._last.authzid)
        return Challenge(b"v=" + scram.to_base64(scram.mac(keys.server_key, message)).encode())


def server_mechanism(
    name: str,
    *,
    nonce: str,
    secret: bytes = b"",
    channel_bindings: Mapping[str, bytes] | None = None,
) -> ServerMechanism:
    """A new exchange of the mechanism `name` (upper case; else KeyError).

    nonce: printable ASCII without a comma, from the world's dice, at least 18 characters.
    secret: of the installation, kept: gives a name that has no account a salt that stays. Without
    it that salt changes with every try, which tells such names apart from accounts.
    channel_bindings: data by type where they are right ("tls-server-end-point"), which says too
    that -PLUS is offered; a client that demands another is refused.
    """
    if name in ("SCRAM-SHA-256", SCRAM_PLUS):
        plus = name == SCRAM_PLUS
        return _Scram(nonce, secret or nonce.encode(), channel_bindings or {}, plus=plus)
    return {"PLAIN": _Plain, "LOGIN": _Login, "EXTERNAL": _External}[name]()


def _check(authcid: str, authzid: str, password: str) -> Step:
    if not authcid or not password:
        return Failure("no name or no password")
    return CheckPassword(
        _name(authcid), _name(authzid) if authzid else "", prepared_password(password)
    )


def _name(text: str) -> str:
    """Prepared (RFC 4616 §2, RFC 5802 §5.1). Raises ValueError."""
    prepared = saslprep(text)
    if not prepared or len(prepared.encode()) > SASL_FIELD_OCTETS_MAX:
        raise ValueError("empty or too long a name")
    return prepared


def _text(data: bytes, octets_max: int = SASL_FIELD_OCTETS_MAX) -> str:
    if len(data) > octets_max or b"\0" in data:
        raise ValueError("NUL, or too long a field")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError("UTF-8 was expected") from None
