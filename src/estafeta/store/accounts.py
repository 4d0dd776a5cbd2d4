"""Accounts: domains, the people of them, and the addresses that lead to them.

Keys are canonical addresses with the local part in lower case: `key` makes one. Every change works
from its commit on: nothing of this is cached.
"""

# ruff: noqa: S608  (names of our own columns are all that is put into SQL)

from __future__ import annotations

from typing import Any

from estafeta.mail.address import canonical, split, subaddress
from estafeta.store import counters, knocks, mailboxes, policies
from estafeta.store.credentials import Password
from estafeta.store.engine import Row, Tx
from estafeta.store.rows import Account, Domain

_ACCOUNT = "id, address, domain, name, language, quota, used, disabled, save_sent"
_BY_ADDRESS = f"SELECT {_ACCOUNT} FROM account WHERE address = ?"
_BY_ID = f"SELECT {_ACCOUNT} FROM account WHERE id = ?"
_DOMAIN = "name, separator, catch_all, language"
_LOCAL = (
    "SELECT domain.name, domain.separator, domain.catch_all, domain.language, account.id,"
    " account.address, account.domain, account.name, account.language, account.quota,"
    " account.used, account.disabled, account.save_sent"
    " FROM domain LEFT JOIN account ON account.address = ? WHERE domain.name = ?"
)


_DIRECTORY = "directory"
"""Held by whoever changes what addresses lead to: each looks first whether an address is free."""


class AccountsError(Exception):
    """The text says why, for a person."""


class NoSuchAccount(AccountsError):
    pass


class NoSuchDomain(AccountsError):
    pass


def key(address: str) -> str:
    """The address under which an account or alias is found. Raises mail.address.AddressError."""
    local, domain = split(canonical(address))
    return f"{local.lower()}@{domain}" if domain else local.lower()


# Domains ---------------------------------------------------------------------------------------


def add_domain(
    tx: Tx,
    name: str,
    now: int,
    *,
    separator: str = "+",
    catch_all: str = "",
    language: str = "",
) -> Domain:
    """name: canonical. Raises AccountsError when it is there."""
    counters.hold(tx, _DIRECTORY)
    if domain(tx, name) is not None:
        raise AccountsError(f"the domain {name} is here already")
    tx.run(
        "INSERT INTO domain (name, created, separator, catch_all, language) VALUES (?, ?, ?, ?, ?)",
        (name, now, separator, catch_all and key(catch_all), language),
    )
    return Domain(name, separator, catch_all and key(catch_all), language)


def domain(tx: Tx, name: str) -> Domain | None:
    row = tx.row(f"SELECT {_DOMAIN} FROM domain WHERE name = ?", (name,))
    return None if row is None else Domain(*row)


def local(tx: Tx, name: str, address: str) -> tuple[Domain, Account | None] | None:
    """The domain `name` and the account with `address` (a key) in one look; None: not ours."""
    row = tx.row(_LOCAL, (address, name))
    if row is None:
        return None
    return Domain(*row[:4]), None if row[4] is None else _account(row[4:])


def domains(tx: Tx) -> list[Domain]:
    return [Domain(*row) for row in tx.rows(f"SELECT {_DOMAIN} FROM domain ORDER BY name")]


def set_domain(
    tx: Tx,
    name: str,
    *,
    separator: str | None = None,
    catch_all: str | None = None,
    language: str | None = None,
) -> None:
    """Changes what is not None. Raises NoSuchDomain."""
    counters.hold(tx, _DIRECTORY)
    changes = {
        "separator": separator,
        "catch_all": key(catch_all) if catch_all else catch_all,
        "language": language,
    }
    if domain(tx, name) is None:
        raise NoSuchDomain(f"there is no domain {name} here")
    _update(tx, "domain", "name", name, changes)


def remove_domain(tx: Tx, name: str) -> None:
    """Raises AccountsError while it has accounts or aliases, NoSuchDomain."""
    counters.hold(tx, _DIRECTORY)
    if domain(tx, name) is None:
        raise NoSuchDomain(f"there is no domain {name} here")
    count = tx.value("SELECT count(*) FROM account WHERE domain = ?", (name,))
    if count:
        raise AccountsError(f"the domain {name} still has accounts ({count}): remove those first")
    if aliases(tx, name):
        raise AccountsError(f"the domain {name} still has aliases: remove those first")
    policies.drop(tx, name)
    tx.run("DELETE FROM domain WHERE name = ?", (name,))


# Accounts --------------------------------------------------------------------------------------


