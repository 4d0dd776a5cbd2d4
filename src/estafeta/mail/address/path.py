"""Path: addresses of the envelope, as MAIL and RCPT carry them.

Promises: one address has one canonical form, so that equal strings are equal addresses: local part
as written with no more quoting than it needs, domain as `domain.canonical_domain` gives it.
Grammar RFC 5321 §4.1.2; UTF-8 RFC 6531 §3.3; lengths RFC 5321 §4.5.3.1.
"""

from __future__ import annotations

import re

from estafeta.mail.address.domain import AddressError, canonical_domain
from estafeta.mail.limits import LOCAL_OCTETS_MAX, PATH_OCTETS_MAX

_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-"
_DOT_STRING = re.compile(rf"[{_ATEXT}]+(?:\.[{_ATEXT}]+)*")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~\x80-\U0010ffff]|\\[ -~])*)"')
_PAIR = re.compile(r"\\(.)")
_TO_ESCAPE = re.compile(r'(["\\])')
_ROUTE = re.compile(r"@[^:<>\"\s]+:")

# What nearly every path and address looks like; the domain is not checked yet.
_SIMPLE = (
    r"([A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++)*+)@([A-Za-z0-9.-]++)"
)
_SIMPLE_PATH = re.compile(rf"<{_SIMPLE}>(?: (.*)|)\Z")
_SIMPLE_ADDRESS = re.compile(rf"{_SIMPLE}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def canonical(address: str) -> str:
    """An address in canonical form. Raises AddressError.

    "" (the null reverse-path) stays "", and "Postmaster" without a domain becomes "postmaster"
    (RFC 5321 §4.1.1.3).
    """
    match = _SIMPLE_ADDRESS.match(address)
    if match is not None and match.end(1) <= LOCAL_OCTETS_MAX and match.end() < PATH_OCTETS_MAX - 1:
        return f"{match[1]}@{canonical_domain(match[2])}"
    return canonical_of_any(address)


def canonical_of_any(address: str) -> str:
    """As `canonical`, with quotes, UTF-8 and literals too."""
    if address == "":
        return ""
    if address.lower() == "postmaster":
        return "postmaster"
    if len(address) > PATH_OCTETS_MAX - 2:
        raise AddressError(f"an address of at most {PATH_OCTETS_MAX - 2} octets was expected")
    local, after = _local_part(address)
    if address[after : after + 1] != "@":
        raise AddressError("local-part@domain was expected, and there is no @ where it belongs")
    whole = f"{local}@{canonical_domain(address[after + 1 :])}"
    if len(whole.encode("utf-8", "surrogatepass")) > PATH_OCTETS_MAX - 2:
        raise AddressError(f"an address of at most {PATH_OCTETS_MAX - 2} octets was expected")
    return whole


def _local_part(text: str) -> tuple[str, int]:
    """The canonical local part at the beginning of the text, and where it ends."""
    if text.startswith('"'):
        match = _QUOTED.match(text)
        if match is None:
            raise AddressError('a closing " was expected in the local part')
        value = _PAIR.sub(r"\1", match[1])
        end = match.end()
    else:
        match = _DOT_STRING.match(text)
        if match is None:
            raise AddressError("a local part was expected before @")
        value = match[0]
        end = match.end()
        if text[end : end + 1] != "@":
            raise AddressError(
                "a local part of letters, digits and !#$%&'*+-/=?^_`{|}~, dots between, was"
                ' expected before @; anything else belongs in "quotes"'
            )
    if _CONTROL.search(value):
        raise AddressError("a local part without control characters was expected")
    try:
        octets = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        raise AddressError("a local part in UTF-8 was expected") from None
    if octets > LOCAL_OCTETS_MAX:
        raise AddressError(f"a local part of at most {LOCAL_OCTETS_MAX} octets was expected")
    return quote(value), end


def quote(value: str) -> str:
    """A local part for use in an address: as it is where that is allowed, else quoted."""
    if _DOT_STRING.fullmatch(value):
        return value
    return '"' + _TO_ESCAPE.sub(r"\\\1", value) + '"'


def unquote(local: str) -> str:
    """What a canonical local part stands for: `"a b"` is a b."""
    if len(local) >= 2 and local[0] == '"' and local[-1] == '"':
        return _PAIR.sub(r"\1", local[1:-1])
    return local


def split(address: str) -> tuple[str, str]:
    """(local part, domain) of a canonical address, both as they stand in it; the domain is ""
    for "postmaster" and for the null reverse-path."""
    local, at, domain = address.rpartition("@")
    return (local, domain) if at else (address, "")


def subaddress(local: str, separator: str = "+") -> tuple[str, str]:
    """(user, detail) of a canonical local part (RFC 5233 §4): "you+x" is ("you", "x").

    The first separator counts; a local part that begins with it has no detail. Without a separator,
    or with separator "", the detail is "".
    """
    value = unquote(local)
    if not separator:
        return local, ""
    user, _, detail = value.partition(separator)
    if not user:
        return local, ""
    return quote(user), detail


def is_ascii(address: str) -> bool:
    """Whether it may be sent without SMTPUTF8 (RFC 6531 §3.4). Domains are A-labels already."""
    return address.isascii()


def parse_path(text: bytes | str, *, smtputf8: bool, null_ok: bool) -> tuple[str, str]:
    """The path that a MAIL or RCPT argument begins with, and what follows it, without spaces.

    smtputf8: whether the transaction asked for SMTPUTF8. null_ok: MAIL, where `<>` is a path; else
    RCPT, where `<Postmaster>` is one (RFC 5321 §4.1.1.3). A source route is read and dropped
    (RFC 5321 Appendix C). Returns the address in canonical form, "" for `<>`. Raises AddressError.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError:
            raise AddressError("an address in UTF-8 was expected (RFC 6531)") from None
    text = text.strip(" ")
    match = _SIMPLE_PATH.match(text)
    if (
        match is not None
        and match.end(1) <= LOCAL_OCTETS_MAX + 1
        and match.end(2) < PATH_OCTETS_MAX
    ):
        local, domain, rest = match.groups("")
        return f"{local}@{canonical_domain(domain)}", rest.strip(" ")
    return path_of_any(text, smtputf8=smtputf8, null_ok=null_ok)


def path_of_any(text: str, *, smtputf8: bool, null_ok: bool) -> tuple[str, str]:
    """As `parse_path`, of text without spaces around it, with everything that the grammar knows."""
    if not text.startswith("<"):
        raise AddressError("a path in angle brackets was expected: <local-part@domain>")
    end = _path_end(text)
    if end > PATH_OCTETS_MAX:
        raise AddressError(f"a path of at most {PATH_OCTETS_MAX} octets was expected")
    inner, rest = text[1 : end - 1], text[end:]
    if rest and not rest.startswith(" "):
        raise AddressError("a space was expected after the path")
    if not smtputf8 and not inner.isascii():
        raise AddressError("an address in ASCII was expected, or SMTPUTF8 (RFC 6531)")
    return _inner_path(inner, null_ok=null_ok), rest.strip(" ")


def _path_end(text: str) -> int:
    """Where the path that starts with "<" ends, quoted local part respected."""
    start = 1
    route = _ROUTE.match(text, 1, PATH_OCTETS_MAX)
    if route is not None:
        start = route.end()
    if text[start : start + 1] == '"':
        quoted = _QUOTED.match(text, start)
        if quoted is not None:
            start = quoted.end()
    end = text.find(">", start)
    if end < 0:
        raise AddressError("> was expected at the end of the path")
    return end + 1


def _inner_path(inner: str, *, null_ok: bool) -> str:
    if inner == "":
        if null_ok:
            return ""
        raise AddressError("an address was expected between < and >")
    route = _ROUTE.match(inner)
    if route is not None:
        for hop in route[0][:-1].split(","):
            if not hop.startswith("@"):
                raise AddressError("a source route of the form @host,@host: was expected")
            canonical_domain(hop[1:])
        inner = inner[route.end() :]
    if inner.lower() == "postmaster":
        if not null_ok:
            return "postmaster"
        raise AddressError("local-part@domain was expected")
    if inner == "":
        raise AddressError("an address was expected after the source route")
    return canonical(inner)
