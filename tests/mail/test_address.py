"""Envelope addresses: one canonical form, and paths as RFC 5321 §4.1.2 has them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estafeta.mail.address import (
    AddressError,
    canonical,
    domain_to_unicode,
    is_ascii,
    parse_path,
    quote,
    split,
    subaddress,
    unquote,
)

ATEXT = "abcXYZ019!#$%&'*+/=?^_`{|}~-"


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("Ana.M@Example.NET", "Ana.M@example.net"),
        ('"ana"@example.net', "ana@example.net"),
        ('"a b"@example.net', '"a b"@example.net'),
        (r'"a\b"@example.net', "ab@example.net"),
        (r'"a\"b"@example.net', r'"a\"b"@example.net'),
        ('"a@b"@example.net', '"a@b"@example.net'),
        ('""@example.net', '""@example.net'),
        ('"a.."@example.net', '"a.."@example.net'),
        ("u@[192.0.2.1]", "u@[192.0.2.1]"),
        ("u@[ipv6:2001:DB8:0::1]", "u@[IPv6:2001:db8::1]"),
        ("u@[x400:abc]", "u@[x400:abc]"),
        ("u@MÜNCHEN.de", "u@xn--mnchen-3ya.de"),
        ("u@faß.de", "u@xn--fa-hia.de"),  # IDNA 2008, not 2003
        ("ñu@example.net", "ñu@example.net"),
        ("u@some_host.example", "u@some_host.example"),
        ("Postmaster", "postmaster"),
        ("", ""),
    ],
)
def test_canonical(given_: str, expected: str) -> None:
    assert canonical(given_) == expected
    assert canonical(expected) == expected


@pytest.mark.parametrize(
    "bad",
    [
        "ana", "@example.net", "ana@", "a b@example.net", ".a@example.net", "a..b@example.net",
        "a.@example.net", '"a@example.net', "a@b@example.net", "a@-b.example", "a@b-.example",
        "a@b..example", "a@example.net.", "a@[192.0.2.256]", "a@[192.0.2.1", "a@[IPv6:::1%eth0]",
        "a@[IPv6:1.2.3.4]", "a@exa mple", "a@\u2028.de", "a\r\n@example.net", "a@example.net\n",
        "x" * 65 + "@example.net", "a@" + "b" * 64 + ".example", "a@" + "b." * 127 + "example",
        "a@" + ".".join(["b" * 60] * 5), '"a\x7f"@example.net', "a@☃.de", "ñ" * 33 + "@x.de",
    ],
)  # fmt: skip
def test_no_address(bad: str) -> None:
    with pytest.raises(AddressError, match="expected"):
        canonical(bad)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"<a@B.example>", ("a@b.example", "")),
        (b" <a@b.example> SIZE=3 BODY=8BITMIME", ("a@b.example", "SIZE=3 BODY=8BITMIME")),
        (b"<@one.example,@two.example:a@b.example>", ("a@b.example", "")),
        (b'<"a>b"@b.example> X', ('"a>b"@b.example', "X")),
        (b'<@one.example:"a b"@b.example>', ('"a b"@b.example', "")),
        (b"<a@[192.0.2.1]>", ("a@[192.0.2.1]", "")),
        ("<ñ@ñ.example>".encode(), ("ñ@xn--ida.example", "")),
    ],
)
def test_path(text: bytes, expected: tuple[str, str]) -> None:
    assert parse_path(text, smtputf8=True, null_ok=False) == expected
    assert parse_path(text, smtputf8=True, null_ok=True) == expected


def test_path_without_domain() -> None:
    assert parse_path(b"<> RET=HDRS", smtputf8=False, null_ok=True) == ("", "RET=HDRS")
    assert parse_path(b"<PostMaster>", smtputf8=False, null_ok=False) == ("postmaster", "")
    for text, null_ok in ((b"<>", False), (b"<Postmaster>", True), (b"<@a.example:>", True)):
        with pytest.raises(AddressError):
            parse_path(text, smtputf8=False, null_ok=null_ok)


@pytest.mark.parametrize(
    "bad",
    [
        b"a@b.example", b"<a@b.example", b"<a@b.example>X", b"", b"<", b"<<a@b.example>>",
        b"<a@b.example>\tX", b"<a @b.example>", b"<\xff@b.example>", "<ñ@b.example>".encode(),
        "<a@ñ.example>".encode(), b"<@a.example,b:c@d.example>", b"<a@b.example\0>",
        b"<" + b"a" * 64 + b"@" + b"b." * 93 + b"bcde>",
        b"<a" * 10000, b"<" + b"@a," * 10000 + b":a@b.example>",
    ],
)  # fmt: skip
def test_no_path(bad: bytes) -> None:
    with pytest.raises(AddressError, match="expected"):
        parse_path(bad, smtputf8=False, null_ok=True)


def test_longest_path() -> None:
    route = "@" + "r" * 60 + ",@" + "r" * 60 + ",@" + "r" * 60 + ",@" + "r" * 60
    path = f"<{route}:a@bc.e>"
    assert len(path) == 256
    assert parse_path(path, smtputf8=False, null_ok=False)[0] == "a@bc.e"
    with pytest.raises(AddressError):
        parse_path(path.replace("@bc", "@bcd"), smtputf8=False, null_ok=False)
    domain = ("b" * 61 + ".") * 3 + "com"
    address = "a" * (254 - 1 - len(domain)) + "@" + domain
    assert len(address) == 254
    assert parse_path(f"<{address}>", smtputf8=False, null_ok=False)[0] == address
    with pytest.raises(AddressError):
        parse_path(f"<a{address}>", smtputf8=False, null_ok=False)


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=16))
def test_any_local_part_survives_quoting(value: str) -> None:
    address = f"{quote(value)}@example.net"
    assert canonical(address) == address
    local, domain = split(address)
    assert (unquote(local), domain) == (value, "example.net")
    path = parse_path(f"<{address}> X=1".encode(), smtputf8=True, null_ok=False)
    assert path == (address, "X=1")


@given(st.text(max_size=40), st.booleans())
def test_never_anything_but_an_address_error(text: str, null_ok: bool) -> None:
    with contextlib.suppress(AddressError):
        canonical(text)
    with contextlib.suppress(AddressError):
        parse_path(f"<{text}>", smtputf8=True, null_ok=null_ok)
    with contextlib.suppress(AddressError):
        parse_path(text.encode("utf-8", "replace"), smtputf8=False, null_ok=null_ok)


@given(st.lists(st.text(ATEXT, min_size=1, max_size=8), min_size=1, max_size=4))
def test_simple_addresses_are_canonical(words: list[str]) -> None:
    address = ".".join(words) + "@example.net"
    assert canonical(address) == address
    assert parse_path(f"<{address}>", smtputf8=False, null_ok=False) == (address, "")


def test_subaddress() -> None:
    assert subaddress("you+x") == ("you", "x")
    assert subaddress("you+x+y") == ("you", "x+y")
    assert subaddress("you") == ("you", "")
    assert subaddress("+x") == ("+x", "")
    assert subaddress("you-x", "-") == ("you", "x")
    assert subaddress("you+x", "") == ("you+x", "")
    assert subaddress('"a b+x"') == ('"a b"', "x")


def test_views() -> None:
    assert split("postmaster") == ("postmaster", "")
    assert split('"a@b"@c.example') == ('"a@b"', "c.example")
    assert is_ascii("a@xn--ida.example")
    assert not is_ascii("ñ@b.example")
    assert domain_to_unicode("xn--mnchen-3ya.de") == "münchen.de"
    assert domain_to_unicode("xn--\x7f.de") == "xn--\x7f.de"
    assert domain_to_unicode("[IPv6:::1]") == "[IPv6:::1]"
