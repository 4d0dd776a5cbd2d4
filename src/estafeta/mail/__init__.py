"""Nouns: what a message, an address, an outcome and a report are. Pure: no clock, no socket, no disk."""
