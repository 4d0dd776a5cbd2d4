"""Bodies: what requests of the API carry, as JSON objects. An unknown field is an error."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from estafeta.compose.limits import RECIPIENTS_MAX as PREFLIGHT_RECIPIENTS_MAX
from estafeta.deliver.policy.rules import FIELDS, Rules
from estafeta.office.api.limits import RECIPIENTS_MAX, TRIAL_DAYS_MAX, WRITTEN_CHARACTERS_MAX
from estafeta.queue.limits import CORRECTIONS_MAX, REASON_CHARACTERS_MAX

Address = Annotated[
    str, Meta(min_length=1, max_length=320, extra_json_schema={"format": "idn-email"})
]
Addresses = Annotated[list[Address], Meta(max_length=RECIPIENTS_MAX)]
Fields = Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=len(FIELDS))]
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


class Recipients(_Body, frozen=True):
    """recipients: as somebody wrote them. account: who would write to them; needed where the token
    is for administration, and no other than the token's own where it is for an account."""

    recipients: Annotated[
        list[Annotated[str, Meta(max_length=WRITTEN_CHARACTERS_MAX)]],
        Meta(min_length=1, max_length=PREFLIGHT_RECIPIENTS_MAX),
    ]
    account: Annotated[str, Meta(max_length=320)] = ""


class Nothing(_Body, frozen=True):
    """Nothing needs to be said."""


class Unset(_Body, frozen=True):
    """fields: of which nothing is said any more; all: of everything. One of them."""

    fields: Fields = []
    all: bool = False


class Trial(_Body, frozen=True):
    """say: what the scope would say; unset: of which it would say nothing more. days: how far back
    stored mail is tried."""

    say: Rules = Rules()
    unset: Fields = []
    days: Annotated[int, Meta(ge=1, le=TRIAL_DAYS_MAX)] = 7
