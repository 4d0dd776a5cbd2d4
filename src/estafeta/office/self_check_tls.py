"""Self-check of TLS: whether we would encrypt, shown at a listener of our own."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from cryptography import x509

from estafeta.explain.faults import Checked
from estafeta.office.assemble import Installation
from estafeta.office.config import Listener
from estafeta.office.doors import ANY
from estafeta.office.limits import SELF_CHECK_SECONDS_MAX
from estafeta.relay.job import Journey
from estafeta.relay.session import Session, SessionFailure
from estafeta.world.seams import Endpoint, TlsError


async def check_tls(installation: Installation) -> Checked:
    """Sending encrypted is allowed; our own STARTTLS answers, with a certificate that has not
    ended. Does not raise."""
    config = installation.config
    if config.relay.tls == "none":
        return Checked(False, "tls-off")
    listener = next(filter(_is_shown, config.listener), None)
    if listener is None:
        return Checked(True, "tls-unused")
    at = Endpoint("127.0.0.1" if listener.address in ANY else listener.address, listener.port)
    try:
        async with asyncio.timeout(SELF_CHECK_SECONDS_MAX):
            return await _handshake(installation, at)
    except SessionFailure as failure:
        why = str(failure)
    except TimeoutError:
        why = "no answer"
    except (OSError, TlsError) as error:
        why = str(error) or type(error).__name__
    return Checked(False, "tls-broken", {"address": str(at), "why": why})


def _is_shown(listener: Listener) -> bool:
    """One that others would meet, and that does not wait for a proxy's word first."""
    return (
        listener.role in ("mx", "submission")
        and listener.tls == "starttls"
        and not listener.proxy_networks
        and listener.port > 0
    )


async def _handshake(installation: Installation, at: Endpoint) -> Checked:
    stream = await installation.world.net.connect(at)
    name = installation.config.server.hostname
    settings = installation.relay_settings()
    settings = replace(settings, hello_name=settings.hello_name or name)
    session = Session(stream, at, name, settings, lmtp=False)
    try:
        await session.open("require", None, "", Journey())
        info = stream.tls
    finally:
        await session.leave()
    assert info is not None
    if _has_ended(info.peer_certificate, installation.world.clock.now()):
        return Checked(False, "tls-expired", {"address": str(at)})
    return Checked(True, "tls-holds", {"version": info.version, "cipher": info.cipher})


def _has_ended(der: bytes, now: float) -> bool:
    try:
        return x509.load_der_x509_certificate(der).not_valid_after_utc.timestamp() <= now
    except ValueError:
        return False  # the handshake took it
