"""Step 6: which recipients are ours, and the place of a message in a mailbox."""
