"""Objects: the object store that the configuration names."""

from __future__ import annotations

from estafeta.office.config import Config
from estafeta.store.bodies import BodiesRefused
from estafeta.world.objects import S3Objects
from estafeta.world.seams import Objects, ObjectsRefused


def objects_of(config: Config) -> Objects | None:
    """None where no bucket is named. Talks to nobody yet. Raises BodiesRefused, in one sentence."""
    s3 = config.s3
    if not s3.bucket:
        return None
    try:
        return S3Objects(
            s3.bucket,
            endpoint=s3.endpoint,
            region=s3.region,
            prefix=s3.prefix,
            access_key_id=s3.access_key_id,
            secret_access_key=s3.secret_access_key,
            virtual_host=s3.addressing == "host",
        )
    except ObjectsRefused as error:
        raise BodiesRefused(str(error)) from error
