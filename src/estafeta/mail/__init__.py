"""Nouns: message, address, envelope, outcome, report. Pure: no clock, no socket, no disk."""
