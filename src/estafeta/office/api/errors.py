"""Errors of the API: a status, a stable code for programs, and a sentence for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

Code = Literal[
    "unauthorized",
    "tls-required",
    "forbidden",
    "not-found",
    "not-allowed",
    "timeout",
    "conflict",
    "too-large",
    "invalid",
    "too-many-requests",
    "internal",
    "unavailable",
]

STATUS: dict[Code, int] = {
    "unauthorized": 401,
    "tls-required": 403,
    "forbidden": 403,
    "not-found": 404,
    "not-allowed": 405,
    "timeout": 408,
    "conflict": 409,
    "too-large": 413,
    "invalid": 422,
    "too-many-requests": 429,
    "internal": 500,
    "unavailable": 503,
}

MEANING: dict[Code, str] = {
    "unauthorized": "no token was shown, or one that opens nothing (any more)",
    "tls-required": "a token must not travel in the clear: over TLS, or from the machine itself",
    "forbidden": "the token is for an account, and this is for administration alone",
    "not-found": "there is no such thing, or it belongs to somebody else",
    "not-allowed": "the path exists, not with this method",
    "timeout": "the body did not come in time, or what was asked for takes too long",
    "conflict": "it is not in a state in which that can be done, or somebody else was faster",
    "too-large": "the body is larger than a request may be",
    "invalid": "the request has not the form it must have; the detail names the place",
    "too-many-requests": "come again after the seconds that Retry-After says",
    "internal": "a fault of ours; the log has more",
    "unavailable": "the store does not answer, or cannot be written",
}


class ApiError(Exception):
    """Raised by whoever cannot go on; becomes the answer."""

    def __init__(self, code: Code, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})

    @property
    def status(self) -> int:
        return STATUS[self.code]

    @property
    def body(self) -> bytes:
        return msgspec.json.encode({"error": self.code, "detail": self.detail})
