"""Step 7: the mailbox as IMAP and POP3 clients see it."""

from estafeta.read.imap_session import ImapServer
from estafeta.read.pop3_session import Pop3Server
from estafeta.read.settings import ReadSettings

__all__ = ["ImapServer", "Pop3Server", "ReadSettings"]
