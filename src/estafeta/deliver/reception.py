"""Reception: whether a message comes in to a recipient, on port 25 and by LMTP, in one order.

At RCPT: who it is, over what it came, how large it is, whether there is room; then what strangers
must pass. After the message: what it holds, and whether there is still room. What is refused or put
off is noted for the owner of the account, who may let in some of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from estafeta.deliver import letting
from estafeta.deliver.contents import as_let_in, objection_to
from estafeta.deliver.dossier import Dossier, Terms
from estafeta.deliver.journal import Journal
from estafeta.deliver.limits import NAMING_MAX, QUOTA_LOOK_OCTETS, VISITOR_SECONDS
from estafeta.deliver.noting import Noting, noted
from estafeta.deliver.policy.book import Book
from estafeta.deliver.policy.finding import Finding, Late
from estafeta.deliver.policy.inspector import Inspector
from estafeta.deliver.policy.rules import Effective
from estafeta.deliver.strangers import Asked, Passed, Strangers
from estafeta.deliver.visitor import Visitor
from estafeta.intake.networks import network_of
from estafeta.intake.objection import Objection, objection
from estafeta.intake.role import Client, Transaction
from estafeta.intake.target import (
    Directory,
    Target,
    ToRemote,
    accounts_of,
    is_full,
    the_one_of,
)
from estafeta.mail.address import split
from estafeta.mail.outcome import Reply
from estafeta.store import accounts
from estafeta.store.admissions import KINDS
from estafeta.store.bodies import Body
from estafeta.store.engine import Store, Tx
from estafeta.wire import replies
from estafeta.wire.smtp_server.events import Mail
from estafeta.world.seams import Clock

Looked = dict[bytes, Finding | Late | None]
"""What was found in a message, by the class of the rules it was looked through for."""


class Reception:
    """Of one process. strangers: None for LMTP, whose clients are neighbours."""

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        book: Book,
        inspector: Inspector,
        journal: Journal,
        clock: Clock,
        strangers: Strangers | None,
    ) -> None:
        self._store = store
        self._directory = directory
        self._book = book
        self._inspector = inspector
        self._noting = Noting(journal)
        self._clock = clock
        self._strangers = strangers
        self._names_until = 0.0
        self._naming: set[asyncio.Task[None]] = set()

    def expect(self, client: Client) -> None:
        """Somebody begins a message: who they are will be asked soon, where it was of late."""
        if self._strangers is not None and asyncio.get_running_loop().time() < self._names_until:
            self._strangers.visitors.expect(client.peer.host)

    # -- at RCPT -------------------------------------------------------------------------------

    async def recipient(
        self, client: Client, transaction: Transaction, address: str
    ) -> Target | Reply:
        """Where it leads, or why it is refused. Raises StoreError."""
        dossier = self._dossier(client, transaction)
        strangers = self._strangers
        postmaster = split(address)[0].lower() == "postmaster"
        if strangers is not None and not postmaster:
            guesses = await strangers.guesses(dossier.visitor)
            if guesses is not None:
                return guesses.said()
        found = await self._store.read(partial(self._look, address=address))
        if isinstance(found, Objection):
            return await self._unreachable(client, transaction, dossier, address, found)
        target, terms = found
        if postmaster:
            refused = await self._for_postmaster(client, transaction, dossier, terms)
        else:
            refused = await self._at_rcpt(client, transaction, dossier, target, terms)
        if refused is not None:
            return await self._refuse(client, transaction, dossier, terms, refused)
        dossier.terms.append(terms)
        return target

    def _dossier(self, client: Client, transaction: Transaction) -> Dossier:
        known = transaction.notes
        if not isinstance(known, Dossier):
            known = transaction.notes = Dossier(self._visitor(client), client.hello)
        return known

    def _visitor(self, client: Client) -> Visitor:
        """As far as that takes no question."""
        host = client.peer.host
        if self._strangers is None:
            return Visitor(host, _network(host), exempt=True)
        return self._strangers.visitors.known(host) or Visitor(host, network_of(host))

    async def _named(self, client: Client, dossier: Dossier) -> Visitor:
        """With the name that the DNS confirms."""
        if self._strangers is not None:
            dossier.visitor = await self._strangers.visitors.of(client.peer.host)
        return dossier.visitor

    def _look(self, tx: Tx, *, address: str) -> tuple[Target, Terms] | Objection:
        target = self._directory(tx, address)
        if isinstance(target, Objection):
            return target
        if isinstance(target, ToRemote):
            return objection(replies.RELAY_DENIED, address=address)
        return target, self._terms(tx, address, target)

    def _terms(self, tx: Tx, address: str, target: Target) -> Terms:
        account = the_one_of(target)
        own = account.domain if account is not None else ""
        rules = self._book.of(tx, split(address)[1] or own, account)
        reached = (account.id,) if account is not None else sorted(accounts_of((target,)))
        return Terms(address, rules, account, reached)

    async def _ask_owners(
        self,
        client: Client,
        transaction: Transaction,
        dossier: Dossier,
        named: Sequence[Terms],
    ) -> None:
        """Whether they let this sender in. Asked of each once, and only where it may matter."""
        asked = [each for each in named if not each.asked]
        for each in asked:
            each.asked = True
        owned = [each for each in asked if each.account is not None and each.rules.let_in]
        if not owned:
            return
        visitor = await self._named(client, dossier)
        sender, now = transaction.mail.reverse_path, int(self._clock.now() * 1000)

        def look(tx: Tx) -> None:
            for each in owned:
                assert each.account is not None
                each.admission = letting.admitted(tx, each.account.id, visitor, sender, now)

        await self._store.read(look)

    async def _has_place(
        self, client: Client, transaction: Transaction, dossier: Dossier, terms: Terms
    ) -> bool:
        """Beside those who are named already, as far as a message must be judged alike for all."""
        if not dossier.terms:
            return True
        looking = [each for each in (*dossier.terms, terms) if each.rules.looks]
        await self._ask_owners(client, transaction, dossier, looking)
        if dossier.has_place_for(terms, each=transaction.each):
            return True
        dossier.put_aside = True
        return False

    async def _at_rcpt(
        self,
        client: Client,
        transaction: Transaction,
        dossier: Dossier,
        target: Target,
        terms: Terms,
    ) -> Objection | None:
        rules, size, strangers = terms.rules, transaction.mail.size, self._strangers

        async def overruled(found: Objection) -> bool:
            return await self._overruled(client, transaction, dossier, terms, found)

        if rules.tls and client.tls is None and strangers is not None:
            return objection(replies.ENCRYPTION_NEEDED, address=terms.address)
        if size > rules.size_max > 0:
            found = objection(replies.TOO_BIG_FOR, address=terms.address, size_max=rules.size_max)
            if not await overruled(found):
                return found
        if is_full(target, size):
            return _full(terms)
        if strangers is not None and (rules.greylist or strangers.lists.any):
            self._names_until = asyncio.get_running_loop().time() + VISITOR_SECONDS
            await self._named(client, dossier)
        if not await self._has_place(client, transaction, dossier, terms):
            return objection(replies.OTHER_TRANSACTION, address=terms.address)
        if strangers is None:
            return None
        asked = Asked(
            dossier.visitor,
            transaction.mail.reverse_path,
            terms.address,
            terms.account.id if terms.account is not None else None,
            rules,
        )
        passed = await strangers.judge(asked, overruled)
        if isinstance(passed, Passed):
            terms.again = passed.again
            return None
        return passed

    async def _for_postmaster(
        self, client: Client, transaction: Transaction, dossier: Dossier, terms: Terms
    ) -> Objection | None:
        """Whoever is refused must be able to say so (RFC 5321 §4.5.1): only rates count."""
        if not await self._has_place(client, transaction, dossier, terms):
            return objection(replies.OTHER_TRANSACTION, address=terms.address)
        if self._strangers is None or dossier.visitor.exempt:
            return None
        return await self._strangers.rates.recipient(dossier.visitor.network, "", None)

    async def _overruled(
        self,
        client: Client,
        transaction: Transaction,
        dossier: Dossier,
        terms: Terms,
        found: Objection,
    ) -> bool:
        """Whether the owner of the account lets it in all the same."""
        if KINDS.get(found.cause) not in terms.rules.let_in:
            return False
        await self._ask_owners(client, transaction, dossier, [terms])
        if not letting.lets_in(terms.admission, found.cause, terms.rules.let_in):
            return False
        terms.needed = found
        return True

    async def _unreachable(
        self,
        client: Client,
        transaction: Transaction,
        dossier: Dossier,
        address: str,
        found: Objection,
    ) -> Reply:
        """Nobody is there, or nobody of ours."""
        if self._strangers is not None and found.cause == "unknown-user":
            guessing = await self._strangers.guessed(dossier.visitor)
            if guessing is not None:
                found = guessing
        domain = split(address)[1]

        def say(tx: Tx) -> Reply:
            known = accounts.domain(tx, domain)
            if known is None:
                return found.said(utf8=transaction.mail.smtputf8)
            help = self._book.of(tx, domain).help
            return found.said(language=known.language, utf8=transaction.mail.smtputf8, help=help)

        reply = await self._store.read(say)
        if owner := found.values.get("account"):  # of a mailbox that is disabled
            terms = Terms(address, Effective(), None, (owner,))
            self._note(client, dossier, transaction.mail, terms, found, reply)
        return reply

    # -- after the message ---------------------------------------------------------------------

    def header(self, transaction: Transaction, header: bytes) -> None:
        """Kept, for the subject."""
        if isinstance(transaction.notes, Dossier):
            transaction.notes.header = header

    async def judge(
        self, client: Client, transaction: Transaction, body: Body
    ) -> Sequence[Reply | None]:
        """See intake.role.Role. Raises StoreError."""
        dossier = transaction.notes
        assert isinstance(dossier, Dossier)
        if not any(terms.looked_at for terms in dossier.terms):
            return ()
        dossier.size = body.size
        looked: Looked = {}
        verdicts: list[Reply | None] = []
        objections = [
            await self._objection(client, transaction, terms, body, looked)
            for terms in dossier.terms
        ]
        if not transaction.each and dossier.takes_although_full(objections):
            objections = [None] * len(objections)
        for terms, found in zip(dossier.terms, objections, strict=True):
            refusal = None
            if found is not None:
                refusal = await self._refuse(
                    client, transaction, dossier, terms, found, size=body.size
                )
            terms.refused = refusal is not None
            verdicts.append(refusal)
        await self._use_up(transaction, dossier)
        return verdicts if any(verdicts) else ()

    async def _use_up(self, transaction: Transaction, dossier: Dossier) -> None:
        """The admissions that were needed, each once: an account may be named by several addresses
        in one message."""
        used: set[int] = set()
        for terms in dossier.terms:
            admission, needed = terms.admission, terms.needed
            if admission is None or needed is None or terms.refused or admission.id in used:
                continue
            used.add(admission.id)
            refusal = await self._say(transaction, terms, needed)
            for each in dossier.terms:
                if each.admission is not None and each.admission.id == admission.id:
                    each.lost = refusal
            now = int(self._clock.now() * 1000)
            transaction.units.append(letting.used(admission, transaction.id, now, refusal))

    async def contents(self, transaction: Transaction, body: Body) -> Sequence[Objection | None]:
        """What is objected, by recipient, to a message of our own people for what it holds. Raises
        StoreError."""

        def look(tx: Tx) -> list[Terms | None]:
            return [
                None if isinstance(target, ToRemote) else self._terms(tx, each.address, target)
                for each, target in zip(transaction.recipients, transaction.targets, strict=True)
            ]

        if all(isinstance(target, ToRemote) for target in transaction.targets):
            return ()
        looked: Looked = {}
        objections: list[Objection | None] = []
        for terms in await self._store.read(look):
            found = None if terms is None else await self._found(terms.rules, body, looked)
            objections.append(
                None
                if terms is None or found is None
                else objection_to(found, terms.address, terms.rules)
            )
        return objections

    async def _objection(
        self,
        client: Client,
        transaction: Transaction,
        terms: Terms,
        body: Body,
        looked: Looked,
    ) -> Objection | None:
        rules = terms.rules
        found = await self._found(rules, body, looked)
        if found is not None:
            said = objection_to(found, terms.address, rules)
            dossier = self._dossier(client, transaction)
            if await self._overruled(client, transaction, dossier, terms, said):
                found = await self._found(as_let_in(rules), body, looked)
        if found is not None:
            return objection_to(found, terms.address, rules)
        account = terms.account
        if account is not None and 0 < account.quota < account.used + body.size + QUOTA_LOOK_OCTETS:
            # Somebody else may have filled it meanwhile, and the size is known now. Where much is
            # left, the unit that places the message looks.
            now = await self._store.read(partial(accounts.account_by_id, id=account.id))
            if now is not None and accounts.is_full(now, body.size):
                return _full(terms)
        return None

    async def _found(self, rules: Effective, body: Body, looked: Looked) -> Finding | Late | None:
        """Once for all whose rules are the same."""
        key = rules.content_class
        if key not in looked:
            looked[key] = await self._inspector.look(body, rules)
        return looked[key]

    def accepted(self, transaction: Transaction) -> None:
        """It is committed."""
        if isinstance(transaction.notes, Dossier):
            self._noting.accepted(transaction.notes, transaction.mail)

    def refused(self, transaction: Transaction, reply: Reply) -> list[Reply]:
        """By the unit that was to accept it: an admission was used up by another message. Who has
        nothing to do with that gets the message when it comes again."""
        dossier = transaction.notes
        assert isinstance(dossier, Dossier)
        said: list[Reply] = []
        for terms in dossier.terms:
            if terms.lost != reply or terms.needed is None:
                said.append(replies.RECIPIENT_BUSY(address=terms.address))
                continue
            said.append(reply)
            self._noting.refused(
                dossier, transaction.mail, terms, terms.needed, reply, size=dossier.size
            )
        # A unit that was not of an admission: for all of them.
        return said if reply in said else [reply] * len(said)

    def failed(self, transaction: Transaction, reply: Reply) -> None:
        """For what nobody here was asked about: its size, its line ends, a loop."""
        dossier, found = transaction.notes, Objection(reply)
        if isinstance(dossier, Dossier) and found.cause and noted(found):
            for terms in dossier.terms:
                self._noting.refused(dossier, transaction.mail, terms, found, reply)

    # -- words ---------------------------------------------------------------------------------

    async def _refuse(
        self,
        client: Client,
        transaction: Transaction,
        dossier: Dossier,
        terms: Terms,
        found: Objection,
        *,
        size: int = 0,
    ) -> Reply:
        reply = await self._say(transaction, terms, found)
        if noted(found):
            self._note(client, dossier, transaction.mail, terms, found, reply, size=size)
        return reply

    def _note(
        self,
        client: Client,
        dossier: Dossier,
        mail: Mail,
        terms: Terms,
        found: Objection,
        reply: Reply,
        *,
        size: int = 0,
    ) -> None:
        """With the name of the client. Nobody waits for that to be told their answer."""

        def note() -> None:
            self._noting.refused(dossier, mail, terms, found, reply, size=size)

        host, strangers = client.peer.host, self._strangers
        known = None if strangers is None else strangers.visitors.known(host)
        if strangers is None or known is not None or len(self._naming) >= NAMING_MAX:
            dossier.visitor = known or dossier.visitor
            note()
            return

        async def name() -> None:
            try:
                dossier.visitor = await strangers.visitors.of(host)
            finally:
                note()

        task = asyncio.create_task(name(), name="noting")
        self._naming.add(task)
        task.add_done_callback(self._naming.discard)

    async def close(self) -> None:
        """What is to be noted still is, be it without a name."""
        naming = list(self._naming)
        for task in naming:
            task.cancel()
        await asyncio.gather(*naming, return_exceptions=True)

    async def _say(self, transaction: Transaction, terms: Terms, found: Objection) -> Reply:
        known = await self._store.read(partial(accounts.domain, name=terms.domain))
        return found.said(
            language=known.language if known is not None else "",
            utf8=transaction.mail.smtputf8,
            help=terms.rules.help,
        )


def _network(host: str) -> str:
    """A neighbour by a Unix socket has none."""
    try:
        return network_of(host)
    except ValueError:
        return host


def _full(terms: Terms) -> Objection:
    if terms.rules.quota_full == "reject":
        return objection(replies.MAILBOX_FULL_FOR_GOOD, address=terms.address)
    return objection(replies.MAILBOX_FULL, address=terms.address)
