"""Table: every route of the API, with who may, what it takes and what can go wrong.

The only list there is: routes are made from it, docs/api.md and docs/openapi.json. The routes of
each subject stand with what serves them.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from estafeta.office.api import bodies, policy, preflight, stopped, strangers, tried
from estafeta.office.api.errors import Code
from estafeta.office.api.operations import AGE_SECONDS_MAX, Destinations, Operations
from estafeta.office.api.route import PAGE, PAGING, WITH_BODY, Parameter, Route
from estafeta.office.journey import Journey
from estafeta.queue.handling import Corrected, Done
from estafeta.queue.listing import Page, State

_DONE = "`{counts, recipients}`: rows by result, and the first 1,000 one by one"
_CORRECTED = "`{queue_id, child, recipients}`; `child` is what goes to the other addresses"
_ONE: tuple[Code, ...] = ("not-found", "conflict", *WITH_BODY)
_MANY: tuple[Code, ...] = ("conflict", *WITH_BODY)
_DESTINATION: tuple[Code, ...] = ("forbidden", "not-found", *WITH_BODY)

_QUEUE: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/queue",
        scope="account",
        about="What waits, the oldest first.",
        desk=Operations,
        handler=Operations.list_queue,
        answer=PAGE,
        returns=Page,
        query=(
            Parameter("sender", "only those from this address", bodies.Address),
            Parameter("recipient", "only those for this address", bodies.Address),
            Parameter("destination", "only those for this domain"),
            Parameter(
                "state",
                "only `waiting`, `sending`, `held`, `suspended` or `returning` ones",
                State,
            ),
            Parameter("cause", "only those whose last attempt failed for this cause"),
            Parameter(
                "older_than",
                "only those accepted so many seconds ago or more",
                Annotated[int, Meta(ge=0, le=AGE_SECONDS_MAX)],
            ),
            *PAGING,
        ),
    ),
    Route(
        method="GET",
        path="/queue/{id}",
        scope="account",
        about="The recipients of one message that wait; none where all have ended.",
        desk=Operations,
        handler=Operations.show_message,
        answer=PAGE,
        returns=Page,
        query=PAGING,
        errors=("not-found",),
    ),
    Route(
        method="POST",
        path="/queue/retry",
        scope="account",
        about="Tries again now, whatever the plan says.",
        desk=Operations,
        handler=Operations.retry,
        answer=_DONE,
        returns=Done,
        body=bodies.Several,
        errors=_MANY,
    ),
    Route(
        method="POST",
        path="/queue/hold",
        scope="account",
        about="Does not try until it is released.",
        desk=Operations,
        handler=Operations.hold,
        answer=_DONE,
        returns=Done,
        body=bodies.SeveralWithReason,
        errors=_MANY,
    ),
    Route(
        method="POST",
        path="/queue/release",
        scope="account",
        about="Tries what was held, now.",
        desk=Operations,
        handler=Operations.release,
        answer=_DONE,
        returns=Done,
        body=bodies.Several,
        errors=_MANY,
    ),
    Route(
        method="POST",
        path="/queue/cancel",
        scope="account",
        about="Does not send any more, for good; nobody is told.",
        desk=Operations,
        handler=Operations.cancel,
        answer=_DONE,
        returns=Done,
        body=bodies.SeveralWithReason,
        errors=_MANY,
    ),
    Route(
        method="POST",
        path="/queue/{id}/retry",
        scope="account",
        about="Tries one message again now, whatever the plan says.",
        desk=Operations,
        handler=Operations.retry_message,
        answer=_DONE,
        returns=Done,
        body=bodies.Named,
        errors=_ONE,
    ),
    Route(
        method="POST",
        path="/queue/{id}/hold",
        scope="account",
        about="Does not try one message until it is released.",
        desk=Operations,
        handler=Operations.hold_message,
        answer=_DONE,
        returns=Done,
        body=bodies.NamedWithReason,
        errors=_ONE,
    ),
    Route(
        method="POST",
        path="/queue/{id}/release",
        scope="account",
        about="Tries one message that was held, now.",
        desk=Operations,
        handler=Operations.release_message,
        answer=_DONE,
        returns=Done,
        body=bodies.Named,
        errors=_ONE,
    ),
    Route(
        method="POST",
        path="/queue/{id}/cancel",
        scope="account",
        about="Does not send one message any more, for good; nobody is told.",
        desk=Operations,
        handler=Operations.cancel_message,
        answer=_DONE,
        returns=Done,
        body=bodies.NamedWithReason,
        errors=_ONE,
    ),
    Route(
        method="POST",
        path="/queue/{id}/correct",
        scope="account",
        about="Sends to other addresses in place of recipients that wait or have failed.",
        desk=Operations,
        handler=Operations.correct,
        answer=_CORRECTED,
        returns=Corrected,
        body=bodies.Corrections,
        errors=_ONE,
    ),
    Route(
        method="POST",
        path="/queue/{id}/resend",
        scope="account",
        about="Sends once more to those recipients that failed, and to nobody else.",
        desk=Operations,
        handler=Operations.resend,
        answer=_CORRECTED,
        returns=Corrected,
        body=bodies.Named,
        errors=_ONE,
    ),
    Route(
        method="GET",
        path="/messages/{id}",
        scope="account",
        about="The journey of a message and of what came of it, as `estafeta trace --json` has "
        "it, in the language that Accept-Language asks for.",
        desk=Operations,
        handler=Operations.journey,
        answer="a list of journeys, the message's own first",
        returns=list[Journey],
        in_language=True,
        errors=("not-found",),
    ),
    Route(
        method="GET",
        path="/suspended",
        scope="admin",
        about="Domains that are suspended, and those that are drained to another host.",
        desk=Operations,
        handler=Operations.list_suspended,
        answer="`{suspended, drained}`",
        returns=Destinations,
        errors=("forbidden",),
    ),
    Route(
        method="PUT",
        path="/suspended/{domain}",
        scope="admin",
        about="Tries nothing for a domain until it is resumed; `*` is all of them.",
        desk=Operations,
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
        desk=Operations,
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
        desk=Operations,
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
        desk=Operations,
        handler=Operations.undrain,
        answer="nothing",
        status=204,
        errors=("forbidden", "not-found"),
    ),
)

ROUTES: tuple[Route, ...] = (
    *_QUEUE,
    *preflight.ROUTES,
    *tried.ROUTES,
    *policy.ROUTES,
    *stopped.ROUTES,
    *strangers.ROUTES,
)
