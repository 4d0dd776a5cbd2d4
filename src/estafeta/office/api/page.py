"""Page: docs/api.md, made from the table."""

from __future__ import annotations

import msgspec

from estafeta.deliver.policy.replay import Replayed
from estafeta.deliver.policy.rules import Rules
from estafeta.office.api.errors import MEANING, STATUS
from estafeta.office.api.policy import Policy
from estafeta.office.api.route import EVERYWHERE, PREFIX, Route
from estafeta.office.api.stopped import StoppedSender
from estafeta.office.api.strangers import Remembered
from estafeta.office.api.table import ROUTES
from estafeta.office.docs_pages import make_table
from estafeta.office.preflights import Told
from estafeta.office.strangers import Looked
from estafeta.office.tried import LetIn, Tried
from estafeta.queue import hand, handling, listing
from estafeta.store.outcomes import Last


def api_page() -> str:
    """Every route, what it takes and answers, and every error."""
    parts = [
        "# HTTP API\n\n"
        "For programs: the queue and the journey of messages, what may come in, and who tried, at "
        "the `http` listener. "
        "`estafeta token add` makes a token; it is shown as `Authorization: Bearer …`. A token for "
        "an account sees and touches what that account has sent, who tried to reach it, and its "
        "own policy; what belongs to others does not exist for it; a token for administration sees "
        "everything. Tokens are taken over TLS (a "
        "proxy on this machine says so by X-Forwarded-Proto), from the machine itself, and from "
        "`[http] plaintext_token_networks`.\n\n"
        "Bodies and answers are JSON. Times are milliseconds since 1970 UTC; queue ids are those "
        "of `estafeta queue` and `estafeta trace`. What is refused is answered "
        '`{"error": code, "detail": sentence}`. How much one token may ask for stands in '
        "[limits](limits.md). The same for programs, as OpenAPI 3.1: [openapi.json](openapi.json), "
        f"which `GET {PREFIX}/openapi.json` answers without a token.\n\n"
        "    curl -H 'Authorization: Bearer estafeta_…' http://127.0.0.1:8080/api/v1/queue\n"
    ]
    rows = [(f"`{r.method} {PREFIX}{r.path}`", r.scope, r.about) for r in ROUTES]
    parts.append("## Routes\n\n" + make_table(("route", "scope", "what it does"), rows) + "\n")
    parts += [_section(route) for route in ROUTES]
    parts.append("## Errors\n")
    errors = [
        (str(STATUS[code]), f"`{code}`", MEANING[code], "every route" if code in EVERYWHERE else "")
        for code in sorted(STATUS, key=lambda code: (STATUS[code], code))
    ]
    parts.append(make_table(("status", "error", "meaning", "answered by"), errors) + "\n")
    parts.append("## Objects\n")
    for title, kind in (
        ("A row of the queue", listing.Waiting),
        ("A recipient that was touched", hand.Touched),
        ("What was done", handling.Done),
        ("What was corrected", handling.Corrected),
        ("An address that was looked at", Told),
        ("A last message", Last),
        ("Who tried to come in", Tried),
        ("Who is let in", LetIn),
        ("A policy", Policy),
        ("What a policy says", Rules),
        ("A policy that was tried", Replayed),
        ("A sender that was stopped", StoppedSender),
        ("What greylisting remembers", Remembered),
        ("What lists say", Looked),
    ):
        fields = ", ".join(f"`{name}`" for name in kind.__struct_fields__)
        about = " ".join((kind.__doc__ or "").split())
        parts.append(f"**{title}**: {fields}. {about}\n")
    return "\n".join(parts)


def _section(route: Route) -> str:
    parts = [f"### {route.method} {PREFIX}{route.path}\n\n{route.about}\n"]
    if route.query:
        rows = [(f"`{p.name}`" + (" (needed)" if p.needed else ""), p.about) for p in route.query]
        parts.append(make_table(("parameter", "what for"), rows) + "\n")
    if route.body is not None:
        about = " ".join((route.body.__doc__ or "").split())
        parts.append(f"Body: {_fields(route.body)}. {about}\n")
    own = ", ".join(f"{STATUS[code]} `{code}`" for code in route.errors) or "none"
    parts.append(
        f"Scope: {route.scope}. Answers {route.status}, {route.answer}. Own errors: {own}.\n"
    )
    return "\n".join(parts)


def _fields(body: type[msgspec.Struct]) -> str:
    """`name` (needed) for each."""
    return ", ".join(
        f"`{field.name}`" + (" (needed)" if field.required else "")
        for field in msgspec.structs.fields(body)
    )
