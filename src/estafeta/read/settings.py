"""settings: what an installation decides about reading; the office fills it from the file."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Protocol

from estafeta.read import limits
from estafeta.world.seams import Stream, TlsConfig


class Log(Protocol):
    """A structlog logger, as far as it is used here."""

    def info(self, event: str, **fields: Any) -> Any: ...

    def warning(self, event: str, **fields: Any) -> Any: ...

    def exception(self, event: str, **fields: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """hostname: said in the greeting. starttls: None where it is not offered.

    plaintext_auth_networks: from there a password may come without TLS.
    """

    hostname: str
    starttls: TlsConfig | None = None
    plaintext_auth_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    message_octets_max: int = limits.MESSAGE_OCTETS_MAX
    idle_seconds: float = limits.IDLE_SECONDS
    pop3_idle_seconds: float = limits.POP3_IDLE_SECONDS
    login_seconds: float = limits.LOGIN_SECONDS
    login_failure_seconds: float = limits.LOGIN_FAILURE_SECONDS
    poll_seconds: float = limits.POLL_SECONDS
    sessions_max: int = limits.SESSIONS_MAX
    sessions_max_per_account: int = limits.SESSIONS_MAX_PER_ACCOUNT
    strangers_max_per_address: int = limits.STRANGERS_MAX_PER_ADDRESS

    def may_send_password(self, stream: Stream) -> bool:
        """Whether a password may come over this connection as it is now."""
        if stream.tls is not None:
            return True
        peer = ip_address(stream.peer.host)
        mapped = getattr(peer, "ipv4_mapped", None)
        return any((mapped or peer) in network for network in self.plaintext_auth_networks)
