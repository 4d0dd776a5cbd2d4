"""Queue rows: every transition of queue/states.py, and what stays when it does not commit."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.inline import with_store

from estafeta.queue import rows
from estafeta.queue.states import STATES, TRANSITIONS
from estafeta.store.engine import Tx
from estafeta.store.sqlite import SqliteStore

pytestmark = pytest.mark.usefixtures("each_engine")

NOW = 1_000_000
LATER = NOW + 60_000
END = NOW + 900_000
TOKEN = 77


class PowerLossError(Exception):
    """Stands for whatever keeps a unit from its COMMIT."""


def run(tmp_path: Path, *units: Callable[[Tx], Any]) -> list[Any]:
    async def work(store: SqliteStore) -> list[Any]:
        return [await store.run(unit) for unit in units]

    return with_store(tmp_path, work)


def state(tx: Tx, acceptance: int = 1, n: int = 0) -> str:
    row = tx.row("SELECT lease, held FROM queue WHERE acceptance = ? AND n = ?", (acceptance, n))
    if row is None:
        return ""
    return "held" if row[1] else "leased" if row[0] is not None else "waiting"


def waiting(tx: Tx, acceptance: int = 1, n: int = 0, destination: str = "a.example") -> None:
    rows.enqueue(tx, [rows.Waiting(acceptance, n, destination, NOW)])


def leased(tx: Tx) -> rows.Leased:
    waiting(tx)
    return take(tx)[0]


def take(
    tx: Tx, destination: str = "a.example", now: int = NOW, jobs: int = 1, recipients: int = 100
) -> list[rows.Leased]:
    return rows.lease(
        tx,
        destination,
        now=now,
        until=END,
        tokens=range(TOKEN, TOKEN + jobs),
        recipients_max=recipients,
    )


def test_every_transition_names_states_that_exist_and_a_unit_that_exists() -> None:
    names = {s.name for s in STATES} | {""}
    for transition in TRANSITIONS:
        assert {transition.from_, transition.to} <= names
        module, _, name = transition.unit.partition(".")
        assert hasattr(importlib.import_module(f"estafeta.queue.{module}"), name), transition.unit


def test_enqueue_makes_a_waiting_row_that_is_due(tmp_path: Path) -> None:
    _, now_in, due = run(tmp_path, waiting, state, rows.next_due)
    assert now_in == "waiting"
    assert due == NOW


def test_enqueue_with_a_token_makes_a_leased_row_that_nobody_else_takes(tmp_path: Path) -> None:
    row = rows.Waiting(1, 0, "a.example", END, TOKEN)
    _, now_in, taken = run(tmp_path, lambda tx: rows.enqueue(tx, [row]), state, take)
    assert now_in == "leased"
    assert taken == []


def test_lease_takes_what_is_due_once(tmp_path: Path) -> None:
    _, jobs, now_in, again, due = run(tmp_path, waiting, take, state, take, rows.next_due)
    assert jobs == [rows.Leased(TOKEN, 1, "a.example", (0,), (0,))]
    assert now_in == "leased"
    assert again == []
    assert due == END


def test_a_lease_that_ended_is_taken_by_whoever_comes(tmp_path: Path) -> None:
    _, _, jobs = run(tmp_path, waiting, take, lambda tx: take(tx, now=END))
    assert len(jobs) == 1


def test_what_is_not_due_is_not_leased(tmp_path: Path) -> None:
    later = rows.Waiting(1, 0, "a.example", LATER)
    assert run(tmp_path, lambda tx: rows.enqueue(tx, [later]), take)[1] == []


def test_recipients_of_one_acceptance_go_together_up_to_the_most(tmp_path: Path) -> None:
    def fill(tx: Tx) -> None:
        for acceptance in (1, 2):
            for n in range(3):
                waiting(tx, acceptance, n)

    _, jobs, rest = run(
        tmp_path,
        fill,
        lambda tx: take(tx, jobs=2, recipients=3),
        lambda tx: [waiting(tx, 3, n) for n in range(5)] and take(tx, recipients=3),
    )
    assert [(j.acceptance, j.numbers) for j in jobs] == [(1, (0, 1, 2)), (2, (0, 1, 2))]
    assert [j.token for j in jobs] == [TOKEN, TOKEN + 1]
    assert [j.numbers for j in rest] == [(0, 1, 2)]


def test_finish_ends_the_row_and_forgets_an_empty_destination(tmp_path: Path) -> None:
    def unit(tx: Tx) -> None:
        job = leased(tx)
        rows.finish(tx, job, 0)
        rows.settle_destination(tx, job.destination)

    def destinations(tx: Tx) -> Any:
        return tx.value("SELECT COUNT(*) FROM destination")

    assert run(tmp_path, unit, state, destinations)[1:] == ["", 0]


def test_defer_waits_until_due_with_one_attempt_more(tmp_path: Path) -> None:
    def unit(tx: Tx) -> None:
        job = leased(tx)
        rows.defer(tx, job, 0, due=LATER, last="{}")
        rows.settle_destination(tx, job.destination)

    _, now_in, due, jobs = run(tmp_path, unit, state, rows.next_due, lambda tx: take(tx, now=LATER))
    assert (now_in, due) == ("waiting", LATER)
    assert jobs[0].attempts == (1,)


@pytest.mark.parametrize("change", ["finish", "defer"])
def test_an_outcome_whose_lease_was_lost_changes_nothing(tmp_path: Path, change: str) -> None:
    def lost(tx: Tx) -> rows.Leased:
        job = leased(tx)
        take(tx, now=END)  # somebody else, another token would be given in life
        tx.run("UPDATE queue SET lease = ?", (TOKEN + 1,))
        return job

    def late(tx: Tx) -> None:
        job = rows.Leased(TOKEN, 1, "a.example", (0,), (0,))
        if change == "finish":
            rows.finish(tx, job, 0)
        else:
            rows.defer(tx, job, 0, due=LATER, last="{}")

    async def work(store: SqliteStore) -> str:
        await store.run(lost)
        with pytest.raises(rows.LateOutcome):
            await store.run(late)
        return await store.read(state)

    assert with_store(tmp_path, work) == "leased"


def test_a_unit_that_fails_after_its_change_leaves_the_row_as_it_was(tmp_path: Path) -> None:
    """What a crash before COMMIT leaves is what was there before, for each transition."""

    def finish(tx: Tx) -> None:
        rows.finish(tx, rows.Leased(TOKEN, 1, "a.example", (0,), (0,)), 0)

    def defer(tx: Tx) -> None:
        job = rows.Leased(TOKEN, 1, "a.example", (0,), (0,))
        rows.defer(tx, job, 0, due=LATER, last="{}")

    def broken(unit: Callable[[Tx], Any]) -> Callable[[Tx], Any]:
        def then_fails(tx: Tx) -> None:
            unit(tx)
            raise PowerLossError

        return then_fails

    async def work(store: SqliteStore) -> list[str]:
        seen = []
        with pytest.raises(PowerLossError):
            await store.run(broken(waiting))
        seen.append(await store.read(state))
        await store.run(waiting)
        with pytest.raises(PowerLossError):
            await store.run(broken(take))
        seen.append(await store.read(state))
        await store.run(take)
        for unit in (finish, defer, lambda tx: rows.give_back(tx, NOW)):
            with pytest.raises(PowerLossError):
                await store.run(broken(unit))
            seen.append(await store.read(state))
        return seen

    assert with_store(tmp_path, work) == ["", "waiting", "leased", "leased", "leased"]


def test_give_back_makes_all_leases_due_now(tmp_path: Path) -> None:
    _, count, now_in, due = run(
        tmp_path, leased, lambda tx: rows.give_back(tx, NOW), state, rows.next_due
    )
    assert (count, now_in, due) == (1, "waiting", NOW)


def test_renew_moves_the_end_of_a_lease_that_is_held(tmp_path: Path) -> None:
    _, _, jobs = run(
        tmp_path,
        leased,
        lambda tx: rows.renew(tx, [(TOKEN, 1), (TOKEN + 5, 1)], END + 1000),
        lambda tx: take(tx, now=END),
    )
    assert jobs == []


def test_destinations_come_by_due_and_without_the_busy_ones(tmp_path: Path) -> None:
    def fill(tx: Tx) -> None:
        for n, name in enumerate(("c.example", "a.example", "b.example")):
            rows.enqueue(tx, [rows.Waiting(n, 0, name, NOW + n)])

    def look(tx: Tx) -> list[Any]:
        return [
            rows.due_destinations(tx, NOW + 5, 2, ()),
            rows.due_destinations(tx, NOW + 5, 2, {"c.example"}),
            rows.due_destinations(tx, NOW, 5, ()),
            rows.next_due(tx, {"c.example", "a.example"}),
        ]

    assert run(tmp_path, fill, look)[1] == [
        ["c.example", "a.example"],
        ["a.example", "b.example"],
        ["c.example"],
        NOW + 2,
    ]


def test_a_destination_is_never_looked_at_too_late(tmp_path: Path) -> None:
    """`destination.due` may be early; a row added with an earlier due must lower it."""

    def fill(tx: Tx) -> None:
        rows.enqueue(tx, [rows.Waiting(1, 0, "a.example", LATER)])
        rows.enqueue(tx, [rows.Waiting(2, 0, "a.example", NOW)])
        rows.enqueue(tx, [rows.Waiting(3, 0, "a.example", LATER)])

    assert run(tmp_path, fill, rows.next_due)[1] == NOW
