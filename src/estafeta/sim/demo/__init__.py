"""Demo: a small internet on loopback, two installations in it, and a tour of the seven steps."""
