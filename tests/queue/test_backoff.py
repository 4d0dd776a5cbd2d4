"""Backoff: a host without time is asked by one message at a time, and who waits for it is not
looked at; nothing of it is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.inline import with_store

from estafeta.mail.outcome import Deferred, Reply
from estafeta.queue import backoff, rows, suspended
from estafeta.queue.backoff import Seen
from estafeta.store.audit import audit_open
from estafeta.store.engine import Tx
from estafeta.store.sqlite import SqliteStore

pytestmark = pytest.mark.usefixtures("each_engine")

NOW = 1_000_000
MINUTE = 60_000
BUSY = Deferred(Reply(421, "4.3.2", "busy"), "server-busy", "mx.b.example")
HOST = "mx.b.example"
PROBER = 5 << 39


def run(tmp_path: Path, *units: Callable[[Tx], Any]) -> list[Any]:
    async def work(store: SqliteStore) -> list[Any]:
        return [await store.run(unit) for unit in units]

    return with_store(tmp_path, work)


def doubling(failures: int) -> int:
    return MINUTE * 2 ** (failures - 1)


def failed(began: int, host: str = HOST) -> Seen:
    return Seen(host, BUSY, doubling, began)


def answered(host: str = HOST) -> Seen:
    return Seen(host, None, doubling, NOW)


def enqueued(*names: str, due: int = NOW) -> Callable[[Tx], None]:
    def unit(tx: Tx) -> None:
        for n, name in enumerate(names):
            rows.enqueue(tx, [rows.Waiting(1, n, name, due)])

    return unit


def waiting(*names: str, now: int = NOW, host: str = HOST) -> Callable[[Tx], None]:
    """Rows for these domains, whose one host failed a moment ago."""

    def unit(tx: Tx) -> None:
        enqueued(*names, due=now)(tx)
        backoff.note(tx, failed(now, host), now)
        for name in names:
            backoff.after(tx, name, "", [host])

    return unit


def looks(tx: Tx, now: int) -> list[str]:
    return rows.due_destinations(tx, now, 10, ())


def probes(tx: Tx, now: int, busy: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    return backoff.probes_due(tx, now, now + 15 * MINUTE, 10, busy)


def known(tx: Tx) -> backoff.Standing | None:
    return backoff.standing(tx, HOST)


def test_each_failure_doubles_the_wait_and_an_answer_forgets_it(tmp_path: Path) -> None:
    def story(tx: Tx) -> list[Any]:
        seen = []
        for at in (NOW, NOW + MINUTE, NOW + 3 * MINUTE):
            backoff.note(tx, failed(at), at)
            there = known(tx)
            assert there is not None
            seen.append((there.failures, there.since, there.not_before - at, there.why))
        backoff.note(tx, answered(), NOW)
        return [*seen, known(tx)]

    assert run(tmp_path, story)[0] == [
        (1, NOW, MINUTE, BUSY),
        (2, NOW, 2 * MINUTE, BUSY),
        (3, NOW, 4 * MINUTE, BUSY),
        None,
    ]


def test_attempts_that_were_under_way_together_count_once(tmp_path: Path) -> None:
    def story(tx: Tx) -> Any:
        for n in range(20):
            backoff.note(tx, failed(NOW + n), NOW + 100 + n)
        return known(tx)

    there = run(tmp_path, story)[0]
    assert (there.failures, there.not_before) == (1, NOW + 100 + MINUTE)


def test_many_that_are_suspended_do_not_keep_the_others_from_the_probe(tmp_path: Path) -> None:
    names = tuple(f"s{n:02}.example" for n in range(40))

    def story(tx: Tx) -> Any:
        waiting(*names, "z.example")(tx)
        return probes(tx, NOW + 5 * MINUTE, busy=names)

    assert run(tmp_path, story)[0] == [(HOST, "z.example")]


def test_who_waits_is_not_looked_at_and_one_is_probed_when_it_is_time(tmp_path: Path) -> None:
    later = NOW + MINUTE
    story = (
        waiting("a.example", "b.example", "c.example"),
        lambda tx: (looks(tx, later), rows.next_due(tx), probes(tx, later - 1)),
        lambda tx: probes(tx, later),
        lambda tx: (probes(tx, later), looks(tx, later + 10 * MINUTE)),
    )
    _, before, due, then = run(tmp_path, *story)
    assert before == ([], later, [])
    assert due == [(HOST, "a.example")]
    assert then == ([], [])


def test_destinations_that_wait_cost_the_others_nothing(tmp_path: Path) -> None:
    _, _, looked, due = run(
        tmp_path,
        waiting(*(f"d{n}.example" for n in range(300))),
        lambda tx: rows.enqueue(tx, [rows.Waiting(2, 0, "other.example", NOW)]),
        lambda tx: rows.due_destinations(tx, NOW, 1, ()),
        rows.next_due,
    )
    assert (looked, due) == (["other.example"], NOW)


def test_a_probe_is_one_over_all_workers(tmp_path: Path) -> None:
    def take(now: int, prober: int) -> Callable[[Tx], bool]:
        return lambda tx: backoff.probe(tx, HOST, now, prober)

    patience = int(backoff.PROBE_SECONDS * 1000)
    start = NOW + MINUTE
    _, early, first, second, there, late = run(
        tmp_path,
        waiting("a.example"),
        take(start - 1, PROBER),
        take(start, PROBER),
        take(start + 1, PROBER + 1),
        known,
        take(start + patience, PROBER + 1),
    )
    assert (early, first, second, late) == (False, True, False, True)
    assert there.probed
    assert there.not_before == start + patience


def test_a_host_that_answers_releases_everybody(tmp_path: Path) -> None:
    names = ("a.example", "b.example", "c.example")
    _, _, looked, due = run(
        tmp_path,
        waiting(*names),
        lambda tx: backoff.note(tx, answered(), NOW),
        lambda tx: looks(tx, NOW),
        rows.next_due,
    )
    assert looked == sorted(names)
    assert due == NOW


def test_a_host_is_not_probed_before_anybody_wants_to(tmp_path: Path) -> None:
    """The message's own plan has it wait longer than the host does; one look is in vain."""

    def attempted(tx: Tx) -> None:
        waiting("a.example")(tx)
        job = rows.lease(
            tx, "a.example", now=NOW, until=NOW + 9, tokens=[7], recipients_max=9, probe=HOST
        )[0]
        rows.defer(tx, job, 0, due=NOW + 5 * MINUTE, last="{}")
        backoff.after(tx, "a.example", HOST, [HOST])

    def look(tx: Tx) -> list[rows.Leased]:
        now = NOW + MINUTE
        assert probes(tx, now) == [(HOST, "a.example")]
        found = rows.lease(
            tx, "a.example", now=now, until=now + 9, tokens=[8], recipients_max=9, probe=HOST
        )
        backoff.settle(tx, HOST)
        return found

    def added(tx: Tx) -> None:
        rows.enqueue(tx, [rows.Waiting(2, 0, "a.example", NOW + 2 * MINUTE)])

    _, in_vain, alone, _, together, probe = run(
        tmp_path,
        attempted,
        look,
        rows.next_due,
        added,
        rows.next_due,
        lambda tx: probes(tx, NOW + 2 * MINUTE),
    )
    assert in_vain == []
    assert alone == NOW + 5 * MINUTE
    assert together == NOW + 2 * MINUTE
    assert probe == [(HOST, "a.example")]


