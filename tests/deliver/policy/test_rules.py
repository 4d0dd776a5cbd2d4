"""Rules: scopes, locks, and what makes two recipients alike."""

from __future__ import annotations

import pickle

import msgspec
import pytest

from estafeta.deliver.policy.rules import (
    CONTENT_FIELDS,
    DECIDES,
    FIELDS,
    OWNERS_FIELDS,
    Effective,
    HeaderRule,
    Rules,
    changed,
    effective,
    loosened,
    stricter,
)

LOTTERY = HeaderRule("Subject", "(?i)lottery")
CASINO = HeaderRule("Subject", "(?i)casino")


def test_nothing_said_is_as_the_program_has_it() -> None:
    assert effective([]) == effective([Rules(), Rules()]) == Effective()
    assert not Effective().looks
    assert Effective().lists
    assert not Effective().greylist
    assert Effective().quota_full == "defer"


def test_the_narrower_scope_says_what_holds() -> None:
    held = effective(
        [
            Rules(blocked_types=(".mov",), size_max=10, greylist=True),
            Rules(blocked_types=(".exe",), greylist=False),
            Rules(size_max=0),
        ]
    )
    assert held.blocked_types == (".exe",)
    assert not held.greylist
    assert held.size_max == 0


# (field, wider, narrower, what holds where the wider one locks it)
LOCKED = [
    ("blocked_types", (".mov",), (".exe",), (".mov", ".exe")),
    ("blocked_types", (".mov",), (), (".mov",)),
    ("inside_archives", True, False, True),
    ("inside_archives", False, True, True),
    ("encrypted_archives", "refuse", "accept", "refuse"),
    ("encrypted_archives", "accept", "refuse", "refuse"),
    ("size_max", 100, 200, 100),
    ("size_max", 100, 50, 50),
    ("size_max", 100, 0, 100),
    ("size_max", 0, 50, 50),
    ("depth_max", 5, 9, 5),
    ("parts_max", 5, 0, 5),
    ("headers", (LOTTERY,), (CASINO,), (LOTTERY, CASINO)),
    ("tls", True, False, True),
    ("tls", False, True, True),
    ("greylist", True, False, True),
    ("quota_full", "reject", "defer", "reject"),
    ("quota_full", "defer", "reject", "reject"),
    ("lists", True, False, True),
    ("help", "https://a.example", "https://b.example", "https://a.example"),
    ("let_in", ("rate", "size"), ("size", "type"), ("size",)),
]


@pytest.mark.parametrize(("name", "wide", "narrow", "held"), LOCKED)
def test_a_locked_field_can_only_be_made_stricter(
    name: str, wide: object, narrow: object, held: object
) -> None:
    locking = Rules(**{name: wide, "locked": (name,)})  # type: ignore[arg-type]
    found = effective([locking, Rules(**{name: narrow})])  # type: ignore[arg-type]
    assert getattr(found, name) == held
    free = effective([Rules(**{name: wide}), Rules(**{name: narrow})])  # type: ignore[arg-type]
    assert getattr(free, name) == narrow
    refused = loosened([locking], Rules(**{name: narrow}))  # type: ignore[arg-type]
    assert (refused == []) == (stricter(name, wide, narrow) == narrow)


def test_every_field_has_a_stricter() -> None:
    assert {name for name, *_ in LOCKED} | {"locked"} == set(FIELDS)
    assert stricter("locked", ("tls",), ("size_max",)) == ("tls", "size_max")


def test_a_lock_holds_for_all_narrower_scopes_and_cannot_be_taken_away() -> None:
    top = Rules(size_max=100, locked=("size_max",))
    held = effective([top, Rules(locked=()), Rules(size_max=900)])
    assert held.size_max == 100
    assert held.locked == ("size_max",)
    # It holds for others, not for the scope itself.
    assert effective([Rules(size_max=5), Rules(size_max=9, locked=("size_max",))]).size_max == 9


def test_what_is_locked_cannot_be_let_in() -> None:
    assert effective([]).let_in == ("greylist", "rate", "type", "size")
    for kind, fields in DECIDES.items():
        for name in fields:
            assert kind not in effective([Rules(locked=(name,))]).let_in
    assert effective([Rules(let_in=("rate",))]).let_in == ("rate",)


def test_recipients_are_alike_where_their_rules_judge_a_message_alike() -> None:
    one = effective([Rules(blocked_types=(".mov", ".exe"))])
    assert one.content_class == effective([Rules(blocked_types=(".exe", ".mov"))]).content_class
    same = effective([Rules(blocked_types=(".mov", ".exe"), greylist=True, help="x", tls=True)])
    assert one.content_class == same.content_class
    other: dict[str, object] = {
        "blocked_types": (".mov",),
        "inside_archives": False,
        "encrypted_archives": "refuse",
        "size_max": 7,
        "depth_max": 7,
        "parts_max": 7,
        "headers": (LOTTERY,),
    }
    assert set(other) == set(CONTENT_FIELDS)
    classes = {effective([Rules(**{k: v})]).content_class for k, v in other.items()}  # type: ignore[arg-type]
    assert len(classes | {one.content_class, Effective().content_class}) == len(other) + 2


def test_they_travel_to_another_process() -> None:
    held = effective([Rules(blocked_types=(".mov",), headers=(LOTTERY,))])
    assert pickle.loads(pickle.dumps(held)) == held
    assert pickle.loads(pickle.dumps(held)).looks


def test_there_is_something_to_look_for_only_where_a_rule_says_so() -> None:
    for said in (Rules(tls=True, greylist=True), Rules(inside_archives=True), Rules(size_max=0)):
        assert not effective([said]).looks
    assert effective([Rules(encrypted_archives="refuse")]).looks
    assert effective([Rules(encrypted_archives="refuse")]).opens
    assert not effective([Rules(blocked_types=(".mov",), inside_archives=False)]).opens


def test_changes_are_put_over_what_was_said() -> None:
    said = Rules(size_max=5, tls=True)
    assert changed(said, Rules(size_max=7), ("tls",)) == Rules(size_max=7)
    assert msgspec.json.encode(changed(said, Rules())) == b'{"size_max":5,"tls":true}'


def test_what_owners_may_say_widens_nothing() -> None:
    assert not {"headers", "help", "let_in", "locked"} & set(OWNERS_FIELDS)
    assert set(OWNERS_FIELDS) < set(FIELDS)
