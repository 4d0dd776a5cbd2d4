"""imap_session: the IMAP server of an installation: a session for each connection.

IMAP4rev1 (RFC 3501) with the extensions that `estafeta.read.imap.login` names in CAPABILITY.
"""

from __future__ import annotations

import contextlib

from estafeta.mail.protocols import Meter
from estafeta.read.imap.commands import HANDLERS, capabilities
from estafeta.read.imap.session import House, Session
from estafeta.read.login import Logins
from estafeta.read.settings import Log, ReadSettings
from estafeta.store.bodies import Bodies
from estafeta.store.credentials import Authenticator
from estafeta.store.engine import Store
from estafeta.world.seams import Stream, TlsConfig, TlsError, World


class ImapServer:
    """Serves streams. secret: of the installation; makes SCRAM's answers for unknown names."""

    def __init__(
        self,
        store: Store,
        bodies: Bodies,
        authenticator: Authenticator,
        world: World,
        settings: ReadSettings,
        meter: Meter,
        log: Log,
        *,
        secret: bytes = b"",
    ) -> None:
        logins = Logins(authenticator, world, secret)
        self._house = House(store, bodies, logins, world, settings, meter, log)

    @property
    def settings(self) -> ReadSettings:
        return self._house.settings

    def reload(self, settings: ReadSettings) -> None:
        """From now on; sessions that exist see it too, but for the counts they were let in by."""
        self._house.settings = settings
        self._house.doors.settings = settings

    async def serve(self, stream: Stream, *, implicit_tls: TlsConfig | None = None) -> None:
        """One connection, to its end. implicit_tls: TLS comes first (port 993)."""
        house = self._house
        guest = None if house.doors.closing.is_set() else house.doors.enter()
        if guest is None:
            if implicit_tls is None:
                stream.write(b"* BYE [UNAVAILABLE] no connections are taken now\r\n")
                await stream.close()
            else:
                stream.abort()
            return
        house.meter.gauge("imap_sessions", house.doors.count)
        try:
            if implicit_tls is not None:
                await stream.start_tls(implicit_tls)
            await Session(house, stream, guest).run(HANDLERS, capabilities)
            await stream.close()
        except (ConnectionError, TlsError) as error:
            house.log.info("imap.refused", peer=str(stream.peer), reason=str(error))
        finally:
            guest.leave()
            house.meter.gauge("imap_sessions", house.doors.count)
            with contextlib.suppress(ConnectionError):
                stream.abort()

    async def close(self, seconds: float = 5.0) -> None:
        """Says BYE to every session and waits for their ends, at most `seconds`."""
        await self._house.doors.close(seconds)


__all__ = ["ImapServer"]
