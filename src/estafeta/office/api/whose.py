"""Whose: the account that a request is about, and whether its token may ask for it."""

from __future__ import annotations

from functools import partial

from estafeta.office.api.call import Call, the_address
from estafeta.office.api.errors import ApiError
from estafeta.store import accounts
from estafeta.store.engine import Store
from estafeta.store.rows import Account


async def whose(store: Store, call: Call, address: str) -> Account:
    """The account with that address; "": the token's own. Raises ApiError: for a token of an
    account there is no other."""
    if call.bearer.account is None:
        if not address:
            raise ApiError("invalid", "account: an address was expected")
        key = accounts.key(the_address(address, "account"))
        found = await store.read(partial(accounts.account, address=key))
    else:
        found = await store.read(partial(accounts.account_by_id, id=call.bearer.account))
        if found is not None and address:
            key = accounts.key(the_address(address, "account"))
            found = found if found.address == key else None
    if found is None:
        raise ApiError("not-found", f"there is no account {address[:100]}")
    return found
