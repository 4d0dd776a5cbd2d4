"""Step 4: from a domain to the hosts that take its mail."""
