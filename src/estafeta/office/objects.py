"""Objects: the object store that the configuration names."""

from __future__ import annotations

from pathlib import Path

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
        authorities = Path(s3.authorities).read_bytes() if s3.authorities else b""
        return S3Objects(
            s3.bucket,
            endpoint=s3.endpoint,
            region=s3.region,
            prefix=s3.prefix,
            access_key_id=s3.access_key_id,
            secret_access_key=s3.secret_access_key,
            virtual_host=s3.addressing == "host",
            authorities=authorities,
        )
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise BodiesRefused(f"[s3] authorities: {s3.authorities}: {reason}") from error
    except ObjectsRefused as error:
        raise BodiesRefused(str(error)) from error
