"""login: which SASL mechanism the relay uses at a smarthost."""

from __future__ import annotations

from collections.abc import Sequence

from estafeta.resolve import Credentials
from estafeta.wire.sasl import ClientMechanism, client_mechanism

_PREFERRED = ("SCRAM-SHA-256", "PLAIN", "LOGIN")
_SAFE_IN_THE_CLEAR = frozenset(("SCRAM-SHA-256",))


def choose_mechanism(
    offered: Sequence[str], credentials: Credentials, *, in_the_clear: bool, nonce: str
) -> ClientMechanism | None:
    """The best of those offered; None where none may be used.

    A password is shown in the clear only where the administrator said so (RFC 4954 §4).
    """
    for name in _PREFERRED:
        if name not in offered:
            continue
        if in_the_clear and name not in _SAFE_IN_THE_CLEAR and not credentials.clear:
            continue
        return client_mechanism(
            name, authcid=credentials.user, password=credentials.password, nonce=nonce
        )
    return None
