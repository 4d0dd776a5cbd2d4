"""Bodies: what requests of the API carry, as JSON objects. An unknown field is an error."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from estafeta.office.api.limits import RECIPIENTS_MAX
from estafeta.queue.limits import CORRECTIONS_MAX, REASON_CHARACTERS_MAX

Address = Annotated[
    str, Meta(min_length=1, max_length=320, extra_json_schema={"format": "idn-email"})
]
Addresses = Annotated[list[Address], Meta(max_length=RECIPIENTS_MAX)]
Reason = Annotated[str, Meta(max_length=REASON_CHARACTERS_MAX)]


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A JSON object."""


class Named(_Body, frozen=True):
    """recipients: of these alone; without them, all."""

    recipients: Addresses = []


class NamedWithReason(_Body, frozen=True):
    """recipients: of these alone; without them, all. reason: shown wherever it is asked for."""

    recipients: Addresses = []
    reason: Reason = ""


class Several(_Body, frozen=True):
    """destination: those for this domain; all: whatever waits. One of them."""

    destination: Annotated[str, Meta(max_length=320)] = ""
    all: bool = False


class SeveralWithReason(_Body, frozen=True):
    """destination: those for this domain; all: whatever waits. One of them. reason: shown wherever
    it is asked for."""

    destination: Annotated[str, Meta(max_length=320)] = ""
    all: bool = False
    reason: Reason = ""


class OneCorrection(_Body, frozen=True):
    """A recipient as it was, and where the message is to go instead."""

    was: Address
    to: Address


class Corrections(_Body, frozen=True):
    """Each recipient once."""

    corrections: Annotated[list[OneCorrection], Meta(min_length=1, max_length=CORRECTIONS_MAX)]


class Why(_Body, frozen=True):
    """reason: shown wherever it is asked for."""

    reason: Reason = ""


class Where(_Body, frozen=True):
    """host: a name or an address."""

    host: Annotated[str, Meta(min_length=1, max_length=255)]
    port: Annotated[int, Meta(ge=1, le=65535)] = 25