def add_account(
    tx: Tx,
    address: str,
    now: int,
    *,
    name: str = "",
    language: str = "",
    quota: int = 0,
    password: Password | None = None,
) -> Account:
    """An account with its first mailboxes. password None: no login yet. quota: octets, 0 = none.

    Raises AccountsError: no such domain, address taken.
    """
    counters.hold(tx, _DIRECTORY)
    address = key(address)
    own = split(address)[1]
    if domain(tx, own) is None:
        raise NoSuchDomain(f"the domain {own} is not one of ours: add it first")
    if account(tx, address) is not None:
        raise AccountsError(f"the account {address} is here already")
    if targets(tx, address):
        raise AccountsError(f"{address} is an alias: remove that first")
    id = counters.take(tx, "account")
    tx.run(
        "INSERT INTO account (id, address, domain, name, language, quota, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (id, address, own, name, language, quota, now),
    )
    if password is not None:
        set_account(tx, id, password=password)
    mailboxes.create_first(tx, id)
    return Account(id, address, own, name, language, quota, 0, False)


def account(tx: Tx, address: str) -> Account | None:
    """address: a key."""
    return _made(tx.row(_BY_ADDRESS, (address,)))


def account_by_id(tx: Tx, id: int) -> Account | None:
    return _made(tx.row(_BY_ID, (id,)))


def accounts(tx: Tx, domain: str | None = None) -> list[Account]:
    """All, or those of one domain, by address."""
    if domain is None:
        rows = tx.rows(f"SELECT {_ACCOUNT} FROM account ORDER BY address")
    else:
        rows = tx.rows(
            f"SELECT {_ACCOUNT} FROM account WHERE domain = ? ORDER BY address",
            (domain,),
        )
    return [_account(row) for row in rows]


def slice_of(tx: Tx, who: str, after: int, limit: int) -> list[Account]:
    """The first so many whose id is greater, ascending: of a domain, an address, or, with "", of
    all."""
    column = "address" if "@" in who else "domain"
    where = f" AND {column} = ?" if who else ""
    rows = tx.rows(
        f"SELECT {_ACCOUNT} FROM account WHERE id > ?{where} ORDER BY id LIMIT ?",
        (after, who, limit) if who else (after, limit),
    )
    return [_account(row) for row in rows]


def set_account(
    tx: Tx,
    id: int,
    *,
    address: str | None = None,
    name: str | None = None,
    language: str | None = None,
    quota: int | None = None,
    disabled: bool | None = None,
    save_sent: bool | None = None,
    password: Password | None = None,
) -> None:
    """Changes what is not None. Raises AccountsError."""
    counters.hold(tx, _DIRECTORY)
    found = account_by_id(tx, id)
    if found is None:
        raise NoSuchAccount(f"there is no account {id}")
    changes: dict[str, Any] = {"name": name, "language": language, "quota": quota}
    if disabled is not None:
        changes["disabled"] = int(disabled)
    if save_sent is not None:
        changes["save_sent"] = int(save_sent)
    if address is not None and key(address) != found.address:
        new = key(address)
        if domain(tx, split(new)[1]) is None:
            raise NoSuchDomain(f"the domain {split(new)[1]} is not one of ours: add it first")
        if account(tx, new) is not None or targets(tx, new):
            raise AccountsError(f"{new} is taken")
        changes |= {"address": new, "domain": split(new)[1]}
        policies.rename(tx, found.address, new)
    if password is not None:
        changes |= {
            "password": password.argon2id,
            "scram_salt": password.scram.salt,
            "scram_iterations": password.scram.iterations,
            "scram_stored": password.scram.stored_key,
            "scram_server": password.scram.server_key,
        }
    _update(tx, "account", "id", id, changes)
    tx.hint(("account", id))


def remove_account(tx: Tx, id: int) -> None:
    """The account with its mailboxes, every alias and identity of its own, and who tried to reach
    it, at once; its messages are erased later, in slices (`mailboxes.unerased`). Raises
    NoSuchAccount."""
    counters.hold(tx, _DIRECTORY)
    found = account_by_id(tx, id)
    if found is None:
        raise NoSuchAccount(f"there is no account {id}")
    modseq = mailboxes.next_modseq(tx, id)
    # 0: the account as a whole, whose mailboxes follow.
    tx.run(
        "INSERT INTO removed (account, mailbox, modseq, erased) VALUES (?, 0, ?, 1)", (id, modseq)
    )
    tx.run(
        "INSERT INTO removed (account, mailbox, modseq)"
        " SELECT account, id, ? FROM mailbox WHERE account = ?",
        (modseq, id),
    )
    tx.run("DELETE FROM alias WHERE target = ?", (found.address,))
    policies.drop(tx, found.address)
    for table, column in (
        ("mailbox", "account"),
        ("subscription", "account"),
        ("identity", "account"),
        ("bearer", "account"),
        ("stopped_sender", "account"),
        ("account", "id"),
    ):
        tx.run(f"DELETE FROM {table} WHERE {column} = ?", (id,))
    knocks.remove_of(tx, id)
    tx.hint(("account", id))


