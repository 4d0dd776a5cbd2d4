"""Table: every route of the API, with who may, what it takes and what can go wrong.

The only list there is: routes are made from it, and docs/api.md.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec

from estafeta.office.api import bodies
from estafeta.office.api.errors import Code
from estafeta.office.api.operations import Operations

PREFIX = "/api/v1"

Handler = Callable[[Operations, Any], Awaitable[Any]]


class Parameter(msgspec.Struct, frozen=True):
    """One of the query."""

    name: str
    about: str


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """scope: "account" is open to both kinds of token, "admin" to that for administration alone.

    answer: what comes with `status`. errors: those of its own, besides those of every route.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    scope: Literal["account", "admin"]
    about: str
    handler: Handler
    answer: str
    query: tuple[Parameter, ...] = ()
    body: type[msgspec.Struct] | None = None
    status: int = 200
    errors: tuple[Code, ...] = ()


EVERYWHERE: tuple[Code, ...] = (
    "unauthorized",
    "tls-required",
    "not-allowed",
    "invalid",
    "too-many-requests",
    "internal",
    "unavailable",
)
"""What any route may answer."""

_PAGING = (
    Parameter("cursor", "`next` of the page before; without it, the first page"),
    Parameter("limit", "rows on a page, 1 to 1000"),
)
_PAGE = "`{rows, next}`; `next` is empty on the last page"
_DONE = "`{counts, recipients}`: rows by result, and the first 1,000 one by one"
_CORRECTED = "`{queue_id, child, recipients}`; `child` is what goes to the other addresses"
_ONE: tuple[Code, ...] = ("not-found", "conflict", "too-large", "timeout")
_MANY: tuple[Code, ...] = ("too-large", "timeout")
_DESTINATION: tuple[Code, ...] = ("forbidden", "too-large", "timeout")

ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/queue",
        scope="account",
        about="What waits, the oldest first.",
        handler=Operations.list_queue,
        answer=_PAGE,
        query=(
            Parameter("sender", "only those from this address"),
            Parameter("recipient", "only those for this address"),
            Parameter("destination", "only those for this domain"),
            Parameter(
                "state", "only `waiting`, `sending`, `held`, `suspended` or `returning` ones"
            ),
            Parameter("cause", "only those whose last attempt failed for this cause"),
            Parameter("older_than", "only those accepted so many seconds ago or more"),
            *_PAGING,
        ),
    ),
    Route(
        method="GET",
        path="/queue/{id}",
        scope="account",
        about="The recipients of one message that wait; none where all have ended.",
        handler=Operations.show_message,
        answer=_PAGE,
        query=_PAGING,
        errors=("not-found",),
    ),
    Route(
        method="POST",
        path="/queue/retry",
        scope="account",
        about="Tries again now, whatever the plan says.",
        handler=Operations.retry,
        answer=_DONE,
        body=bodies.Several,
        errors=_MANY,
    ),
    Route(
        method="POST",
        path="/queue/hold",
        scope="account",
        about="Does not try until it is released.",
        handler=Operations.hold,
        answer=_DONE,
        body=bodies.SeveralWithReason,
        errors=_MANY,
    ),
    Route(
        method="POST",
        path="/queue/release",
        scope="account",
        about="Tries what was held, now.",
        handler=Operations.release,
        answer=_DONE,
        body=bodies.Several,
        errors=_MANY,
    ),
    Route(
        method="POST",
        path="/queue/cancel",
        scope="account",
        about="Does not send any more, for good; nobody is told.",
        handler=Operations.cancel,
        answer=_DONE,
        body=bodies.SeveralWithReason,
        errors=_MANY,
    ),
    Route(
        method="POST",
        path="/queue/{id}/retry",
        scope="account",
        about="Tries one message again now, whatever the plan says.",
        handler=Operations.retry_message,
        answer=_DONE,
        body=bodies.Named,
        errors=_ONE,
    ),
    Route(
        method="POST",
        path="/queue/{id}/hold",
        scope="account",
        about="Does not try one message until it is released.",
        handler=Operations.hold_message,
        answer=_DONE,
        body=bodies.NamedWithReason,
        errors=_ONE,
    ),
    Route(
        method="POST",
        path="/queue/{id}/release",
        scope="account",
        about="Tries one message that was held, now.",
        handler=Operations.release_message,
        answer=_DONE,
        body=bodies.Named,
        errors=_ONE,
    ),
    Route(
        method="POST",
        path="/queue/{id}/cancel",
        scope="account",
        about="Does not send one message any more, for good; nobody is told.",
        handler=Operations.cancel_message,
        answer=_DONE,
        body=bodies.NamedWithReason,
        errors=_ONE,
    ),
    Route(
        method="POST",
        path="/queue/{id}/correct",
        scope="account",
        about="Sends to other addresses in place of recipients that wait or have failed.",
        handler=Operations.correct,
        answer=_CORRECTED,
        body=bodies.Corrections,
        errors=_ONE,
    ),
    Route(
        method="POST",
        path="/queue/{id}/resend",
        scope="account",
        about="Sends once more to those recipients that failed, and to nobody else.",
        handler=Operations.resend,
        answer=_CORRECTED,
        body=bodies.Named,
        errors=_ONE,
    ),
    Route(
        method="GET",
        path="/messages/{id}",
        scope="account",
        about="The journey of a message and of what came of it, as `estafeta trace --json` has "
        "it, in the language that Accept-Language asks for.",
        handler=Operations.journey,
        answer="a list of journeys, the message's own first",
        errors=("not-found",),
    ),
    Route(
        method="GET",
        path="/suspended",
        scope="admin",
        about="Domains that are suspended, and those that are drained to another host.",
        handler=Operations.list_suspended,
        answer="`{suspended, drained}`",
        errors=("forbidden",),
    ),
    Route(
        method="PUT",
        path="/suspended/{domain}",
        scope="admin",
        about="Tries nothing for a domain until it is resumed; `*` is all of them.",
        handler=Operations.suspend,
        answer="nothing",
        body=bodies.Why,
        status=204,
        errors=_DESTINATION,
    ),
    Route(
        method="DELETE",
        path="/suspended/{domain}",
        scope="admin",
        about="Tries again what waits for it.",
        handler=Operations.resume,
        answer="nothing",
        status=204,
        errors=("forbidden", "not-found"),
    ),
    Route(
        method="PUT",
        path="/drained/{domain}",
        scope="admin",
        about="Sends what waits for a domain, and what comes, to another host.",
        handler=Operations.drain,
        answer="nothing",
        body=bodies.Where,
        status=204,
        errors=_DESTINATION,
    ),
    Route(
        method="DELETE",
        path="/drained/{domain}",
        scope="admin",
        about="Its mail goes where the DNS and the configuration say.",
        handler=Operations.undrain,
        answer="nothing",
        status=204,
        errors=("forbidden", "not-found"),
    ),
)
