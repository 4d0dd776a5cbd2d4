"""Encoded words, charsets, dates and parameters."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.require import suite

from estafeta.mail.dates import format_date, parse_date
from estafeta.mail.message import content_type, disposition, parameter
from estafeta.mail.words import decode_charset, decode_text, decode_words, encode_words


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b" =?iso-8859-1?Q?a=E9?= b", "aé b"),
        (b"=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        (b"=?utf-8?q?a?=\r\n =?iso-8859-1?q?b?= c", "ab c"),
        (b"=?utf-8?b?w6?=  =?utf-8?b?===?= x", "\ufffd x"),
        (b"=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "é"),  # a character in two words
        (b"=?utf-8*es?q?a_b?=", "a b"),
        (b"=?x-unknown?q?=C3=A9?=", "é"),
        (b"=?zlib?b?eJwDAAAAAAE=?=", decode_charset(b"x\x9c\x03\x00\x00\x00\x00\x01")),
        (b"=?idna?q?xn--ida?=", "xn--ida"),
        (b"=?utf-8?q?open", "=?utf-8?q?open"),
        ("raw ñ".encode(), "raw ñ"),
        (b"raw \xf1", "raw ñ"),
        (b"a\r\n\tb", "a\tb"),
    ],
)
def test_decode(value: bytes, expected: str) -> None:
    assert decode_text(value) == expected


@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=200))
def test_encoded_words_round_trip(text: str) -> None:
    words = encode_words(text)
    assert all(len(word) <= 75 and word.isascii() for word in words)
    assert decode_words("\r\n ".join(words)) == text


@given(st.binary(max_size=200), st.text(max_size=20))
def test_any_charset_is_tolerated(data: bytes, charset: str) -> None:
    assert isinstance(decode_charset(data, charset), str)
    assert isinstance(decode_text(b"=?" + data + b"?q?" + data + b"?="), str)


@pytest.mark.parametrize("data", [b"+2AA-", b"+3AA-", b"+2AA-+3AA-", b"x+2AA"])
@pytest.mark.parametrize("charset", ["utf-7", "x-unicode-2-0-utf-7", "UNICODE-1-1-UTF-7"])
def test_what_is_decoded_can_be_written(data: bytes, charset: str) -> None:
    text = decode_charset(b"hi " + data, charset)
    assert "\ufffd" in text
    assert text.encode().startswith(b"hi ")


def test_utf_7_keeps_its_pairs() -> None:
    assert decode_charset(b"+2D3cAA- +AOk-", "utf-7") == "\U0001f400 \u00e9"


def test_dates_against_another_parser() -> None:
    cases = json.loads((suite("mime-mail-parser") / "date.json").read_text())
    same = 0
    for case in cases:
        want = case["expected"]
        found = parse_date(case["header"].strip())
        try:
            at = datetime(
                *(want[key] for key in ("year", "month", "day", "hour", "minute", "second")),
                tzinfo=UTC,
            ).timestamp()
        except (TypeError, ValueError):
            same += found is None
            continue
        offset = want["tz_hour"] * 3600 + want["tz_minute"] * 60
        same += found == at - (-offset if want["tz_before_gmt"] else offset)
    assert same >= len(cases) - 4, f"{same} of {len(cases)} agree"


@given(st.integers(min_value=0, max_value=250_000_000_000))
def test_date_round_trip(seconds: int) -> None:
    assert parse_date(format_date(seconds)) == seconds


@given(st.text(alphabet="0123456789 :+-,JanFebMST()", max_size=40))
def test_no_date_raises(text: str) -> None:
    parse_date(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b" text/Plain; Charset=utf-8", ("text", "plain", {"charset": "utf-8"})),
        (b"image/png; name=my file.png", ("image", "png", {"name": "my file.png"})),
        (b"a/b; x=1 y=2", ("a", "b", {"x": "1", "y": "2"})),
        (b'a/b; x="q;\\"r"; y=(c)2', ("a", "b", {"x": 'q;"r', "y": "2"})),
        (b"a/b; x*0*=iso-8859-1'es'%D1an; x*1=d; x*2*=%FA", ("a", "b", {"x": "Ñandú"})),
        (b"a/b; x*=utf-8''%C3%A9; x=fallback", ("a", "b", {"x": "é"})),
        (b'a/b; x="=?utf-8?q?=C3=A9?="', ("a", "b", {"x": "é"})),
        (b"(c) a/b", ("a", "b", {})),
        (b"", ("text", "plain", {"charset": "us-ascii"})),
        (b"nonsense", ("text", "plain", {"charset": "us-ascii"})),
    ],
)
def test_content_type(value: bytes, expected: tuple[str, str, dict[str, str]]) -> None:
    kind, subtype, params = content_type(value)
    assert (kind.decode(), subtype.decode()) == expected[:2]
    for name, text in expected[2].items():
        assert parameter(params, name) == text


def test_content_types_against_another_parser() -> None:
    cases = json.loads((suite("mime-mail-parser") / "content_type.json").read_text())
    cases = [case for case in cases if case["expected"] and case["expected"].get("c_subtype")]
    same = 0
    for case in cases:
        want = case["expected"]
        kind, subtype, params = content_type(case["header"].encode())
        attributes = dict(want.get("attributes") or [])
        same += [kind.decode("latin-1"), subtype.decode("latin-1")] == [
            want["c_type"],
            want["c_subtype"],
        ] and all(
            parameter(params, name) == text
            for name, text in attributes.items()
            if not name.endswith("-language")
        )
    assert same >= len(cases) * 0.8, f"{same} of {len(cases)} agree"


@pytest.mark.timeout(20)  # quadratic work on 256 KiB takes minutes
@pytest.mark.parametrize(
    "piece",
    [b";", b" ", b"a=", b'"', b"\\", b"(", b"a*0=", b"; a", b"a ", b"=", b"*", b"()", b"=?"],
)
def test_hostile_values_take_linear_work(piece: bytes) -> None:
    text = piece * (256 * 1024 // len(piece))
    assert content_type(b"text/plain; " + text)[0] == b"text"
    assert content_type(text)[0] in (b"text", b"*")
    disposition(b"attachment; " + text)
    assert isinstance(decode_text(text), str)
    assert isinstance(decode_text(b"=?utf-8?q?" + text), str)
    parse_date(text.decode())
    parse_date("Mon, 1 Jan" + text.decode())


@pytest.mark.parametrize(
    ("value", "year"), [("49", 2049), ("50", 1950), ("99", 1999), ("103", 2003), ("2003", 2003)]
)
def test_short_years(value: str, year: int) -> None:
    expected = datetime(year, 7, 1, 10, 52, tzinfo=UTC).timestamp()
    assert parse_date(f"1 Jul {value} 10:52 GMT") == expected
    assert parse_date(f"Tue, 1 Jul {value} 05:52 CDT") == expected
    assert parse_date(f"Tue, 1 Jul {value} 05:52 (early) CDT") == expected
