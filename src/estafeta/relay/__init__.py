"""Step 5: one attempt at one destination, one outcome for each recipient."""
