"""Policy: what may come in, as administrators and owners of accounts say it."""
