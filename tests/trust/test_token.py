"""token: what we signed is known again, whatever the way did to it, and nothing else is."""

from __future__ import annotations

import random
import re

import pytest

from estafeta.store.ids import queue_id
from estafeta.trust.token import FORMER_KEYS_MAX, KEY_OCTETS, Keys, make, read
from estafeta.wire.limits import ENVID_OCTETS_MAX
from estafeta.wire.smtp_client.commands import xtext

KEYS = Keys(bytes(range(KEY_OCTETS)))
ID = queue_id(0x1A2B3C4D5E6F7081)


def test_it_is_read_again_and_fits_everywhere() -> None:
    token = make(KEYS, ID, "envid")
    assert read(KEYS, token, "envid") == ID
    assert xtext(token) == token
    assert len(token) < min(ENVID_OCTETS_MAX, 64)  # RFC 5321 §4.5.3.1.1, were it a local part
    assert re.fullmatch(r"[0-9A-Z]+(\.[0-9A-Z]+)*", token)  # a dot-atom, RFC 5322 §3.2.3


def test_it_does_not_change_from_version_to_version() -> None:
    assert make(KEYS, ID, "envid") == "E1.1MASW9NF6YW41.8DHKE1802R6FEYBM4D22MJ5D7T"


@pytest.mark.parametrize(
    "around", ["<{}@mx.example>", " {} ", "smtp; <{}@A> was it", "<{}@MX.example>, <x@y>"]
)
def test_it_is_found_within_what_holds_it(around: str) -> None:
    token = make(KEYS, ID, "message-id")
    assert read(KEYS, around.format(token), "message-id") == ID
    assert read(KEYS, around.format(token).lower(), "message-id") == ID


def test_one_that_readers_know_does_not_pass_for_one_that_servers_see() -> None:
    assert read(KEYS, make(KEYS, ID, "message-id"), "envid") is None
    assert read(KEYS, make(KEYS, ID, "envid"), "message-id") is None


def test_any_letter_changed_is_another() -> None:
    token = make(KEYS, ID, "envid")
    for at, letter in enumerate(token):
        for other in "0Z.":
            if other != letter:
                assert read(KEYS, token[:at] + other + token[at + 1 :], "envid") is None
    for wrong in (token[:-1], f"{token}0", f"0{token}", f"{token}.X", "", "E1.", token * 2):
        assert read(KEYS, wrong, "envid") is None


def test_keys_that_were_changed_stay_known_for_some_time() -> None:
    keys, token = KEYS, make(KEYS, ID, "envid")
    for n in range(FORMER_KEYS_MAX + 1):
        keys = keys.rotated(bytes([n]) * KEY_OCTETS)
        assert (read(keys, token, "envid") == ID) == (n < FORMER_KEYS_MAX)
    assert make(keys, ID, "envid") != token


@pytest.mark.parametrize("seed", range(5))
def test_whatever_a_stranger_writes_is_none_of_ours(seed: int) -> None:
    dice = random.Random(seed)
    letters = "E1.0AZ@<>é\0 ıſ" + make(KEYS, ID, "envid")
    for _ in range(2000):
        text = "".join(dice.choices(letters, k=dice.randrange(80)))
        assert read(KEYS, text, "envid") is None
    assert read(KEYS, "E1." * 1_000_000, "envid") is None
