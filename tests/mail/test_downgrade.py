"""8-bit messages for 7-bit servers: the same message to whoever reads it, or a refusal."""

from __future__ import annotations

import email
import email.policy
import random
from email.message import EmailMessage, Message

import pytest

from estafeta.mail.downgrade import CannotConvert, to_seven_bit

SEED = 5


def leaves(data: bytes) -> list[tuple[str, bytes]]:
    """Type and decoded content of each leaf, as the standard library reads them."""
    message = email.message_from_bytes(data, policy=email.policy.compat32)
    found = []
    for part in message.walk():
        if not part.is_multipart():
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            found.append((part.get_content_type(), payload))
    return found


def same(data: bytes) -> Message:
    converted = to_seven_bit(data)
    assert converted.isascii()
    assert leaves(converted) == leaves(data)
    for line in converted.split(b"\r\n"):
        assert len(line) <= 998
        assert b"\n" not in line
    return email.message_from_bytes(converted)


def test_ascii_is_left_alone() -> None:
    data = b"Subject: x\r\nContent-Transfer-Encoding: 8bit\r\n\r\nplain\r\n"
    assert to_seven_bit(data) is data


def test_text_becomes_quoted_printable() -> None:
    message = same(
        b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 8bit\r\nTo: b@b.example\r\n\r\n"
        b"hasta ma\xc3\xb1ana = ma\xc3\xb1ana \r\n.\r\nFrom here\t\r\n"
        + b"long " * 300
        + b"\r\n\r\n"
    )
    assert message.get_all("Content-Transfer-Encoding") == ["quoted-printable"]
    assert message.get_all("MIME-Version") == ["1.0"]
    assert message["To"] == "b@b.example"


def test_no_line_of_quoted_printable_ends_in_white_space() -> None:
    body = b"\xc3\xb1 end \r\ntab\t\r\n \r\nlast "
    converted = to_seven_bit(b"Content-Type: text/plain\r\n\r\n" + body * 3)
    for line in converted.split(b"\r\n"):
        assert not line.endswith((b" ", b"\t"))


def test_one_long_line_is_broken_by_crlf() -> None:
    same(MULTIPART.replace(b"un poco de a\xc3\xb1os", b"un poco de a\xc3\xb1os " * 40))


def test_text_with_octets_that_are_no_line_ends_is_kept_octet_by_octet() -> None:
    for body in (b"a\nb", b"a\rb", b"a\0b"):
        same(MULTIPART.replace(b"un poco de", b"un poco de " + body))


def test_text_in_another_script_becomes_base64() -> None:
    message = same(
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        + "日本語の本文です。\r\n".encode() * 100
    )
    assert message["Content-Transfer-Encoding"] == "base64"


def test_binary_becomes_base64() -> None:
    octets = bytes(range(256)) * 10
    message = same(
        b"MIME-Version: 1.0\r\nContent-Type: image/png\r\n"
        b"Content-Transfer-Encoding:\r\n binary\r\n\r\n" + octets
    )
    assert message.get_all("Content-Transfer-Encoding") == ["base64"]


def test_a_message_without_mime_says_that_its_charset_is_unknown() -> None:
    message = same(b"Subject: x\r\n\r\ncaf\xe9 con leche\r\n")
    assert message["MIME-Version"] == "1.0"
    assert message["Content-Type"] == "text/plain; charset=unknown-8bit"


MULTIPART = (
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b1\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\npre\xc3\xa1mbulo\r\n"
    b"--b1\r\nContent-Type: text/plain\r\n\r\nascii stays\r\n"
    b"--b1\r\nContent-Type: multipart/alternative; boundary=b2\r\n\r\n"
    b"--b2\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nun poco de a\xc3\xb1os\r\n"
    b"--b2\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    b"\r\n<p>un poco de a\xc3\xb1os</p>\r\n--b2--\r\n"
    b"--b1\r\nContent-Type: message/rfc822\r\n\r\n"
    b"Subject: inner\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nun poco de a\xc3\xb1os\r\n"
    b"--b1\r\nContent-Type: application/octet-stream\r\n\r\n\xff\xfe\x00\r\r\n\r\n"
    b"--b1--\r\nep\xc3\xadlogo\r\n"
)


def test_only_the_leaves_that_need_it_are_converted() -> None:
    message = same(MULTIPART)
    assert message["Content-Transfer-Encoding"] == "7bit"
    encodings = [part["Content-Transfer-Encoding"] for part in message.walk()]
    assert encodings == [
        *("7bit", None, None, "quoted-printable", "quoted-printable"),
        *(None, "quoted-printable", "base64"),
    ]
    assert b"\r\n\r\n--b1--" not in to_seven_bit(MULTIPART)
    assert b"\r\n\r\nascii stays\r\n--b1\r\n" in to_seven_bit(MULTIPART)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"Subject: \xc3\xb1\r\n\r\nx\r\n", "header"),
        (
            b"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xb1\r\n--b--\r\n",
            "signed",
        ),
        (
            b"Content-Type: message/partial; id=1\r\n\r\n\xc3\xb1\r\n",
            "may not be encoded",
        ),
        (
            b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n\xc3\xb1\r\n",
            "base64",
        ),
        (
            b"Content-Type: text/plain\r\nContent-Transfer-Encoding: x-uu\r\n\r\n\xc3\xb1\r\n",
            "x-uu",
        ),
        (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
            b"Content-Type: text/plain; name=\xc3\xb1\r\n\r\nx\r\n--b--\r\n",
            "header",
        ),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\nno part \xc3\xb1\r\n", "no header"),
    ],
)
def test_what_cannot_be_converted(data: bytes, words: str) -> None:
    with pytest.raises(CannotConvert, match=words):
        to_seven_bit(data)


def test_messages_of_the_standard_library() -> None:
    dice = random.Random(SEED)
    for _ in range(60):
        message = EmailMessage(policy=email.policy.SMTP.clone(cte_type="8bit"))
        message["Subject"] = "x"
        alphabet = dice.choice(["abc ñ\n", "日本語 \n", "a.\n =ñ"])
        message.set_content("".join(dice.choices(alphabet, k=400)), cte="8bit")
        if dice.random() < 0.5:
            message.add_alternative("<p>ñ</p>" * dice.randrange(40), subtype="html", cte="8bit")
        if dice.random() < 0.5:
            message.add_attachment(dice.randbytes(300), maintype="image", subtype="png")
        same(message.as_bytes())


def test_rubbish_ends_in_ascii_or_a_refusal() -> None:
    dice = random.Random(SEED)
    for run in range(400):
        data = bytearray(MULTIPART)
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(data))
            data[at : at + dice.randrange(4)] = dice.randbytes(dice.randrange(4))
        try:
            assert to_seven_bit(bytes(data)).isascii(), f"seed {SEED} run {run}"
        except CannotConvert:
            continue


def test_a_large_message_takes_little_time() -> None:
    body = b"un poco de a\xc3\xb1os y m\xc3\xa1s cosas que contar\r\n" * 50_000
    data = b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + body
    assert len(to_seven_bit(data)) > len(data)
