"""Dialogues with a server that has a store are played over each engine."""

from __future__ import annotations

import pytest
from tests.support.each_engine import each_engine, is_one_of, over_each_engine

__all__ = ["each_engine"]

MODULES = ("test_server_dialogues", "test_imap_dialogues", "test_pop3_dialogues")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if is_one_of(metafunc, MODULES):
        over_each_engine(metafunc)
