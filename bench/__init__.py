"""Measurements: estafeta beside the programs it is meant to be faster than, in one run."""
