"""Self-check: looks after mail that is held because of a fault of our own set-up.

One worker does it for all that share the store (store/duty.py). Promises: each fault is told to the
administrator once for each house that refuses us for it; what it is about is checked at the set
interval, and when it is in order the mail goes on; what is not mended in time is returned; nothing
of it is lost by a restart, since all of it stands in the store (queue/parked.py).
"""

from __future__ import annotations

import asyncio
from functools import partial

import structlog

from estafeta.explain.faults import Checked, Fault, faults
from estafeta.intake.prepared import PreparedAcceptance
from estafeta.mail.protocols import Meter
from estafeta.office import fault_notice
from estafeta.office.assemble import Installation
from estafeta.office.http import Check
from estafeta.office.limits import SELF_CHECK_LOOK_SECONDS, SELF_CHECK_TERM_SECONDS
from estafeta.office.self_checks import check_fault
from estafeta.queue import parked
from estafeta.store import duty
from estafeta.store.engine import Store, StoreError, StoreUncertain, Tx

DUTY = "self-check"

_LOOK_MS = int(SELF_CHECK_LOOK_SECONDS * 1000)
_TERM_MS = int(SELF_CHECK_TERM_SECONDS * 1000)

log = structlog.get_logger("self-check")


class SelfCheck:
    """A component of the service."""

    name = "self-check"

    def __init__(self, installation: Installation, meter: Meter) -> None:
        self._installation = installation
        self._store = installation.store
        self._meter = meter
        self._task: asyncio.Task[None] | None = None
        self._announced = False

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def drain(self) -> None:
        """What it does is taken up again by whoever comes after."""

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def reload(self) -> None:
        """Settings are read at each use."""

    async def _run(self) -> None:
        while True:
            try:
                if await self._store.read(parked.anything):
                    await self._take_turn()
            except (StoreError, OSError) as error:
                log.warning("self-check failed", error=str(error))
            except Exception:
                # A bug of ours in here must not keep mail held for ever.
                log.exception("self-check failed")
            await asyncio.sleep(SELF_CHECK_LOOK_SECONDS)

    def _now(self) -> int:
        return int(self._installation.world.clock.now() * 1000)

    async def _take_turn(self) -> None:
        now = self._now()
        if not self._announced:  # who has nothing to look after writes nothing
            await self._store.run(partial(duty.announce, name=DUTY, now=0, interval=0))
            self._announced = True
        if not await self._store.read(partial(duty.is_due, name=DUTY, now=now, interval=_LOOK_MS)):
            return
        number = await self._store.run(
            partial(duty.take, name=DUTY, now=now, interval=_LOOK_MS, term=_TERM_MS)
        )
        if number is None:
            return  # another was faster
        try:
            await self.look()
        finally:
            # Half an interval, so that whoever looks next in turn finds it due.
            due = self._now() + _LOOK_MS // 2
            await self._store.run(partial(duty.end, name=DUTY, number=number, due=due))

    async def look(self) -> None:
        """Everything once. Raises StoreError."""
        now = self._now()
        await self._store.run(partial(parked.tidy, now=now))
        while await self._installation.queue.return_parked():
            pass
        await self._tell(await self._check(now))

    async def _check(self, now: int) -> dict[tuple[str, str], Checked]:
        """What is known of each fault, after those that are due were looked at."""
        interval = int(self._installation.config.queue.park_check * 1000)
        findings: dict[tuple[str, str], Checked] = {}
        for each in await self._store.read(parked.standing):
            fault = faults().get(each.fault)
            if fault is None:
                continue  # of another version of this program
            key = (each.fault, each.about)
            finding = each.finding
            if finding is None or each.due <= now or each.due > now + interval:
                finding = await self._found(fault, each.about)
                result = {True: "holds", False: "fails", None: "unknown"}[finding.holds]
                self._meter.count("self_checks", fault=each.fault, result=result)
                log.info(
                    "checked",
                    fault=each.fault,
                    about=each.about,
                    finding=finding.in_words("en"),
                    held=each.count,
                )
                await self._store.run(
                    partial(
                        parked.checked,
                        fault=each.fault,
                        about=each.about,
                        finding=finding,
                        due=now + interval,
                    )
                )
                if finding.holds:
                    await self._release(each.fault, each.about, finding, interval)
            findings[key] = finding
        return findings

    async def _found(self, fault: Fault, about: str) -> Checked:
        try:
            return await check_fault(self._installation, fault, about)
        except Exception:
            # A bug of ours; the others are looked at all the same.
            log.exception("check failed", fault=fault.code, about=about)
            return Checked(None, "failed")

    async def _release(self, fault: str, about: str, finding: Checked, interval: int) -> None:
        total = 0
        while count := await self._store.run(
            partial(
                parked.release,
                fault=fault,
                about=about,
                finding=finding,
                now=self._now(),
                interval=interval,
                event=self._installation.ids.next(),
            )
        ):
            total += count
        if total:
            log.info("released", fault=fault, about=about, recipients=total)

    async def _tell(self, findings: dict[tuple[str, str], Checked]) -> None:
        for what in await self._store.read(parked.untold):
            why = what.parking
            finding = findings.get((why.fault, why.about))
            if finding is None:
                continue  # came just now: the next time
            now = self._now()
            log.warning(
                "mail is held for a fault of our own",
                fault=why.fault,
                about=why.about,
                refused_by=why.family,
                held=what.count,
                title=_title(why.fault),
                finding=finding.in_words("en"),
            )
            notice = await fault_notice.prepare(self._installation, what, finding, now=now)
            await self._accept(notice, why, now)

    async def _accept(self, notice: PreparedAcceptance, why: parked.Parking, now: int) -> None:
        """Told and accepted in one unit, unless somebody else has told it."""

        def unit(tx: Tx) -> bool:
            if not parked.told(tx, why, now):
                return False
            notice.apply(tx)
            return True

        try:
            done = await self._store.run(unit, accounts=notice.accounts)
        except StoreUncertain:
            notice.doubted()
            raise
        except BaseException:
            notice.abandoned()
            raise
        if done:
            notice.committed()
        else:
            notice.abandoned()


def remarks(store: Store) -> dict[str, Check]:
    """For /healthz: what is held, and why."""

    async def held() -> str:
        return "; ".join(
            f"{each.count} held: {_title(each.fault)}"
            + (f" ({each.finding.in_words('en')})" if each.finding else "")
            for each in await store.read(parked.standing)
        )

    return {"own-faults": held}


def _title(code: str) -> str:
    fault = faults().get(code)
    return code if fault is None else fault.in_words("en").title
