"""spf: whether a domain's SPF record lets an address send for it (RFC 7208), as others see us.

Asked of our own domains, to find out whether a fault of theirs is mended; who judges mail that
comes in needs the macros of RFC 7208 §7 too. Terms that use them match nothing here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable
from typing import Literal

from estafeta.resolve.answer import Answer, Found, Trouble
from estafeta.resolve.limits import SPF_LOOKUPS_MAX, SPF_MX_MAX

Ask = Callable[[str, str], Awaitable[Answer]]
Result = Literal["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"]
"""RFC 7208 §2.6."""

_QUALIFIERS: dict[str, Result] = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
_TERM = re.compile(r"([-+~?]?)(all|include|a|mx|ptr|ip4|ip6|exists)(?::([^/]*))?(/[0-9/]+)?", re.I)
_CIDR = re.compile(r"(?:/(\d{1,3}))?(?://(\d{1,3}))?")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class _TroubleError(Exception):
    """The DNS gives no answer."""


class _BrokenError(Exception):
    """The record cannot be used."""


async def spf_result(ask: Ask, domain: str, address: str) -> Result:
    """Of `domain` for mail from `address`; does not raise."""
    try:
        return await _Evaluation(ask, ipaddress.ip_address(address)).of(domain)
    except _TroubleError:
        return "temperror"
    except _BrokenError:
        return "permerror"


class _Evaluation:
    """One check: what it may still look up."""

    def __init__(self, ask: Ask, address: Address) -> None:
        self._ask = ask
        self._address = address
        self._lookups = SPF_LOOKUPS_MAX

    async def of(self, domain: str) -> Result:
        record = await self._record(domain)
        if record is None:
            return "none"
        redirect = ""
        for term in record.split()[1:]:
            if term.lower().startswith("redirect="):
                redirect = term[len("redirect=") :]
                continue
            if "=" in term.partition(":")[0]:
                continue  # §6: a modifier that is not known
            match = _TERM.fullmatch(term)
            if match is None:
                raise _BrokenError
            qualifier, mechanism, value, cidr = match.groups()
            if await self._matches(mechanism.lower(), value or "", cidr or "", domain):
                return _QUALIFIERS[qualifier or "+"]
        if not redirect:
            return "neutral"
        if "%" in redirect:
            raise _BrokenError
        self._spend()
        found = await self.of(redirect)
        if found == "none":
            raise _BrokenError  # §6.1
        return found

    async def _record(self, domain: str) -> str | None:
        answer = await self._asked(domain, "TXT")
        if answer is None:
            return None
        texts = [
            b"".join(record.strings).decode("ascii", "replace")  # type: ignore[attr-defined]
            for record in answer.records
        ]
        records = [text for text in texts if text.lower().split(" ", 1)[0] == "v=spf1"]
        if len(records) > 1:
            raise _BrokenError  # §4.5
        return records[0] if records else None

    async def _matches(self, mechanism: str, value: str, cidr: str, domain: str) -> bool:
        if mechanism == "all":
            return True
        if mechanism in ("ip4", "ip6"):
            return self._within(f"{value}{cidr}")
        self._spend()
        if "%" in value or mechanism in ("ptr", "exists"):
            return False
        if mechanism == "include":
            return await self._included(value)
        lengths = _CIDR.fullmatch(cidr)
        if lengths is None:
            raise _BrokenError
        length = lengths[1] if self._address.version == 4 else lengths[2]
        hosts = [value or domain]
        if mechanism == "mx":
            hosts = await self._exchanges(value or domain)
        for host in hosts:
            answer = await self._asked(host, "A" if self._address.version == 4 else "AAAA")
            for record in answer.records if answer is not None else ():
                suffix = f"/{length}" if length else ""
                if self._within(f"{record.address}{suffix}"):  # type: ignore[attr-defined]
                    return True
        return False

    async def _included(self, domain: str) -> bool:
        found = await self.of(domain)
        if found in ("none", "permerror"):
            raise _BrokenError  # §5.2
        return found == "pass"

    async def _exchanges(self, domain: str) -> list[str]:
        answer = await self._asked(domain, "MX")
        if answer is None:
            return []
        names = [str(record.exchange).rstrip(".") for record in answer.records]  # type: ignore[attr-defined]
        if len(names) > SPF_MX_MAX:
            raise _BrokenError  # §4.6.4
        return [name for name in names if name]

    def _within(self, network: str) -> bool:
        try:
            return self._address in ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise _BrokenError from None

    def _spend(self) -> None:
        """§4.6.4: a record must not make us ask without end."""
        self._lookups -= 1
        if self._lookups < 0:
            raise _BrokenError

    async def _asked(self, name: str, rdtype: str) -> Found | None:
        answer = await self._ask(name, rdtype)
        if isinstance(answer, Trouble):
            raise _TroubleError
        return answer if isinstance(answer, Found) else None
