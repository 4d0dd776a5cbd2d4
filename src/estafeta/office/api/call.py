"""Call: one request as an operation sees it, read with the care that a stranger's words need."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from estafeta.mail.address import AddressError, canonical, canonical_domain
from estafeta.office.api.errors import ApiError
from estafeta.queue.suspended import ALL
from estafeta.store.bearers import Bearer
from estafeta.store.ids import parse_queue_id

T = TypeVar("T")


class Call(msgspec.Struct, frozen=True):
    """path: what stands in the braces of the route. query: each name once. body: as it came."""

    bearer: Bearer
    path: dict[str, str]
    query: dict[str, str]
    body: bytes
    languages: str = ""

    @property
    def who(self) -> str:
        """As it stands in the journey."""
        token = f"token {self.bearer.name}"
        return token if self.bearer.is_admin else f"{self.bearer.address} ({token})"

    @property
    def id(self) -> int:
        """The message of the path. Raises ApiError: there can be none."""
        text = self.path["id"]
        try:
            return parse_queue_id(text)
        except ValueError:
            raise ApiError("not-found", f"there is no message {text[:100]}") from None

    @property
    def destination(self) -> str:
        """The domain of the path. Raises ApiError."""
        return the_destination(self.path["domain"], "the path")

    def read(self, kind: type[T]) -> T:
        """The body; an empty one is an empty object. Raises ApiError."""
        try:
            return msgspec.json.decode(self.body or b"{}", type=kind)
        except msgspec.ValidationError as wrong:
            raise ApiError("invalid", f"the body: {wrong}") from wrong
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as wrong:
            raise ApiError("invalid", f"the body is not JSON: {wrong}") from wrong

    def number(self, name: str, *, least: int, most: int, otherwise: int) -> int:
        """Of the query. Raises ApiError."""
        text = self.query.get(name)
        if text is None:
            return otherwise
        # Not int() alone: it takes blanks, signs and the digits of every script.
        if not (text.isascii() and text.isdigit() and len(text) <= 15):
            raise ApiError("invalid", f"{name}: a number was expected")
        if not least <= int(text) <= most:
            raise ApiError("invalid", f"{name}: a number from {least} to {most} was expected")
        return int(text)

    def one_of(self, name: str, known: Any, what: str) -> str:
        """Of the query, "" where it is not there. Raises ApiError."""
        text = self.query.get(name)
        if text is None:
            return ""
        if text not in known:
            raise ApiError("invalid", f"{name}: {text[:100]!r} is not {what}")
        return text


def the_address(text: str, place: str) -> str:
    """Canonical, the local part as written. Raises ApiError."""
    try:
        address = canonical(text)
    except AddressError as wrong:
        raise ApiError("invalid", f"{place}: {text[:320]!r} is not an address: {wrong}") from wrong
    if "@" not in address:
        raise ApiError("invalid", f"{place}: {text[:320]!r} is not an address")
    return address


def the_destination(text: str, place: str) -> str:
    """A domain, an address literal, or `*`. Raises ApiError."""
    if text == ALL:
        return text
    try:
        return canonical_domain(text)
    except AddressError as wrong:
        raise ApiError("invalid", f"{place}: {text[:320]!r} is not a domain: {wrong}") from wrong


def preferred(accept: str) -> list[str]:
    """The languages of Accept-Language (RFC 9110 §12.5.4), the most wanted first."""
    wishes: list[tuple[float, str]] = []
    for part in accept.split(",")[:20]:
        tag, _, rest = part.partition(";")
        weight = rest.strip().removeprefix("q=") if rest else "1"
        try:
            wanted = float(weight)
        except ValueError:
            continue
        if tag.strip() and wanted > 0:
            wishes.append((-wanted, tag.strip()))
    return [tag for _, tag in sorted(wishes, key=lambda wish: wish[0])]
