"""Protocol machines, sans-IO: bytes in, events out."""
