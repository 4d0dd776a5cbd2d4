"""Seams to what lies outside the program, and their real form."""
