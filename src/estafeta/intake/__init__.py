"""The SMTP session of all three roles, and the only code that opens an acceptance."""
