"""Objects: a bucket of S3, or of a server that speaks like it, by obstore (extra `[s3]`).

Promises: every object goes in one PUT with `If-None-Match: *`, so nothing is ever replaced and no
part of an upload stays behind unseen; a request is tried again a few times within bounds; errors
are one line that names what was asked of which bucket.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .limits import (
    OBJECT_CONNECT_SECONDS,
    OBJECT_REQUEST_SECONDS,
    OBJECT_RETRIES_MAX,
    OBJECT_RETRY_SECONDS,
)
from .seams import ObjectExists, ObjectMissing, ObjectsError, ObjectsRefused

if TYPE_CHECKING:
    from obstore.store import ClientConfig

_SAID = re.compile(r"<Code>([^<]*)</Code>\s*<Message>([^<]*)</Message>")
_REFUSALS = frozenset(
    (
        "AccessDenied",
        "AllAccessDisabled",
        "AuthorizationHeaderMalformed",  # the region is another one
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidBucketName",
        "PermanentRedirect",
        "SignatureDoesNotMatch",
    )
)
# Where a machine asks for the credentials of its role.
_METADATA = re.compile(r"http://[^/]*/latest/(?:api/token|meta-data/)")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_OPEN = "open"
NOT_INSTALLED = 'S3 needs the package obstore: pip install "estafeta[s3]"'


class S3Objects:
    """Implements `seams.Objects`.

    endpoint: URL of the server, "" for Amazon's. region: "" as the environment says. prefix: what
    all names begin with, "" or ending in "/". access_key_id: "" for the environment's credentials
    (variables, web identity, container or machine role). virtual_host: the bucket is part of the
    host name instead of the path. authorities: PEM, trusted besides the system's.
    """

    def __init__(
        self,
        bucket: str,
        *,
        endpoint: str = "",
        region: str = "",
        prefix: str = "",
        access_key_id: str = "",
        secret_access_key: str = "",
        virtual_host: bool = False,
        authorities: bytes = b"",
    ) -> None:
        """Talks to nobody yet. Raises ObjectsRefused where a setting makes no sense."""
        try:
            import obstore
            from obstore.store import S3Store
        except ImportError as missing:
            raise ObjectsRefused(NOT_INSTALLED) from missing
        given: dict[str, Any] = {
            "endpoint": endpoint,
            "region": region,
            "access_key_id": access_key_id,
            "secret_access_key": secret_access_key,
        }
        client: ClientConfig = {
            "connect_timeout": timedelta(seconds=OBJECT_CONNECT_SECONDS),
            "timeout": timedelta(seconds=OBJECT_REQUEST_SECONDS),
        }
        found = (os.environ.get(name, "") for name in _ENDPOINTS)
        if (endpoint or next(filter(None, found), "")).startswith("http://"):
            client["allow_http"] = True
        if authorities:
            client["root_certificate"] = authorities
        self._obstore = obstore
        self._prefix = prefix
        self._bucket = bucket
        with self._told(_OPEN):
            self._store = S3Store(
                bucket,
                virtual_hosted_style_request=virtual_host,
                # Some at a time: the one request for many is not spoken by every server.
                disable_bulk_delete=True,
                client_options=client,
                retry_config={
                    "max_retries": OBJECT_RETRIES_MAX,
                    "retry_timeout": timedelta(seconds=OBJECT_RETRY_SECONDS),
                },
                **{name: value for name, value in given.items() if value},
            )

    async def put(self, name: str, data: bytes) -> None:
        with self._told("put", name):
            await self._obstore.put_async(
                self._store, self._prefix + name, data, mode="create", use_multipart=False
            )

    async def get(self, name: str, start: int, end: int) -> memoryview:
        with self._told("get", name):
            found = await self._obstore.get_range_async(
                self._store, self._prefix + name, start=start, end=end
            )
            return memoryview(found)  # a copy of megabytes would hold up the loop

    async def list(self, prefix: str, after: str, limit: int) -> Sequence[tuple[str, int]]:
        own = len(self._prefix)
        found: list[tuple[str, int]] = []
        with self._told("list", prefix):
            listing = self._obstore.list(
                self._store,
                self._prefix + prefix,
                offset=self._prefix + after if after else None,
                chunk_size=limit,
            )
            async for some in listing:
                found.extend((each["path"][own:], each["size"]) for each in some)
                if len(found) >= limit:
                    break
        return found[:limit]

    async def delete(self, names: Sequence[str]) -> None:
        if not names:
            return
        with self._told("delete", names[0]):
            await self._obstore.delete_async(self._store, [self._prefix + n for n in names])

    @contextmanager
    def _told(self, what: str, name: str = "") -> Iterator[None]:
        """Errors of obstore as ours."""
        wrong = self._obstore.exceptions
        asked = f"{what} {self._prefix}{name}".strip()
        place = f"{asked} in bucket {self._bucket}"
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise ObjectsRefused(f"there is no bucket {self._bucket}") from error
            raise ObjectMissing(f"{place}: there is no such object") from error
        except wrong.AlreadyExistsError as error:
            raise ObjectExists(f"{place}: the name is taken") from error
        except (
            wrong.PermissionDeniedError,
            wrong.UnauthenticatedError,
            wrong.InvalidPathError,
            wrong.UnknownConfigurationKeyError,
        ) as error:
            raise ObjectsRefused(f"{place}: {_reason(error)}") from error
        except (wrong.BaseError, OSError, ValueError) as error:
            if what == _OPEN:
                raise ObjectsRefused(f"the bucket cannot be used: {_reason(error)}") from error
            # For a listing, obstore does not tell what it does for the other requests.
            said = _SAID.search(str(error))
            if said is not None and said[1] == "NoSuchBucket":
                raise ObjectsRefused(f"there is no bucket {self._bucket}") from error
            if said is not None and said[1] in _REFUSALS:
                raise ObjectsRefused(f"{place}: {_reason(error)}") from error
            raise ObjectsError(f"{place}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """What the server says (code and message of its XML), else the error's own first line."""
    text = str(error)
    if _METADATA.search(text):
        return (
            "no credentials: neither [s3] nor the environment has any, and no role is given to "
            "this machine"
        )
    said = _SAID.search(text)
    if said is not None:
        return f"{said[1]}: {said[2]}"
    return " ".join(text.split("\n\nDebug source")[0].split())