def is_full(account: Account, size: int = 0) -> bool:
    """Whether a message may no longer come in: the quota is used up, or one of `size` octets has no
    room in it. Where the size is not known it may be overrun once."""
    return account.quota > 0 and (
        account.used >= account.quota or account.used + size > account.quota
    )


def _made(row: Row | None) -> Account | None:
    return None if row is None else _account(row)


def _account(row: Row) -> Account:
    *values, disabled, save_sent = row
    return Account(*[*values, bool(disabled), bool(save_sent)])


# Aliases and identities ------------------------------------------------------------------------


def add_alias(tx: Tx, address: str, target: str) -> None:
    """One more target. Raises AccountsError: address is an account's, or its domain not ours."""
    counters.hold(tx, _DIRECTORY)
    address = key(address)
    if domain(tx, split(address)[1]) is None:
        raise NoSuchDomain(f"the domain {split(address)[1]} is not one of ours: add it first")
    if account(tx, address) is not None:
        raise AccountsError(f"{address} is an account")
    tx.run(
        "INSERT INTO alias (address, target) VALUES (?, ?) ON CONFLICT DO NOTHING",
        (address, _target(tx, target)),
    )


def remove_alias(tx: Tx, address: str, target: str | None = None) -> None:
    """One target, or all. Raises AccountsError where there is none such."""
    address = key(address)
    if target is None:
        gone = tx.run("DELETE FROM alias WHERE address = ?", (address,))
    else:
        gone = tx.run(
            "DELETE FROM alias WHERE address = ? AND target IN (?, ?)",
            (address, target, _target(tx, target)),
        )
    if not gone:
        raise AccountsError(f"there is no alias {address}" + (f" to {target}" if target else ""))


def _target(tx: Tx, address: str) -> str:
    """As it is kept: the case of a local part is somebody else's matter where the domain is."""
    address = canonical(address)
    return key(address) if domain(tx, split(address)[1]) is not None else address


def aliases(tx: Tx, domain: str | None = None) -> list[tuple[str, str]]:
    """(address, target), by address."""
    rows = tx.rows("SELECT address, target FROM alias ORDER BY address, target")
    return [(row[0], row[1]) for row in rows if domain is None or split(row[0])[1] == domain]


def targets(tx: Tx, address: str) -> list[str]:
    """Where an alias leads; [] where there is none. address: a key."""
    rows = tx.rows("SELECT target FROM alias WHERE address = ? ORDER BY target", (address,))
    return [target for (target,) in rows]


def add_identity(tx: Tx, account: int, address: str) -> None:
    """Raises NoSuchAccount."""
    counters.hold(tx, _DIRECTORY)
    if account_by_id(tx, account) is None:
        raise NoSuchAccount(f"there is no account {account}")
    tx.run(
        "INSERT INTO identity (account, address) VALUES (?, ?) ON CONFLICT DO NOTHING",
        (account, key(address)),
    )


def remove_identity(tx: Tx, account: int, address: str) -> None:
    tx.run("DELETE FROM identity WHERE account = ? AND address = ?", (account, key(address)))


def identities(tx: Tx, account: int) -> list[str]:
    rows = tx.rows("SELECT address FROM identity WHERE account = ? ORDER BY address", (account,))
    return [address for (address,) in rows]


def may_write_as(tx: Tx, account: Account, address: str) -> bool:
    """Its own address, with or without a subaddress; an identity; an alias that leads to it alone.

    address: canonical; the case of the local part does not matter.
    """
    local, own = split(address)
    address = f"{local.lower()}@{own}"
    if address == account.address:
        return True
    if own == account.domain:
        found = domain(tx, own)
        if found is not None and found.separator:
            user, detail = subaddress(local.lower(), found.separator)
            if detail and f"{user}@{own}" == account.address:
                return True
    if targets(tx, address) == [account.address]:
        return True
    return (
        tx.value("SELECT 1 FROM identity WHERE account = ? AND address = ?", (account.id, address))
        is not None
    )


def _update(tx: Tx, table: str, key_column: str, key: Any, changes: dict[str, Any]) -> None:
    """Column names are ours, never a caller's text."""
    given = {column: value for column, value in changes.items() if value is not None}
    if given:
        columns = ", ".join(f"{column} = ?" for column in given)
        tx.run(
            f"UPDATE {table} SET {columns} WHERE {key_column} = ?",
            (*given.values(), key),
        )
