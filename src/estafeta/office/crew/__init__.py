"""Crew: several worker processes that are one service: `[server] workers = N`."""
