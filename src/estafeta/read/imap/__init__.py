"""imap: what the session of IMAP consists of; `estafeta.read.imap_session` is its door."""
