"""Check: what `serve` would stumble over, found before it is started, and nothing changed by it."""