def test_new_mail_for_who_waits_does_not_hurry_the_host(tmp_path: Path) -> None:
    def more(tx: Tx) -> None:
        rows.enqueue(tx, [rows.Waiting(2, 0, "a.example", NOW - 1)])

    assert run(tmp_path, waiting("a.example"), more, rows.next_due)[2] == NOW + MINUTE


def test_a_destination_waits_for_the_host_that_is_free_first(tmp_path: Path) -> None:
    def story(tx: Tx) -> Any:
        enqueued("a.example")(tx)
        for host, at in (("mx1", NOW + 1000), ("mx2", NOW)):
            backoff.note(tx, failed(at, host), at)
        return backoff.after(tx, "a.example", "", ["mx1", "mx2"])

    assert run(tmp_path, story)[0] == ("mx2", NOW + MINUTE)


def test_a_host_that_has_recovered_meanwhile_is_not_waited_for(tmp_path: Path) -> None:
    _, found, looked, findings = run(
        tmp_path,
        enqueued("a.example"),
        lambda tx: backoff.after(tx, "a.example", "", [HOST]),
        lambda tx: looks(tx, NOW),
        audit_open,
    )
    assert (found, looked) == (None, ["a.example"])
    assert not [each for each in findings if each.kind == "destination-out-of-sight"]


def test_a_probe_that_went_another_way_ends_the_wait(tmp_path: Path) -> None:
    """The domain names other hosts by now."""
    _, _, looked, there = run(
        tmp_path,
        waiting("a.example", "b.example"),
        lambda tx: backoff.after(tx, "a.example", HOST, []),
        lambda tx: looks(tx, NOW),
        known,
    )
    assert looked == ["a.example"]
    assert there is not None


def test_a_probe_of_a_destination_without_room_is_put_off(tmp_path: Path) -> None:
    later = NOW + MINUTE
    _, none, due, other = run(
        tmp_path,
        waiting("a.example"),
        lambda tx: probes(tx, later, ("a.example",)),
        rows.next_due,
        lambda tx: probes(tx, later + 2 * backoff.LOOK_AGAIN_MS),
    )
    assert (none, due) == ([], later + backoff.LOOK_AGAIN_MS)
    assert other == [(HOST, "a.example")]


def test_the_probe_of_a_worker_that_died_is_made_by_another(tmp_path: Path) -> None:
    later = NOW + MINUTE
    _, _, _, kept, _, due = run(
        tmp_path,
        waiting("a.example"),
        lambda tx: backoff.probe(tx, HOST, later, PROBER),
        lambda tx: rows.give_back(tx, later, range(PROBER + 1, PROBER + 9)),
        lambda tx: probes(tx, later),
        lambda tx: rows.give_back(tx, later, range(PROBER, PROBER + 9)),
        lambda tx: probes(tx, later),
    )
    assert kept == []
    assert due == [(HOST, "a.example")]


