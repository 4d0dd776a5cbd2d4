"""Pairs: units of which two may meet in the store, by what they are called together."""

from __future__ import annotations

from functools import partial

from tests.contract.scene import (
    BUCKET,
    BUSY,
    DAYS_LATER,
    FAULT,
    FORGOTTEN,
    KNOCK,
    TAKEN,
    TERMS,
    UNSEEN,
    WAITS,
    WAITS_TOO,
    Given,
    Scene,
    alone,
    arrive,
    merge,
)

from estafeta.queue import holders, parked, rows, suspended, wish
from estafeta.queue import stopped as queue_stopped
from estafeta.queue.hand import Cancel, Hold, Release, Retry
from estafeta.queue.suspended import Suspension
from estafeta.store import (
    accounts,
    admissions,
    bearers,
    buckets,
    counters,
    flags,
    garbage,
    greylist,
    knocks,
    ledger,
    mailboxes,
    messages,
    trail,
)
from estafeta.store.audit import seal_slice
from estafeta.store.buckets import Share
from estafeta.store.engine import Tx
from estafeta.store.limits import KNOCK_AGE_MS


def pairs(s: Scene) -> dict[str, tuple[Given, Given]]:
    ana, luis, inbox, work = s.ana, s.luis, s.inbox, s.work
    now = DAYS_LATER
    seen = partial(messages.store_flags, mode="add", flags=flags.SEEN)
    replace = partial(messages.store_flags, mode="set", flags=flags.FLAGGED)
    create, rename, delete = mailboxes.create, mailboxes.rename, mailboxes.delete
    far = holders.Life(node="other", run=5, alone=False)
    return {
        "deliver+deliver": (s.deliver(ana), s.deliver(ana)),
        "deliver to both+the other way round": (s.deliver(ana, luis), s.deliver(luis, ana)),
        "deliver+expunge": (s.deliver(ana), s.own(messages.expunge, inbox, [1, 2])),
        "deliver+delete its box": (s.deliver(ana, box=work), s.own(delete, "Work")),
        "deliver+remove the account": (
            s.deliver(ana, luis),
            alone(lambda tx: accounts.remove_account(tx, ana)),
        ),
        "flag+flag": (s.own(seen, inbox, [1, 2, 3]), s.own(replace, inbox, [2, 3])),
        "flag+expunge": (s.own(seen, inbox, [1, 2, 3]), s.own(messages.expunge, inbox, [2])),
        "expunge+expunge": (
            s.own(messages.expunge, inbox, [1, 2]),
            s.own(messages.expunge, inbox, [2, 3]),
        ),
        "move+move": (
            s.own(messages.move, inbox, [1, 2], work),
            s.own(messages.move, inbox, [2, 3], work),
        ),
        "copy+expunge": (
            s.own(messages.copy, inbox, [1, 2], work),
            s.own(messages.expunge, inbox, [1, 2]),
        ),
        "move+delete the target": (
            s.own(messages.move, inbox, [1], work),
            s.own(delete, "Work"),
        ),
        "create+create": (s.own(create, "New/One"), s.own(create, "New/One")),
        "create+create beside": (s.own(create, "New/One"), s.own(create, "New/Two")),
        "create undeclared+undeclared": (
            alone(lambda tx: create(tx, ana, "New/One").name),
            alone(lambda tx: create(tx, ana, "New/One").name),
        ),
        "rename undeclared+create": (
            alone(lambda tx: rename(tx, ana, "Work", "New")),
            alone(lambda tx: create(tx, ana, "Work/Deep").name),
        ),
        "delete undeclared+create below": (
            alone(lambda tx: delete(tx, ana, "Work").name),
            alone(lambda tx: create(tx, ana, "Work/Deep").name),
        ),
        "rename INBOX+deliver": (s.own(rename, "INBOX", "Past"), s.deliver(ana)),
        "create for two people": (s.own(create, "A"), alone(lambda tx: create(tx, luis, "A"))),
        "recent+recent": (
            alone(lambda tx: messages.take_recent(tx, ana, inbox)),
            alone(lambda tx: messages.take_recent(tx, ana, inbox)),
        ),
        "recent+deliver": (
            alone(lambda tx: messages.take_recent(tx, ana, inbox)),
            s.deliver(ana),
        ),
        "subscribe+subscribe": (
            s.own(mailboxes.subscribe, "Work"),
            s.own(mailboxes.subscribe, "Work"),
        ),
        "fold+fold": (
            alone(lambda tx: messages.fold_tombstones(tx, ana, inbox, keep=0)),
            s.own(messages.expunge, inbox, [1]),
        ),
        "erase+erase": (
            alone(lambda tx: mailboxes.erase_slice(tx, ana, 999)),
            alone(lambda tx: mailboxes.erase_slice(tx, ana, 999)),
        ),
        # Who is here
        "account+account": (
            alone(lambda tx: accounts.add_account(tx, "new@a.example", now).address),
            alone(lambda tx: accounts.add_account(tx, "new@a.example", now).address),
        ),
        "account+alias": (
            alone(lambda tx: accounts.add_account(tx, "new@a.example", now).address),
            alone(lambda tx: accounts.add_alias(tx, "new@a.example", "ana@a.example")),
        ),
        "account+remove its domain": (
            alone(
                lambda tx: (
                    accounts.add_domain(tx, "n.example", now),
                    accounts.add_account(tx, "new@n.example", now),
                )
            ),
            alone(lambda tx: accounts.remove_domain(tx, "n.example")),
        ),
        "rename account+alias": (
            alone(lambda tx: accounts.set_account(tx, luis, address="new@a.example")),
            alone(lambda tx: accounts.add_alias(tx, "new@a.example", "ana@a.example")),
        ),
        "token+remove the account": (
            alone(lambda tx: bearers.add(tx, "t", "secret", account=luis, now=now)),
            alone(lambda tx: accounts.remove_account(tx, luis)),
        ),
        "remove account+alias to it": (
            alone(lambda tx: accounts.remove_account(tx, luis)),
            alone(lambda tx: accounts.add_identity(tx, luis, "l@a.example")),
        ),
        "domain+domain": (
            alone(lambda tx: accounts.add_domain(tx, "n.example", now).name),
            alone(lambda tx: accounts.add_domain(tx, "n.example", now).name),
        ),
        "remove+remove": (
            alone(lambda tx: accounts.remove_account(tx, ana)),
            alone(lambda tx: accounts.remove_account(tx, ana)),
        ),
        "take+take": (
            alone(lambda tx: counters.take(tx, "n", 3)),
            alone(lambda tx: counters.take(tx, "n")),
        ),
        # The queue
        "accept+accept": (s.accept("b.example", "d.example"), s.accept("d.example", "b.example")),
        "accept+lease": (s.accept("b.example"), s.lease(80)),
        "accept in hand+lease": (s.accept("b.example", token=81), s.lease(80)),
        "accept+lease of all there is": (s.accept("c.example"), s.lease(80, "c.example")),
        "accept for a new destination+settle it": (
            s.accept("new.example"),
            alone(lambda tx: rows.settle_destination(tx, "new.example")),
        ),
        "accept in hand+lease of all there is": (
            s.accept("c.example", token=82),
            s.lease(80, "c.example"),
        ),
        "lease+defer": (s.lease(80), s.settle(BUSY, now + 60_000)),
        "lease+finish": (s.lease(80), s.settle(TAKEN)),
        "settle+settle": (s.settle(TAKEN), s.settle(BUSY, now + 60_000)),
        "settle+give back": (
            s.settle(TAKEN),
            alone(lambda tx: rows.give_back(tx, now)),
        ),
        "renew+give back": (
            alone(lambda tx: rows.renew(tx, [(77, s.out.id)], now + 900_000)),
            alone(lambda tx: rows.give_back(tx, now)),
        ),
        "give back+give back": (
            alone(lambda tx: rows.give_back(tx, now)),
            alone(lambda tx: rows.give_back(tx, now)),
        ),
        "begin+begin": (
            alone(lambda tx: holders.begin(tx, far, now)),
            alone(lambda tx: holders.begin(tx, holders.Life("third", 6, alone=False), now)),
        ),
        # By hand
        "cancel+taken": (s.touch(Cancel()), s.settle(TAKEN)),
        "cancel+deferred": (s.touch(Cancel()), s.settle(BUSY, now + 60_000)),
        "hold+deferred": (s.touch(Hold("x")), s.settle(BUSY, now + 60_000)),
        "cancel+give back": (s.touch(Cancel()), alone(lambda tx: rows.give_back(tx, now))),
        "cancel+hold": (s.touch(Cancel()), s.touch(Hold("x"), 901)),
        "retry+deferred": (s.touch(Retry()), s.settle(BUSY, now + 60_000)),
        "cancel+grant": (s.touch(Cancel()), alone(lambda tx: wish.grant_due(tx, "b.example", now))),
        "correct+taken": (s.correct(), s.settle(TAKEN)),
        "correct+deferred": (s.correct(), s.settle(BUSY, now + 60_000)),
        "correct+correct": (s.correct(), s.correct(901)),
        "correct+correct otherwise": (s.correct(), s.correct(901, "bell@b.example")),
        "correct what was returned+garbage": (
            s.correct(of=s.returned),
            alone(lambda tx: garbage._remove(tx, [s.returned.body])),
        ),
        "correct what was returned twice": (
            s.correct(of=s.returned),
            s.correct(901, of=s.returned),
        ),
        "suspend+suspend": (
            alone(lambda tx: suspended.suspend(tx, Suspension("b.example", "x", "root", now))),
            alone(lambda tx: suspended.suspend(tx, Suspension("b.example", "y", "root", now))),
        ),
        "return+return": (s.give_back(0, 1), s.give_back(0, 1)),
        "return+fail too": (s.give_back(0, 1), s.fail_too()),
        "return all+fail too": (s.give_back(0, 1, 2), s.fail_too()),
        # Held for a fault of ours
        "park+taken": (s.park(), s.settle(TAKEN)),
        "park+cancel": (s.park(), s.touch(Cancel())),
        "park+tidy": (s.park(), alone(lambda tx: parked.tidy(tx, now))),
        "park+unpark": (s.park(), s.unpark()),
        "unpark+unpark": (s.unpark(), s.unpark(911)),
        "unpark+end": (s.unpark(), s.end_parked()),
        "unpark+release": (s.unpark(), s.touch_parked(Release())),
        "unpark+cancel": (s.unpark(), s.touch_parked(Cancel())),
        "end+end": (s.end_parked(), s.end_parked(97)),
        "end+cancel": (s.end_parked(), s.touch_parked(Cancel())),
        "told+told": (
            alone(lambda tx: parked.told(tx, FAULT, now)),
            alone(lambda tx: parked.told(tx, FAULT, now)),
        ),
        # Copies of what was sent
        "append to Sent+taken": (s.append_sent("<submitted@a.example>"), s.settle_tracked(TAKEN)),
        "append to Sent+deferred": (
            s.append_sent("<submitted@a.example>"),
            s.settle_tracked(BUSY, now + 60_000),
        ),
        "append to Sent+submit": (s.append_sent("<new@a.example>"), s.submit("<new@a.example>")),
        "append to Sent+submit and file": (
            s.append_sent("<new@a.example>"),
            s.submit("<new@a.example>", file=True),
        ),
        "submit and file twice": (
            s.submit("<new@a.example>", file=True),
            s.submit("<new@a.example>", file=True),
        ),
        "submit again+taken": (s.submit("<submitted@a.example>"), s.settle_tracked(TAKEN)),
        "copy what was sent+taken": (
            s.own(messages.copy, s.sent_box, [1], work),
            s.settle_tracked(TAKEN),
        ),
        "move what was sent+taken": (
            s.own(messages.move, s.sent_box, [1], work),
            s.settle_tracked(TAKEN),
        ),
        "expunge what was sent+taken": (
            s.own(messages.expunge, s.sent_box, [1]),
            s.settle_tracked(TAKEN),
        ),
        "flag what was sent+taken": (s.own(replace, s.sent_box, [1]), s.settle_tracked(TAKEN)),
        "delete Sent+taken": (s.own(delete, "Sent"), s.settle_tracked(TAKEN)),
        "delete Sent+submit and file": (
            s.own(delete, "Sent"),
            s.submit("<new@a.example>", file=True),
        ),
        "remove account+taken": (
            alone(lambda tx: accounts.remove_account(tx, ana)),
            s.settle_tracked(TAKEN),
        ),
        # Strangers
        "first try+first try": (arrive(UNSEEN), arrive(UNSEEN)),
        "second try+second try": (arrive(WAITS), arrive(WAITS)),
        "second tries of one message": (arrive(WAITS), arrive(WAITS_TOO)),
        "second tries of two messages": (arrive(WAITS), arrive(WAITS_TOO, now + TERMS.apart)),
        "a try after the end+removing it": (
            arrive(FORGOTTEN),
            alone(lambda tx: greylist.expire(tx, now)),
        ),
        "removing+removing": (
            alone(lambda tx: greylist.expire(tx, now)),
            alone(lambda tx: greylist.expire(tx, now)),
        ),
        # Who tried to come in
        "try+try": (s.tries("new@x.example", id=20), s.tries("new@x.example", id=30)),
        "try+try the other way round": (
            s.tries("known@x.example", "new@x.example", id=20),
            s.tries("new@x.example", "known@x.example", id=30),
        ),
        "try+come in after all": (
            s.tries("known@x.example", id=20),
            s.tries(id=30, arrives=True),
        ),
        "try+remove the account": (
            s.tries("new@x.example", id=20),
            alone(lambda tx: accounts.remove_account(tx, ana)),
        ),
        "try+erase": (
            s.tries("known@x.example", id=20),
            alone(lambda tx: knocks.erase_old(tx, now + KNOCK_AGE_MS + KNOCK + 1)),
        ),
        "let in+let in": (s.lets_in(KNOCK, id=50), s.lets_in(KNOCK, id=51)),
        "let in+remove the account": (
            s.lets_in(KNOCK, id=50),
            alone(lambda tx: accounts.remove_account(tx, ana)),
        ),
        "let in+take back": (
            s.lets_in(KNOCK, id=50),
            alone(lambda tx: admissions.revoke(tx, ana, KNOCK)),
        ),
        "come in by it+come in by it": (s.comes_in(60), s.comes_in(61)),
        "come in by it+take back": (
            s.comes_in(60),
            alone(lambda tx: admissions.revoke(tx, ana, KNOCK)),
        ),
        "come in by it+remove the account": (
            s.comes_in(60),
            alone(lambda tx: accounts.remove_account(tx, ana)),
        ),
        # Limits
        "merge+merge": (merge(Share("new", BUCKET, 3, 4)), merge(Share("new", BUCKET, 1, 4))),
        "merge+merge, the other way round": (
            merge(Share("new", BUCKET, 3), Share("old", BUCKET, 1)),
            merge(Share("old", BUCKET, 2), Share("new", BUCKET, 4)),
        ),
        "merge+forget what is full": (
            merge(Share("old", BUCKET, 3), Share("new", BUCKET, 1)),
            alone(partial(buckets.forget_full, now=now)),
        ),
        "forget+forget": (
            alone(partial(buckets.forget_full, now=now)),
            alone(partial(buckets.forget_full, now=now)),
        ),
        "stop+stop": (s.stop(), s.stop(952)),
        "stop+submit": (s.stop(), s.submit_unless_stopped()),
        "stop+let go": (s.stop(), s.let_go()),
        "stop+outcome": (s.stop(), s.settle_tracked(BUSY, now + 60_000)),
        "stop+delivered": (s.stop(), s.settle_tracked(TAKEN)),
        "tell+tell": (s.tell_of_luis(), s.tell_of_luis()),
        "tell+let": (
            s.tell_of_luis(),
            ((lambda tx: queue_stopped.let(tx, s.luis)), (luis,)),
        ),
        "stop+remove the account": (
            s.stop(),
            alone(lambda tx: accounts.remove_account(tx, ana)),
        ),
        # Upkeep
        "seal+seal": (
            alone(lambda tx: seal_slice(tx, now, limit=1)),
            alone(lambda tx: seal_slice(tx, now, limit=1)),
        ),
        "seal+accept": (alone(lambda tx: seal_slice(tx, now)), s.accept("b.example")),
        "trail+trail": (
            alone(lambda tx: trail.extend(tx, now, limit=1)),
            alone(lambda tx: trail.extend(tx, now)),
        ),
        "garbage+garbage": (
            alone(lambda tx: garbage._remove(tx, [s.old])),
            alone(lambda tx: garbage._remove(tx, [s.old])),
        ),
        "garbage+put": (
            alone(lambda tx: garbage._remove(tx, [s.old])),
            s.deliver(ana),
        ),
        "garbage+move": (
            alone(lambda tx: garbage._remove(tx, sorted(_bodies_of(tx, ana)))),
            s.copy_of_old_message(),
        ),
        "confirm+confirm": (
            alone(lambda tx: ledger.confirm(tx, s.sent.id)),
            alone(lambda tx: ledger.confirm(tx, s.sent.id)),
        ),
    }


def _bodies_of(tx: Tx, account: int) -> list[int]:
    return [id for (id,) in tx.rows("SELECT body FROM message WHERE account = ?", (account,))]
