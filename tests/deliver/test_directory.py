"""Directory: every rule of where an address leads, and that each walk ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.inline import with_store

from estafeta.deliver.directory import ALIAS_DEPTH_MAX, ALIAS_TARGETS_MAX, LocalDirectory
from estafeta.intake.objection import Objection
from estafeta.intake.target import ToAccount, ToAlias, ToRemote
from estafeta.store import accounts
from estafeta.store.engine import Tx
from estafeta.store.sqlite import SqliteStore
from estafeta.wire import replies

ANA, EVA, GONE = "ana@a.example", "eva@a.example", "gone@a.example"


def looked_up(
    folder: Path,
    address: str,
    *,
    aliases: Sequence[tuple[str, str]] = (),
    postmaster: str = "",
    catch_all: str = "",
    separator: str = "+",
    also: Callable[[Tx], Any] = lambda tx: None,
) -> Any:
    """What `address` leads to: names in the place of accounts, texts in that of refusals."""
    folder.mkdir(exist_ok=True)

    def unit(tx: Tx) -> None:
        accounts.add_domain(tx, "a.example", 0, separator=separator, catch_all=catch_all)
        accounts.add_domain(tx, "b.example", 0)
        for person in (ANA, EVA):
            accounts.add_account(tx, person, 0)
        luis = accounts.add_account(tx, "luis@a.example", 0)
        accounts.set_account(tx, luis.id, disabled=True)
        for name, target in aliases:
            accounts.add_alias(tx, name, target)
        also(tx)

    async def work(store: SqliteStore) -> Any:
        await store.run(unit)
        directory = LocalDirectory(postmaster=postmaster)
        return plain(await store.read(lambda tx: directory.look_up(tx, address)))

    return with_store(folder, work)


def plain(found: Any) -> Any:
    match found:
        case ToAccount(account, delivered_to):
            return account.address, delivered_to
        case ToRemote(destination, ours):
            return ("nobody" if ours else "remote"), destination
        case ToAlias(addresses, targets):
            return {a: plain(t) for a, t in zip(addresses, targets, strict=True)}
        case Objection():
            return str(found.said())


def unknown(address: str) -> str:
    return str(replies.UNKNOWN_USER(address=address))


@pytest.mark.parametrize(
    ("address", "found"),
    [
        (ANA, (ANA, ANA)),
        ("ANA@a.example", (ANA, "ANA@a.example")),
        ("ana+Shop@a.example", (ANA, "ana+Shop@a.example")),
        ("ana+@a.example", unknown("ana+@a.example")),
        ("+x@a.example", unknown("+x@a.example")),
        ("ana-x@a.example", unknown("ana-x@a.example")),
        (GONE, unknown(GONE)),
        ("luis@a.example", str(replies.USER_DISABLED(address="luis@a.example"))),
        ("bob@c.example", ("remote", "c.example")),
        ("bob@[192.0.2.9]", ("remote", "[192.0.2.9]")),
        ("ana@sub.a.example", ("remote", "sub.a.example")),
        ("postmaster", unknown("postmaster")),
        ("postmaster@a.example", unknown("postmaster@a.example")),
    ],
)
def test_an_address(tmp_path: Path, address: str, found: object) -> None:
    assert looked_up(tmp_path, address) == found


def test_an_alias_keeps_the_detail_for_nobody(tmp_path: Path) -> None:
    aliases = [("sales@a.example", ANA)]
    assert looked_up(tmp_path, "Sales+x@a.example", aliases=aliases) == {ANA: (ANA, ANA)}


def test_an_alias_with_a_detail_of_its_own_goes_first(tmp_path: Path) -> None:
    aliases = [("ana+lists@a.example", EVA)]
    assert looked_up(tmp_path, "ana+lists@a.example", aliases=aliases) == {EVA: (EVA, EVA)}
    assert looked_up(tmp_path / "2", "ana+list@a.example", aliases=aliases) == (
        ANA,
        "ana+list@a.example",
    )


def test_without_a_separator_there_are_no_details(tmp_path: Path) -> None:
    assert looked_up(tmp_path, "ana+x@a.example", separator="") == unknown("ana+x@a.example")


@pytest.mark.parametrize("address", ["postmaster", "Postmaster@a.example", "postmaster@b.example"])
def test_postmaster(tmp_path: Path, address: str) -> None:
    assert looked_up(tmp_path, address, postmaster=EVA) == (EVA, address)


def test_a_postmaster_of_its_own_goes_first(tmp_path: Path) -> None:
    aliases = [("postmaster@a.example", ANA)]
    found = looked_up(tmp_path, "postmaster@a.example", postmaster=EVA, aliases=aliases)
    assert found == {ANA: (ANA, ANA)}


def test_postmaster_goes_before_the_catch_all(tmp_path: Path) -> None:
    found = looked_up(tmp_path, "postmaster@a.example", postmaster=EVA, catch_all=ANA)
    assert found == (EVA, "postmaster@a.example")


def test_postmaster_elsewhere_is_sent_on_under_his_name(tmp_path: Path) -> None:
    found = looked_up(tmp_path, "postmaster", postmaster="boss@c.example")
    assert found == {"boss@c.example": ("remote", "c.example")}


def test_postmaster_who_is_nobody(tmp_path: Path) -> None:
    itself = "postmaster@a.example"
    assert looked_up(tmp_path, itself, postmaster=itself) == unknown(itself)
    assert looked_up(tmp_path / "2", "postmaster", postmaster=itself) == unknown("postmaster")


def test_catch_all(tmp_path: Path) -> None:
    assert looked_up(tmp_path, "any+x@a.example", catch_all=ANA) == (ANA, "any+x@a.example")
    assert looked_up(tmp_path / "2", "eva+x@a.example", catch_all=ANA) == (EVA, "eva+x@a.example")


def test_catch_all_elsewhere(tmp_path: Path) -> None:
    found = looked_up(tmp_path, "any@a.example", catch_all="all@c.example")
    assert found == {"all@c.example": ("remote", "c.example")}


def test_a_catch_all_that_is_nobody_is_not_named(tmp_path: Path) -> None:
    assert looked_up(tmp_path, "any@a.example", catch_all=GONE) == unknown("any@a.example")


def test_two_catch_alls_that_lead_to_each_other(tmp_path: Path) -> None:
    found = looked_up(
        tmp_path,
        "any@a.example",
        catch_all="x@b.example",
        also=lambda tx: accounts.set_domain(tx, "b.example", catch_all="y@a.example"),
    )
    assert found == unknown("any@a.example")


def test_an_alias_for_itself_and_another(tmp_path: Path) -> None:
    """It would be queued again and again, each time with a copy more."""
    aliases = [("all@a.example", "all@a.example"), ("all@a.example", ANA)]
    assert looked_up(tmp_path, "all@a.example", aliases=aliases) == {ANA: (ANA, ANA)}


def test_a_round_of_aliases_with_a_way_out(tmp_path: Path) -> None:
    aliases = [
        ("one@a.example", "two@a.example"),
        ("two@a.example", "one+x@a.example"),  # not quite the same name
        ("two@a.example", ANA),
    ]
    found = looked_up(tmp_path, "one@a.example", aliases=aliases)
    assert found == {"two@a.example": {ANA: (ANA, ANA)}}


def test_what_is_queued_as_nobody_is_nobody_when_looked_up_again(tmp_path: Path) -> None:
    """Else the queue would expand it, and what it leads to, for ever."""
    aliases = [
        ("one@a.example", "two@a.example"),
        ("one@a.example", ANA),
        ("two@a.example", "one@a.example"),
        ("two@a.example", GONE),
    ]
    found = looked_up(tmp_path, "one@a.example", aliases=aliases)
    assert found == {ANA: (ANA, ANA), "two@a.example": {GONE: ("nobody", "a.example")}}


def test_an_alias_and_a_catch_all_that_lead_to_each_other(tmp_path: Path) -> None:
    found = looked_up(
        tmp_path,
        "one@a.example",
        aliases=[("one@a.example", "any@b.example"), ("one@a.example", ANA)],
        also=lambda tx: accounts.set_domain(tx, "b.example", catch_all="one@a.example"),
    )
    assert found == {ANA: (ANA, ANA)}


def accounts_in(found: Any) -> list[str]:
    if isinstance(found, dict):
        return [name for each in found.values() for name in accounts_in(each)]
    return [found[0]]


def test_a_round_of_aliases_without_a_way_out(tmp_path: Path) -> None:
    aliases = [("one@a.example", "two@a.example"), ("two@a.example", "one@a.example")]
    assert looked_up(tmp_path, "one@a.example", aliases=aliases) == unknown("one@a.example")


def test_one_way_out_of_two_is_taken_and_the_other_returned(tmp_path: Path) -> None:
    aliases = [("all@a.example", ANA), ("all@a.example", GONE)]
    found = looked_up(tmp_path, "all@a.example", aliases=aliases)
    assert found == {ANA: (ANA, ANA), GONE: ("nobody", "a.example")}


@pytest.mark.parametrize("extra", [0, 1])
def test_depth_is_bounded(tmp_path: Path, extra: int) -> None:
    length = ALIAS_DEPTH_MAX + extra
    names = [f"n{i}@a.example" for i in range(length)]
    aliases = list(zip(names, [*names[1:], ANA], strict=True))
    found = looked_up(tmp_path, names[0], aliases=aliases)
    if extra:
        assert found == str(replies.ALIAS_TOO_FAR(address=names[0]))
    else:
        assert accounts_in(found) == [ANA]


@pytest.mark.parametrize("extra", [0, 1])
def test_width_is_bounded(tmp_path: Path, extra: int) -> None:
    many = ALIAS_TARGETS_MAX - 1 + extra  # the address itself counts
    aliases = [("all@a.example", f"p{i}@c.example") for i in range(many)]
    found = looked_up(tmp_path, "all@a.example", aliases=aliases)
    if extra:
        assert found == str(replies.ALIAS_TOO_FAR(address="all@a.example"))
    else:
        assert len(found) == many


def test_a_tangle_of_aliases_costs_no_more(tmp_path: Path) -> None:
    """Each of twelve names all: without a bound there would be 12! ways."""
    names = [f"n{i}@a.example" for i in range(12)]
    aliases = [(one, other) for one in names for other in names]
    found = looked_up(tmp_path, names[0], aliases=aliases)
    assert found == str(replies.ALIAS_TOO_FAR(address=names[0]))
