"""Domain: the right side of an address, in the one form we keep it in.

Promises: lower case, A-labels by IDNA 2008 (RFC 5891), address literals as RFC 5321 §4.1.3 writes
them; anything else is an `AddressError` that says what was expected.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from functools import lru_cache

import idna

from estafeta.mail.limits import DOMAIN_OCTETS_MAX, LABEL_OCTETS_MAX

# RFC 5321 §4.1.2 knows letters, digits and hyphens. Hosts with "_" in their names send mail all the
# same, and a refusal for it would lose it.
_ASCII_DOMAIN = re.compile(
    r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*"
)
_GENERAL_LITERAL = re.compile(r"[A-Za-z0-9-]*[A-Za-z0-9]:[!-Z^-~]+")


class AddressError(ValueError):
    """An address that is none; the text says what was expected."""


def canonical_domain(domain: str) -> str:
    """A domain or address literal in canonical form. Raises AddressError."""
    if domain.startswith("["):
        return _canonical_literal(domain)
    if len(domain) > DOMAIN_OCTETS_MAX:
        raise AddressError(f"a domain of at most {DOMAIN_OCTETS_MAX} octets was expected")
    return _canonical_name(domain)


@lru_cache(maxsize=1024)  # of DOMAIN_OCTETS_MAX each; one and the same domain comes many times
def _canonical_name(domain: str) -> str:
    if domain.isascii():
        lowered = domain.lower()
    else:
        try:
            lowered = idna.encode(domain, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            raise AddressError(
                f"a domain that IDNA 2008 allows was expected: {_brief(error)}"
            ) from None
    if _ASCII_DOMAIN.fullmatch(lowered) is None:
        raise AddressError(
            "a domain was expected after @: labels of letters, digits and hyphens, dots between"
        )
    if len(lowered) > DOMAIN_OCTETS_MAX:
        raise AddressError(f"a domain of at most {DOMAIN_OCTETS_MAX} octets was expected")
    if len(lowered) > LABEL_OCTETS_MAX and any(
        len(label) > LABEL_OCTETS_MAX for label in lowered.split(".")
    ):
        raise AddressError(f"labels of at most {LABEL_OCTETS_MAX} octets were expected")
    return lowered


def _brief(error: Exception) -> str:
    return str(error)[:120]


def _canonical_literal(text: str) -> str:
    """RFC 5321 §4.1.3: [192.0.2.1], [IPv6:2001:db8::1], or a tag and text."""
    if len(text) > DOMAIN_OCTETS_MAX or not text.endswith("]"):
        raise AddressError("an address literal was expected: [192.0.2.1] or [IPv6:2001:db8::1]")
    inner = text[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            if "%" in inner:
                raise ValueError("a scope has no place in a literal")
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:])}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError:
        if inner[:5].lower() != "ipv6:" and _GENERAL_LITERAL.fullmatch(inner):
            return text
    raise AddressError("an address literal was expected: [192.0.2.1] or [IPv6:2001:db8::1]")


def domain_to_unicode(domain: str) -> str:
    """A domain for people: U-labels where an A-label is one, else as it is. Never raises."""
    if "xn--" not in domain:
        return domain
    labels = []
    for label in domain.split("."):
        if label.startswith("xn--"):
            with contextlib.suppress(idna.IDNAError, UnicodeError):
                label = idna.ulabel(label)
        labels.append(label)
    return ".".join(labels)
