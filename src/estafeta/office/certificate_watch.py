"""Certificate watch: new certificates are shown without being told, and old ones are told of.

Promises: a file that was replaced, written anew, or comes back is seen within
CERTIFICATE_POLL_SECONDS; connections from then on are shown it, those that exist go on. A pair
that does not fit (half of it written) changes nothing: one line in the log, and it is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import structlog

from estafeta.mail.protocols import Meter
from estafeta.office.errors import CommandError, explain_startup_error
from estafeta.office.limits import CERTIFICATE_POLL_SECONDS, CERTIFICATE_WARN_SECONDS
from estafeta.world.certificates import expires_at
from estafeta.world.seams import Clock, Files

log = structlog.get_logger("certificates")


class Watched(msgspec.Struct, frozen=True):
    """The files: certificates that expire, and what is read beside them (keys, authorities)."""

    certificates: tuple[str, ...]
    others: tuple[str, ...] = ()


class CertificateWatch:
    """A component of the service.

    watched: the files as the settings name them now. renew: reads them and shows them from now on;
    raises CommandError, OSError or ValueError, and then all is as it was. warn_seconds: before its
    end a certificate is warned of.
    """

    name = "certificates"

    def __init__(
        self,
        files: Files,
        clock: Clock,
        meter: Meter,
        *,
        watched: Callable[[], Watched],
        renew: Callable[[], None],
        warn_seconds: Callable[[], float],
    ) -> None:
        self._files = files
        self._clock = clock
        self._meter = meter
        self._watched = watched
        self._renew = renew
        self._warn_seconds = warn_seconds
        self._shown: object = None
        self._refused: object = None
        self._expires: dict[str, float] = {}
        self._warned: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        # What was read before this may have changed since: once more.
        self._look(told=True)
        self._task = asyncio.create_task(self._run(), name="certificates")

    async def drain(self) -> None:
        """Who is let in until the end is shown what there is."""

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def reload(self) -> None:
        self._shown = None
        self._look(told=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(CERTIFICATE_POLL_SECONDS)
            try:
                self._look()
            except Exception:
                # A bug of ours in here must not be found out when the certificate has expired.
                log.exception("certificate watch failed")

    def _look(self, *, told: bool = False) -> None:
        watched = self._watched()
        # Before they are read: what changes while that lasts is seen the next time.
        stamps = tuple(map(self._files.stamp, (*watched.certificates, *watched.others)))
        if (watched, stamps) != self._shown:
            self._take(watched, (watched, stamps), told=told)
        self._tell(self._clock.now())

    def _take(self, watched: Watched, seen: object, *, told: bool) -> None:
        try:
            self._renew()
            self._expires = {
                path: expires_at(self._files.read(path)) for path in watched.certificates
            }
        except (CommandError, OSError, ValueError) as trouble:
            if seen != self._refused:
                reason = explain_startup_error(trouble)
                log.error("certificates not taken, the old ones stay", reason=reason)
            self._refused = seen
            return
        self._shown, self._refused = seen, None
        self._warned = {path: at for path, at in self._warned.items() if path in self._expires}
        if not told:
            log.info("certificates taken", certificates=list(watched.certificates))

    def _tell(self, now: float) -> None:
        for path, end in self._expires.items():
            left = end - now
            self._meter.gauge("certificate_expiry_seconds", left, certificate=path)
            if left >= self._warn_seconds() and left > 0:
                self._warned.pop(path, None)
            elif now - self._warned.get(path, float("-inf")) >= CERTIFICATE_WARN_SECONDS:
                self._warned[path] = now
                date = f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M}Z"
                if left > 0:
                    days = int(left // 86400)
                    log.warning("certificate expires soon", certificate=path, at=date, days=days)
                else:
                    log.error("certificate has expired", certificate=path, at=date)
