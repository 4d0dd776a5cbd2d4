"""Route: one thing that can be asked of the API, as data: who may, what it takes, what it answers.

Requests are served, docs/api.md is written and openapi.json is made from these alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from estafeta.office.api.call import Call
from estafeta.office.api.errors import Code
from estafeta.office.api.limits import QUERY_CHARACTERS_MAX
from estafeta.office.assemble import Installation
from estafeta.queue.limits import LISTED_MAX

PREFIX = "/api/v1"

Word = Annotated[str, Meta(min_length=1, max_length=QUERY_CHARACTERS_MAX)]
"""What stands in a path or a query, where nothing more is known of it."""


class Parameter(msgspec.Struct, frozen=True):
    """One of the path, the query or the header. takes: its type, with its bounds. needed: without
    it there is no answer."""

    name: str
    about: str
    takes: Any = Word
    needed: bool = False


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """scope: "account" is open to both kinds of token, "admin" to that for administration alone.

    desk: whose method the handler is; one of it serves all routes that name it. answer: what comes
    with `status`; returns: its type. errors: those of its own, besides those of every route.
    in_language: it is written in the language that Accept-Language asks for.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    scope: Literal["account", "admin"]
    about: str
    desk: Callable[[Installation], Any]
    handler: Callable[[Any, Call], Awaitable[Any]]
    answer: str
    returns: Any = None
    query: tuple[Parameter, ...] = ()
    body: type[msgspec.Struct] | None = None
    status: int = 200
    errors: tuple[Code, ...] = ()
    in_language: bool = False

    @property
    def name(self) -> str:
        """By which programs call it."""
        return str(self.handler.__name__)


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

WITH_BODY: tuple[Code, ...] = ("too-large", "timeout")
"""What any route that takes a body may answer."""

PATH: dict[str, Parameter] = {
    "id": Parameter("id", "a queue id"),
    "domain": Parameter("domain", "a domain, an address literal, or `*`"),
    "account": Parameter("account", "the address of an account; of a token for one, its own"),
    "row": Parameter("row", "a row of a journal"),
    "scope": Parameter(
        "scope",
        "`installation`, a domain, or the address of an account; of a token for one, its own",
    ),
}
"""What may stand in the braces of a path."""

PAGING = (
    Parameter(
        "cursor",
        "`next` of the page before; without it, the first page",
        Annotated[str, Meta(max_length=QUERY_CHARACTERS_MAX)],
    ),
    Parameter(
        "limit",
        f"rows on a page, 1 to {LISTED_MAX}",
        Annotated[int, Meta(ge=1, le=LISTED_MAX)],
    ),
)
PAGE = "`{rows, next}`; `next` is empty on the last page"
