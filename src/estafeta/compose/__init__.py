"""Step 1: building a message."""
