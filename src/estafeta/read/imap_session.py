"""imap_session: the IMAP server of an installation: a session for each connection.

IMAP4rev1 (RFC 3501) with the extensions that `estafeta.read.imap.login` names in CAPABILITY.
"""

from __future__ import annotations

import structlog

from estafeta.mail.protocols import Meter, NoMeter
from estafeta.read.imap.commands import HANDLERS, capabilities
from estafeta.read.imap.session import House, Session
from estafeta.read.login import Logins
from estafeta.read.settings import Log, ReadSettings
from estafeta.store.bodies import Bodies
from estafeta.store.credentials import Authenticator
from estafeta.store.engine import Store
from estafeta.world.seams import Stream, TlsConfig, TlsError, World


class ImapServer:
    """Serves streams. log: a structlog logger, the module's own if None."""

    def __init__(
        self,
        store: Store,
        bodies: Bodies,
        authenticator: Authenticator,
        world: World,
        settings: ReadSettings,
        meter: Meter | None = None,
        log: Log | None = None,
    ) -> None:
        self._house = House(
            store,
            bodies,
            Logins(authenticator, world),
            world,
            settings,
            meter or NoMeter(),
            log or structlog.get_logger("imap"),
        )

    async def serve(self, stream: Stream, *, implicit_tls: TlsConfig | None = None) -> None:
        """One connection, to its end. implicit_tls: TLS comes first (port 993)."""
        guest = self._house.guests.enter(stream)
        if guest is None:
            if implicit_tls is None:
                stream.write(b"* BYE [UNAVAILABLE] no connections are taken now\r\n")
                await stream.close()
            return
        try:
            if implicit_tls is not None:
                await guest.start_tls(implicit_tls)
            await Session(self._house, stream, guest).run(HANDLERS, capabilities)
            await stream.close()
        except (ConnectionError, TlsError) as error:
            self._house.log.info("connection lost", peer=str(stream.peer), reason=str(error))
        finally:
            guest.leave()

    @property
    def empty(self) -> bool:
        return self._house.guests.empty

    def drain(self) -> None:
        """Takes nobody in, and says BYE to every session as soon as it is not in a command."""
        self._house.guests.drain()

    async def stop(self) -> None:
        """Returns when all sessions have ended; cancelled, it cuts those that have not."""
        await self._house.guests.stop()


__all__ = ["ImapServer"]
