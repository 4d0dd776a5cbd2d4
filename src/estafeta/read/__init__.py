"""Step 7: the mailbox as IMAP and POP3 clients see it."""