def test_a_lease_that_nobody_ends_is_looked_at_again(tmp_path: Path) -> None:
    """A worker leased for the probe and was gone before it asked the host."""
    later = NOW + MINUTE
    until = later + 15 * MINUTE

    def leased(tx: Tx) -> list[rows.Leased]:
        found = probes(tx, later)
        assert found
        return rows.lease(
            tx, "a.example", now=later, until=until, tokens=[9], recipients_max=9, probe=HOST
        )

    _, _, quiet, again = run(
        tmp_path,
        waiting("a.example"),
        leased,
        lambda tx: probes(tx, until - 1),
        lambda tx: probes(tx, until),
    )
    assert (quiet, again) == ([], [(HOST, "a.example")])


def test_somebody_wants_it_tried_now(tmp_path: Path) -> None:
    _, _, looked, probe, _, again = run(
        tmp_path,
        waiting("a.example", "b.example"),
        lambda tx: backoff.hurry(tx, "a.example", NOW),
        lambda tx: looks(tx, NOW),
        lambda tx: backoff.probe(tx, HOST, NOW, PROBER),
        lambda tx: backoff.hurry(tx, "b.example", NOW + 1),
        lambda tx: backoff.probe(tx, HOST, NOW + 1, PROBER),
    )
    assert looked == ["a.example"]
    assert probe is True
    assert again is False  # somebody is at it


@pytest.mark.parametrize(
    ("drained", "looked"), [("a.example", ["a.example"]), ("*", ["a.example", "b.example"])]
)
def test_who_is_drained_elsewhere_waits_no_longer(
    tmp_path: Path, drained: str, looked: list[str]
) -> None:
    wanted = suspended.Drain(drained, "other.example", 25, "root", NOW)
    _, _, found = run(
        tmp_path,
        waiting("a.example", "b.example"),
        lambda tx: suspended.drain(tx, wanted),
        lambda tx: looks(tx, NOW),
    )
    assert found == looked


def test_hosts_that_nobody_waits_for_are_forgotten(tmp_path: Path) -> None:
    def lonely(tx: Tx) -> None:
        backoff.note(tx, failed(NOW, "mx.lonely.example"), NOW)

    def there(tx: Tx) -> list[Any]:
        return [row[0] for row in tx.rows("SELECT name FROM backoff ORDER BY name")]

    def forget(tx: Tx) -> list[bool]:
        found = [backoff.is_stale(tx, NOW), backoff.is_stale(tx, NOW + 2 * MINUTE)]
        backoff.forget(tx, NOW + 2 * MINUTE)
        return [*found, backoff.is_stale(tx, NOW + 2 * MINUTE)]

    _, _, before, stale, after = run(tmp_path, waiting("a.example"), lonely, there, forget, there)
    assert stale == [False, True, False]
    assert before == [HOST, "mx.lonely.example"]
    assert after == [HOST]


def test_a_domain_itself_is_waited_for(tmp_path: Path) -> None:
    itself = backoff.of_domain("a.example")
    _, due, _, looked = run(
        tmp_path,
        waiting("a.example", host=itself),
        lambda tx: probes(tx, NOW + MINUTE),
        lambda tx: backoff.note(tx, answered(itself), NOW),
        lambda tx: looks(tx, NOW),
    )
    assert due == [(itself, "a.example")]
    assert looked == ["a.example"]


def test_the_audit_finds_who_is_out_of_sight(tmp_path: Path) -> None:
    def kinds(tx: Tx) -> set[str]:
        return {each.kind for each in audit_open(tx)} - {"queue-row-without-recipient"}

    _, well, _, never, _, gone = run(
        tmp_path,
        waiting("a.example"),
        kinds,
        lambda tx: tx.run("UPDATE backoff SET due = ?", (backoff.NEVER,)),
        kinds,
        lambda tx: tx.run("DELETE FROM backoff"),
        kinds,
    )
    assert well == set()
    assert never == gone == {"destination-out-of-sight"}


def test_postponed_rows_count_no_attempt_and_are_due(tmp_path: Path) -> None:
    def leased(tx: Tx) -> rows.Leased:
        enqueued("a.example")(tx)
        return rows.lease(
            tx, "a.example", now=NOW, until=NOW + MINUTE, tokens=[7], recipients_max=9
        )[0]

    async def work(store: SqliteStore) -> list[Any]:
        job = await store.run(leased)
        await store.run(lambda tx: rows.postpone(tx, job, NOW + 5))
        with pytest.raises(rows.LateOutcome):
            await store.run(lambda tx: rows.postpone(tx, job, NOW + 6))
        found = await store.read(lambda tx: tx.rows("SELECT due, attempts, lease FROM queue"))
        return [found, await store.read(rows.next_due)]

    due = NOW + 5 + rows.POSTPONED_MS
    assert with_store(tmp_path, work) == [[(due, 0, None)], due]
