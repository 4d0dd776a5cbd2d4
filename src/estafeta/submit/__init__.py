"""Steps 2 and 3: who may say what; a message completed before it is queued."""
