"""Objects: whether the bucket for large bodies is there and lets us in. Nothing is put there."""

from __future__ import annotations

import asyncio

from estafeta.office.check.finding import Finding, error, ok, warning
from estafeta.office.config import Config
from estafeta.office.limits import OBJECTS_CHECK_SECONDS
from estafeta.office.objects import objects_of
from estafeta.store.bodies import BodiesRefused
from estafeta.store.bodies.objects import OWNER
from estafeta.world.seams import ObjectMissing, ObjectsError, ObjectsRefused

ABOUT = "bodies"


async def check_objects(config: Config) -> list[Finding]:
    """The bucket that the configuration names; nothing where it names none."""
    try:
        objects = objects_of(config)
        if objects is None:
            return []
        async with asyncio.timeout(OBJECTS_CHECK_SECONDS):
            await objects.get(OWNER, 0, 1)
    except ObjectMissing:
        return [ok(ABOUT, f"bucket {config.s3.bucket} can be read; the first start makes it ours")]
    except (BodiesRefused, ObjectsRefused) as wrong:
        return [error(ABOUT, str(wrong))]
    except (ObjectsError, TimeoutError) as away:
        why = str(away) or f"no answer within {OBJECTS_CHECK_SECONDS:g} s"
        return [warning(ABOUT, f"{why}; until it is there, large messages are answered 451")]
    return [ok(ABOUT, f"bucket {config.s3.bucket} can be read, and an installation has it")]
