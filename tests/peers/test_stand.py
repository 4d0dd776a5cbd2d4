"""The foreign programs themselves: each runs here before it is used to judge us."""

from __future__ import annotations

import imaplib
from pathlib import Path

from tests.support.peers.dovecot import PASSWORD, Dovecot
from tests.support.peers.postfix import Postfix

MESSAGE = b"From: ana@a.example\r\nTo: luis@b.example\r\nSubject: hola\r\n\r\nUno\r\n.dos\r\n"


def test_postfix_relays_to_postfix(peer_folder: Path) -> None:
    with Postfix(peer_folder / "b", hostname="b.example", domains=["b.example"]) as receiver:
        hop = (receiver.host, receiver.port)
        with Postfix(
            peer_folder / "a", hostname="a.example", transport={"b.example": hop}
        ) as sender:
            sender.sendmail("ana@a.example", ["luis@b.example"], MESSAGE)
            [stored] = receiver.wait_messages("luis@b.example")
            assert sender.wait_log(r"to=<luis@b\.example>.* status=sent")
            assert sender.queue() == []
    header, _, body = stored.partition(b"\n\n")
    assert body == b"Uno\n.dos\n"
    assert b"Delivered-To: luis@b.example" in header


def test_postfix_queues_what_it_cannot_hand_on(peer_folder: Path) -> None:
    with Postfix(peer_folder / "a", relayhost=("127.0.0.1", 1)) as sender:
        sender.sendmail("ana@a.example", ["luis@b.example"], MESSAGE)
        sender.wait_log(r"status=deferred")
        [queued] = sender.queue()
        assert [row["address"] for row in queued["recipients"]] == ["luis@b.example"]


def test_postfix_delivers_to_dovecot(peer_folder: Path) -> None:
    with (
        Dovecot(peer_folder / "d") as dovecot,
        Postfix(peer_folder / "p", domains=["b.example"], lmtp=dovecot.lmtp) as postfix,
    ):
        postfix.sendmail("ana@a.example", ["luis@b.example"], MESSAGE)
        postfix.wait_log(r"status=sent")
        with imaplib.IMAP4(dovecot.host, dovecot.imap_port) as client:
            client.login("luis", PASSWORD)
            assert client.select("INBOX") == ("OK", [b"1"])
            _, data = client.fetch("1", "(BODY.PEEK[TEXT])")
            assert isinstance(data[0], tuple)
            assert data[0][1] == b"Uno\r\n.dos\r\n"
