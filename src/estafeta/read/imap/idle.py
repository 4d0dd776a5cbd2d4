"""idle: IDLE (RFC 2177): changes are told as they come, until DONE.

Hints of the store wake us; besides, accounts are compared every few seconds, because a hint may be
lost.
"""

from __future__ import annotations

import asyncio
from typing import Any

from estafeta.read.imap.session import Goodbye, Session
from estafeta.read.watch import watch
from estafeta.wire.imap import commands as a
from estafeta.wire.imap.machine import Ended, IdleBroken, IdleDone


async def idle(s: Session, c: a.Idle) -> None:
    """Serves one IDLE."""
    settings = s.house.settings
    s.machine.begin_idle()
    listening = s.store.listen(("account", s.owner))
    net = watch(s.store)
    closing = asyncio.ensure_future(s.house.guests.closing.wait())
    reading: asyncio.Future[bytes] | None = None
    hint: asyncio.Future[None] | None = None
    poked = net.join(s.owner, settings.poll_seconds)
    loop = asyncio.get_running_loop()
    until = loop.time() + settings.idle_seconds
    try:
        while (event := s.machine.next()) is None:
            await s.sync(expunge=True)
            await s.flush()
            reading = reading or asyncio.ensure_future(s.stream.read())
            hint = hint or asyncio.ensure_future(listening.wait())
            waiting: set[asyncio.Future[Any]] = {reading, hint, poked, closing}
            await asyncio.wait(
                waiting, timeout=until - loop.time(), return_when=asyncio.FIRST_COMPLETED
            )
            if reading.done():
                s.machine.receive(reading.result())
                reading = None
                until = loop.time() + settings.idle_seconds
            elif closing.done() or loop.time() >= until:
                s.raise_timeout()
            if hint.done():
                hint.result()
                hint = None
            if poked.done():
                poked = net.renew(s.owner, poked)
    finally:
        listening.close()
        net.leave(s.owner, poked)
        for task in (reading, hint, closing):
            if task is not None:
                task.cancel()
    if isinstance(event, Ended):
        raise Goodbye(event.reason or "the client closed", said=not event.reason)
    assert isinstance(event, IdleDone)
    if not isinstance(event, IdleBroken):
        s.machine.ok(c.tag, "done")
