"""Memory: one store, one transaction, two engines."""
