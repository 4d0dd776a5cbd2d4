"""commands: the table from each command to what serves it, and the commands of any state."""

from __future__ import annotations

from estafeta.read.imap import login, mailbox, message
from estafeta.read.imap.append import append
from estafeta.read.imap.idle import idle
from estafeta.read.imap.login import capabilities
from estafeta.read.imap.session import Handler, Session
from estafeta.wire.imap import commands as a
from estafeta.wire.imap.commands import Command, State
from estafeta.wire.imap.responses import quoted


async def capability(s: Session, c: Command) -> None:
    """RFC 3501 §6.1.1."""
    s.machine.untagged(capabilities(s).encode("ascii"))
    s.machine.ok(c.tag, "done")


async def noop(s: Session, c: Command) -> None:
    """RFC 3501 §6.1.2, and CHECK (§6.4.1): everything is on disk already."""
    await s.sync(expunge=True)
    s.machine.ok(c.tag, "done")


async def logout(s: Session, c: Command) -> None:
    """RFC 3501 §6.1.3."""
    await s.deselect()
    s.machine.state = State.LOGOUT
    s.machine.bye("until next time")
    s.machine.ok(c.tag, "done")


async def identify(s: Session, c: a.Id) -> None:
    """RFC 2971. What the client calls itself is for the log."""
    if c.fields:
        said = {name.decode("ascii", "replace"): value for name, value in c.fields[:4]}
        s.house.log.info(
            "client",
            peer=str(s.stream.peer),
            fields={
                name: (value or b"")[:100].decode("utf-8", "replace")
                for name, value in said.items()
            },
        )
    s.machine.untagged(b'ID ("name" %b)' % quoted(b"estafeta"))
    s.machine.ok(c.tag, "done")


HANDLERS: dict[type[Command], Handler] = {
    a.Capability: capability,
    a.Noop: noop,
    a.Check: noop,
    a.Logout: logout,
    a.Id: identify,
    a.StartTls: login.start_tls,
    a.Authenticate: login.authenticate,
    a.Login: login.login,
    a.Enable: login.enable,
    a.Select: mailbox.select,
    a.Create: mailbox.create,
    a.Delete: mailbox.delete,
    a.Rename: mailbox.rename,
    a.Subscribe: mailbox.subscribe,
    a.ListMailboxes: mailbox.list_mailboxes,
    a.Namespace: mailbox.namespace,
    a.Status: mailbox.status,
    a.GetQuota: mailbox.get_quota,
    a.GetQuotaRoot: mailbox.get_quota_root,
    a.Append: append,
    a.Idle: idle,
    a.Close: message.close,
    a.Unselect: message.unselect,
    a.Expunge: message.expunge,
    a.Search: message.search,
    a.Fetch: message.fetch_messages,
    a.StoreFlags: message.store,
    a.Copy: message.copy,
}

__all__ = ["HANDLERS", "capabilities"]
