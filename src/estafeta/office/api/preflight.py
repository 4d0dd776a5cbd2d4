"""Preflight: of addresses that an account is about to write to: will it arrive?"""

from __future__ import annotations

import math

from estafeta.compose.limits import CHECKS_BURST, CHECKS_SECONDS, RECIPIENTS_MAX
from estafeta.compose.preflight import Preflight, TooOften
from estafeta.explain.words import pick_language
from estafeta.office.api.bodies import Recipients
from estafeta.office.api.call import Call, preferred
from estafeta.office.api.errors import ApiError
from estafeta.office.api.route import WITH_BODY, Route
from estafeta.office.api.whose import whose
from estafeta.office.assemble import Installation
from estafeta.office.preflights import Told, preflight, told


class Preflights:
    """Over one installation."""

    def __init__(self, whole: Installation) -> None:
        self._whole = whole
        self._config = whole.config
        self._preflight = self._made()

    async def check_recipients(self, call: Call) -> list[Told]:
        body = call.read(Recipients)
        account = await whose(self._whole.store, call, body.account)
        if self._config is not self._whole.config:  # it was reloaded
            self._config, self._preflight = self._whole.config, self._made()
        try:
            found = await self._preflight.check(
                account, body.recipients, limited=not call.bearer.is_admin
            )
        except TooOften as often:
            seconds = math.ceil(often.seconds)
            raise ApiError(
                "too-many-requests",
                f"this account has had as many addresses looked at as it may; in {seconds} s "
                f"there are {len(body.recipients)} more",
                {"Retry-After": str(seconds)},
            ) from often
        language = pick_language(
            *preferred(call.languages), account.language, self._config.server.language
        )
        return told(found, language)

    def _made(self) -> Preflight:
        whole = self._whole
        return preflight(
            whole.config,
            whole.world,
            whole.store,
            whole.resolver,
            whole.receiving.buckets,
            lambda: whole.queue.standing.drains,
        )


ROUTES = (
    Route(
        method="POST",
        path="/preflight",
        scope="account",
        about="Looks, before a message is sent, at what it would be sent to: the form of each "
        "address, whether its domain exists and takes mail, a likely slip, and what became of the "
        "account's own last message to it. The DNS is asked, no other server; who is here is told "
        f"of the account's own domain alone. {RECIPIENTS_MAX} addresses at once, {CHECKS_BURST} in "
        f"{CHECKS_SECONDS / 60:.0f} minutes.",
        desk=Preflights,
        handler=Preflights.check_recipients,
        answer="a list, one for each recipient in order, with words in the language that "
        "Accept-Language asks for",
        returns=list[Told],
        in_language=True,
        body=Recipients,
        errors=("not-found", *WITH_BODY),
    ),
)
