"""Foreign: what other processes have committed, as hints for those who listen here.

That something was committed is seen by a counter of SQLite's, not what. So the accounts that are
listened to are compared, all in one look, and only those that changed are woken: else every commit
of one worker would wake all idle sessions of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from estafeta.store.engine import Tx
from estafeta.store.hints import Hints
from estafeta.store.limits import ACCOUNTS_COMPARED_AT_ONCE

_State = tuple[int, int]  # modseq, disabled


class Foreign:
    """hints: of this process. What is woken for nothing costs a look, what is not woken is late."""

    def __init__(self, hints: Hints) -> None:
        self._hints = hints
        self._seen: dict[int, _State] = {}

    def tell(self, tx: Tx) -> None:
        """After a commit of another process, on a snapshot that has it."""
        accounts = self._hints.ids_of("account")
        now = _states(tx, accounts)
        seen, self._seen = self._seen, now
        # One that is heard of for the first time may have changed since it was listened to.
        self._hints.wake(
            ("account", id) for id in accounts if id not in seen or seen[id] != now.get(id)
        )
        self._hints.wake_others("account")


def _states(tx: Tx, accounts: Sequence[int]) -> dict[int, _State]:
    return {
        id: (modseq, disabled)
        for some in _slices(accounts)
        for id, modseq, disabled in tx.rows(
            f"SELECT id, modseq, disabled FROM account WHERE id IN ({', '.join('?' * len(some))})",  # noqa: S608
            some,
        )
    }


def _slices(accounts: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(accounts), ACCOUNTS_COMPARED_AT_ONCE):
        yield accounts[start : start + ACCOUNTS_COMPARED_AT_ONCE]
