"""imap: the IMAP4rev1 server machine, sans-IO (RFC 3501): grammar, commands, responses, states."""
