"""Step 3: who is next and when, giving up, returning to the sender."""
